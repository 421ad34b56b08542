"""Deliveries: what webhooks are to be told, claimed for a while and settled after each try.

At least once: a delivery is claimed by moving its next try into the future, and marked only after
the reply, so that a crash in between sends it again, under the same id.
"""

import json
import random
from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from citewell.domain import JobId, Json, WebhookId, WorkspaceId
from citewell.records.statements import text
from citewell.records.webhooks import TEST_EVENT

LEASE_SECONDS = 60.0
"""Far more than a try's deadline: then its process is gone, and another one tries."""
PAUSES_SECONDS = (5, 30, 120, 600, 1800, 7200, 21600)
"""After the first try, the second …; a tenth more or less, so that not all come at once."""
MOST_TRIES = len(PAUSES_SECONDS) + 1
AT_ONCE = 32
AT_ONCE_EACH = 8
"""To one webhook, so that one that does not answer keeps the others waiting little."""
LOOK_THROUGH = 1000
"""Due deliveries, the longest waiting ones, that a claim chooses among."""

CLAIM = """
WITH ranked AS (
    SELECT workspace_id, id, run_after,
        row_number() OVER (PARTITION BY webhook_id ORDER BY run_after) AS place
    FROM (SELECT * FROM webhook_deliveries WHERE status = 'waiting' AND run_after <= now()
        AND NOT webhook_id = ANY(CAST(:busy AS uuid[])) ORDER BY run_after LIMIT :through) waiting
), chosen AS (
    SELECT workspace_id, id FROM ranked WHERE place <= :each ORDER BY run_after LIMIT :limit
), due AS (
    SELECT locked.* FROM chosen c CROSS JOIN LATERAL (
        SELECT d.workspace_id, d.id FROM webhook_deliveries d
        WHERE d.workspace_id = c.workspace_id AND d.id = c.id AND d.status = 'waiting'
        AND d.run_after <= now() FOR UPDATE SKIP LOCKED) locked
), taken AS (
    UPDATE webhook_deliveries d SET attempt = d.attempt + (d.attempt < :most)::int,
        run_after = now() + make_interval(secs => :lease),
        status = CASE WHEN d.attempt < :most THEN 'waiting' ELSE 'failed' END,
        message = CASE WHEN d.attempt < :most THEN d.message
            ELSE 'The last try was cut off before it had an answer.' END,
        finished_at = CASE WHEN d.attempt < :most THEN NULL ELSE now() END
    FROM due WHERE d.workspace_id = due.workspace_id AND d.id = due.id RETURNING d.*
)
SELECT t.workspace_id, t.id, t.webhook_id, t.job_id, t.event, t.attempt, t.created_at,
    w.url, w.secret, j.kind, j.document_id, j.request_id, d.name AS document_name,
    c.name AS collection, d.chunk_count,
    CASE WHEN t.event = 'job.' || j.status THEN j.reason END AS reason,
    CASE WHEN t.event = 'job.' || j.status THEN j.message END AS message
FROM taken t JOIN webhooks w ON w.workspace_id = t.workspace_id AND w.id = t.webhook_id
LEFT JOIN jobs j ON j.workspace_id = t.workspace_id AND j.id = t.job_id
LEFT JOIN documents d ON d.workspace_id = j.workspace_id AND d.id = j.document_id
LEFT JOIN collections c ON c.workspace_id = d.workspace_id AND c.id = d.collection_id
WHERE t.status = 'waiting'
"""
"""One whose last try ended without a word (its process died) is failed, not tried again."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """A claimed delivery, and what it has to tell."""

    workspace_id: WorkspaceId
    id: UUID
    webhook_id: WebhookId
    job_id: JobId
    event: str
    attempt: int
    created_at: datetime
    url: str
    secret: str
    kind: str | None
    document_id: UUID | None
    request_id: str | None
    document_name: str | None
    collection: str | None
    chunk_count: int | None
    reason: str | None
    message: str | None

    def body(self) -> bytes:
        """Return what is sent; it never holds text of a document."""
        moment = self.created_at.astimezone(UTC).isoformat().replace("+00:00", "Z")
        data: Json = {"webhook_id": str(self.webhook_id)}
        if self.event != TEST_EVENT:
            data = {
                "job_id": str(self.job_id),
                "kind": self.kind,
                "status": self.event.removeprefix("job."),
                "reason": self.reason,
                "message": self.message,
                "document_id": self.document_id and str(self.document_id),
                "document_name": self.document_name,
                "collection": self.collection,
                "chunk_count": self.chunk_count,
                "request_id": self.request_id,
                "finished_at": moment,
            }
        return json.dumps({"type": self.event, "timestamp": moment, "data": data}).encode()


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a try ended: well (no ``failure``), or with a sentence; ``final`` forbids another try."""

    failure: str | None = None
    final: bool = False


async def claim_deliveries(
    connection: AsyncConnection, busy: Collection[WebhookId]
) -> list[Delivery]:
    """Take deliveries that are due, but none of ``busy`` webhooks; needs a system transaction."""
    rows = await connection.execute(
        text(CLAIM),
        {
            "busy": list(busy),
            "through": LOOK_THROUGH,
            "each": AT_ONCE_EACH,
            "limit": AT_ONCE,
            "most": MOST_TRIES,
            "lease": LEASE_SECONDS,
        },
    )
    return [Delivery(*row) for row in rows]


async def settle_delivery(
    connection: AsyncConnection, workspace_id: WorkspaceId, delivery: Delivery, outcome: Outcome
) -> None:
    """Write down how a try ended; one that was tried again meanwhile is left to that try."""
    pause = 0.0
    status = "delivered"
    if outcome.failure is not None:
        over = outcome.final or delivery.attempt >= MOST_TRIES
        status = "failed" if over else "waiting"
        if not over:
            pause = PAUSES_SECONDS[delivery.attempt - 1] * random.uniform(0.9, 1.1)  # noqa: S311
    await connection.execute(
        text(
            "UPDATE webhook_deliveries SET status = :status, message = :message, "
            "run_after = now() + make_interval(secs => :pause), "
            "finished_at = CASE WHEN :status = 'waiting' THEN NULL ELSE now() END "
            "WHERE workspace_id = :workspace AND id = :id AND attempt = :attempt "
            "AND status = 'waiting'"
        ),
        {
            "workspace": workspace_id,
            "id": delivery.id,
            "attempt": delivery.attempt,
            "status": status,
            "message": outcome.failure,
            "pause": pause,
        },
    )


async def remove_old_deliveries(connection: AsyncConnection, keep_days: int) -> int:
    """Remove deliveries older than ``keep_days``; needs a system transaction."""
    removed = await connection.execute(
        text(
            "DELETE FROM webhook_deliveries WHERE created_at < now() - make_interval(days => :days)"
        ),
        {"days": keep_days},
    )
    return removed.rowcount
