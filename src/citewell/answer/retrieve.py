"""Search both legs: words (BM25) and meaning (dense)."""

from collections.abc import Awaitable, Sequence
from dataclasses import dataclass

from citewell.domain import LegResult, Scope, WorkspaceId
from citewell.ports import IndexReading, Vectors, VectorStore
from citewell.telemetry import Stopwatch


@dataclass(frozen=True, slots=True)
class Retrieved:
    """Both legs' rankings."""

    dense: LegResult
    lexical: LegResult


@dataclass(frozen=True, slots=True)
class Retriever:
    """Searches both legs of one workspace, in one scope, for at most ``limit`` chunks each."""

    workspace_id: WorkspaceId
    scope: Scope
    limit: int
    reading: IndexReading
    store: VectorStore | None
    watch: Stopwatch

    async def retrieve(
        self, queries: Sequence[str], embedding: Awaitable[Vectors]
    ) -> list[Retrieved]:
        """Return the rankings for each query; words first, as its vector may not be there yet.

        Shapes:  Q queries, their vectors (Q, dimension) → Q results.
        Raises:  ProviderError, Unavailable – as the ports say.
        """
        with self.watch.stage("lexical"):
            lexical = [
                await self.reading.search_lexical(query, self.scope, self.limit)
                for query in queries
            ]
        vectors = await embedding
        with self.watch.stage("dense"):
            dense = [await self._search_dense(vector) for vector in vectors]
        return [Retrieved(*legs) for legs in zip(dense, lexical, strict=True)]

    async def _search_dense(self, vector: Vectors) -> LegResult:
        if self.store is None:
            return await self.reading.search_dense(vector, self.scope, self.limit)
        return await self.store.search(self.workspace_id, vector, self.scope, self.limit)
