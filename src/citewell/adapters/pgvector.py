"""The dense leg in PostgreSQL: pgvector halfvec, exact for small scopes, HNSW for large ones."""

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from citewell.domain import ChunkId, LegResult, Scope, WorkspaceId
from citewell.ports import Vectors
from citewell.records.chunks import vector_literal
from citewell.records.scope import SearchSpace, resolve_scope
from citewell.records.session import Database


class PgVectorStore:
    """Searches the vectors of one model by cosine similarity.

    Holds: up to ``exact_below_chunks`` in scope the result is exact; above, HNSW with an iterative
    scan, so that a small scope inside a large index loses nothing for being small.
    """

    def __init__(
        self, database: Database, model: str, exact_below_chunks: int, ef_search: int
    ) -> None:
        self._database = database
        self._model = model
        self._exact_below_chunks = exact_below_chunks
        self._ef_search = ef_search

    async def search(
        self, workspace_id: WorkspaceId, vector: Vectors, scope: Scope, limit: int
    ) -> LegResult:
        """Return the ``limit`` nearest chunks with their cosine similarity, best first."""
        async with self._database.transaction(workspace_id) as connection:
            space = await resolve_scope(connection, workspace_id, scope)
            if not space.chunk_count:
                return LegResult({})
            order = "(embedding <=> CAST(:vector AS halfvec(384))) + 0, chunk_id"
            if space.chunk_count > self._exact_below_chunks:
                await self._prepare_hnsw(connection)
                order = "embedding <=> CAST(:vector AS halfvec(384))"
            return await self._select(connection, workspace_id, vector, space, order, limit)

    async def _prepare_hnsw(self, connection: AsyncConnection) -> None:
        await connection.execute(
            text(
                "SELECT set_config('hnsw.iterative_scan', 'relaxed_order', true), "
                "set_config('hnsw.ef_search', :breadth, true)"
            ),
            {"breadth": str(self._ef_search)},
        )

    async def _select(
        self,
        connection: AsyncConnection,
        workspace_id: WorkspaceId,
        vector: Vectors,
        space: SearchSpace,
        order: str,
        limit: int,
    ) -> LegResult:
        rows = await connection.execute(
            text(
                "SELECT chunk_id, 1 - (embedding <=> CAST(:vector AS halfvec(384))) AS score "
                "FROM vectors_384 WHERE workspace_id = :workspace AND model = :model "
                "AND collection_id = ANY(CAST(:collections AS uuid[]))"
                f"{space.documents_sql} ORDER BY {order} LIMIT :limit"
            ),
            {
                **space.values,
                "vector": vector_literal(vector),
                "workspace": workspace_id,
                "model": self._model,
                "collections": space.collection_ids,
                "limit": limit,
            },
        )
        scores = {ChunkId(row.chunk_id): float(row.score) for row in rows}
        return LegResult(dict(sorted(scores.items(), key=lambda item: (-item[1], item[0]))))
