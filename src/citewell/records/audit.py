"""Who did what: one row for each accepted change; never content."""

from collections.abc import Sequence

from sqlalchemy.ext.asyncio import AsyncConnection

from citewell.domain import WorkspaceId
from citewell.records.statements import text


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
) -> None:
    """Add a row for each target of one request."""
    await connection.execute(
        text(
            "INSERT INTO audit_log (workspace_id, action, target, actor, request_id, outcome) "
            "SELECT :workspace, :action, target, 'local', :request_id, 'done' "
            "FROM unnest(CAST(:targets AS text[])) AS target"
        ),
        {
            "workspace": workspace_id,
            "action": action,
            "targets": list(targets),
            "request_id": request_id,
        },
    )
