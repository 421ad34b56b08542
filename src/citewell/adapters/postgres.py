"""The ledger of chunks behind its port: records' functions, each in a transaction of its own."""

from collections.abc import Mapping, Sequence

from citewell.domain import Candidate, ChunkId, LegResult, Scope, WorkspaceId
from citewell.records.chunks import load_chunks, load_neighbours
from citewell.records.lexical import search_lexical
from citewell.records.session import Database


class PostgresChunkIndex:
    """Finds chunks by BM25, and loads them by id or by what they stand beside."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def search_lexical(
        self, workspace_id: WorkspaceId, question: str, scope: Scope, limit: int
    ) -> LegResult:
        """Return the best chunks by BM25, best first, and the question's terms' idf."""
        async with self._database.transaction(workspace_id) as connection:
            return await search_lexical(connection, workspace_id, question, scope, limit)

    async def load(
        self, workspace_id: WorkspaceId, chunk_ids: Sequence[ChunkId]
    ) -> Mapping[ChunkId, Candidate]:
        """Load chunks with their places; an id that is gone meanwhile is left out."""
        async with self._database.transaction(workspace_id) as connection:
            return await load_chunks(connection, workspace_id, chunk_ids)

    async def neighbours(
        self, workspace_id: WorkspaceId, chunk_ids: Sequence[ChunkId], reach: int
    ) -> Mapping[ChunkId, Sequence[Candidate]]:
        """Load up to ``reach`` chunks on each side of each, of the same version and section."""
        async with self._database.transaction(workspace_id) as connection:
            return await load_neighbours(connection, workspace_id, chunk_ids, reach)
