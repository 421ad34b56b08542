"""Purges as lists show them: who asked, what was removed, and that nothing is left."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from citewell.records.paging import Page, decode_cursor, page_of
from citewell.records.statements import text

COLUMNS = """
id, workspace_id, name_sha256, requested_by, requested_at, created_at, finished_at, rows_removed,
bytes_removed, rows_left, blobs_removed, blob_bytes_removed, blobs_left, keys_revoked
"""


@dataclass(frozen=True, slots=True)
class PurgeRow:
    """A purge; ``rows_left`` and ``blobs_left`` are known when it is finished."""

    id: UUID
    workspace_id: UUID
    name_sha256: str
    requested_by: str
    requested_at: datetime
    created_at: datetime
    finished_at: datetime | None
    rows_removed: dict[str, int]
    bytes_removed: dict[str, int]
    rows_left: dict[str, int]
    blobs_removed: int
    blob_bytes_removed: int
    blobs_left: int | None
    keys_revoked: int


async def list_purges(
    connection: AsyncConnection, limit: int, cursor: str | None = None
) -> Page[PurgeRow]:
    """List purges, newest first. Needs a system transaction."""
    created_at, last_id = decode_cursor(cursor) if cursor else (None, None)
    rows = await connection.execute(
        text(
            f"SELECT {COLUMNS} FROM purges "
            "WHERE CAST(:created AS timestamptz) IS NULL OR (created_at, id) < (:created, :id) "
            "ORDER BY created_at DESC, id DESC LIMIT :limit"
        ),
        {"created": created_at, "id": last_id, "limit": limit + 1},
    )
    found = [PurgeRow(*row) for row in rows]
    return page_of(found, limit, lambda row: (row.created_at, row.id))
