"""Replies kept by their idempotency key: the same request again has one effect and one answer."""

import json
from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncConnection

from citewell.domain import Json, WorkspaceId
from citewell.errors import Unprocessable
from citewell.records.statements import text

KEEP_HOURS = 24


@dataclass(frozen=True, slots=True)
class KeptReply:
    """What the first request with a key was answered."""

    status: int
    reply: Json


async def take_key(
    connection: AsyncConnection, workspace_id: WorkspaceId, key: str, fingerprint: str
) -> KeptReply | None:
    """Take a key for this transaction's effect, or return the reply of the request that had it.

    Holds:   a request with the same key waits here until the first one's transaction ends; when
             that rolls back, this one has the key.
    Raises:  Unprocessable – another request, with another fingerprint, had the key.
    """
    values = {"workspace": workspace_id, "key": key, "fingerprint": fingerprint}
    while True:
        taken = await connection.execute(
            text(
                "INSERT INTO idempotency_keys (workspace_id, key, fingerprint) "
                "VALUES (:workspace, :key, :fingerprint) ON CONFLICT DO NOTHING"
            ),
            values,
        )
        if taken.rowcount:
            return None
        kept = (
            await connection.execute(
                text(
                    "SELECT fingerprint, status, reply FROM idempotency_keys "
                    "WHERE workspace_id = :workspace AND key = :key"
                ),
                values,
            )
        ).one_or_none()
        if kept is None:
            continue  # it grew old in between
        if kept.fingerprint != fingerprint:
            raise Unprocessable(
                "This Idempotency-Key was sent with another request before. Use a new key for a "
                "new request.",
                code="idempotency_mismatch",
            )
        return KeptReply(kept.status, kept.reply)


async def keep_reply(
    connection: AsyncConnection, workspace_id: WorkspaceId, key: str, kept: KeptReply
) -> None:
    """Keep the reply of the request that took the key, in the transaction of its effect."""
    await connection.execute(
        text(
            "UPDATE idempotency_keys SET status = :status, reply = CAST(:reply AS jsonb) "
            "WHERE workspace_id = :workspace AND key = :key"
        ),
        {
            "workspace": workspace_id,
            "key": key,
            "status": kept.status,
            "reply": json.dumps(kept.reply),
        },
    )


async def remove_old_keys(connection: AsyncConnection) -> None:
    """Forget the replies of yesterday; needs a system transaction."""
    await connection.execute(
        text(
            "DELETE FROM idempotency_keys WHERE created_at < now() - make_interval(hours => :hours)"
        ),
        {"hours": KEEP_HOURS},
    )
