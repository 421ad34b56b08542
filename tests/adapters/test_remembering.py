"""Questions that are asked again are not embedded again."""

from collections.abc import Sequence

import numpy as np
import pytest

from adapters.embedding_server import DIMENSION, bag_of_words
from citewell.adapters.minilm import MiniLMEmbedder
from citewell.adapters.remembering import RememberingEmbedder
from citewell.adapters.unit_vectors import unit_rows
from citewell.errors import ProviderError
from citewell.ports import Embedder, Purpose, Vectors
from contracts.embedder import EmbedderContract


class Counting:
    """Says which texts it was asked for."""

    name, dimension, window_tokens = "words", DIMENSION, 512

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.broken = False

    async def embed(self, texts: Sequence[str], purpose: Purpose) -> Vectors:
        self.asked += texts
        if self.broken:
            raise ProviderError
        return unit_rows(bag_of_words(list(texts)), len(texts), DIMENSION)

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        return [len(text.split()) for text in texts]


class TestRememberedMiniLM(EmbedderContract):
    @pytest.fixture(params=[0, 3, 2048])
    def embedder(self, embedder: MiniLMEmbedder, request: pytest.FixtureRequest) -> Embedder:
        return RememberingEmbedder(embedder, request.param)


async def test_a_question_is_embedded_once_however_it_is_spaced() -> None:
    inner = Counting()
    embedder = RememberingEmbedder(inner, 10)
    first = await embedder.embed(["Who built the café?", "And when?"], "query")
    again = await embedder.embed(["  And when?", "Who  built the\ncafe\u0301? "], "query")
    assert inner.asked == ["Who built the café?", "And when?"]
    assert np.array_equal(first[::-1], again)


async def test_the_oldest_question_is_forgotten_first() -> None:
    inner = Counting()
    embedder = RememberingEmbedder(inner, 2)
    for question in ("one", "two", "one", "three", "one", "two"):
        await embedder.embed([question], "query")
    assert inner.asked == ["one", "two", "three", "two"]


async def test_more_questions_at_once_than_are_kept() -> None:
    embedder = RememberingEmbedder(Counting(), 1)
    texts = ["one", "two", "three", "two"]
    assert np.array_equal(
        await embedder.embed(texts, "query"), unit_rows(bag_of_words(texts), 4, DIMENSION)
    )


async def test_documents_pass_through_and_a_caller_may_change_what_it_got() -> None:
    inner = Counting()
    embedder = RememberingEmbedder(inner, 10)
    for _ in range(2):
        await embedder.embed(["a  text"], "document")
    assert inner.asked == ["a  text"] * 2
    (await embedder.embed(["word"], "query"))[:] = 0
    assert np.linalg.norm(await embedder.embed(["word"], "query")) == pytest.approx(1)


async def test_a_failure_is_not_kept() -> None:
    inner = Counting()
    embedder = RememberingEmbedder(inner, 10)
    inner.broken = True
    with pytest.raises(ProviderError):
        await embedder.embed(["Who?"], "query")
    inner.broken = False
    assert (await embedder.embed(["Who?"], "query")).shape == (1, DIMENSION)


async def test_no_question_is_kept_as_text() -> None:
    embedder = RememberingEmbedder(Counting(), 10)
    await embedder.embed(["the secret question"], "query")
    ((key, row),) = embedder._known.items()
    assert len(key) == 16
    assert row.nbytes == DIMENSION * 4
    assert row.base is None, "a view would keep the whole batch"
    other = RememberingEmbedder(Counting(), 10)
    await other.embed(["the secret question"], "query")
    assert key not in other._known, "without the process's secret nobody can look a question up"
