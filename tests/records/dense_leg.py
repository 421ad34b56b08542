"""The dense leg alone, each search in a transaction of its own, as a vector store."""

from citewell.adapters.postgres import PostgresChunkIndex
from citewell.domain import LegResult, Scope, WorkspaceId
from citewell.ports import Vectors
from citewell.records.dense import DenseSearch
from citewell.records.session import Database


class DenseLeg:
    """What a vector store of one model does."""

    def __init__(
        self, database: Database, model: str, exact_below: int, breadth: int, dimension: int = 384
    ) -> None:
        dense = DenseSearch(model, exact_below, breadth, dimension, exact_per_walked=0)
        self._index = PostgresChunkIndex(database, dense)

    async def search(
        self, workspace_id: WorkspaceId, vector: Vectors, scope: Scope, limit: int
    ) -> LegResult:
        async with self._index.read(workspace_id) as reading:
            return await reading.search_dense(vector, scope, limit)
