"""What Citewell needs from technology: each Protocol has at least two real or possible makers."""

from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from citewell.domain import (
    QUEUES,
    Candidate,
    ChunkId,
    DraftSentence,
    JobId,
    LegResult,
    ParsedPart,
    Scope,
    Task,
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
    """Reads and cuts a file in a process of its own, under limits."""

    def read(
        self, path: str, name: str, media_type: str | None, password: str | None = None
    ) -> AsyncGenerator[ParsedPart]:
        """Yield the file's canonical text, sections and chunks, in parts of bounded size.

        Holds:   a file of at most 512 chunks is one part; closing the generator early is allowed.
        Raises:  DocumentRejected – the file cannot become searchable text; the code says why.
                 ParserKilled – another try may do better.
        """
        ...


def task_name(task: Task) -> str:
    """Return the name that a task's messages carry."""
    return f"citewell.{task}"


class Queue(Protocol):
    """Tells workers that jobs wait. A hint only: PostgreSQL is the ledger."""

    async def send(self, task: Task, jobs: Sequence[tuple[WorkspaceId, JobId]]) -> None:
        """Send a message for each job to the queue of what is next to be done for it.

        Raises:  Unavailable – the broker does not answer; the jobs are sent again later.
        """
        ...

    async def count_waiting(self, queues: Sequence[str] = QUEUES) -> int:
        """Count messages in these queues that no worker took yet.

        Raises:  Unavailable – the broker does not answer.
        """
        ...


Workflow = Literal["add", "divide", "chain", "parallel", "process"]


@dataclass(frozen=True, slots=True)
class TaskState:
    """What became of a diagnostic task; ``error`` is a sentence for people."""

    status: Literal["pending", "started", "done", "failed"]
    result: Any = None
    error: str | None = None


class Diagnostics(Protocol):
    """Small tasks that go the whole way: broker, worker, result; they touch no document.

    Raises:  Unavailable – the broker does not answer; from each method but ``list_tasks``.
    """

    async def start(
        self, workspace_id: WorkspaceId, workflow: Workflow, values: Mapping[str, Any]
    ) -> str:
        """Send a workflow's tasks; return the id under which ``find`` knows it for an hour."""
        ...

    async def find(self, workspace_id: WorkspaceId, task_id: str) -> TaskState | None:
        """Return a workflow's state; None for an id that this workspace was not given."""
        ...

    async def count_waiting(self) -> Mapping[str, int]:
        """Count the messages in each queue that no worker took yet."""
        ...

    def list_tasks(self) -> list[str]:
        """List the names of the tasks that workers know."""
        ...


@dataclass(frozen=True, slots=True)
class RemoteReply:
    """A status, and the first bytes of the body; ``cut`` when there were more."""

    status: int
    body: bytes
    cut: bool


class Egress(Protocol):
    """Requests to addresses that a user named: public hosts only, no redirects, small replies."""

    enabled: bool

    def require_enabled(self) -> None:
        """Do nothing, successfully.

        Raises:  AccessError – switched off; the message names the setting.
        """
        ...

    async def check(self, url: str) -> None:
        """Look whether ``send`` would go there now.

        Raises:  AccessError – switched off.  Unprocessable – the address may not be called.
        """
        ...

    async def send(
        self,
        url: str,
        headers: Mapping[str, str],
        content: bytes,
        *,
        deadline_seconds: float,
        most_reply_bytes: int,
    ) -> RemoteReply:
        """POST ``content``; a redirect is a reply like any other.

        Raises:  AccessError – switched off.  Unprocessable – the address may not be called.
                 RemoteFailed – no connection, no trust, no whole reply before the deadline.
        """
        ...


class BlobStore(Protocol):
    """Keeps uploaded bytes under their sha256."""

    async def add(self, stream: BinaryIO) -> tuple[str, int]:
        """Store a stream's bytes durably; return their sha256 and size in bytes.

        Raises:  InsufficientStorage – the disk is full.  Unavailable – it cannot be written.
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
