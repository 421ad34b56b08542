"""The dense leg in PostgreSQL: pgvector halfvec, exact for small scopes, HNSW for large ones."""

from dataclasses import dataclass

from citewell.domain import ChunkId, LegResult, WorkspaceId
from citewell.ports import Vectors
from citewell.records.reading import Reader
from citewell.records.scope import SearchSpace
from citewell.records.statements import text
from citewell.records.version_rows import vector_literal

EXACT = """
SELECT chunk_id, 1 - distance AS score FROM (
    SELECT chunk_id, embedding <=> CAST(:vector AS halfvec(384)) AS distance FROM vectors_384
    WHERE workspace_id = :workspace AND model = :model
    AND collection_id = ANY(CAST(:collections AS uuid[])){documents} OFFSET 0) all_of_them
ORDER BY distance, chunk_id LIMIT :limit
"""
"""OFFSET 0 keeps the distance from being computed twice a row."""

NEAREST = """
SELECT chunk_id, 1 - (embedding <=> CAST(:vector AS halfvec(384))) AS score FROM vectors_384
WHERE workspace_id = :workspace AND model = :model
AND collection_id = ANY(CAST(:collections AS uuid[])){documents}
ORDER BY embedding <=> CAST(:vector AS halfvec(384)) LIMIT :limit
"""


@dataclass(frozen=True, slots=True)
class DenseSearch:
    """How the vectors of one model are searched.

    Holds: up to ``exact_below_chunks`` in scope the result is exact; above, HNSW with an iterative
    scan, so that a small scope inside a large index loses nothing for being small. For somebody
    who may not see every document it is always exact: a walk through the graph would depend on
    vectors that are hidden.
    """

    model: str
    exact_below_chunks: int
    ef_search: int

    async def search(
        self,
        connection: Reader,
        workspace_id: WorkspaceId,
        vector: Vectors,
        space: SearchSpace,
        limit: int,
    ) -> LegResult:
        """Return the ``limit`` nearest chunks with their cosine similarity, best first."""
        if not space.chunk_count:
            return LegResult({})
        if space.hides or space.chunk_count <= self.exact_below_chunks:
            query = EXACT.format(documents=space.documents_sql)
        else:
            await self._prepare_hnsw(connection)
            query = NEAREST.format(documents=space.documents_sql)
        rows = await connection.execute(
            text(query),
            {
                **space.values,
                "vector": vector_literal(vector),
                "workspace": workspace_id,
                "model": self.model,
                "collections": space.collection_ids,
                "limit": limit,
            },
        )
        scores = {ChunkId(row.chunk_id): float(row.score) for row in rows}
        return LegResult(dict(sorted(scores.items(), key=lambda item: (-item[1], item[0]))))

    async def _prepare_hnsw(self, connection: Reader) -> None:
        await connection.execute(
            text(
                "SELECT set_config('hnsw.iterative_scan', 'relaxed_order', true), "
                "set_config('hnsw.ef_search', :breadth, true)"
            ),
            {"breadth": str(self.ef_search)},
        )
