"""The ledger of chunks behind its port."""

from collections.abc import AsyncGenerator, Hashable, Mapping, Sequence
from contextlib import asynccontextmanager

from citewell.domain import Candidate, ChunkId, LegResult, Scope, WorkspaceId
from citewell.ports import Vectors
from citewell.records.chunks import load_chunks, load_neighbours
from citewell.records.dense import DenseSearch
from citewell.records.lexical import search_lexical
from citewell.records.reading import Reading
from citewell.records.scope import SearchSpace, resolve_scope
from citewell.records.session import Database, current_visitor


class PostgresReading:
    """One transaction; a scope is resolved once in it."""

    def __init__(self, reading: Reading, workspace_id: WorkspaceId, dense: DenseSearch) -> None:
        self._reading = reading
        self._workspace_id = workspace_id
        self._dense = dense
        self._resolved: tuple[Scope, SearchSpace] | None = None

    async def state(self, scope: Scope) -> Hashable:
        """Return what stands for all that this visitor would find; None where something is hidden.

        Whoever sees less must not be able to tell that what is hidden has changed.
        """
        space = await self._resolve(scope)
        if space.hides:
            return None
        return self._workspace_id, current_visitor().tags, space.stamps

    async def search_dense(self, vector: Vectors, scope: Scope, limit: int) -> LegResult:
        """Return the ``limit`` nearest chunks with their cosine similarity, best first."""
        space = await self._resolve(scope)
        return await self._dense.search(self._reading, self._workspace_id, vector, space, limit)

    async def search_lexical(self, question: str, scope: Scope, limit: int) -> LegResult:
        """Return the best chunks by BM25, best first, and the question's terms' idf."""
        space = await self._resolve(scope)
        return await search_lexical(self._reading, self._workspace_id, question, space, limit)

    async def load(self, chunk_ids: Sequence[ChunkId]) -> Mapping[ChunkId, Candidate]:
        """Load chunks with their places; an id that is gone meanwhile is left out."""
        return await load_chunks(self._reading, self._workspace_id, chunk_ids)

    async def _resolve(self, scope: Scope) -> SearchSpace:
        if self._resolved is None or self._resolved[0] is not scope:
            space = await resolve_scope(self._reading, self._workspace_id, scope)
            self._resolved = scope, space
        return self._resolved[1]


class PostgresChunkIndex:
    """Finds chunks by their vectors and by BM25, and loads them by id or by what is beside them."""

    def __init__(self, database: Database, dense: DenseSearch) -> None:
        self._database = database
        self._dense = dense

    @asynccontextmanager
    async def read(self, workspace_id: WorkspaceId) -> AsyncGenerator[PostgresReading]:
        """Begin to read, in one transaction."""
        async with self._database.reading(workspace_id, self._dense.parameters) as reading:
            yield PostgresReading(reading, workspace_id, self._dense)

    async def neighbours(
        self, workspace_id: WorkspaceId, chunk_ids: Sequence[ChunkId], reach: int
    ) -> Mapping[ChunkId, Sequence[Candidate]]:
        """Load up to ``reach`` chunks on each side of each, of the same version and section."""
        async with self._database.transaction(workspace_id) as connection:
            return await load_neighbours(connection, workspace_id, chunk_ids, reach)
