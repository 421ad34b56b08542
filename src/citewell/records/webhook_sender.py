"""Send what webhooks are to be told, signed after the Standard Webhooks specification."""

import asyncio
import base64
import hashlib
import hmac
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from time import monotonic, time

import structlog

from citewell import __version__
from citewell.domain import WebhookId
from citewell.errors import CitewellError
from citewell.ports import Egress
from citewell.records.deliveries import (
    Delivery,
    Outcome,
    claim_deliveries,
    remove_old_deliveries,
    settle_delivery,
)
from citewell.records.session import Database
from citewell.records.webhooks import secret_key

POLL_SECONDS = 2.0
DEADLINE_SECONDS = 10.0
STOP_SECONDS = 0.5
KEEP_DAYS = 30
CLEAN_SECONDS = 3600.0

log = structlog.get_logger(__name__)


def sign(secret: str, message_id: str, timestamp: int, body: bytes) -> str:
    """Return the webhook-signature of a message: HMAC-SHA-256 over id, time and body."""
    signed = f"{message_id}.{timestamp}.".encode() + body
    digest = hmac.new(secret_key(secret), signed, hashlib.sha256).digest()
    return "v1," + base64.b64encode(digest).decode()


@dataclass(slots=True)
class WebhookSender:
    """Delivers in the background; several processes may, each takes its own deliveries."""

    database: Database
    egress: Egress
    _sending: dict[WebhookId, asyncio.Task[None]] = field(init=False)
    _writing: asyncio.Semaphore = field(init=False)
    _cleaning_due: float = field(default=0.0, init=False)

    def __post_init__(self) -> None:
        self._sending = {}
        self._writing = asyncio.Semaphore(2)

    async def run(self) -> int:
        """Deliver all that is due now; return how many tries that were.

        Raises:  Unavailable – PostgreSQL does not answer.
        """
        tries = 0
        while started := await self._start():
            tries += started
            await asyncio.gather(*self._sending.values())
        return tries

    async def run_forever(self) -> None:
        """Look for deliveries each two seconds, or as soon as those that were due are sent."""
        own = asyncio.current_task()
        try:
            while own is None or not own.cancelling():  # the database's driver may swallow it
                try:
                    await self._clean()
                    await self._start()
                except CitewellError as error:
                    log.warning("webhooks wait", why=error.message)
                except Exception:  # a door: whatever one round meets, the next one has to come
                    log.exception("a bug stopped a round of webhooks")
                if self._sending:
                    await asyncio.wait(
                        self._sending.values(),
                        timeout=POLL_SECONDS,
                        return_when=asyncio.FIRST_COMPLETED,
                    )
                else:
                    await asyncio.sleep(POLL_SECONDS)
        finally:
            await self._stop()

    async def _stop(self) -> None:
        """Let replies that are there be written down, so that they are not sent for twice."""
        tasks = list(self._sending.values())
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=STOP_SECONDS)
            for task in late:
                task.cancel()
            if late:
                await asyncio.wait(late, timeout=STOP_SECONDS)

    async def _start(self) -> int:
        """Claim what is due and begin to send it; return how many."""
        if not self.egress.enabled:
            return 0
        async with self.database.system_transaction() as connection:
            claimed = await claim_deliveries(connection, self._sending.keys())
        by_webhook: dict[WebhookId, list[Delivery]] = defaultdict(list)
        for delivery in claimed:
            by_webhook[delivery.webhook_id].append(delivery)
        for webhook_id, deliveries in by_webhook.items():
            self._sending[webhook_id] = asyncio.create_task(self._send_all(webhook_id, deliveries))
        return len(claimed)

    async def _send_all(self, webhook_id: WebhookId, deliveries: Sequence[Delivery]) -> None:
        try:
            await asyncio.gather(*map(self._deliver, deliveries))
        finally:
            del self._sending[webhook_id]

    async def _deliver(self, delivery: Delivery) -> None:
        try:
            outcome = await self._send(delivery)
            async with (
                self._writing,
                self.database.transaction(delivery.workspace_id) as connection,
            ):
                await settle_delivery(connection, delivery.workspace_id, delivery, outcome)
        except CitewellError as error:
            log.warning("a delivery is sent again", why=error.message)
        except Exception:  # a door: one delivery's fault must not end the others
            log.exception("a bug stopped a delivery", webhook_id=str(delivery.webhook_id))

    async def _send(self, delivery: Delivery) -> Outcome:
        body, now = delivery.body(), int(time())
        headers = {
            "Content-Type": "application/json",
            "User-Agent": f"Citewell/{__version__}",
            "webhook-id": str(delivery.id),
            "webhook-timestamp": str(now),
            "webhook-signature": sign(delivery.secret, str(delivery.id), now, body),
        }
        try:
            reply = await self.egress.send(
                delivery.url, headers, body, deadline_seconds=DEADLINE_SECONDS, most_reply_bytes=0
            )
        except CitewellError as error:
            return Outcome(error.message)
        if 200 <= reply.status < 300:
            return Outcome()
        return Outcome(
            f"It answered {reply.status}; only 200 to 299 count, and no redirect is followed.",
            final=reply.status == 410,
        )

    async def _clean(self) -> None:
        if monotonic() < self._cleaning_due:
            return
        async with self.database.system_transaction() as connection:
            await remove_old_deliveries(connection, KEEP_DAYS)
        self._cleaning_due = monotonic() + CLEAN_SECONDS
