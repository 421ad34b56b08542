"""What every embedder must do; an adapter's tests subclass this."""

import asyncio

import numpy as np
import pytest

from citewell.ports import Embedder, Purpose

QUESTION = "Who may open the archive?"
TEXTS = [
    "The archive is open to members on weekdays from nine to five.",
    "Water boils at a lower temperature on a mountain.",
    "Members may open the archive, and borrow three books at a time.",
]
PURPOSES: list[Purpose] = ["query", "document"]


class EmbedderContract:
    """Subclass it with a fixture ``embedder``; texts that share words must come out closer."""

    def test_it_says_what_it_is(self, embedder: Embedder) -> None:
        assert embedder.name
        assert 0 < embedder.dimension <= 4000
        assert embedder.window_tokens >= 32

    @pytest.mark.parametrize("purpose", PURPOSES)
    async def test_rows_are_float32_of_unit_length(
        self, embedder: Embedder, purpose: Purpose
    ) -> None:
        vectors = await embedder.embed(TEXTS, purpose)
        assert vectors.shape == (len(TEXTS), embedder.dimension)
        assert vectors.dtype == np.float32
        assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-4)

    @pytest.mark.parametrize("purpose", PURPOSES)
    async def test_no_texts_give_no_vectors(self, embedder: Embedder, purpose: Purpose) -> None:
        assert (await embedder.embed([], purpose)).shape == (0, embedder.dimension)

    async def test_a_question_lies_nearest_to_its_answer(self, embedder: Embedder) -> None:
        (asked,) = await embedder.embed([QUESTION], "query")
        near = (await embedder.embed(TEXTS, "document")) @ asked
        assert near[1] == min(near)
        assert near[2] == max(near)

    async def test_many_texts_keep_their_order(self, embedder: Embedder) -> None:
        texts = [f"{TEXTS[n % 3]} Number {n}." for n in range(150)]
        vectors = await embedder.embed(texts, "document")
        alone = await embedder.embed([texts[77]], "document")
        assert int(np.argmax(vectors @ alone[0])) == 77

    async def test_a_questions_vector_does_not_depend_on_who_else_asks(
        self, embedder: Embedder
    ) -> None:
        others = [f"{text} {n}" for n in range(4) for text in TEXTS]
        (alone,) = await embedder.embed([QUESTION], "query")
        together = await embedder.embed([*others, QUESTION, *TEXTS], "query")
        assert np.array_equal(together[len(others)], alone)
        asked = [embedder.embed([text], "query") for text in (*others, QUESTION)]
        assert np.array_equal((await asyncio.gather(*asked))[-1][0], alone)

    async def test_long_and_odd_texts(self, embedder: Embedder) -> None:
        texts = ["a", "word " * 5000, "Zürich, 東京, naïve – 100 %", "\x0b!"]
        vectors = await embedder.embed(texts, "document")
        assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-4)

    async def test_a_call_that_is_given_up_harms_no_other(self, embedder: Embedder) -> None:
        task = asyncio.create_task(embedder.embed(TEXTS * 30, "document"))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert (await embedder.embed(TEXTS, "document")).shape == (3, embedder.dimension)

    def test_tokens_are_counted(self, embedder: Embedder) -> None:
        few, many = embedder.count_tokens(["two words", "word " * 1000])
        assert 0 < few < many
        assert embedder.count_tokens([]) == []
