"""Workspaces: what a team has for itself."""

from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncConnection

from citewell.domain import WorkspaceId
from citewell.records.statements import text


@dataclass(frozen=True, slots=True)
class Standing:
    """A workspace, and whether it may be changed."""

    workspace_id: WorkspaceId
    archived: bool


async def get_standing(connection: AsyncConnection, workspace_id: WorkspaceId) -> Standing | None:
    """Return how a workspace stands; None when there is none with that id.

    Needs a system transaction.
    """
    row = (
        await connection.execute(
            text("SELECT id, archived_at FROM workspaces WHERE id = :id"), {"id": workspace_id}
        )
    ).one_or_none()
    return None if row is None else Standing(workspace_id, row.archived_at is not None)
