"""Workspaces: what a team has for itself. One that is being purged is unknown already."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal
from uuid import UUID, uuid4

from sqlalchemy.ext.asyncio import AsyncConnection

from citewell.domain import DEFAULT_COLLECTION, WorkspaceId
from citewell.errors import Conflict, NotFound
from citewell.records.paging import Page, decode_cursor, page_of
from citewell.records.statements import text

WorkspaceStatus = Literal["active", "archived"]
UNKNOWN_WORKSPACE = "There is no workspace with that id here. GET /workspaces lists yours."
ARCHIVED = "The workspace is archived: it can be read, not changed. An admin may restore it."
ARCHIVED_CODE = "workspace_archived"
MOST_NAME_CHARACTERS = 100


@dataclass(frozen=True, slots=True)
class Standing:
    """A workspace, and whether it may be changed."""

    workspace_id: WorkspaceId
    archived: bool


@dataclass(frozen=True, slots=True)
class WorkspaceRow:
    """A workspace as lists show it; after ``purge_after`` it is removed."""

    id: UUID
    name: str
    description: str
    status: WorkspaceStatus
    created_at: datetime
    archived_at: datetime | None
    archived_reason: str | None
    purge_after: datetime | None


@dataclass(frozen=True, slots=True)
class WorkspaceFilter:
    """Which workspaces are meant; ``among`` None means of all."""

    search: str | None = None
    status: WorkspaceStatus | Literal["all"] = "all"
    among: Sequence[WorkspaceId] | None = None

    def values(self) -> dict[str, object]:
        """Return what ``WANTED`` binds."""
        return {
            "search": self.search,
            "status": self.status,
            "among": None if self.among is None else list(self.among),
        }


COLUMNS = """
w.id, w.name, w.description, CASE WHEN w.archived_at IS NULL THEN 'active' ELSE 'archived' END,
w.created_at, w.archived_at, w.archived_reason, w.purge_after
"""
WANTED = """
NOT w.purging
AND (CAST(:among AS uuid[]) IS NULL OR w.id = ANY(CAST(:among AS uuid[])))
AND (CAST(:search AS text) IS NULL
    OR position(lower(CAST(:search AS text)) IN lower(w.name || E'\\n' || w.description)) > 0)
AND (CAST(:status AS text) = 'all'
    OR (w.archived_at IS NULL) = (CAST(:status AS text) = 'active'))
"""


async def get_standing(connection: AsyncConnection, workspace_id: WorkspaceId) -> Standing | None:
    """Return how a workspace stands; None when there is none with that id.

    Needs a system transaction.
    """
    return await _find_standing(connection, "id", workspace_id)


async def find_standing(connection: AsyncConnection, name: str) -> Standing | None:
    """Return how the workspace of that very name stands. Needs a system transaction."""
    return await _find_standing(connection, "name", name)


async def require_active(connection: AsyncConnection, workspace_id: WorkspaceId) -> None:
    """Do nothing where the workspace may be changed now.

    Raises:  Conflict – it is archived.  NotFound – it is gone.
    """
    row = (
        await connection.execute(
            text("SELECT archived_at, purging FROM workspaces WHERE id = :id"), {"id": workspace_id}
        )
    ).one_or_none()
    if row is None or row.purging:
        raise NotFound(UNKNOWN_WORKSPACE)
    if row.archived_at is not None:
        raise Conflict(ARCHIVED, code=ARCHIVED_CODE)


async def get_workspace(connection: AsyncConnection, workspace_id: WorkspaceId) -> WorkspaceRow:
    """Return a workspace. Needs a system transaction.

    Raises:  NotFound – there is none with that id.
    """
    row = (
        await connection.execute(
            text(f"SELECT {COLUMNS} FROM workspaces w WHERE w.id = :id AND NOT w.purging"),
            {"id": workspace_id},
        )
    ).one_or_none()
    if row is None:
        raise NotFound(UNKNOWN_WORKSPACE)
    return WorkspaceRow(*row)


async def list_workspaces(
    connection: AsyncConnection, wanted: WorkspaceFilter, limit: int, cursor: str | None = None
) -> Page[WorkspaceRow]:
    """List workspaces, newest first. Needs a system transaction."""
    created_at, last_id = decode_cursor(cursor) if cursor else (None, None)
    rows = await connection.execute(
        text(
            f"SELECT {COLUMNS} FROM workspaces w WHERE {WANTED} "
            "AND (CAST(:created AS timestamptz) IS NULL OR (w.created_at, w.id) < (:created, :id)) "
            "ORDER BY w.created_at DESC, w.id DESC LIMIT :limit"
        ),
        {**wanted.values(), "created": created_at, "id": last_id, "limit": limit + 1},
    )
    found = [WorkspaceRow(*row) for row in rows]
    return page_of(found, limit, lambda row: (row.created_at, row.id))


async def lock_workspaces(
    connection: AsyncConnection, wanted: WorkspaceFilter
) -> list[WorkspaceRow]:
    """Return all workspaces that are meant, newest first, locked until the transaction ends.

    Needs a system transaction.
    """
    # By their ids first, so that two such requests never wait for each other.
    await connection.execute(
        text(f"SELECT 1 FROM workspaces w WHERE {WANTED} ORDER BY w.id FOR NO KEY UPDATE OF w"),
        wanted.values(),
    )
    rows = await connection.execute(
        text(
            f"SELECT {COLUMNS} FROM workspaces w WHERE {WANTED} "
            "ORDER BY w.created_at DESC, w.id DESC"
        ),
        wanted.values(),
    )
    return [WorkspaceRow(*row) for row in rows]


async def add_workspace(connection: AsyncConnection, name: str, description: str) -> WorkspaceRow:
    """Make a workspace with its default collection. Needs a system transaction.

    Raises:  Conflict – the name is taken.
    """
    await _take_name(connection, name)
    workspace_id = WorkspaceId(uuid4())
    await connection.execute(
        text("INSERT INTO workspaces (id, name, description) VALUES (:id, :name, :description)"),
        {"id": workspace_id, "name": name, "description": description},
    )
    await connection.execute(
        text("INSERT INTO collections (workspace_id, id, name) VALUES (:workspace, :id, :name)"),
        {"workspace": workspace_id, "id": uuid4(), "name": DEFAULT_COLLECTION},
    )
    return await get_workspace(connection, workspace_id)


async def change_workspace(
    connection: AsyncConnection,
    workspace_id: WorkspaceId,
    name: str | None,
    description: str | None,
) -> WorkspaceRow:
    """Rename or describe a workspace; None leaves things as they are.

    Needs a system transaction.
    Raises:  NotFound – it is gone.  Conflict – the name is taken.
    """
    if name is not None:
        await _take_name(connection, name, workspace_id)
    await connection.execute(
        text(
            "UPDATE workspaces SET name = coalesce(:name, name), "
            "description = coalesce(:description, description) WHERE id = :id AND NOT purging"
        ),
        {"id": workspace_id, "name": name, "description": description},
    )
    return await get_workspace(connection, workspace_id)


async def _find_standing(
    connection: AsyncConnection, column: Literal["id", "name"], value: object
) -> Standing | None:
    row = (
        await connection.execute(
            text(f"SELECT id, archived_at FROM workspaces WHERE {column} = :value AND NOT purging"),
            {"value": value},
        )
    ).one_or_none()
    return None if row is None else Standing(WorkspaceId(row.id), row.archived_at is not None)


async def _take_name(
    connection: AsyncConnection, name: str, own: WorkspaceId | None = None
) -> None:
    """Let nobody else take a name before this transaction ends."""
    await connection.execute(
        text("SELECT pg_advisory_xact_lock(hashtextextended(:name, 5))"), {"name": name}
    )
    holder = await connection.scalar(
        text("SELECT id FROM workspaces WHERE name = :name"), {"name": name}
    )
    if holder is not None and holder != own:
        raise Conflict(f"A workspace named {name!r} is there already. Choose another name.")
