"""Archive workspaces and restore them; say that one is to be purged. Needs system transactions."""

from collections.abc import Sequence
from typing import Literal

from sqlalchemy.ext.asyncio import AsyncConnection

from citewell.domain import PUBLIC_WORKSPACE, WorkspaceId
from citewell.errors import Conflict, Unprocessable
from citewell.records.statements import text
from citewell.records.workspaces import WorkspaceRow, get_workspace

Change = Literal["done", "unchanged", "not_found"]

ARCHIVE = """
UPDATE workspaces SET archived_at = now(), archived_reason = :reason
WHERE id = ANY(CAST(:ids AS uuid[])) AND archived_at IS NULL AND NOT purging RETURNING id
"""
RESTORE = """
UPDATE workspaces SET archived_at = NULL, archived_reason = NULL, purge_after = NULL,
    purge_requested_at = NULL, purge_requested_by = NULL
WHERE id = ANY(CAST(:ids AS uuid[])) AND archived_at IS NOT NULL AND NOT purging RETURNING id
"""


async def archive_workspaces(
    connection: AsyncConnection, ids: Sequence[WorkspaceId], reason: str
) -> dict[WorkspaceId, Change]:
    """Let workspaces be read and not written; those that are so already keep their reason.

    Needs a system transaction.
    """
    return await _change(connection, ids, ARCHIVE, {"reason": reason})


async def restore_workspaces(
    connection: AsyncConnection, ids: Sequence[WorkspaceId]
) -> dict[WorkspaceId, Change]:
    """Let archived workspaces be written again; a purge that has not begun is called off.

    Needs a system transaction.
    """
    return await _change(connection, ids, RESTORE, {})


async def request_purge(
    connection: AsyncConnection, workspace_id: WorkspaceId, name: str, days: int
) -> tuple[WorkspaceRow, bool]:
    """Have an archived workspace removed after some days; who acts is remembered.

    Needs a system transaction. Returns the workspace, and whether this changed anything.
    Raises:  NotFound – it is gone.  Conflict – it is not archived, or the public one.
             Unprocessable – ``name`` is not its name.
    """
    await connection.execute(
        text("SELECT 1 FROM workspaces WHERE id = :id FOR NO KEY UPDATE"), {"id": workspace_id}
    )
    row = await get_workspace(connection, workspace_id)
    if workspace_id == PUBLIC_WORKSPACE:
        raise Conflict("The public workspace stays. Archive it, or delete its documents instead.")
    if row.status != "archived":
        raise Conflict("Only an archived workspace can be deleted. Archive it first.")
    if name != row.name:
        raise Unprocessable("The field confirm must be the workspace's name, letter by letter.")
    if row.purge_after is not None:
        return row, False
    await connection.execute(
        text(
            "UPDATE workspaces SET purge_after = now() + make_interval(days => :days), "
            "purge_requested_at = now(), purge_requested_by = current_setting('citewell.actor') "
            "WHERE id = :id"
        ),
        {"id": workspace_id, "days": days},
    )
    return await get_workspace(connection, workspace_id), True


async def _change(
    connection: AsyncConnection,
    ids: Sequence[WorkspaceId],
    statement: str,
    values: dict[str, object],
) -> dict[WorkspaceId, Change]:
    """Lock workspaces by their ids, change them, and say what became of each."""
    found = set(
        await connection.scalars(
            text(
                "SELECT id FROM workspaces WHERE id = ANY(CAST(:ids AS uuid[])) AND NOT purging "
                "ORDER BY id FOR NO KEY UPDATE"
            ),
            {"ids": list(ids)},
        )
    )
    changed = set(await connection.scalars(text(statement), {"ids": list(ids), **values}))
    return {
        each: "done" if each in changed else "unchanged" if each in found else "not_found"
        for each in ids
    }
