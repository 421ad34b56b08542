"""Put the candidates in the order of how well they answer, by a slower and better judge."""

from collections.abc import Sequence
from dataclasses import replace
from math import isfinite

from citewell.domain import Candidate, Usage, WorkspaceId
from citewell.errors import ProviderBadReply
from citewell.ports import Reranker


async def rerank(
    workspace_id: WorkspaceId,
    question: str,
    candidates: Sequence[Candidate],
    reranker: Reranker,
    deadline_seconds: float,
    most: int,
) -> tuple[tuple[Candidate, ...], Usage]:
    """Return the first ``most`` candidates, best first, with a score ``rerank`` beside the others.

    Holds:   ``score`` stays the fused one, which thresholds know; ties keep their order, and so
             do the candidates beyond, behind them.
    Raises:  ProviderError – the reranker failed, or did not give each text a number.
    """
    judged, beyond = candidates[:most], candidates[most:]
    if not judged:
        return tuple(candidates), Usage()
    texts = [each.text for each in judged]
    scores, usage = await reranker.score(workspace_id, question, texts, deadline_seconds)
    if len(scores) != len(judged):
        raise ProviderBadReply(
            f"The reranker scored {len(scores)} texts of {len(judged)}. Try again, or choose "
            "another one with CITEWELL_RERANK__BY."
        )
    if not all(isfinite(score) for score in scores):
        raise ProviderBadReply(
            "The reranker returned a score that is not a number. Try again, or choose another one "
            "with CITEWELL_RERANK__BY."
        )
    scored = [
        replace(each, scores={**each.scores, "rerank": float(score)})
        for each, score in zip(judged, scores, strict=True)
    ]
    ranked = sorted(scored, key=lambda each: -each.scores["rerank"])
    return (*ranked, *beyond), usage
