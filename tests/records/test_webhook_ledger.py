"""Deliveries: written with the job's end, sent at least once, tried again, given up, cleaned up."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy.ext.asyncio import AsyncConnection

from adapters.receivers import OK, Answer, Request, receiver, status
from citewell.adapters.egress import CheckedEgress
from citewell.domain import WebhookId, WorkspaceId
from citewell.errors import Conflict, NotFound
from citewell.records.deliveries import (
    AT_ONCE,
    AT_ONCE_EACH,
    MOST_TRIES,
    PAUSES_SECONDS,
    claim_deliveries,
    remove_old_deliveries,
)
from citewell.records.jobs import cancel_job
from citewell.records.leases import fail_job, finish_jobs
from citewell.records.session import Database
from citewell.records.webhook_sender import WebhookSender
from citewell.records.webhooks import (
    MOST_WEBHOOKS,
    add_test_delivery,
    add_webhook,
    list_deliveries,
    list_webhooks,
    make_secret,
    remove_webhook,
)
from records.rows import A, add_document, add_workspace, claim, upload, value
from records.test_locks import waits

WAY_OUT = CheckedEgress(enabled=True, allow_private=True)
NOTHING = b""
"""An answer that breaks the connection off."""


def in_turn(*answers: bytes) -> Answer:
    """Answer once each, and then with 200."""
    left = list(answers)

    async def answer(_: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(left.pop(0) if left else OK)
        await writer.drain()

    return answer


def held(until: asyncio.Event, then: bytes = OK) -> Answer:
    """Answer at once, but on /slow only when it is time."""

    async def answer(request: Request, writer: asyncio.StreamWriter) -> None:
        if request.target == "/slow":
            await until.wait()
        writer.write(then if request.target == "/slow" else OK)
        await writer.drain()

    return answer


async def hook(database: Database, url: str, workspace_id: WorkspaceId = A) -> WebhookId:
    async with database.transaction(workspace_id) as connection:
        return (await add_webhook(connection, workspace_id, url, make_secret())).webhook_id


async def queue(database: Database, webhook_id: WebhookId, count: int = 1) -> None:
    await value(
        database,
        "INSERT INTO webhook_deliveries (workspace_id, id, webhook_id, job_id, event) "
        "SELECT :w, gen_random_uuid(), :h, gen_random_uuid(), 'job.done' "
        "FROM generate_series(1, :n)",
        w=A, h=webhook_id, n=count,
    )  # fmt: skip


async def delivery(database: Database) -> dict[str, Any]:
    row = await value(
        database,
        "SELECT to_jsonb(d) || jsonb_build_object('pause', extract(epoch FROM run_after - now())) "
        "FROM webhook_deliveries d",
    )
    assert isinstance(row, dict)
    return row


async def until(true: Callable[[], object]) -> None:
    while not true():  # noqa: ASYNC110 - another task makes it so
        await asyncio.sleep(0.01)


async def make_due(database: Database) -> None:
    await value(
        database, "UPDATE webhook_deliveries SET run_after = now() WHERE status = 'waiting'"
    )


async def test_each_webhook_is_told_of_each_end_and_of_nothing_else(database: Database) -> None:
    other = await add_workspace(database)
    async with receiver() as got:
        await hook(database, got.url("/other"), other)
        await hook(database, got.url("/a"))
        await hook(database, got.url("/b"))
        sender = WebhookSender(database, WAY_OUT)
        done = await add_document(database, A, "a.txt", ["the secret text of a document"])
        added = await upload(database, A, "folder/b.txt", b"other bytes")
        taken = await claim(database, A, added.job_id)
        assert taken is not None
        assert await sender.run() == 2
        async with database.transaction(A) as connection:
            await fail_job(connection, taken, "no_text_layer", "It has no text.")
        assert await sender.run() == 2
        assert await sender.run() == 0
    assert sorted(request.target for request in got.requests) == ["/a", "/a", "/b", "/b"]
    first, last = (json.loads(got.requests[n].body) for n in (0, -1))
    assert first["type"] == "job.done"
    assert first["timestamp"].endswith("Z")
    assert first["data"] == {
        "job_id": str(done.job_id),
        "kind": "ingest",
        "status": "done",
        "reason": None,
        "message": None,
        "document_id": str(done.document_id),
        "document_name": "a.txt",
        "collection": "default",
        "chunk_count": 1,
        "request_id": "a-request",
        "finished_at": first["timestamp"],
    }
    assert last["type"] == "job.failed"
    assert (last["data"]["reason"], last["data"]["message"]) == ("no_text_layer", "It has no text.")
    assert not any(b"secret text" in request.body for request in got.requests)
    assert len({request.headers["webhook-id"] for request in got.requests}) == 4


async def test_what_a_failed_job_said_is_not_told_once_it_is_tried_again(
    database: Database,
) -> None:
    async with receiver() as got:
        await hook(database, got.url())
        added = await upload(database, A, "a.txt")
        await value(database, "UPDATE jobs SET status = 'failed', reason = 'x', message = 'X.'")
        await value(database, "UPDATE jobs SET status = 'queued', reason = 'later'")
        await WebhookSender(database, WAY_OUT).run()
    (request,) = got.requests
    data = json.loads(request.body)["data"]
    assert (data["status"], data["reason"], data["message"]) == ("failed", None, None)
    assert data["job_id"] == str(added.job_id)


async def test_a_job_ends_while_a_webhook_is_removed(database: Database) -> None:
    await hook(database, "https://hooks.example/kept")
    gone = await hook(database, "https://hooks.example/gone")
    added = await upload(database, A, "a.txt")

    async def cancel() -> None:
        async with database.transaction(A) as other:
            await cancel_job(other, A, added.job_id)

    async with database.transaction(A) as connection:
        await remove_webhook(connection, A, gone)
        cancelling = asyncio.create_task(cancel())
        await waits(database)
    await cancelling
    assert await value(database, "SELECT status FROM jobs") == "cancelled"
    assert await value(database, "SELECT count(*) FROM webhook_deliveries") == 1


async def test_a_job_that_does_not_end_after_all_tells_nothing(database: Database) -> None:
    await hook(database, "https://hooks.example/")
    added = await upload(database, A, "a.txt")
    taken = await claim(database, A, added.job_id)
    assert taken is not None

    async def end_and_fall() -> None:
        async with database.transaction(A) as connection:
            await finish_jobs(connection, A, {taken.job_id: {}})
            raise RuntimeError

    with pytest.raises(RuntimeError):
        await end_and_fall()
    assert await value(database, "SELECT count(*) FROM webhook_deliveries") == 0


async def test_failures_are_tried_again_with_growing_pauses_and_then_given_up(
    database: Database,
) -> None:
    faults = [status(code) for code in (500, 302, 404, 429, 503)]
    async with receiver(in_turn(*faults, NOTHING, NOTHING, NOTHING)) as got:
        await queue(database, await hook(database, got.url()))
        sender = WebhookSender(database, WAY_OUT)
        for number, pause in enumerate(PAUSES_SECONDS, start=1):
            assert await sender.run() == 1
            row = await delivery(database)
            assert (row["status"], row["attempt"], row["finished_at"]) == ("waiting", number, None)
            assert pause * 0.9 - 2 < row["pause"] < pause * 1.1
            assert await sender.run() == 0, "not before its time"
            await make_due(database)
        assert await sender.run() == 1
        row = await delivery(database)
        assert (row["status"], row["attempt"]) == ("failed", MOST_TRIES)
        assert row["message"].startswith("It broke the connection off")
        assert row["finished_at"]
        await make_due(database)
        assert await sender.run() == 0
    assert MOST_TRIES == len(got.requests) == 8
    assert len({request.headers["webhook-id"] for request in got.requests}) == 1
    assert len({request.body for request in got.requests}) == 1


async def test_a_success_after_a_failure_is_a_success(database: Database) -> None:
    async with receiver(in_turn(status(500), status(204))) as got:
        await queue(database, await hook(database, got.url()))
        sender = WebhookSender(database, WAY_OUT)
        await sender.run()
        assert "500" in (await delivery(database))["message"]
        await make_due(database)
        await sender.run()
    row = await delivery(database)
    assert (row["status"], row["attempt"], row["message"]) == ("delivered", 2, None)


async def test_410_is_not_tried_again(database: Database) -> None:
    async with receiver(status(410)) as got:
        await queue(database, await hook(database, got.url()))
        await WebhookSender(database, WAY_OUT).run()
    row = await delivery(database)
    assert (row["status"], row["attempt"]) == ("failed", 1)


async def test_a_host_that_has_become_private_is_not_called(database: Database) -> None:
    async with receiver() as got:
        await queue(database, await hook(database, f"https://hooks.example:{got.port}/"))

        async def rebound(host: str, port: int) -> list[str]:
            return ["127.0.0.1"]

        public_only = CheckedEgress(enabled=True, allow_private=False, resolve=rebound)
        assert await WebhookSender(database, public_only).run() == 1
    assert got.requests == []
    row = await delivery(database)
    assert row["status"] == "waiting"
    assert "not public" in row["message"]


async def test_three_processes_never_take_the_same_delivery(database: Database) -> None:
    async with receiver() as got:
        for path in ("/a", "/b", "/c"):
            await queue(database, await hook(database, got.url(path)), 40)
        senders = [WebhookSender(database, WAY_OUT) for _ in range(3)]
        assert sum(await asyncio.gather(*(sender.run() for sender in senders))) == 120
    assert len(got.requests) == 120
    assert len({request.headers["webhook-id"] for request in got.requests}) == 120


async def test_a_claim_that_was_never_settled_is_tried_again_and_at_last_failed(
    database: Database,
) -> None:
    await queue(database, await hook(database, "https://hooks.example/"))
    for number in range(1, MOST_TRIES + 1):
        async with database.system_transaction() as connection:
            (taken,) = await claim_deliveries(connection, ())
            assert taken.attempt == number
            assert await claim_deliveries(connection, ()) == []
        await make_due(database)
    async with database.system_transaction() as connection:
        assert await claim_deliveries(connection, ()) == []
    row = await delivery(database)
    assert (row["status"], row["attempt"]) == ("failed", MOST_TRIES)
    assert "cut off" in row["message"]


async def test_a_late_try_does_not_undo_a_later_one(database: Database) -> None:
    release = asyncio.Event()
    async with receiver(held(release, then=status(500))) as got, asyncio.timeout(20):
        webhook_id = await hook(database, got.url("/slow"))
        await queue(database, webhook_id)
        late = asyncio.create_task(WebhookSender(database, WAY_OUT).run())
        await until(lambda: got.requests)
        await make_due(database)  # as when its lease is over
        await value(database, "UPDATE webhooks SET url = :url", url=got.url("/quick"))
        assert await WebhookSender(database, WAY_OUT).run() == 1
        release.set()
        await late
    row = await delivery(database)
    assert (row["status"], row["attempt"], row["message"]) == ("delivered", 2, None)


async def test_one_that_does_not_answer_keeps_no_other_waiting(database: Database) -> None:
    release = asyncio.Event()
    async with receiver(held(release)) as got, asyncio.timeout(20):
        await queue(database, await hook(database, got.url("/slow")), 100)
        await queue(database, await hook(database, got.url("/quick")), 20)
        forever = asyncio.create_task(WebhookSender(database, WAY_OUT).run_forever())
        try:
            await until(lambda: sum(r.target == "/quick" for r in got.requests) == 20)
            assert sum(r.target == "/slow" for r in got.requests) == AT_ONCE_EACH < AT_ONCE
        finally:
            forever.cancel()
            await asyncio.gather(forever, return_exceptions=True)
            release.set()


async def test_idle_it_asks_at_most_each_two_seconds(database: Database) -> None:
    asked = 0

    class Counted(CheckedEgress):
        @property
        def enabled(self) -> bool:  # looked at before each query
            nonlocal asked
            asked += 1
            return True

        @enabled.setter
        def enabled(self, _: bool) -> None: ...

    forever = asyncio.create_task(WebhookSender(database, Counted(True, True)).run_forever())
    await asyncio.sleep(3.5)
    forever.cancel()
    await asyncio.gather(forever, return_exceptions=True)
    assert asked == 2


async def test_the_loop_outlives_a_database_that_is_away(database: Database) -> None:
    absent = Database("postgresql+psycopg://u:pw@/none?host=/nowhere&port=5432", 2)
    forever = asyncio.create_task(WebhookSender(absent, WAY_OUT).run_forever())
    await asyncio.sleep(0.3)
    assert not forever.done()
    forever.cancel()
    await asyncio.gather(forever, return_exceptions=True)
    await absent.close()


async def test_nothing_is_sent_or_spent_while_it_is_switched_off(database: Database) -> None:
    async with receiver() as got:
        await queue(database, await hook(database, got.url()))
        off = CheckedEgress(enabled=False, allow_private=True)
        assert await WebhookSender(database, off).run() == 0
    assert got.requests == []
    assert (await delivery(database))["attempt"] == 0


async def test_old_deliveries_are_removed(database: Database) -> None:
    webhook_id = await hook(database, "https://hooks.example/")
    await queue(database, webhook_id)
    await value(database, "UPDATE webhook_deliveries SET created_at = now() - interval '31 days'")
    await queue(database, webhook_id)
    async with database.system_transaction() as connection:
        assert await remove_old_deliveries(connection, 30) == 1


async def test_a_workspace_has_a_limit_of_webhooks(database: Database) -> None:
    made = await asyncio.gather(
        *(hook(database, f"https://{n}.example/") for n in range(MOST_WEBHOOKS + 3)),
        return_exceptions=True,
    )
    assert sum(isinstance(one, UUID) for one in made) == MOST_WEBHOOKS
    assert sum(isinstance(one, Conflict) for one in made) == 3


async def test_another_workspaces_webhook_is_unknown(database: Database) -> None:
    other = await add_workspace(database)
    webhook_id = await hook(database, "https://hooks.example/", other)
    calls: list[Callable[[AsyncConnection], Awaitable[object]]] = [
        lambda connection: remove_webhook(connection, A, webhook_id),
        lambda connection: add_test_delivery(connection, A, webhook_id),
        lambda connection: list_deliveries(connection, A, webhook_id, 10, None),
    ]
    for call in calls:
        with pytest.raises(NotFound):
            async with database.transaction(A) as connection:
                await call(connection)
    async with database.transaction(A) as connection:
        assert await list_webhooks(connection, A) == []
    assert await value(database, "SELECT count(*) FROM webhooks") == 1
