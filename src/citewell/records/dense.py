"""The dense leg in PostgreSQL: pgvector halfvec, exact for small scopes, HNSW for large ones."""

from dataclasses import dataclass, field
from time import monotonic

import structlog

from citewell.domain import LegResult, WorkspaceId
from citewell.ports import Vectors
from citewell.records.reading import Reader, read_tuples
from citewell.records.scope import SearchSpace
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

WIDENED_FROM, WIDENING, WIDEST = 50_000, 0.85, 1000
"""A walk grows broader with the index from so many vectors on, by this power, to pgvector's most.

Measured with made-up vectors: of the ten nearest, a breadth of 100 finds .98 among 50,000, and 700
find .96 among 500,000 (docs/decisions/0019).
"""

SET_BREADTH = text("SELECT set_config('hnsw.ef_search', :breadth, true)")
COUNT = "SELECT reltuples FROM pg_class WHERE oid = to_regclass(:table)"
COUNT_SECONDS = 60.0
"""How long a table's size is taken to be what it was; the server only estimates it itself."""
EXACT_PER_WALKED = 4_000
"""Vectors that are compared in the time in which a walk finds its way where it may see all."""
WALKED_SHARE, MOST_COMPARED = 1 / 5, 100_000
"""A walk past others' vectors misses more, however broad it is: up to so many vectors are compared
where they are a smaller share of the index (docs/decisions/0019); that takes some 70 ms.
"""

_log = structlog.get_logger(__name__)


@dataclass(slots=True)
class DenseSearch:
    """How the vectors of one model are searched.

    Holds: up to ``exact_below_chunks`` in scope the result is exact; above, HNSW with an iterative
    scan. A scope that is so small a part of the index that a walk would meet mostly others' vectors
    is searched exactly too: both take the same time where n² is ``exact_per_walked`` times all
    vectors. For somebody who may not see every document it is always exact: a walk through the
    graph would depend on vectors that are hidden.
    """

    model: str
    exact_below_chunks: int
    ef_search: int
    dimension: int = FIRST_DIMENSION
    exact_per_walked: int = EXACT_PER_WALKED
    _told: bool = field(default=False, init=False)
    _vectors: float = field(default=0.0, init=False)
    _counted: float = field(default=-COUNT_SECONDS, init=False)

    @property
    def parameters(self) -> dict[str, str]:
        """What a transaction sets that walks through the index."""
        grown = max(1.0, self._vectors / WIDENED_FROM) ** WIDENING
        breadth = min(round(self.ef_search * grown), WIDEST)
        return {"hnsw.iterative_scan": "relaxed_order", "hnsw.ef_search": str(breadth)}

    async def search(
        self,
        connection: Reader,
        workspace_id: WorkspaceId,
        vector: Vectors,
        space: SearchSpace,
        limit: int,
    ) -> LegResult:
        """Return the ``limit`` nearest chunks with their cosine similarity, best first.

        Holds:   ``parameters`` are set in the transaction.
        """
        if not space.chunk_count:
            return LegResult({})
        names = {"table": vector_table(self.dimension), "dimension": self.dimension}
        before = self.parameters
        query = NEAREST if await self.walks(connection, space) else EXACT
        if self.parameters != before:  # the index was counted just now
            await connection.execute(SET_BREADTH, {"breadth": self.parameters["hnsw.ef_search"]})
        rows = await read_tuples(
            connection,
            text(query.format(documents=space.documents_sql, **names)),
            {
                **space.values,
                "vector": vector_literal(vector),
                "workspace": workspace_id,
                "model": self.model,
                "collections": space.collection_ids,
                "limit": limit,
            },
        )
        if not rows and await self._has_chunks(connection, workspace_id, space):
            return LegResult({}, skipped="other_model")
        # A walk finds them in about this order only.
        return LegResult(dict(sorted(rows, key=lambda row: (-row[1], row[0]))))

    async def walks(self, connection: Reader, space: SearchSpace) -> bool:
        """Say whether to walk through the index; else all is compared."""
        if space.hides or space.chunk_count <= self.exact_below_chunks:
            return False
        if monotonic() - self._counted > COUNT_SECONDS:
            counted = await connection.scalar(text(COUNT), {"table": vector_table(self.dimension)})
            self._vectors, self._counted = max(counted or 0.0, 0.0), monotonic()
        count = space.chunk_count
        if count < WALKED_SHARE * self._vectors and count <= MOST_COMPARED:
            return False
        return count**2 >= self.exact_per_walked * self._vectors

    async def _has_chunks(
        self, connection: Reader, workspace_id: WorkspaceId, space: SearchSpace
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
                model=self.model,
            )
        return bool(found)
