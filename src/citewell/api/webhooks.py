"""/webhooks: who is told when a job ends."""

from datetime import datetime
from typing import Literal
from uuid import UUID

from fastapi import APIRouter
from pydantic import Field

from citewell.api.context import request_id
from citewell.api.deps import (
    CleanText,
    CursorQuery,
    LimitQuery,
    ServicesDep,
    WebhookIdDep,
    WorkspaceDep,
)
from citewell.api.schemas import Request, Wire
from citewell.records.audit import add_audit
from citewell.records.webhooks import (
    add_test_delivery,
    add_webhook,
    list_deliveries,
    list_webhooks,
    make_secret,
    remove_webhook,
    secret_key,
)

router = APIRouter(prefix="/webhooks", tags=["webhooks"])


class NewWebhook(Request):
    """Where to send events; without a secret, one is made."""

    url: CleanText = Field(min_length=1, max_length=2000, examples=["https://ci.example/citewell"])
    secret: CleanText | None = Field(
        None, max_length=200, description="whsec_ and 24 to 64 bytes in base64."
    )


class Webhook(Wire):
    """A webhook."""

    webhook_id: UUID
    url: str
    created_at: datetime


class MadeWebhook(Webhook):
    """A new webhook with its secret, which is never shown again."""

    secret: str


class Webhooks(Wire):
    """All webhooks, oldest first."""

    webhooks: list[Webhook]


class WebhookDelivery(Wire):
    """One event for one webhook, and how its last try ended."""

    delivery_id: UUID
    event: str
    job_id: UUID | None
    status: Literal["waiting", "delivered", "failed"]
    attempt: int
    message: str | None
    created_at: datetime
    next_try_at: datetime | None
    finished_at: datetime | None


class DeliveryPage(Wire):
    """One page of deliveries, newest first."""

    deliveries: list[WebhookDelivery]
    next_cursor: str | None


class QueuedDelivery(Wire):
    """The delivery that a test queued."""

    delivery_id: UUID


@router.post("", status_code=201)
async def add(services: ServicesDep, workspace_id: WorkspaceDep, body: NewWebhook) -> MadeWebhook:
    """Have an address told of each job that ends; the reply alone shows the secret."""
    secret = make_secret() if body.secret is None else body.secret
    secret_key(secret)
    await services.egress.check(body.url)
    async with services.database.transaction(workspace_id) as connection:
        row = await add_webhook(connection, workspace_id, body.url, secret)
        await add_audit(connection, workspace_id, "webhook.add", str(row.webhook_id), request_id())
    return MadeWebhook(**Webhook.model_validate(row).model_dump(), secret=secret)


@router.get("")
async def list_all(services: ServicesDep, workspace_id: WorkspaceDep) -> Webhooks:
    """List all webhooks, without their secrets."""
    async with services.database.transaction(workspace_id) as connection:
        rows = await list_webhooks(connection, workspace_id)
    return Webhooks(webhooks=[Webhook.model_validate(row) for row in rows])


@router.delete("/{webhook_id}", status_code=204)
async def delete(
    services: ServicesDep, workspace_id: WorkspaceDep, webhook_id: WebhookIdDep
) -> None:
    """Delete a webhook; what it was not told yet is not sent any more."""
    async with services.database.transaction(workspace_id) as connection:
        await remove_webhook(connection, workspace_id, webhook_id)
        await add_audit(connection, workspace_id, "webhook.delete", str(webhook_id), request_id())


@router.get("/{webhook_id}/deliveries")
async def list_sent(
    services: ServicesDep,
    workspace_id: WorkspaceDep,
    webhook_id: WebhookIdDep,
    limit: LimitQuery = 50,
    cursor: CursorQuery = None,
) -> DeliveryPage:
    """List what a webhook was told or is to be told, newest first."""
    async with services.database.transaction(workspace_id) as connection:
        page = await list_deliveries(connection, workspace_id, webhook_id, limit, cursor)
    return DeliveryPage(
        deliveries=[WebhookDelivery.model_validate(row) for row in page.items],
        next_cursor=page.next_cursor,
    )


@router.post("/{webhook_id}/test", status_code=202)
async def send_test(
    services: ServicesDep, workspace_id: WorkspaceDep, webhook_id: WebhookIdDep
) -> QueuedDelivery:
    """Queue an event that tells of nothing, to try the address and the signature."""
    services.egress.require_enabled()
    async with services.database.transaction(workspace_id) as connection:
        delivery_id = await add_test_delivery(connection, workspace_id, webhook_id)
        await add_audit(connection, workspace_id, "webhook.test", str(webhook_id), request_id())
    return QueuedDelivery(delivery_id=delivery_id)
