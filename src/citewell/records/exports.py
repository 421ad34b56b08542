"""Exports: files of records that an admin asked for; how far one is, its job says."""

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Literal
from uuid import uuid4

from sqlalchemy.ext.asyncio import AsyncConnection

from citewell.domain import ExportId, JobId, Json, WorkspaceId
from citewell.errors import Conflict, NotFound
from citewell.records.export_rows import OF_INSTALLATION, ExportKind
from citewell.records.paging import Page, decode_cursor, page_of
from citewell.records.statements import text

ExportFormat = Literal["jsonl", "csv"]
ExportStatus = Literal["pending", "running", "succeeded", "failed"]
UNKNOWN = "There is no export with that id here. GET /exports lists them; old ones are removed."


@dataclass(frozen=True, slots=True)
class NewExport:
    """What is to be exported, and for how many days its file is kept."""

    kind: ExportKind
    format: ExportFormat
    filters: Json
    keep_days: float


@dataclass(frozen=True, slots=True)
class ExportRow:
    """An export as a list shows it; of its file only when there is one."""

    export_id: ExportId
    kind: ExportKind
    format: ExportFormat
    filters: Json
    status: ExportStatus
    reason: str | None
    message: str | None
    attempt: int
    progress: Json
    row_count: int | None
    size_bytes: int | None
    sha256: str | None
    created_by: str
    created_at: datetime
    finished_at: datetime | None
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class ExportFile:
    """What became of an export: a stored file."""

    sha256: str
    size_bytes: int
    row_count: int


SELECT = """
SELECT e.id, e.kind, e.format, e.filters, CASE j.status WHEN 'queued' THEN 'pending'
    WHEN 'running' THEN 'running' WHEN 'done' THEN 'succeeded' ELSE 'failed' END,
    j.reason, j.message, j.attempt, j.progress, e.row_count, e.size_bytes, e.sha256, e.created_by,
    e.created_at, j.finished_at, e.expires_at
FROM exports e JOIN jobs j ON j.workspace_id = e.workspace_id AND j.id = e.id
WHERE e.workspace_id = :workspace
"""


async def add_export(
    connection: AsyncConnection, workspace_id: WorkspaceId, new: NewExport, request_id: str | None
) -> ExportId:
    """Queue an export; the caller sends its job, which has its id, after the commit."""
    export_id = ExportId(uuid4())
    values: dict[str, object] = {
        "workspace": workspace_id,
        "id": export_id,
        "kind": new.kind,
        "format": new.format,
        "filters": json.dumps(new.filters),
        "days": new.keep_days,
        "request_id": request_id,
    }
    await connection.execute(
        text(
            "INSERT INTO jobs (workspace_id, id, kind, task, request_id) "
            "VALUES (:workspace, :id, 'export', 'export', :request_id)"
        ),
        values,
    )
    await connection.execute(
        text(
            "INSERT INTO exports (workspace_id, id, kind, format, filters, expires_at) VALUES "
            "(:workspace, :id, :kind, :format, CAST(:filters AS jsonb), "
            "now() + make_interval(secs => 86400 * CAST(:days AS float8)))"
        ),
        values,
    )
    return export_id


async def get_export(
    connection: AsyncConnection, workspace_id: WorkspaceId, export_id: ExportId
) -> ExportRow:
    """Return one export.

    Raises:  NotFound – no such export in this workspace, or its time is over.
    """
    row = (
        await connection.execute(
            text(SELECT + " AND e.id = :id"), {"workspace": workspace_id, "id": export_id}
        )
    ).one_or_none()
    if row is None:
        raise NotFound(UNKNOWN)
    return ExportRow(*row)


async def list_exports(
    connection: AsyncConnection,
    workspace_id: WorkspaceId,
    limit: int,
    cursor: str | None,
    *,
    of_installation: bool,
) -> Page[ExportRow]:
    """List exports, newest first; those with rows of the installation only where asked for."""
    clause = "" if of_installation else f" AND NOT e.filters ? '{OF_INSTALLATION}'"
    values: dict[str, object] = {"workspace": workspace_id, "limit": limit + 1}
    if cursor is not None:
        clause += " AND (e.created_at, e.id) < (:before, :before_id)"
        values["before"], values["before_id"] = decode_cursor(cursor)
    rows = await connection.execute(
        text(SELECT + clause + " ORDER BY e.created_at DESC, e.id DESC LIMIT :limit"), values
    )
    found = [ExportRow(*row) for row in rows]
    return page_of(found, limit, lambda row: (row.created_at, row.export_id))


async def keep_file(
    connection: AsyncConnection,
    workspace_id: WorkspaceId,
    export_id: ExportId,
    file: ExportFile,
    keep_days: float,
) -> None:
    """Name an export's file, in the transaction that ends its job; from now on it is kept."""
    await connection.execute(
        text(
            "UPDATE exports SET sha256 = :sha256, size_bytes = :size, row_count = :rows, "
            "expires_at = now() + make_interval(secs => 86400 * CAST(:days AS float8)) "
            "WHERE workspace_id = :workspace AND id = :id"
        ),
        {
            "workspace": workspace_id,
            "id": export_id,
            "sha256": file.sha256,
            "size": file.size_bytes,
            "rows": file.row_count,
            "days": keep_days,
        },
    )


async def retry_export(
    connection: AsyncConnection, workspace_id: WorkspaceId, export_id: ExportId, keep_days: float
) -> JobId:
    """Queue a failed export again, from its start; return the job to send.

    Raises:  NotFound – no such export.  Conflict – it has not failed.
    """
    await get_export(connection, workspace_id, export_id)
    values = {"workspace": workspace_id, "id": export_id, "days": keep_days}
    queued = await connection.execute(
        text(
            "UPDATE jobs SET status = 'queued', attempt = 0, sent_at = NULL, run_after = now(), "
            "reason = NULL, message = NULL, finished_at = NULL, "
            'progress = \'{"stage": "queued"}\' WHERE workspace_id = :workspace AND id = :id '
            "AND status IN ('failed', 'cancelled')"
        ),
        values,
    )
    if queued.rowcount == 0:
        raise Conflict("Only an export that failed is tried again. Make a new one instead.")
    kept = await connection.execute(
        text(
            "UPDATE exports SET expires_at = now() + make_interval(secs => "
            "86400 * CAST(:days AS float8)) WHERE workspace_id = :workspace AND id = :id"
        ),
        values,
    )
    if kept.rowcount == 0:
        raise NotFound(UNKNOWN)
    return JobId(export_id)


async def remove_export(
    connection: AsyncConnection, workspace_id: WorkspaceId, export_id: ExportId
) -> list[str]:
    """Remove an export, and end its job if that is open; return the sha256 of its file, if any.

    Raises:  NotFound – no such export in this workspace.
    """
    values = {"workspace": workspace_id, "id": export_id}
    await connection.execute(
        text(
            "UPDATE jobs SET status = 'cancelled', reason = 'export_deleted', "
            "message = 'The export was deleted.', finished_at = now(), lease_token = NULL, "
            "lease_until = NULL WHERE workspace_id = :workspace AND id = :id "
            "AND task = 'export' AND status IN ('queued', 'running')"
        ),
        values,
    )
    removed = (
        await connection.execute(
            text(
                "DELETE FROM exports WHERE workspace_id = :workspace AND id = :id RETURNING sha256"
            ),
            values,
        )
    ).one_or_none()
    if removed is None:
        raise NotFound(UNKNOWN)
    return [] if removed.sha256 is None else [removed.sha256]


async def remove_expired_exports(connection: AsyncConnection) -> list[str]:
    """Remove exports whose time is over; return the sha256 of each file that they had.

    Needs a system transaction.
    """
    removed = await connection.scalars(
        text(
            "DELETE FROM exports e USING jobs j WHERE e.expires_at <= now() "
            "AND j.workspace_id = e.workspace_id AND j.id = e.id "
            "AND j.status NOT IN ('queued', 'running') RETURNING e.sha256"
        )
    )
    return [sha256 for sha256 in removed if sha256 is not None]
