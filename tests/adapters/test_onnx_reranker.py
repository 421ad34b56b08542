"""A local cross-encoder: a tiny graph that counts the question's words in a text."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.normalizers import Lowercase
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import TemplateProcessing

from citewell.adapters.onnx_reranker import OnnxReranker
from citewell.domain import PUBLIC_WORKSPACE
from citewell.errors import InputError, ProviderBadReply, ProviderTimeout
from citewell.ports import Reranker
from contracts.reranker import RerankerContract

W = PUBLIC_WORKSPACE
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "pendulum", "clock", "the", "sea", "word", "poison"]
INT64, INT32, FLOAT = TensorProto.INT64, TensorProto.INT32, TensorProto.FLOAT


def write_tokenizer(folder: Path) -> None:
    tokenizer = Tokenizer(WordLevel({word: n for n, word in enumerate(WORDS)}, unk_token="[UNK]"))
    tokenizer.normalizer = Lowercase()
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    tokenizer.save(str(folder / "tokenizer.json"))


def write_graph(
    folder: Path,
    *,
    inputs: tuple[str, ...] = ("input_ids", "attention_mask", "token_type_ids"),
    kind: int = INT64,
    classes: int = 1,
) -> None:
    """Sum a weight for each token of the second text: 1 for pendulum and clock, NaN for poison."""
    weights = np.zeros((len(WORDS), classes), np.float32)
    weights[4:6, -1] = 1.0
    weights[9, :] = np.nan
    nodes = [helper.make_node("Gather", ["weights", "input_ids"], ["weighed"])]
    last = "weighed"
    for name in inputs[1:]:
        if name == "position_ids":
            continue
        nodes += [
            helper.make_node("Unsqueeze", [name, "axis"], [f"{name}_wide"]),
            helper.make_node("Cast", [f"{name}_wide"], [f"{name}_float"], to=FLOAT),
            helper.make_node("Mul", [last, f"{name}_float"], [f"{name}_done"]),
        ]
        last = f"{name}_done"
    nodes.append(helper.make_node("ReduceSum", [last, "one"], ["logits"], keepdims=0))
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info(name, kind, ["batch", "length"]) for name in inputs],
        [helper.make_tensor_value_info("logits", FLOAT, ["batch", classes])],
        [
            numpy_helper.from_array(weights, "weights"),
            numpy_helper.from_array(np.array([2], np.int64), "axis"),
            numpy_helper.from_array(np.array([1], np.int64), "one"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    onnx.save(model, str(folder / "model.onnx"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_tokenizer(tmp_path)
    write_graph(tmp_path)
    return tmp_path


async def scores(folder: Path, *texts: str, question: str = "clock", **given: Any) -> list[float]:
    reranker = OnnxReranker(folder, 20.0, 1)
    found, usage = await reranker.score(W, question, list(texts), 20.0, **given)
    assert usage.input_tokens == 0
    await reranker.close()
    return list(found)


class TestOnnxReranker(RerankerContract):
    @pytest.fixture
    def reranker(self, folder: Path) -> Reranker:
        return OnnxReranker(folder, 60.0, 1)


@pytest.mark.parametrize("kind", [INT64, INT32])
@pytest.mark.parametrize(
    "inputs",
    [
        ("input_ids", "attention_mask", "token_type_ids"),
        ("input_ids", "token_type_ids"),
        ("input_ids", "attention_mask", "token_type_ids", "position_ids"),
    ],
)
async def test_graphs_differ_in_their_inputs(
    folder: Path, inputs: tuple[str, ...], kind: int
) -> None:
    write_graph(folder, inputs=inputs, kind=kind)
    texts = ["the sea", "clock", "pendulum clock", "clock " * 60]
    assert await scores(folder, *texts, question="pendulum clock") == [0.0, 1.0, 2.0, 60.0]


async def test_without_token_types_the_question_counts_too(folder: Path) -> None:
    write_graph(folder, inputs=("input_ids", "attention_mask"))
    assert await scores(folder, "the sea", "pendulum clock") == [1.0, 3.0]


async def test_two_classes_score_by_their_difference(folder: Path) -> None:
    write_graph(folder, classes=2)
    assert await scores(folder, "the sea", "pendulum clock") == [0.0, 2.0]


async def test_a_neighbour_in_the_batch_changes_no_score(folder: Path) -> None:
    texts = [f"{'word ' * (n % 40)}clock" for n in range(90)]
    together = await scores(folder, *texts)
    assert together == [1.0] * 90


async def test_a_pair_is_cut_to_the_models_window(folder: Path) -> None:
    (folder / "config.json").write_text('{"max_position_embeddings": 20}')
    assert await scores(folder, "clock " * 500, question="the sea") == [20 - 3 - 2.0]
    (found,) = await scores(folder, "clock " * 500, question="the sea " * 500)
    assert 7 <= found <= 9, "the longer side is cut first, so both stay"
    (folder / "config.json").write_text(
        '{"max_position_embeddings": 22, "model_type": "xlm-roberta"}'
    )
    assert await scores(folder, "clock " * 500, question="the sea") == [15.0]


async def test_a_score_that_is_no_number_is_a_bad_reply(folder: Path) -> None:
    with pytest.raises(ProviderBadReply):
        await scores(folder, "the sea", "poison clock")


async def test_the_deadline_ends_a_long_call(folder: Path) -> None:
    reranker = OnnxReranker(folder, 0.01, 1)
    with pytest.raises(ProviderTimeout, match="CITEWELL_RERANK__CANDIDATES"):
        await reranker.score(W, "clock", ["clock " * 3000] * 300, 60.0)
    await reranker.close()


def test_its_name_is_the_models_bytes(folder: Path) -> None:
    first = OnnxReranker(folder, 5.0, 1).name
    assert OnnxReranker(folder, 5.0, 1).name == first
    write_graph(folder, classes=2)
    assert OnnxReranker(folder, 5.0, 1).name != first


@pytest.mark.parametrize("name", ["model.onnx", "tokenizer.json"])
def test_a_missing_file_stops_the_start(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(InputError) as caught:
        OnnxReranker(folder, 5.0, 1)
    assert f"holds no {name}" in caught.value.message
    assert "model.onnx and tokenizer.json" in caught.value.message
    assert str(folder) not in caught.value.message


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("model.onnx", b""), ("model.onnx", b"no graph"), ("tokenizer.json", b"{}"),
        ("tokenizer.json", b"\xff"), ("config.json", b"{"),
    ],
)  # fmt: skip
def test_a_file_that_cannot_be_read_stops_the_start(folder: Path, name: str, data: bytes) -> None:
    (folder / name).write_bytes(data)
    with pytest.raises(InputError, match=name):
        OnnxReranker(folder, 5.0, 1)


@pytest.mark.parametrize("config", ["[]", "{}", json.dumps({"max_position_embeddings": "x"})])
def test_an_odd_configuration_does_no_harm(folder: Path, config: str) -> None:
    (folder / "config.json").write_text(config)
    assert OnnxReranker(folder, 5.0, 1).name.startswith("onnx:")


def test_a_graph_of_another_kind_stops_the_start(folder: Path) -> None:
    write_graph(folder, classes=5)
    with pytest.raises(InputError, match="no cross-encoder"):
        OnnxReranker(folder, 5.0, 1)
    write_graph(folder, inputs=("input_ids", "pixel_values"))
    with pytest.raises(InputError, match="pixel_values"):
        OnnxReranker(folder, 5.0, 1)
