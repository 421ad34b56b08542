"""Ids, and the few words that all parts share."""

from typing import Any, Literal, NewType
from uuid import UUID

WorkspaceId = NewType("WorkspaceId", UUID)
CollectionId = NewType("CollectionId", UUID)
DocumentId = NewType("DocumentId", UUID)
VersionId = NewType("VersionId", UUID)
ChunkId = NewType("ChunkId", UUID)
JobId = NewType("JobId", UUID)
AnswerId = NewType("AnswerId", UUID)
WebhookId = NewType("WebhookId", UUID)
SessionId = NewType("SessionId", UUID)
PrincipalId = NewType("PrincipalId", UUID)
ExportId = NewType("ExportId", UUID)
EvalId = NewType("EvalId", UUID)

INSTALLATION = WorkspaceId(UUID(int=0))
"""Stands for the installation as a whole in its records; no workspace has this id."""
PUBLIC_WORKSPACE = WorkspaceId(UUID("00000000-0000-4000-8000-000000000001"))
DEFAULT_COLLECTION = "default"

JobStatus = Literal["queued", "running", "done", "failed", "cancelled"]
JobKind = Literal["ingest", "reindex", "texts", "part", "answer", "export", "evaluate"]
"""What a job is for: one file, all of a collection anew, several texts, a part of a large file, an
asynchronous question, a file of records, a run of an evaluation."""
Task = Literal["ingest", "embed", "publish", "wait", "answer", "export", "evaluate"]
"""What a worker does next for a job; a job that waits for its parts is nobody's task."""
Json = dict[str, Any]

QUEUES = ("default", "document", "vectorstore", "rag")
"""Exports, evaluations, diagnostics; reading files; embedding and publishing; questions."""
