"""Webhooks: addresses that a workspace wants told of its ended jobs, and what they were told.

A trigger writes one delivery for each webhook in the transaction that ends a job, so none is lost
and none is made up. ``records/webhook_sender.py`` sends them.
"""

import base64
import binascii
import secrets
from dataclasses import dataclass
from datetime import datetime
from typing import Literal
from uuid import UUID, uuid4

from sqlalchemy.ext.asyncio import AsyncConnection

from citewell.domain import JobId, WebhookId, WorkspaceId
from citewell.errors import Conflict, NotFound, Unprocessable
from citewell.records.paging import Page, decode_cursor, page_of
from citewell.records.statements import text

MOST_WEBHOOKS = 20
"""In one workspace; each ended job is told to all of them."""
SECRET_PREFIX = "whsec_"  # noqa: S105 - the mark that every secret begins with
SECRET_BYTES = range(24, 65)
TEST_EVENT = "webhook.test"
NO_JOB = UUID(int=0)
"""Stands in a test's delivery, which tells of no job."""

DeliveryStatus = Literal["waiting", "delivered", "failed"]


@dataclass(frozen=True, slots=True)
class WebhookRow:
    """A webhook as a list shows it: never with its secret."""

    webhook_id: WebhookId
    url: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class DeliveryRow:
    """One event for one webhook; ``next_try_at`` only while it waits."""

    delivery_id: UUID
    event: str
    job_id: JobId | None
    status: DeliveryStatus
    attempt: int
    message: str | None
    created_at: datetime
    next_try_at: datetime | None
    finished_at: datetime | None


def make_secret() -> str:
    """Make a webhook's secret: 32 random bytes."""
    return SECRET_PREFIX + base64.b64encode(secrets.token_bytes(32)).decode()


def secret_key(secret: str) -> bytes:
    """Return the key that a secret stands for.

    Raises:  Unprocessable – it does not have the form that the specification asks for.
    """
    try:
        key = base64.b64decode(secret.removeprefix(SECRET_PREFIX), validate=True)
    except (ValueError, binascii.Error):
        key = b""
    if not secret.startswith(SECRET_PREFIX) or len(key) not in SECRET_BYTES:
        raise Unprocessable(
            "The field secret must be whsec_ and 24 to 64 bytes in base64. Leave it out, and "
            "one is made."
        )
    return key


async def add_webhook(
    connection: AsyncConnection, workspace_id: WorkspaceId, url: str, secret: str
) -> WebhookRow:
    """Keep a webhook.

    Raises:  Conflict – the workspace has as many as it may.
    """
    await connection.execute(
        text("SELECT pg_advisory_xact_lock(hashtextextended(:lock, 0))"),
        {"lock": f"webhooks of {workspace_id}"},
    )
    kept = await connection.scalar(
        text("SELECT count(*) FROM webhooks WHERE workspace_id = :workspace"),
        {"workspace": workspace_id},
    )
    if kept is not None and kept >= MOST_WEBHOOKS:
        raise Conflict(f"There are {MOST_WEBHOOKS} webhooks already. Delete one first.")
    added = await connection.execute(
        text(
            "INSERT INTO webhooks (workspace_id, id, url, secret) "
            "VALUES (:workspace, :id, :url, :secret) RETURNING id, url, created_at"
        ),
        {"workspace": workspace_id, "id": uuid4(), "url": url, "secret": secret},
    )
    return WebhookRow(*added.one())


async def list_webhooks(connection: AsyncConnection, workspace_id: WorkspaceId) -> list[WebhookRow]:
    """List the workspace's webhooks, oldest first."""
    rows = await connection.execute(
        text(
            "SELECT id, url, created_at FROM webhooks WHERE workspace_id = :workspace "
            "ORDER BY created_at, id"
        ),
        {"workspace": workspace_id},
    )
    return [WebhookRow(*row) for row in rows]


async def remove_webhook(
    connection: AsyncConnection, workspace_id: WorkspaceId, webhook_id: WebhookId
) -> None:
    """Remove a webhook with its deliveries, sent or not.

    Raises:  NotFound – no such webhook in this workspace.
    """
    removed = await connection.execute(
        text("DELETE FROM webhooks WHERE workspace_id = :workspace AND id = :webhook"),
        {"workspace": workspace_id, "webhook": webhook_id},
    )
    if removed.rowcount == 0:
        raise _unknown()


async def add_test_delivery(
    connection: AsyncConnection, workspace_id: WorkspaceId, webhook_id: WebhookId
) -> UUID:
    """Queue an event that tells of nothing; return the delivery's id.

    Raises:  NotFound – no such webhook in this workspace.
    """
    added = await connection.scalar(
        text(
            "INSERT INTO webhook_deliveries (workspace_id, id, webhook_id, job_id, event) "
            "SELECT workspace_id, :id, id, :job, :event FROM webhooks "
            "WHERE workspace_id = :workspace AND id = :webhook RETURNING id"
        ),
        {
            "workspace": workspace_id,
            "webhook": webhook_id,
            "id": uuid4(),
            "job": NO_JOB,
            "event": TEST_EVENT,
        },
    )
    if added is None:
        raise _unknown()
    return added


async def list_deliveries(
    connection: AsyncConnection,
    workspace_id: WorkspaceId,
    webhook_id: WebhookId,
    limit: int,
    cursor: str | None,
) -> Page[DeliveryRow]:
    """List a webhook's deliveries, newest first.

    Raises:  NotFound – no such webhook in this workspace.
    """
    values: dict[str, object] = {"workspace": workspace_id, "webhook": webhook_id}
    if not await connection.scalar(
        text("SELECT true FROM webhooks WHERE workspace_id = :workspace AND id = :webhook"), values
    ):
        raise _unknown()
    before = ""
    if cursor is not None:
        before = " AND (created_at, id) < (:before, :before_id)"
        values["before"], values["before_id"] = decode_cursor(cursor)
    rows = await connection.execute(
        text(
            "SELECT id, event, nullif(job_id, :no_job), status, attempt, message, created_at, "
            "CASE WHEN status = 'waiting' THEN run_after END, finished_at FROM webhook_deliveries "
            f"WHERE workspace_id = :workspace AND webhook_id = :webhook{before} "
            "ORDER BY created_at DESC, id DESC LIMIT :limit"
        ),
        {**values, "no_job": NO_JOB, "limit": limit + 1},
    )
    found = [DeliveryRow(*row) for row in rows]
    return page_of(found, limit, lambda row: (row.created_at, row.delivery_id))


def _unknown() -> NotFound:
    return NotFound("There is no webhook with that id. GET /webhooks lists them.")
