"""Remove a workspace whose grace is over, batch by batch, and write down the proof.

Each batch is a transaction of its own, which also counts what it removed: a purge that a crash cut
short goes on where it was. Files of removed versions and exports are kept in mind until they go.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from time import monotonic
from typing import Literal
from uuid import UUID, uuid4

import structlog
from sqlalchemy.ext.asyncio import AsyncConnection

from citewell.domain import WorkspaceId
from citewell.ports import BlobStore
from citewell.records.audit import add_audit, add_audits
from citewell.records.blobs import LOCKED_AT_ONCE, remove_unused_batch
from citewell.records.purge_tables import Emptied, with_vectors
from citewell.records.session import Database
from citewell.records.statements import text
from citewell.records.vector_tables import list_vector_tables

log = structlog.get_logger(__name__)

BATCH_ROWS = 500
ROUND_SECONDS = 5.0
"""Longest time for purges in one round of reconciling: jobs of others wait for the next one."""


Step = Literal["done", "held", "finished"]


@dataclass(frozen=True, slots=True)
class _Purge:
    id: UUID
    workspace_id: WorkspaceId
    pending: Mapping[str, int]


async def purge_due(
    database: Database, blobs: BlobStore, seconds: float = ROUND_SECONDS
) -> list[WorkspaceId]:
    """Go on with purges that are due, for about so long; return the workspaces that are gone now.

    Holds:   one process at a time works on a purge; a row that somebody holds is left to the next
             round.
    Raises:  Unavailable – PostgreSQL or the folder of the files does not answer.
    """
    deadline = monotonic() + seconds
    async with database.system_transaction() as connection:
        await _begin(connection)
        rows = await connection.scalars(
            text("SELECT id FROM purges WHERE finished_at IS NULL ORDER BY created_at, id")
        )
        waiting = list(rows)
    gone: list[WorkspaceId] = []
    for purge_id in waiting:
        workspace_id = await _purge(database, blobs, purge_id, deadline)
        if workspace_id is not None:
            log.warning("a workspace was purged", workspace=str(workspace_id))
            gone.append(workspace_id)
        if monotonic() > deadline:
            break
    return gone


async def _begin(connection: AsyncConnection) -> None:
    """Make due workspaces unknown to everybody, and end the keys that belong nowhere else."""
    due = await connection.execute(
        text(
            "SELECT id, name, purge_requested_by, purge_requested_at FROM workspaces "
            "WHERE purge_after <= now() AND NOT purging FOR NO KEY UPDATE SKIP LOCKED"
        )
    )
    for row in due.all():
        workspace_id = WorkspaceId(row.id)
        await connection.execute(
            text("UPDATE workspaces SET purging = true WHERE id = :w"), {"w": workspace_id}
        )
        revoked = [
            str(each)
            for each in await connection.scalars(text(REVOKE_OWN_KEYS), {"w": workspace_id})
        ]
        await connection.execute(
            text(
                "INSERT INTO purges (id, workspace_id, name_sha256, requested_by, requested_at, "
                "keys_revoked) VALUES (:id, :w, :name, :by, :at, :revoked)"
            ),
            {
                "id": uuid4(),
                "w": workspace_id,
                "name": hashlib.sha256(row.name.encode()).hexdigest(),
                "by": row.purge_requested_by,
                "at": row.purge_requested_at,
                "revoked": len(revoked),
            },
        )
        await add_audits(connection, workspace_id, "key.revoke", revoked, None)


REVOKE_OWN_KEYS = """
WITH own AS (SELECT p.id FROM principals p WHERE p.kind = 'key' AND NOT p.is_owner
    AND p.revoked_at IS NULL
    AND EXISTS (SELECT FROM memberships m WHERE m.principal_id = p.id AND m.workspace_id = :w)
    AND NOT EXISTS (SELECT FROM memberships m
        WHERE m.principal_id = p.id AND m.workspace_id <> :w)),
ended AS (DELETE FROM browser_sessions b USING own WHERE b.principal_id = own.id)
UPDATE principals p SET revoked_at = now() FROM own WHERE p.id = own.id RETURNING p.id
"""


async def _purge(
    database: Database, blobs: BlobStore, purge_id: UUID, deadline: float
) -> WorkspaceId | None:
    """Work on one purge until it is done, or the time is over, or somebody holds what is left."""
    place = 0
    while True:
        async with database.system_transaction() as connection:
            purge = await _take(connection, purge_id)
            if purge is None:
                return None
            step, place = await _do_step(connection, blobs, purge, place)
        if step == "finished":
            return purge.workspace_id
        if step == "held" or monotonic() > deadline:
            return None


async def _do_step(
    connection: AsyncConnection, blobs: BlobStore, purge: _Purge, place: int
) -> tuple[Step, int]:
    """Remove files, or rows of the first table from that place on that has some, or the rest."""
    if purge.pending:
        await _remove_files(connection, blobs, purge)
        return "done", place
    emptied = with_vectors(await list_vector_tables(connection))
    for later, table in enumerate(emptied[place:], place):
        if await _remove_batch(connection, purge, table):
            return "done", later
        if await _is_left(connection, purge, table):
            return "held", later
    if await _finish(connection, purge):
        return "finished", place
    return "done", 0  # a request that was under way wrote something meanwhile


async def _take(connection: AsyncConnection, purge_id: UUID) -> _Purge | None:
    """Return an unfinished purge that no other process works on, and hold it."""
    row = (
        await connection.execute(
            text(
                "SELECT id, workspace_id, blobs_pending FROM purges "
                "WHERE id = :id AND finished_at IS NULL FOR UPDATE SKIP LOCKED"
            ),
            {"id": purge_id},
        )
    ).one_or_none()
    return None if row is None else _Purge(row[0], WorkspaceId(row[1]), row[2])


async def _remove_batch(connection: AsyncConnection, purge: _Purge, table: Emptied) -> int:
    """Remove some rows of a table, and count them; rows that others hold stay for now."""
    files = ", sha256, size_bytes" if table.name in {"versions", "exports"} else ""
    gone = await connection.execute(
        text(
            f"DELETE FROM {table.name} t WHERE t.ctid = ANY(ARRAY("
            f"SELECT t.ctid FROM {table.name} t WHERE t.workspace_id = :w{table.leaves} "
            "LIMIT :limit FOR UPDATE OF t SKIP LOCKED)) "
            f"RETURNING pg_column_size(t.*) AS size{files}"
        ),
        {"w": purge.workspace_id, "limit": BATCH_ROWS},
    )
    rows = gone.all()
    pending = {row.sha256: row.size_bytes for row in rows if row.sha256} if files else {}
    if rows:
        await _count(connection, purge, table.name, len(rows), sum(row.size for row in rows))
        await _set_pending(connection, purge, {**purge.pending, **pending})
    return len(rows)


async def _is_left(connection: AsyncConnection, purge: _Purge, table: Emptied) -> bool:
    """Say whether a table has rows of the workspace, which somebody else holds now."""
    return bool(
        await connection.scalar(
            text(f"SELECT EXISTS (SELECT FROM {table.name} WHERE workspace_id = :w)"),
            {"w": purge.workspace_id},
        )
    )


async def _remove_files(connection: AsyncConnection, blobs: BlobStore, purge: _Purge) -> None:
    """Remove the files of removed versions that nobody else needs."""
    batch = sorted(purge.pending)[:LOCKED_AT_ONCE]
    removed = await remove_unused_batch(connection, blobs, batch)
    left = {sha256: size for sha256, size in purge.pending.items() if sha256 not in set(batch)}
    for sha256 in removed:
        if await blobs.find_path(sha256) is not None:
            left[sha256] = purge.pending[sha256]
    gone = [sha256 for sha256 in removed if sha256 not in left]
    await connection.execute(
        text(
            "UPDATE purges SET blobs_removed = blobs_removed + :count, "
            "blob_bytes_removed = blob_bytes_removed + :bytes WHERE id = :id"
        ),
        {
            "id": purge.id,
            "count": len(gone),
            "bytes": sum(purge.pending[sha256] for sha256 in gone),
        },
    )
    await _set_pending(connection, purge, left)


async def _finish(connection: AsyncConnection, purge: _Purge) -> bool:
    """Remove the workspace itself, unless rows of it are left; say whether it is gone.

    Holds:   while its row is locked nobody can add a row that names it, and afterwards neither.
    """
    size = await connection.scalar(
        text("SELECT pg_column_size(w.*) FROM workspaces w WHERE w.id = :w FOR UPDATE"),
        {"w": purge.workspace_id},
    )
    left = await _count_left(connection, purge.workspace_id)
    if any(count for name, count in left.items() if name != "workspaces"):
        return False
    await connection.execute(
        text("DELETE FROM workspaces WHERE id = :w"), {"w": purge.workspace_id}
    )
    if size is not None:
        await _count(connection, purge, "workspaces", 1, size)
    await connection.execute(
        text(
            "UPDATE purges SET finished_at = now(), rows_left = CAST(:left AS jsonb), "
            "blobs_left = :files WHERE id = :id"
        ),
        {
            "id": purge.id,
            "left": json.dumps(await _count_left(connection, purge.workspace_id)),
            "files": len(purge.pending),
        },
    )
    await add_audit(connection, purge.workspace_id, "workspace.purge", str(purge.id), None)
    return True


async def _count_left(connection: AsyncConnection, workspace_id: WorkspaceId) -> dict[str, int]:
    names = [each.name for each in with_vectors(await list_vector_tables(connection))]
    counts = [f"(SELECT count(*) FROM {name} WHERE workspace_id = :w)" for name in names]
    counts.append("(SELECT count(*) FROM workspaces WHERE id = :w)")
    row = (await connection.execute(text(f"SELECT {', '.join(counts)}"), {"w": workspace_id})).one()
    return dict(zip([*names, "workspaces"], map(int, row), strict=True))


async def _count(
    connection: AsyncConnection, purge: _Purge, table: str, rows: int, size_bytes: int
) -> None:
    await connection.execute(
        text(
            "UPDATE purges SET rows_removed = rows_removed || jsonb_build_object("
            "CAST(:table AS text), coalesce((rows_removed ->> :table)::bigint, 0) + :rows), "
            "bytes_removed = bytes_removed || jsonb_build_object("
            "CAST(:table AS text), coalesce((bytes_removed ->> :table)::bigint, 0) + :bytes) "
            "WHERE id = :id"
        ),
        {"id": purge.id, "table": table, "rows": rows, "bytes": size_bytes},
    )


async def _set_pending(
    connection: AsyncConnection, purge: _Purge, pending: Mapping[str, int]
) -> None:
    if pending != purge.pending:
        await connection.execute(
            text("UPDATE purges SET blobs_pending = CAST(:pending AS jsonb) WHERE id = :id"),
            {"id": purge.id, "pending": json.dumps(pending)},
        )
