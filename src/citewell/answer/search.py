"""Find chunks for queries that ask for the same: retrieve → fuse → join → load, distinct texts."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Hashable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

from citewell.answer.fuse import Fused, fuse, join, put_first
from citewell.answer.near import near
from citewell.answer.near_duplicates import Distinct
from citewell.answer.remembered import RememberedSearches
from citewell.answer.retrieve import Retrieved, Retriever
from citewell.domain import Candidate, ChunkId, Scope, SkippedStage, WorkspaceId
from citewell.ports import ChunkIndex, Embedder, IndexReading, Vectors, VectorStore
from citewell.telemetry import Stopwatch

MORE = (8, 32, 128)
"""The fewest chunks that are loaded, each time that copies left places free."""
WIDER = 4
"""So many times as many candidates are searched for, once, when copies filled a leg."""


@dataclass(frozen=True, slots=True)
class Legs:
    """The partners that a search needs.

    ``embeds_here`` says that the embedder computes in this process: the words are searched for
    meanwhile. One far away is awaited first, since a connection is held from then on.
    """

    embedder: Embedder
    index: ChunkIndex
    store: VectorStore | None = None
    embeds_here: bool = False


@dataclass(frozen=True, slots=True)
class Search:
    """What to look for, where, and by which numbers: all that repeats a search.

    ``limit`` is on what comes back, ``candidates`` on what each leg returns; what is known to be
    less close than ``min_similarity`` is left out before. With ``collapse_duplicates``,
    near-duplicates of a better chunk take no place.
    """

    queries: tuple[str, ...]
    scope: Scope
    limit: int
    candidates: int
    dense_weight: float
    min_similarity: float = 0.0
    collapse_duplicates: bool = True


@dataclass(frozen=True, slots=True)
class SearchResult:
    """The best chunks, the first query's term weights, and milliseconds per stage.

    ``generations`` counts each collection's publications and removals at that moment; ``legs`` are
    the rankings that each query's results were fused from, and empty in what is remembered;
    ``duplicates`` has the near-duplicates, best first, for which a chunk stands.
    """

    wanted: Search
    candidates: tuple[Candidate, ...]
    term_idf: dict[str, float]
    timings_ms: dict[str, float]
    generations: Mapping[str, int]
    skipped: tuple[SkippedStage, ...] = ()
    legs: tuple[Retrieved, ...] = ()
    duplicates: Mapping[ChunkId, Sequence[Candidate]] = field(
        default_factory=dict[ChunkId, Sequence[Candidate]]
    )
    state: Hashable = None
    """What was searched, as ``IndexReading.state`` says; None where the result must not be kept."""

    @property
    def size(self) -> int:
        """About how many bytes the chunks take in memory."""
        chunks = [*self.candidates, *(copy for some in self.duplicates.values() for copy in some)]
        return sum(1_000 + len(each.text) + len(repr(each.metadata)) for each in chunks)

    @property
    def crowded(self) -> bool:
        """Whether copies filled a leg, so that others may have found no place in it."""
        full = any(
            len(leg.scores) >= self.wanted.candidates
            for each in self.legs
            for leg in (each.dense, each.lexical)
        )
        return full and bool(self.duplicates) and len(self.candidates) < self.wanted.limit


async def search(
    workspace_id: WorkspaceId,
    wanted: Search,
    legs: Legs,
    remembered: RememberedSearches[SearchResult] | None = None,
) -> SearchResult:
    """Return the best chunks for the queries, best first; what is remembered is not searched again.

    Raises:  ProviderError, Unavailable – as the ports say.
    """
    place = workspace_id, repr(wanted)
    if legs.store is not None:
        remembered = None  # nobody tells of its changes
    if remembered is not None and remembered.knows(place):
        watch = Stopwatch()
        with watch.stage("load"):
            async with legs.index.read(workspace_id) as reading:
                known = remembered.find(place, await reading.state(wanted.scope))
        if known is not None:
            # The stages that were not needed are named all the same: a reply looks as ever.
            timings = dict.fromkeys(known.timings_ms, 0.0) | watch.finish()
            return replace(known, wanted=wanted, timings_ms=timings)
    result = await _search_anew(workspace_id, wanted, legs)
    if remembered is not None and result.state is not None:
        kept = replace(result, legs=(), wanted=replace(wanted, queries=()))
        remembered.keep(place, result.state, kept, result.size)
    return result


async def _search_anew(workspace_id: WorkspaceId, wanted: Search, legs: Legs) -> SearchResult:
    """Search, and search again where the first result is not whole.

    Holds:   a document that was replaced between finding and loading is searched once more; so
             is more widely, once, where copies took the places of all others.
    """
    result, complete = await _search_once(workspace_id, wanted, legs)
    if not complete:
        result, _ = await _search_once(workspace_id, wanted, legs)
    if not result.crowded:
        return result
    wider = replace(wanted, candidates=WIDER * wanted.candidates)
    result, _ = await _search_once(workspace_id, wider, legs)
    return replace(result, wanted=wanted)


@asynccontextmanager
async def _embedding(
    queries: Sequence[str], legs: Legs, watch: Stopwatch
) -> AsyncGenerator[Awaitable[Vectors]]:
    """Begin to embed, beside what the block does or before it; nothing goes on after the block."""

    async def embed() -> Vectors:
        with watch.stage("embed"):
            return await legs.embedder.embed(queries, "query")

    task = asyncio.create_task(embed())
    try:
        if not legs.embeds_here:
            await task
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _search_once(
    workspace_id: WorkspaceId, wanted: Search, legs: Legs
) -> tuple[SearchResult, bool]:
    """Search, and tell whether all that was found could be loaded."""
    watch = Stopwatch()
    async with (
        _embedding(wanted.queries, legs, watch) as embedding,
        legs.index.read(workspace_id) as reading,
    ):
        state = await reading.state(wanted.scope)
        retriever = Retriever(
            workspace_id, wanted.scope, wanted.candidates, reading, legs.store, watch
        )
        found = await retriever.retrieve(wanted.queries, embedding)
        with watch.stage("fuse"):
            rankings = [
                fuse(each.dense.scores, each.lexical.scores, wanted.dense_weight) for each in found
            ]
            first = frozenset[ChunkId]().union(*(each.lexical.first for each in found))
            best = near(put_first(join(rankings), first), wanted.min_similarity)
        with watch.stage("load"):
            distinct, complete = await _load(best, wanted, reading)
    lexical = found[0].lexical
    result = SearchResult(
        wanted,
        tuple(distinct.kept),
        dict(lexical.term_idf),
        watch.finish(),
        lexical.generations,
        tuple(
            SkippedStage("dense", each.dense.skipped) for each in found[:1] if each.dense.skipped
        ),
        tuple(found),
        distinct.duplicates,
        state if complete else None,
    )
    return result, complete


async def _load(
    ranked: Sequence[Fused], wanted: Search, reading: IndexReading
) -> tuple[Distinct, bool]:
    """Load the best chunks, and more in the places of copies; tell whether all could be loaded."""
    distinct = Distinct(wanted.limit, collapses=wanted.collapse_duplicates)
    complete, at = True, 0
    for more in (0, *MORE):
        slice_ = ranked[at : at + (max(more, 2 * distinct.missing) if more else wanted.limit)]
        loaded = await reading.load([item.chunk_id for item in slice_])
        complete = complete and len(loaded) == len(slice_)
        distinct.add(
            replace(loaded[item.chunk_id], score=item.score, scores=item.scores)
            for item in slice_
            if item.chunk_id in loaded
        )
        at += len(slice_)
        if not complete or not distinct.missing or at >= len(ranked):
            break
    return distinct, complete
