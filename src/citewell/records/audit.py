"""Who did what: one row for each accepted change, and for each that was denied; never content.

The actor is the transaction's visitor, by the column's default: no caller can name another. At the
commit each row gets its place in its workspace's chain (``audit_chain``).
"""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from citewell.domain import WorkspaceId
from citewell.errors import Unprocessable
from citewell.records.paging import Page
from citewell.records.session import Database
from citewell.records.statements import text

Outcome = Literal["done", "denied"]
LONGEST_POSITION = 18
"""Digits of a cursor: fewer than bigint holds."""


@dataclass(frozen=True, slots=True)
class AuditRow:
    """One row of the audit log, with its place in the chain."""

    position: int
    created_at: datetime
    action: str
    target: str
    outcome: Outcome
    actor: str
    principal_id: UUID | None
    request_id: str | None
    hash: str
    id: int


@dataclass(frozen=True, slots=True)
class AuditFilter:
    """Which rows are wanted; ``until`` is the first moment that is not."""

    action: str | None = None
    actor: str | None = None
    outcome: Outcome | None = None
    request_id: str | None = None
    target: str | None = None
    since: datetime | None = None
    until: datetime | None = None


async def add_audit(
    connection: AsyncConnection,
    workspace_id: WorkspaceId,
    action: str,
    target: str,
    request_id: str | None,
) -> None:
    """Add one row, in the transaction of the change itself."""
    await add_audits(connection, workspace_id, action, [target], request_id)


async def add_audits(
    connection: AsyncConnection,
    workspace_id: WorkspaceId,
    action: str,
    targets: Sequence[str],
    request_id: str | None,
    outcome: Outcome = "done",
) -> None:
    """Add a row for each target of one request."""
    await connection.execute(
        text(
            "INSERT INTO audit_log (workspace_id, action, target, request_id, outcome) "
            "SELECT :workspace, :action, target, :request_id, :outcome "
            "FROM unnest(CAST(:targets AS text[])) AS target"
        ),
        {
            "workspace": workspace_id,
            "action": action,
            "targets": list(targets),
            "request_id": request_id,
            "outcome": outcome,
        },
    )


SELECT = """
SELECT c.position, a.created_at, a.action, a.target, a.outcome, a.actor, a.principal_id,
    a.request_id, encode(c.hash, 'hex'), a.id
FROM audit_chain c JOIN audit_log a ON a.workspace_id = c.workspace_id AND a.id = c.audit_id
WHERE c.workspace_id = :workspace
"""
CLAUSES = {
    "action": "a.action = :action",
    "actor": "a.actor = :actor",
    "outcome": "a.outcome = :outcome",
    "request_id": "a.request_id = :request_id",
    "target": "a.target = :target",
    "since": "a.created_at >= :since",
    "until": "a.created_at < :until",
}


async def list_audit(
    connection: AsyncConnection,
    workspace_id: WorkspaceId,
    wanted: AuditFilter,
    limit: int,
    cursor: str | None = None,
) -> Page[AuditRow]:
    """List rows, the last committed first.

    Raises:  Unprocessable – the cursor is none of this list.
    """
    before = None if cursor is None else _position(cursor)
    clause = "" if before is None else " AND c.position < :before"
    ending = f"{clause} ORDER BY c.position DESC LIMIT :limit"
    rows = await _read(
        connection, workspace_id, wanted, ending, {"before": before, "limit": limit + 1}
    )
    more = len(rows) > limit
    return Page(rows[:limit], str(rows[limit - 1].position) if more else None)


async def iterate_audit(
    database: Database, workspace_id: WorkspaceId, wanted: AuditFilter, batch: int = 1000
) -> AsyncIterator[list[AuditRow]]:
    """Yield all rows in the order of their chain, in batches; no connection is held in between.

    Holds:   what is committed when the last batch is read is there, and nothing comes twice.
    """
    after = 0
    while True:
        async with database.transaction(workspace_id) as connection:
            rows = await _read(
                connection,
                workspace_id,
                wanted,
                " AND c.position > :after ORDER BY c.position LIMIT :limit",
                {"after": after, "limit": batch},
            )
        if rows:
            yield rows
        if len(rows) < batch:
            return
        after = rows[-1].position


async def _read(
    connection: AsyncConnection,
    workspace_id: WorkspaceId,
    wanted: AuditFilter,
    ending: str,
    values: dict[str, object],
) -> list[AuditRow]:
    given = {name: getattr(wanted, name) for name in CLAUSES}
    given = {name: value for name, value in given.items() if value is not None}
    clauses = "".join(f" AND {CLAUSES[name]}" for name in given)
    rows = await connection.execute(
        text(SELECT + clauses + ending), {"workspace": workspace_id, **given, **values}
    )
    return [AuditRow(*row) for row in rows]


def _position(cursor: str) -> int:
    if not (cursor.isascii() and cursor.isdigit() and len(cursor) <= LONGEST_POSITION):
        raise Unprocessable("The cursor is not valid. Use next_cursor of the page before.")
    return int(cursor)
