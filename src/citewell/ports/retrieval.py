"""Where chunks are found."""

from collections.abc import Hashable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from citewell.domain import Candidate, ChunkId, LegResult, Scope, WorkspaceId
from citewell.ports.models import Vectors


class VectorStore(Protocol):
    """A dense leg outside of the ledger, in place of its own; none comes with Citewell yet."""

    async def search(
        self, workspace_id: WorkspaceId, vector: Vectors, scope: Scope, limit: int
    ) -> LegResult:
        """Return the ``limit`` chunks nearest to the vector, by cosine similarity, best first.

        Shapes:  vector (dimension,) → at most ``limit`` chunks; ties by chunk id.
        Raises:  Unavailable – the store does not answer.
        """
        ...


class IndexReading(Protocol):
    """A look into one workspace's chunks, at one time."""

    async def state(self, scope: Scope) -> Hashable:
        """Return what stands for all that this visitor would find in the scope; None for nothing.

        Holds:   no state comes back once anything changed that a search of the scope may show.
        """
        ...

    async def search_dense(self, vector: Vectors, scope: Scope, limit: int) -> LegResult:
        """Return the ``limit`` chunks nearest to the vector, as ``VectorStore.search`` does."""
        ...

    async def search_lexical(self, question: str, scope: Scope, limit: int) -> LegResult:
        """Return the ``limit`` best chunks by BM25, best first, and the question's terms' idf."""
        ...

    async def load(self, chunk_ids: Sequence[ChunkId]) -> Mapping[ChunkId, Candidate]:
        """Load chunks with their places; an id that is gone meanwhile is left out."""
        ...


class ChunkIndex(Protocol):
    """The ledger of chunks, with its two legs; always PostgreSQL in production."""

    def read(self, workspace_id: WorkspaceId) -> AbstractAsyncContextManager[IndexReading]:
        """Begin to read; whoever reads ends soon, since a connection is held.

        Raises:  Unavailable – the store does not answer, now or later.
        """
        ...

    async def neighbours(
        self, workspace_id: WorkspaceId, chunk_ids: Sequence[ChunkId], reach: int
    ) -> Mapping[ChunkId, Sequence[Candidate]]:
        """Load what stands beside each chunk: up to ``reach`` on each side in its own section.

        Shapes:  each known id → its neighbours in the document's order, without itself.
        """
        ...
