"""Documents and their versions: what was uploaded, and what was read from it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncConnection

from citewell.domain import (
    CollectionId,
    DocumentId,
    JobId,
    Json,
    VersionId,
    WorkspaceId,
)
from citewell.errors import NotFound
from citewell.records.answers import remove_answers_from
from citewell.records.paging import Page, decode_cursor, page_of
from citewell.records.statements import text


@dataclass(frozen=True, slots=True)
class DocumentRow:
    """A document as a list shows it; ``status`` is ready, queued, running, failed or cancelled."""

    document_id: DocumentId
    name: str
    source: str
    collection: str
    status: str
    reason: str | None
    message: str | None
    job_id: JobId | None
    version_id: VersionId | None
    version: int | None
    media_type: str | None
    size_bytes: int | None
    sha256: str | None
    title: str | None
    chunk_count: int
    metadata: Json
    created_at: datetime
    updated_at: datetime
    readers: list[str] | None = None
    language: str | None = None
    report: Json | None = None


SELECT_DOCUMENTS = """
SELECT d.id, d.name, d.source, c.name AS collection,
       CASE WHEN j.status = 'done' THEN 'ready' ELSE coalesce(j.status, 'ready') END AS status,
       j.reason, j.message, j.id AS job_id, v.id AS version_id, v.number, v.media_type,
       v.size_bytes, v.sha256, v.title, d.chunk_count, coalesce(v.metadata, '{}') || d.metadata
       AS metadata, d.created_at, d.updated_at, d.readers, d.language, v.report
FROM documents d
JOIN collections c ON c.workspace_id = d.workspace_id AND c.id = d.collection_id
LEFT JOIN LATERAL (SELECT jobs.* FROM jobs JOIN versions n
    ON n.workspace_id = jobs.workspace_id AND n.id = jobs.version_id AND jobs.task <> 'embed'
    WHERE jobs.workspace_id = d.workspace_id AND jobs.document_id = d.id
    ORDER BY n.number DESC, jobs.created_at DESC LIMIT 1) j ON true
LEFT JOIN versions v ON v.workspace_id = d.workspace_id
    AND v.id = coalesce(d.active_version_id, j.version_id)
WHERE d.workspace_id = :workspace
"""


async def list_documents(
    connection: AsyncConnection,
    workspace_id: WorkspaceId,
    collection_id: CollectionId | None,
    limit: int,
    cursor: str | None,
) -> Page[DocumentRow]:
    """List documents, newest first, without their reports."""
    clauses = ""
    values: dict[str, object] = {"workspace": workspace_id, "limit": limit + 1}
    if collection_id is not None:
        clauses += " AND d.collection_id = :collection"
        values["collection"] = collection_id
    if cursor is not None:
        clauses += " AND (d.created_at, d.id) < (:before, :before_id)"
        values["before"], values["before_id"] = decode_cursor(cursor)
    rows = await connection.execute(
        text(SELECT_DOCUMENTS + clauses + " ORDER BY d.created_at DESC, d.id DESC LIMIT :limit"),
        values,
    )
    return page_of(
        [DocumentRow(*row[:-1]) for row in rows],
        limit,
        lambda row: (row.created_at, row.document_id),
    )


async def get_document(
    connection: AsyncConnection, workspace_id: WorkspaceId, document_id: DocumentId
) -> DocumentRow:
    """Return one document with its truth report.

    Raises:  NotFound – no such document in this workspace.
    """
    row = (
        await connection.execute(
            text(SELECT_DOCUMENTS + " AND d.id = :document"),
            {"workspace": workspace_id, "document": document_id},
        )
    ).one_or_none()
    if row is None:
        raise NotFound("There is no document with that id. GET /documents lists them.")
    return DocumentRow(*row)


async def set_metadata(
    connection: AsyncConnection,
    workspace_id: WorkspaceId,
    document_id: DocumentId,
    metadata: Json,
) -> None:
    """Replace the metadata that was given with a document."""
    await connection.execute(
        text(
            "UPDATE documents SET metadata = CAST(:metadata AS jsonb), updated_at = now() "
            "WHERE workspace_id = :workspace AND id = :document"
        ),
        {
            "workspace": workspace_id,
            "document": document_id,
            "metadata": json.dumps(metadata),
        },
    )


async def get_text(
    connection: AsyncConnection,
    workspace_id: WorkspaceId,
    document_id: DocumentId,
    version_id: VersionId | None,
) -> tuple[VersionId, str]:
    """Return a version's canonical text; the active version's where none is named.

    Raises:  NotFound – no such document or version, or it has no text (yet).
    """
    row = (
        await connection.execute(
            text(
                "SELECT v.id, v.text FROM versions v JOIN documents d "
                "ON d.workspace_id = v.workspace_id AND d.id = v.document_id "
                "WHERE v.workspace_id = :workspace AND d.id = :document AND v.text IS NOT NULL "
                "AND v.id = coalesce(CAST(:version AS uuid), d.active_version_id)"
            ),
            {"workspace": workspace_id, "document": document_id, "version": version_id},
        )
    ).one_or_none()
    if row is None:
        await get_document(connection, workspace_id, document_id)  # NotFound, where it is unknown
        raise NotFound("This document has no text of that version. Look at its job.")
    return VersionId(row[0]), row[1]


async def remove_document(
    connection: AsyncConnection, workspace_id: WorkspaceId, document_id: DocumentId
) -> list[str]:
    """Remove a document with all that came from it; return the sha256 no version needs any more.

    Raises:  NotFound – no such document in this workspace.
    """
    values: Mapping[str, object] = {"workspace": workspace_id, "document": document_id}
    # A book's rows take their time; jobs are locked before the document, and
    # parts before the job that they belong to, as those do that publish and embed.
    await connection.execute(text("SET LOCAL statement_timeout = 0"))
    await connection.execute(
        text(
            "SELECT 1 FROM jobs WHERE workspace_id = :workspace AND document_id = :document "
            "ORDER BY task <> 'embed', id FOR UPDATE"
        ),
        values,
    )
    collection_id = await connection.scalar(
        text(
            "SELECT collection_id FROM documents "
            "WHERE workspace_id = :workspace AND id = :document FOR UPDATE"
        ),
        values,
    )
    if collection_id is None:
        raise NotFound("There is no document with that id. GET /documents lists them.")
    hashes = await connection.scalars(
        text(
            "SELECT DISTINCT sha256 FROM versions "
            "WHERE workspace_id = :workspace AND document_id = :document"
        ),
        values,
    )
    removed = list(hashes)
    await connection.execute(
        text(
            "UPDATE jobs SET status = 'cancelled', finished_at = now(), lease_token = NULL, "
            "reason = 'document_deleted', message = 'The document was deleted.', password = NULL "
            "WHERE workspace_id = :workspace AND document_id = :document "
            "AND status IN ('queued', 'running') AND task <> 'embed'"
        ),
        values,
    )
    await connection.execute(
        text(
            "UPDATE collections c SET chunk_count = c.chunk_count - d.chunk_count, "
            "lexical_pending = c.lexical_pending + "
            "CASE WHEN d.readers IS NULL THEN d.chunk_count ELSE 0 END FROM documents d "
            "WHERE d.workspace_id = :workspace AND d.id = :document "
            "AND c.workspace_id = d.workspace_id AND c.id = d.collection_id"
        ),
        values,
    )
    await remove_answers_from(connection, workspace_id, [document_id])
    await connection.execute(
        text("DELETE FROM documents WHERE workspace_id = :workspace AND id = :document"), values
    )
    return removed
