"""What is known of documents' bytes: their versions, and which files need no upload."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncConnection

from citewell.domain import CollectionId, DocumentId, JobId, JobStatus, VersionId, WorkspaceId
from citewell.records.documents import get_document
from citewell.records.statements import text


@dataclass(frozen=True, slots=True)
class VersionRow:
    """One version of a document; ``active`` is the one that search sees."""

    version_id: VersionId
    number: int
    sha256: str
    size_bytes: int
    media_type: str
    created_at: datetime
    published_at: datetime | None
    active: bool


async def list_versions(
    connection: AsyncConnection, workspace_id: WorkspaceId, document_id: DocumentId
) -> list[VersionRow]:
    """List a document's kept versions, newest first.

    Raises:  NotFound – no such document.
    """
    await get_document(connection, workspace_id, document_id)
    rows = await connection.execute(
        text(
            "SELECT v.id, v.number, v.sha256, v.size_bytes, v.media_type, v.created_at, "
            "v.published_at, v.id IS NOT DISTINCT FROM d.active_version_id FROM versions v "
            "JOIN documents d ON d.workspace_id = v.workspace_id AND d.id = v.document_id "
            "WHERE v.workspace_id = :workspace AND v.document_id = :document "
            "ORDER BY v.number DESC"
        ),
        {"workspace": workspace_id, "document": document_id},
    )
    return [VersionRow(*row) for row in rows]


@dataclass(frozen=True, slots=True)
class KnownFile:
    """A file whose bytes are the newest version of the document with its source already."""

    source: str
    sha256: str
    document_id: DocumentId
    job_id: JobId
    status: JobStatus
    chunk_count: int


async def find_known(
    connection: AsyncConnection,
    workspace_id: WorkspaceId,
    collection_id: CollectionId,
    files: Sequence[tuple[str, str]],
) -> list[KnownFile]:
    """Return those of the files (source, sha256) whose upload would change nothing."""
    rows = await connection.execute(
        text(
            "SELECT f.source, f.sha256, d.id, j.id, j.status, d.chunk_count "
            "FROM unnest(CAST(:sources AS text[]), CAST(:hashes AS text[])) AS f (source, sha256) "
            "JOIN documents d ON d.workspace_id = :workspace AND d.collection_id = :collection "
            "AND d.source = f.source "
            "CROSS JOIN LATERAL (SELECT id, sha256 FROM versions "
            "WHERE workspace_id = :workspace AND document_id = d.id "
            "ORDER BY number DESC LIMIT 1) v "
            "CROSS JOIN LATERAL (SELECT id, status FROM jobs WHERE workspace_id = :workspace "
            "AND document_id = d.id AND version_id = v.id AND task <> 'embed' "
            "ORDER BY created_at DESC LIMIT 1) j "
            "WHERE v.sha256 = f.sha256 AND j.status IN ('queued', 'running', 'done')"
        ),
        {
            "workspace": workspace_id,
            "collection": collection_id,
            "sources": [source for source, _ in files],
            "hashes": [sha256 for _, sha256 in files],
        },
    )
    return [KnownFile(*row) for row in rows]
