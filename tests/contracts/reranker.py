"""What every reranker must do; an adapter's tests subclass this."""

import asyncio
import math

import pytest

from citewell.domain import PUBLIC_WORKSPACE
from citewell.errors import ProviderError
from citewell.ports import Reranker

W = PUBLIC_WORKSPACE
QUESTION = "pendulum clock"
TEXTS = ["The sea is deep.", "The pendulum clock was built in 1656.", "A clock may stop.", ""]


class RerankerContract:
    """Subclass it with a fixture ``reranker`` that counts the question's words in a text."""

    async def test_the_text_with_the_answer_is_scored_best(self, reranker: Reranker) -> None:
        scores, usage = await reranker.score(W, QUESTION, TEXTS, 20.0)
        assert len(scores) == len(TEXTS)
        assert scores[1] == max(scores)
        assert scores[1] > scores[2] > scores[0]
        assert all(type(score) is float and math.isfinite(score) for score in scores)
        assert usage.input_tokens >= 0

    async def test_nothing_to_score_is_allowed(self, reranker: Reranker) -> None:
        scores, usage = await reranker.score(W, QUESTION, [], 20.0)
        assert list(scores) == []
        assert usage.input_tokens == usage.output_tokens == 0

    async def test_one_text_alone_has_a_score(self, reranker: Reranker) -> None:
        scores, _ = await reranker.score(W, QUESTION, TEXTS[1:2], 20.0)
        assert len(scores) == 1

    async def test_many_and_long_texts(self, reranker: Reranker) -> None:
        texts = [f"Filler {n}. " + "word " * (400 * (n % 3)) for n in range(70)]
        texts[3] = "The pendulum clock."
        scores, _ = await reranker.score(W, QUESTION, texts, 60.0)
        assert len(scores) == 70
        assert scores[3] == max(scores)

    async def test_the_order_of_the_texts_changes_no_rank(self, reranker: Reranker) -> None:
        scores, _ = await reranker.score(W, QUESTION, TEXTS[:3], 20.0)
        back, _ = await reranker.score(W, QUESTION, TEXTS[2::-1], 20.0)
        assert sorted(range(3), key=scores.__getitem__) == [
            2 - n for n in sorted(range(3), key=back.__getitem__)
        ]

    async def test_a_text_that_comes_twice_is_scored_twice(self, reranker: Reranker) -> None:
        scores, _ = await reranker.score(W, QUESTION, [*TEXTS, *TEXTS], 20.0)
        assert len(scores) == 2 * len(TEXTS)

    async def test_several_callers_at_once(self, reranker: Reranker) -> None:
        calls = [reranker.score(W, QUESTION, TEXTS, 30.0) for _ in range(5)]
        for scores, _ in await asyncio.gather(*calls):
            assert scores[1] == max(scores)

    @pytest.mark.parametrize("deadline", [0.0, 1e-9])
    async def test_a_deadline_that_is_over_is_an_error(
        self, reranker: Reranker, deadline: float
    ) -> None:
        with pytest.raises(ProviderError):
            await reranker.score(W, QUESTION, TEXTS, deadline)

    async def test_a_call_that_is_given_up_harms_no_other(self, reranker: Reranker) -> None:
        task = asyncio.create_task(reranker.score(W, QUESTION, TEXTS * 20, 30.0))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        scores, _ = await reranker.score(W, QUESTION, TEXTS, 30.0)
        assert scores[1] == max(scores)

    def test_it_has_a_name(self, reranker: Reranker) -> None:
        assert ":" in reranker.name
