"""What a workspace holds, counted."""

from collections.abc import Mapping

from sqlalchemy.ext.asyncio import AsyncConnection

from citewell.domain import WorkspaceId
from citewell.records.statements import text

COUNTS: Mapping[str, str] = {
    "documents": "SELECT count(*) FROM documents WHERE workspace_id = :w",
    "collections": "SELECT count(*) FROM collections WHERE workspace_id = :w",
    "chunks": "SELECT coalesce(sum(chunk_count), 0) FROM documents WHERE workspace_id = :w",
    "bytes": "SELECT coalesce(sum(size_bytes), 0) FROM versions WHERE workspace_id = :w",
    "sessions": "SELECT count(*) FROM sessions WHERE workspace_id = :w AND expires_at > now()",
    "answers": "SELECT count(*) FROM answers WHERE workspace_id = :w",
    "open_jobs": "SELECT count(*) FROM jobs WHERE workspace_id = :w "
    "AND status IN ('queued', 'running') AND task <> 'embed'",
}
"""One query for each number of ``GET /workspaces/{workspace_id}``; a ledger of usage adds its own.

Kept versions of a document count their bytes too.
"""
MEMBERS = """
SELECT p.kind, count(*) FROM memberships m JOIN principals p ON p.id = m.principal_id
WHERE m.workspace_id = :w AND p.revoked_at IS NULL AND coalesce(p.expires_at, 'infinity') > now()
GROUP BY p.kind
"""


async def count_workspace(connection: AsyncConnection, workspace_id: WorkspaceId) -> dict[str, int]:
    """Count what a workspace holds, in one round trip."""
    queries = ", ".join(f"({query}) AS {name}" for name, query in COUNTS.items())
    row = (await connection.execute(text(f"SELECT {queries}"), {"w": workspace_id})).one()
    return {name: int(value) for name, value in zip(COUNTS, row, strict=True)}


async def count_members(connection: AsyncConnection, workspace_id: WorkspaceId) -> dict[str, int]:
    """Count the valid keys and the people that have a role there. Needs a system transaction."""
    rows = await connection.execute(text(MEMBERS), {"w": workspace_id})
    found: dict[str, int] = {row[0]: row[1] for row in rows}
    return {"keys": found.get("key", 0), "people": found.get("person", 0)}
