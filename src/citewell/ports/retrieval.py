"""Where chunks are found."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from citewell.domain import Candidate, ChunkId, LegResult, Scope, WorkspaceId
from citewell.ports.models import Vectors


class VectorStore(Protocol):
    """The dense leg."""

    async def search(
        self, workspace_id: WorkspaceId, vector: Vectors, scope: Scope, limit: int
    ) -> LegResult:
        """Return the ``limit`` chunks nearest to the vector, by cosine similarity, best first.

        Shapes:  vector (dimension,) → at most ``limit`` chunks; ties by chunk id.
        Raises:  Unavailable – the store does not answer.
        """
        ...


class ChunkIndex(Protocol):
    """The ledger of chunks and its lexical leg; always PostgreSQL in production."""

    async def search_lexical(
        self, workspace_id: WorkspaceId, question: str, scope: Scope, limit: int
    ) -> LegResult:
        """Return the ``limit`` best chunks by BM25, best first, and the question's terms' idf."""
        ...

    async def load(
        self, workspace_id: WorkspaceId, chunk_ids: Sequence[ChunkId]
    ) -> Mapping[ChunkId, Candidate]:
        """Load chunks with their places; an id that is gone meanwhile is left out."""
        ...

    async def neighbours(
        self, workspace_id: WorkspaceId, chunk_ids: Sequence[ChunkId], reach: int
    ) -> Mapping[ChunkId, Sequence[Candidate]]:
        """Load what stands beside each chunk: up to ``reach`` on each side in its own section.

        Shapes:  each known id → its neighbours in the document's order, without itself.
        """
        ...
