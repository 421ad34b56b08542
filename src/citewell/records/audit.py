"""Who did what: one row for each accepted change, and for each that was denied; never content.

The actor is the transaction's visitor, by the column's default: no caller can name another.
"""

from collections.abc import Sequence
from typing import Literal

from sqlalchemy.ext.asyncio import AsyncConnection

from citewell.domain import WorkspaceId
from citewell.records.statements import text

Outcome = Literal["done", "denied"]


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
