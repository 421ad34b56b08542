"""What Citewell needs from technology: each Protocol has at least two real or possible makers."""

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import BinaryIO, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from citewell.domain import (
    Candidate,
    ChunkId,
    DraftSentence,
    JobId,
    LegResult,
    ParsedDocument,
    Scope,
    WorkspaceId,
)

Vectors = NDArray[np.float32]
Purpose = Literal["query", "document"]


class Embedder(Protocol):
    """Turns texts into vectors that lie close when the texts mean the same."""

    name: str
    dimension: int
    window_tokens: int

    async def embed(self, texts: Sequence[str], purpose: Purpose) -> Vectors:
        """Embed n texts.

        Shapes:  n texts → (n, dimension) float32, each row of unit length; n = 0 is allowed.
        Raises:  ProviderError – the model failed or returned a wrong shape or NaN.
        """
        ...

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Count each text's tokens as the model sees them, without its special tokens."""
        ...


class ChatModel(Protocol):
    """Writes an answer from evidence, sentence by sentence."""

    name: str

    def answer(
        self, question: str, evidence: Sequence[Candidate], term_idf: Mapping[str, float]
    ) -> AsyncIterator[DraftSentence]:
        """Yield the answer's sentences with the spans they rest on; none means "cannot answer".

        ``term_idf`` weighs the question's terms by their rarity in the workspace.
        Raises:  ProviderError – the model failed, at any time until the last sentence.
        """
        ...


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


class Parser(Protocol):
    """Reads a file in a process of its own, under limits."""

    async def parse(self, path: str, name: str, media_type: str | None) -> ParsedDocument:
        """Return the file's canonical text and structure.

        Raises:  DocumentRejected – the file cannot become searchable text; the code says why.
        """
        ...


class Queue(Protocol):
    """Tells workers that jobs wait. A hint only: PostgreSQL is the ledger."""

    async def send(self, kind: str, jobs: Sequence[tuple[WorkspaceId, JobId]]) -> None:
        """Send a message for each job.

        Raises:  Unavailable – the broker does not answer; the jobs are sent again later.
        """
        ...

    async def count_waiting(self) -> int:
        """Count messages that no worker took yet.

        Raises:  Unavailable – the broker does not answer.
        """
        ...


class BlobStore(Protocol):
    """Keeps uploaded bytes under their sha256."""

    async def add(self, stream: BinaryIO) -> tuple[str, int]:
        """Store a stream's bytes durably; return their sha256 and size in bytes.

        Raises:  Unavailable – the disk is full or cannot be written.
        """
        ...

    async def find_path(self, sha256: str) -> str | None:
        """Return a local path to the blob's bytes, or None."""
        ...

    async def list_hashes(self, older_than_seconds: float) -> list[str]:
        """List the blobs that were stored longer ago than this."""
        ...

    async def remove_unfinished(self, older_than_seconds: float) -> None:
        """Remove what interrupted uploads left behind longer ago than this."""
        ...

    async def remove(self, sha256: str) -> None:
        """Remove the blob; removing what is not there is no error."""
        ...
