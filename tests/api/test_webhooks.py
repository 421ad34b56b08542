"""/webhooks over HTTP: made, listed, tried, deleted; signatures that anyone can compute again."""

import asyncio
import base64
import hashlib
import hmac
import json
import re
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import text

from adapters.receivers import Receiver, Request, receiver, status
from api.stage import Api, open_api, require_problem
from citewell.ingest.pipeline import IngestPipeline
from citewell.settings import EgressSettings, Settings

OPERATIONS = Path(__file__).parents[2] / "docs" / "operations.md"


@pytest.fixture(scope="module")
async def calling(
    clone: Callable[[], Any],
    make_settings: Callable[..., Settings],
    ingest: IngestPipeline,
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[Api]:
    """An application that may call loopback."""
    way_out = EgressSettings(enabled=True, allow_private=True)
    with clone() as url:
        settings = make_settings(url, tmp_path_factory.mktemp("data"), egress=way_out)
        async with open_api(settings, ingest) as opened:
            yield opened


@pytest.fixture
async def hooks(calling: Api) -> Api:
    """The same without webhooks."""
    async with calling.services.database.system_transaction() as connection:
        await connection.execute(text("DELETE FROM webhooks"))
    return calling


async def make(api: Api, url: str, **more: str) -> dict[str, Any]:
    reply = await api.client.post("/webhooks", json={"url": url, **more})
    assert reply.status_code == 201, reply.text
    return reply.json()


async def deliveries(api: Api, made: dict[str, Any], **query: Any) -> dict[str, Any]:
    path = f"/webhooks/{made['webhook_id']}/deliveries"
    reply = await api.client.get(path, params=query)
    assert reply.status_code == 200, reply.text
    return reply.json()


def verify(secret: str, request: Request) -> None:
    """Check a message as the Standard Webhooks specification says, by hand."""
    timestamp = request.headers["webhook-timestamp"]
    assert abs(int(timestamp) - time.time()) < 60
    signed = request.headers["webhook-id"] + "." + timestamp + "." + request.body.decode()
    key = base64.b64decode(secret[len("whsec_") :])
    expected = base64.b64encode(hmac.digest(key, signed.encode(), hashlib.sha256)).decode()
    assert request.headers["webhook-signature"] == f"v1,{expected}"
    assert request.headers["content-type"] == "application/json"


async def test_a_job_that_ends_is_told_with_a_true_signature(hooks: Api) -> None:
    given = "whsec_" + base64.b64encode(bytes(range(24))).decode()
    async with receiver() as got:
        own = await make(hooks, got.url("/own"), secret=given)
        made = await make(hooks, got.url("/made"))
        assert own["secret"] == given
        assert len(base64.b64decode(made["secret"].removeprefix("whsec_"))) == 32
        document = await hooks.add("clocks.txt", "A pendulum clock was built in 1656.")
        assert await hooks.services.webhooks.run() == 2
    secrets = {"/own": given, "/made": made["secret"]}
    assert {request.target for request in got.requests} == set(secrets)
    for request in got.requests:
        verify(secrets[request.target], request)
        event = json.loads(request.body)
        assert event["type"] == "job.done"
        assert event["data"]["document_id"] == document["document_id"]
        assert event["data"]["job_id"] == document["job_id"]
        assert b"pendulum" not in request.body
    (told,) = (await deliveries(hooks, own))["deliveries"]
    assert (told["status"], told["attempt"], told["job_id"]) == ("delivered", 1, document["job_id"])
    assert told["next_try_at"] is None
    assert told["delivery_id"] in {request.headers["webhook-id"] for request in got.requests}


async def test_the_recipe_of_the_documents_verifies_a_signature(hooks: Api) -> None:
    page = OPERATIONS.read_text(encoding="utf-8")
    (recipe,) = re.findall(r"```python\n(.*?webhook-signature.*?)```", page, re.DOTALL)
    names: dict[str, Any] = {}
    exec(recipe, names)
    async with receiver() as got:
        made = await make(hooks, got.url())
        await hooks.client.post(f"/webhooks/{made['webhook_id']}/test")
        await hooks.services.webhooks.run()
    (request,) = got.requests
    assert names["is_genuine"](made["secret"], request.headers, request.body)
    assert not names["is_genuine"](made["secret"], request.headers, request.body + b" ")
    old = request.headers | {"webhook-timestamp": str(int(time.time()) - 600)}
    assert not names["is_genuine"](made["secret"], old, request.body)


async def test_a_secret_is_shown_once_and_logged_nowhere(hooks: Api) -> None:
    made = await make(hooks, "http://127.0.0.1:9/hook")
    listed = await hooks.client.get("/webhooks")
    assert listed.json() == {
        "webhooks": [{key: made[key] for key in ("webhook_id", "url", "created_at")}]
    }
    async with hooks.services.database.system_transaction() as connection:
        rows = await connection.scalars(text("SELECT audit_log::text FROM audit_log"))
        audit = "".join(rows)
    assert made["webhook_id"] in audit
    assert made["secret"] not in audit
    assert "/hook" not in audit


async def test_every_change_has_its_audit_row(hooks: Api) -> None:
    made = await make(hooks, "http://127.0.0.1:9/")
    path = f"/webhooks/{made['webhook_id']}"
    assert (await hooks.client.post(f"{path}/test")).status_code == 202
    assert (await hooks.client.delete(path)).status_code == 204
    for refused in (hooks.client.delete(path), hooks.client.post(f"{path}/test")):
        require_problem(await refused, 404)
    async with hooks.services.database.system_transaction() as connection:
        rows = await connection.scalars(
            text("SELECT action FROM audit_log WHERE target = :id ORDER BY id"),
            {"id": made["webhook_id"]},
        )
        assert list(rows) == ["webhook.add", "webhook.test", "webhook.delete"]
    assert await hooks.services.webhooks.run() == 0, "a deleted webhook is told nothing"


async def test_a_test_event_shows_how_it_went(hooks: Api) -> None:
    async with receiver(status(500)) as got:
        made = await make(hooks, got.url())
        queued = (await hooks.client.post(f"/webhooks/{made['webhook_id']}/test")).json()
        await hooks.services.webhooks.run()
    body = json.loads(got.requests[0].body)
    assert (body["type"], body["data"]) == ("webhook.test", {"webhook_id": made["webhook_id"]})
    (told,) = (await deliveries(hooks, made))["deliveries"]
    assert told["delivery_id"] == queued["delivery_id"]
    assert (told["event"], told["job_id"], told["status"]) == ("webhook.test", None, "waiting")
    assert "500" in told["message"]
    assert told["next_try_at"]


async def test_a_redirect_is_not_followed(hooks: Api) -> None:
    async with receiver() as inside:
        head = f"HTTP/1.1 307 Moved\r\nLocation: {inside.url()}\r\nContent-Length: 0\r\n\r\n"
        async with receiver(head.encode()) as got:
            made = await make(hooks, got.url())
            await hooks.client.post(f"/webhooks/{made['webhook_id']}/test")
            await hooks.services.webhooks.run()
    assert inside.requests == []
    (told,) = (await deliveries(hooks, made))["deliveries"]
    assert "redirect" in told["message"]


async def test_deliveries_come_in_pages_newest_first(hooks: Api) -> None:
    made = await make(hooks, "http://127.0.0.1:9/")
    sent = [
        (await hooks.client.post(f"/webhooks/{made['webhook_id']}/test")).json()["delivery_id"]
        for _ in range(5)
    ]
    seen, cursor = [], None
    while True:
        page = await deliveries(hooks, made, limit=2, **({"cursor": cursor} if cursor else {}))
        seen += [item["delivery_id"] for item in page["deliveries"]]
        if (cursor := page["next_cursor"]) is None:
            break
    assert seen == sent[::-1]
    reply = await hooks.client.get(
        f"/webhooks/{made['webhook_id']}/deliveries", params={"cursor": "nonsense"}
    )
    require_problem(reply, 422)


async def test_a_receiver_that_fails_disturbs_no_ingestion(hooks: Api) -> None:
    async def never(request: Request, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(60)

    async with receiver(never) as got:
        for number in range(8):
            await make(hooks, got.url(f"/{number}"))
        await hooks.add("first.txt", "The first clock.")
        sending = asyncio.create_task(hooks.services.webhooks.run_forever())
        try:
            async with asyncio.timeout(10):
                await _arrived(got, 8)
                document = await hooks.add("second.txt", "The second clock.")
                assert document["status"] == "ready"
        finally:
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)


async def _arrived(got: Receiver, count: int) -> None:
    while len(got.requests) < count:  # noqa: ASYNC110 - another task makes it so
        await asyncio.sleep(0.01)


@pytest.mark.parametrize(
    "body",
    [{}, {"url": ""}, {"url": 7}, {"url": "https://x\0y/"}, {"url": "nonsense"},
     {"url": "ftp://127.0.0.1/"}, {"url": "https://" + "a" * 2000},
     {"url": "http://169.254.169.254/"},
     {"url": "http://127.0.0.1/", "more": 1}, {"url": "http://127.0.0.1/", "secret": ""},
     {"url": "http://127.0.0.1/", "secret": "whsec_short"},
     {"url": "http://127.0.0.1/", "secret": "0123456789012345678901234567890123456789"},
     {"url": "http://127.0.0.1/", "secret": "whsec_" + "é" * 32}],
    ids=range(13),
)  # fmt: skip
async def test_a_bad_webhook_is_422(hooks: Api, body: dict[str, Any]) -> None:
    require_problem(await hooks.client.post("/webhooks", json=body), 422)
    assert (await hooks.client.get("/webhooks")).json() == {"webhooks": []}


async def test_unknown_ids_are_404(hooks: Api) -> None:
    for webhook_id in (uuid4(), "x"):
        for method, path in (("DELETE", ""), ("GET", "/deliveries"), ("POST", "/test")):
            reply = await hooks.client.request(method, f"/webhooks/{webhook_id}{path}")
            require_problem(reply, 404)


async def test_off_by_default_and_it_says_by_which_setting(api: Api) -> None:
    reply = await api.client.post("/webhooks", json={"url": "https://hooks.example/"})
    problem = require_problem(reply, 403, "egress_off")
    assert "CITEWELL_EGRESS__ENABLED=true" in problem["detail"]
    require_problem(await api.client.post(f"/webhooks/{uuid4()}/test"), 403, "egress_off")
    assert (await api.client.get("/webhooks")).json() == {"webhooks": []}
