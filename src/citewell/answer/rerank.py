"""Put the candidates in the order of how well they answer, by a slower and better judge."""

from collections.abc import Sequence
from dataclasses import replace

from citewell.domain import Candidate, Usage, WorkspaceId
from citewell.ports import Reranker


async def rerank(
    workspace_id: WorkspaceId,
    question: str,
    candidates: Sequence[Candidate],
    reranker: Reranker,
    deadline_seconds: float,
) -> tuple[tuple[Candidate, ...], Usage]:
    """Return the candidates, best first, with the score ``rerank`` beside the others.

    Holds:   ``score`` stays the fused one, which thresholds know; ties keep their order.
    Raises:  ProviderError – the reranker failed.
    """
    scores, usage = await reranker.score(
        workspace_id, question, [each.text for each in candidates], deadline_seconds
    )
    judged = [
        replace(each, scores={**each.scores, "rerank": float(score)})
        for each, score in zip(candidates, scores, strict=True)
    ]
    return tuple(sorted(judged, key=lambda each: -each.scores["rerank"])), usage
