"""Who did what: one row for each accepted change; never content."""

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
    await connection.execute(
        text(
            "INSERT INTO audit_log (workspace_id, action, target, actor, request_id, outcome) "
            "VALUES (:workspace, :action, :target, 'local', :request_id, 'done')"
        ),
        {"workspace": workspace_id, "action": action, "target": target, "request_id": request_id},
    )
