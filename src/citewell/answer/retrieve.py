"""Search both legs: meaning (dense) and words (BM25)."""

from dataclasses import dataclass

from citewell.domain import LegResult, Scope, WorkspaceId
from citewell.ports import IndexReading, Vectors, VectorStore
from citewell.telemetry import Stopwatch


@dataclass(frozen=True, slots=True)
class Retrieved:
    """Both legs' rankings."""

    dense: LegResult
    lexical: LegResult


async def retrieve(
    workspace_id: WorkspaceId,
    question: tuple[str, Vectors],
    scope: Scope,
    limit: int,
    reading: IndexReading,
    store: VectorStore | None,
    watch: Stopwatch,
) -> Retrieved:
    """Return at most ``limit`` chunks of each leg, for a question and its vector.

    Raises:  Unavailable – a store does not answer.
    """
    text, vector = question
    with watch.stage("dense"):
        if store is None:
            dense = await reading.search_dense(vector, scope, limit)
        else:
            dense = await store.search(workspace_id, vector, scope, limit)
    with watch.stage("lexical"):
        lexical = await reading.search_lexical(text, scope, limit)
    return Retrieved(dense, lexical)
