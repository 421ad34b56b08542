"""Find chunks for one or several queries that ask for the same: retrieve → fuse → join → load."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from citewell.answer.fuse import fuse, join
from citewell.answer.near import near
from citewell.answer.retrieve import Retrieved, retrieve
from citewell.domain import Candidate, Scope, WorkspaceId
from citewell.ports import ChunkIndex, Embedder, VectorStore
from citewell.telemetry import Stopwatch

PARALLEL_QUERIES = 2
"""Queries searched at once for one question: each takes two connections of the database's pool."""


@dataclass(frozen=True, slots=True)
class Legs:
    """The partners that a search needs."""

    embedder: Embedder
    store: VectorStore
    index: ChunkIndex


@dataclass(frozen=True, slots=True)
class Search:
    """What to look for, where, and by which numbers: all that repeats a search.

    ``limit`` is on what comes back, ``candidates`` on what each leg returns; what is known to be
    less close than ``min_similarity`` is left out before.
    """

    queries: tuple[str, ...]
    scope: Scope
    limit: int
    candidates: int
    dense_weight: float
    min_similarity: float = 0.0


@dataclass(frozen=True, slots=True)
class SearchResult:
    """The best chunks, the first query's term weights, and milliseconds per stage.

    ``generations`` counts each collection's publications and removals at that moment; ``legs`` are
    the rankings that each query's results were fused from.
    """

    wanted: Search
    candidates: tuple[Candidate, ...]
    term_idf: dict[str, float]
    timings_ms: dict[str, float]
    generations: Mapping[str, int]
    legs: tuple[Retrieved, ...] = ()


async def search(workspace_id: WorkspaceId, wanted: Search, legs: Legs) -> SearchResult:
    """Return the best chunks for the queries, best first.

    Holds:   a document that was replaced between finding and loading is searched once more.
    Raises:  ProviderError, Unavailable – as the ports say.
    """
    result, complete = await _search_once(workspace_id, wanted, legs)
    if not complete:
        result, _ = await _search_once(workspace_id, wanted, legs)
    return result


async def _search_once(
    workspace_id: WorkspaceId, wanted: Search, legs: Legs
) -> tuple[SearchResult, bool]:
    """Search, and tell whether all that was found could be loaded."""
    watch = Stopwatch()
    found = await _retrieve_all(workspace_id, wanted, legs)
    for each in found:
        watch.add(each.timings_ms)
    with watch.stage("fuse"):
        rankings = [
            fuse(each.dense.scores, each.lexical.scores, wanted.dense_weight) for each in found
        ]
        best = near(join(rankings), wanted.min_similarity)[: wanted.limit]
    with watch.stage("load"):
        loaded = await legs.index.load(workspace_id, [item.chunk_id for item in best])
    candidates = tuple(
        replace(loaded[item.chunk_id], score=item.score, scores=item.scores)
        for item in best
        if item.chunk_id in loaded
    )
    lexical = found[0].lexical
    result = SearchResult(
        wanted,
        candidates,
        dict(lexical.term_idf),
        watch.finish(),
        lexical.generations,
        tuple(found),
    )
    return result, len(candidates) == len(best)


async def _retrieve_all(
    workspace_id: WorkspaceId, wanted: Search, legs: Legs
) -> Sequence[Retrieved]:
    """Search for each query, a few at once; the first failure ends them all."""
    turns = asyncio.Semaphore(PARALLEL_QUERIES)

    async def one(query: str) -> Retrieved:
        async with turns:
            return await retrieve(
                workspace_id,
                query,
                wanted.scope,
                wanted.candidates,
                legs.embedder,
                legs.store,
                legs.index,
            )

    if len(wanted.queries) == 1:
        return [await one(wanted.queries[0])]
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one(query)) for query in wanted.queries]
    except ExceptionGroup as failed:
        raise failed.exceptions[0] from failed
    return [task.result() for task in tasks]
