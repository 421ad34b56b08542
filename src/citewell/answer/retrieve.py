"""Search both legs at once: meaning (dense) and words (BM25)."""

import asyncio
from dataclasses import dataclass
from time import perf_counter

from citewell.domain import LegResult, Scope, WorkspaceId
from citewell.ports import ChunkIndex, Embedder, VectorStore


@dataclass(frozen=True, slots=True)
class Retrieved:
    """Both legs' rankings, and the milliseconds that each step took."""

    dense: LegResult
    lexical: LegResult
    timings_ms: dict[str, float]


async def retrieve(
    workspace_id: WorkspaceId,
    question: str,
    scope: Scope,
    limit: int,
    embedder: Embedder,
    store: VectorStore,
    index: ChunkIndex,
) -> Retrieved:
    """Return at most ``limit`` chunks of each leg.

    Raises:  ProviderError – the embedder failed.  Unavailable – a store does not answer.
    """
    timings = {"embed": 0.0, "dense": 0.0, "lexical": 0.0}

    async def dense() -> LegResult:
        started = perf_counter()
        vectors = await embedder.embed([question], "query")
        timings["embed"] = (perf_counter() - started) * 1000
        started = perf_counter()
        found = await store.search(workspace_id, vectors[0], scope, limit)
        timings["dense"] = (perf_counter() - started) * 1000
        return found

    async def lexical() -> LegResult:
        started = perf_counter()
        found = await index.search_lexical(workspace_id, question, scope, limit)
        timings["lexical"] = (perf_counter() - started) * 1000
        return found

    found_dense, found_lexical = await asyncio.gather(dense(), lexical())
    return Retrieved(found_dense, found_lexical, timings)
