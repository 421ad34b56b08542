"""The reranked order: stable, complete, with the old scores kept."""

from collections.abc import Sequence
from uuid import UUID

import pytest

from citewell.answer.rerank import rerank
from citewell.domain import (
    PUBLIC_WORKSPACE,
    Candidate,
    ChunkId,
    DocumentId,
    Usage,
    VersionId,
    WorkspaceId,
)
from citewell.errors import ProviderBadReply, ProviderError


class Judge:
    """Gives the scores that it is told."""

    name = "judge:1"

    def __init__(self, *scores: float) -> None:
        self.scores = scores
        self.asked: list[Sequence[str]] = []

    async def score(
        self,
        workspace_id: WorkspaceId,
        question: str,
        texts: Sequence[str],
        deadline_seconds: float,
    ) -> tuple[Sequence[float], Usage]:
        self.asked.append(texts)
        return self.scores, Usage(7, 1)


def candidates(count: int) -> list[Candidate]:
    return [
        Candidate(
            ChunkId(UUID(int=n + 1)), DocumentId(UUID(int=9)), "a.txt", "A",
            VersionId(UUID(int=8)), n, f"text {n}", 0, 6, None, None, None, (), None, {}, (),
            1 - n / 10, {"dense": 0.5},
        )
        for n in range(count)
    ]  # fmt: skip


async def order(judge: Judge, count: int, most: int = 30) -> list[int]:
    found, _ = await rerank(PUBLIC_WORKSPACE, "why?", candidates(count), judge, 5.0, most)
    return [each.ordinal for each in found]


async def test_the_best_score_comes_first_and_the_fused_one_stays() -> None:
    found, usage = await rerank(
        PUBLIC_WORKSPACE, "why?", candidates(3), Judge(0.1, -2, 9.5), 5.0, 30
    )
    assert [each.ordinal for each in found] == [2, 0, 1]
    assert [each.score for each in found] == [0.8, 1.0, 0.9]
    assert dict(found[0].scores) == {"dense": 0.5, "rerank": 9.5}
    assert usage == Usage(7, 1)


async def test_ties_keep_their_order() -> None:
    assert await order(Judge(0, 1, 0, 1, 0), 5) == [1, 3, 0, 2, 4]
    assert await order(Judge(-0.0, 0.0, -0.0), 3) == [0, 1, 2]


async def test_what_is_beyond_stays_behind_in_its_order() -> None:
    judge = Judge(0, 1)
    found, _ = await rerank(PUBLIC_WORKSPACE, "why?", candidates(5), judge, 5.0, 2)
    assert [each.ordinal for each in found] == [1, 0, 2, 3, 4]
    assert judge.asked == [["text 0", "text 1"]]
    assert ["rerank" in each.scores for each in found] == [True, True, False, False, False]


async def test_without_candidates_nobody_is_asked() -> None:
    judge = Judge()
    assert await order(judge, 0) == []
    assert judge.asked == []


@pytest.mark.parametrize(
    "scores",
    [(), (1.0,), (1.0, 2.0, 3.0, 4.0), (1.0, float("nan"), 2.0), (1.0, float("inf"), 2.0)],
)
async def test_scores_that_cannot_be_are_an_error(scores: tuple[float, ...]) -> None:
    with pytest.raises(ProviderBadReply) as caught:
        await order(Judge(*scores), 3)
    assert isinstance(caught.value, ProviderError)
    assert caught.value.message.endswith("CITEWELL_RERANK__BY.")
