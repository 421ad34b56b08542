"""The dense leg in PostgreSQL: pgvector halfvec, exact for small scopes, HNSW for large ones."""

import structlog
from sqlalchemy.ext.asyncio import AsyncConnection

from citewell.domain import ChunkId, LegResult, Scope, WorkspaceId
from citewell.ports import Vectors
from citewell.records.scope import SearchSpace, resolve_scope
from citewell.records.session import Database
from citewell.records.statements import text
from citewell.records.vector_tables import FIRST_DIMENSION, vector_table
from citewell.records.version_rows import vector_literal

EXACT = """
SELECT chunk_id, 1 - distance AS score FROM (
    SELECT chunk_id, embedding <=> CAST(:vector AS halfvec({dimension})) AS distance FROM {table}
    WHERE workspace_id = :workspace AND model = :model
    AND collection_id = ANY(CAST(:collections AS uuid[])){documents} OFFSET 0) all_of_them
ORDER BY distance, chunk_id LIMIT :limit
"""
"""OFFSET 0 keeps the distance from being computed twice a row."""

NEAREST = """
SELECT chunk_id, 1 - (embedding <=> CAST(:vector AS halfvec({dimension}))) AS score FROM {table}
WHERE workspace_id = :workspace AND model = :model
AND collection_id = ANY(CAST(:collections AS uuid[])){documents}
ORDER BY embedding <=> CAST(:vector AS halfvec({dimension})) LIMIT :limit
"""

HAS_CHUNKS = """
SELECT EXISTS (SELECT FROM chunks WHERE workspace_id = :workspace
    AND collection_id = ANY(CAST(:collections AS uuid[])){documents})
"""

_log = structlog.get_logger(__name__)


class PgVectorStore:
    """Searches the vectors of one model by cosine similarity.

    Holds: up to ``exact_below_chunks`` in scope the result is exact; above, HNSW with an iterative
    scan, so that a small scope inside a large index loses nothing for being small. For somebody
    who may not see every document it is always exact: a walk through the graph would depend on
    vectors that are hidden.
    """

    def __init__(
        self,
        database: Database,
        model: str,
        exact_below_chunks: int,
        ef_search: int,
        dimension: int = FIRST_DIMENSION,
    ) -> None:
        self._names = {"table": vector_table(dimension), "dimension": dimension}
        self._told = False
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
            if space.hides or space.chunk_count <= self._exact_below_chunks:
                query = EXACT.format(documents=space.documents_sql, **self._names)
            else:
                await self._prepare_hnsw(connection)
                query = NEAREST.format(documents=space.documents_sql, **self._names)
            rows = await connection.execute(
                text(query),
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
            if not scores and await self._has_chunks(connection, workspace_id, space):
                return LegResult({}, skipped="other_model")
        return LegResult(dict(sorted(scores.items(), key=lambda item: (-item[1], item[0]))))

    async def _has_chunks(
        self, connection: AsyncConnection, workspace_id: WorkspaceId, space: SearchSpace
    ) -> bool:
        """Say whether there are chunks although no vector was found: they are of another model."""
        found = await connection.scalar(
            text(HAS_CHUNKS.format(documents=space.documents_sql)),
            {**space.values, "workspace": workspace_id, "collections": space.collection_ids},
        )
        if found and not self._told:
            self._told = True
            _log.warning(
                "documents are embedded with another model than the settings name, and are found "
                "by their words only; run `citewell reindex` for each collection",
                model=self._model,
            )
        return bool(found)

    async def _prepare_hnsw(self, connection: AsyncConnection) -> None:
        await connection.execute(
            text(
                "SELECT set_config('hnsw.iterative_scan', 'relaxed_order', true), "
                "set_config('hnsw.ef_search', :breadth, true)"
            ),
            {"breadth": str(self._ef_search)},
        )
