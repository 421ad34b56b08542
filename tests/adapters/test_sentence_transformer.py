"""sentence-transformers is an extra: a stand-in for the package, with what it documents.

``SentenceTransformer(name, trust_remote_code=)``, ``encode_query`` and ``encode_document`` with
``prompt``, ``get_embedding_dimension()`` and ``max_seq_length`` are those of its version 6.
"""

import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest

from adapters.embedding_server import DIMENSION, bag_of_words
from citewell.adapters.sentence_transformer import SentenceTransformerEmbedder
from citewell.errors import InputError, ProviderError
from citewell.ports import Embedder
from contracts.embedder import EmbedderContract


class StandIn:
    max_seq_length = 128
    failure: Exception | None = None

    def __init__(self, name: str, *, trust_remote_code: bool) -> None:
        assert trust_remote_code is False
        if name == "missing":
            raise OSError("https://huggingface.co is not there")
        self.calls: list[tuple[str, list[str], dict[str, Any]]] = []

    def get_embedding_dimension(self) -> int:
        return DIMENSION

    def _encode(self, kind: str) -> Callable[..., Any]:
        def encode(texts: list[str], **options: Any) -> Any:
            self.calls.append((kind, texts, options))
            if self.failure:
                raise self.failure
            return bag_of_words([options.get("prompt", "") + text for text in texts])

        return encode

    @property
    def encode_query(self) -> Callable[..., Any]:
        return self._encode("query")

    @property
    def encode_document(self) -> Callable[..., Any]:
        return self._encode("document")


@pytest.fixture(autouse=True)
def package(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("sentence_transformers")
    module.SentenceTransformer = StandIn  # pyright: ignore
    monkeypatch.setitem(sys.modules, "sentence_transformers", module)


class TestSentenceTransformer(EmbedderContract):
    @pytest.fixture
    def embedder(self) -> Embedder:
        return SentenceTransformerEmbedder("stand-in")


async def test_questions_run_alone_and_prefixes_take_the_place_of_the_models_own() -> None:
    plain = SentenceTransformerEmbedder("stand-in")
    await plain.embed(["Who?"], "query")
    worded = SentenceTransformerEmbedder("stand-in", "query: ", "passage: ")
    await worded.embed(["Who?"], "query")
    await worded.embed(["He."], "document")
    options = {"show_progress_bar": False, "convert_to_numpy": True}
    assert plain._model.calls == [("query", ["Who?"], {"batch_size": 1, **options})]
    assert worded._model.calls == [
        ("query", ["Who?"], {"batch_size": 1, "prompt": "query: ", **options}),
        ("document", ["He."], {"batch_size": 32, "prompt": "passage: ", **options}),
    ]
    assert plain.name == "sentence-transformers:stand-in" != worded.name
    assert plain.window_tokens == 128


async def test_a_failure_is_ours() -> None:
    embedder = SentenceTransformerEmbedder("stand-in")
    embedder._model.failure = RuntimeError("out of memory")
    with pytest.raises(ProviderError, match="failed on a text"):
        await embedder.embed(["text"], "document")


def test_a_model_that_cannot_be_loaded_says_so() -> None:
    with pytest.raises(InputError, match="CITEWELL_EMBEDDER__MODEL"):
        SentenceTransformerEmbedder("missing")


def test_without_the_extra_the_start_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    with pytest.raises(InputError, match=r"pip install 'citewell\[sentence-transformers\]'"):
        SentenceTransformerEmbedder("any")
