"""MiniLM by OpenVINO: the same vectors in another precision, and what a start without it says."""

import sys
from types import SimpleNamespace
from typing import Any

import openvino
import pytest

from citewell.adapters.minilm import MiniLMEmbedder
from citewell.adapters.minilm_openvino import NO_BF16, OpenVinoMiniLM, require_openvino
from citewell.errors import InputError
from citewell.ports import Embedder
from contracts.embedder import TEXTS, EmbedderContract

HAS_BF16 = "BF16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
needs_bf16 = pytest.mark.skipif(not HAS_BF16, reason="this processor has no bfloat16")


@pytest.fixture(scope="module")
def in_bf16() -> OpenVinoMiniLM:
    return OpenVinoMiniLM(threads=2)


@needs_bf16
class TestOpenVinoMiniLM(EmbedderContract):
    @pytest.fixture
    def embedder(self, in_bf16: OpenVinoMiniLM) -> Embedder:
        return in_bf16


@needs_bf16
def test_its_vectors_stand_beside_those_of_the_8_bit_graph(
    in_bf16: OpenVinoMiniLM, embedder: MiniLMEmbedder
) -> None:
    texts = [*TEXTS, "archive", "A longer text of a page, again and again. " * 20]
    ours, theirs = in_bf16.embed_now(texts, "query"), embedder.embed_questions(texts)
    assert (ours * theirs).sum(axis=1).min() > 0.98
    assert (ours * in_bf16.embed_now(texts)).sum(axis=1).min() > 0.999
    assert in_bf16.name == embedder.name
    assert in_bf16.count_tokens(texts) == embedder.count_tokens(texts)


def test_a_start_without_the_extra_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(InputError, match=r"pip install 'citewell\[openvino\]'"):
        require_openvino()


def test_a_processor_without_bfloat16_is_told_to_use_onnx(monkeypatch: pytest.MonkeyPatch) -> None:
    def get_property(*_: Any) -> list[str]:
        return ["FP32", "INT8"]

    core = SimpleNamespace(get_property=get_property)
    monkeypatch.setattr(openvino, "Core", lambda: core)
    with pytest.raises(InputError) as caught:
        OpenVinoMiniLM()
    assert caught.value.message == NO_BF16
