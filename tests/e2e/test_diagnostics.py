"""Sums that go the whole way: the API, Valkey, a real worker's chain and chord, and back."""

import asyncio
import json
import os
import signal
import socket
import subprocess
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from adapters.receivers import receiver
from api.stage import Api, open_api, require_problem
from citewell.adapters.celery_diagnostics import FAULT
from citewell.domain import PUBLIC_WORKSPACE, QUEUES, WorkspaceId
from citewell.ingest.pipeline import IngestPipeline
from citewell.records.workers import (
    forget_worker,
    list_workers,
    register_worker,
    remove_old_workers,
    touch_worker,
)
from citewell.settings import EgressSettings, Settings
from e2e.processes import COMMAND, QUICK_JOBS, environment
from records.databases import Servers
from records.rows import value

REDIS_NUMBER = 10
pytestmark = pytest.mark.timeout(120)


@pytest.fixture(scope="module")
async def api(
    clone: Callable[[], Any],
    servers: Servers,
    make_settings: Callable[..., Settings],
    ingest: IngestPipeline,
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[Api]:
    """An application and a worker process on a broker of their own."""
    redis_url = servers.redis_url(REDIS_NUMBER)
    folder = tmp_path_factory.mktemp("data")
    with clone() as url:
        variables = {
            "CITEWELL_DATABASE_URL": url,
            "CITEWELL_REDIS_URL": redis_url,
            "CITEWELL_DATA": str(folder),
            "CITEWELL_EGRESS__ENABLED": "true",
            "CITEWELL_EGRESS__ALLOW_PRIVATE": "true",
        }
        worker = subprocess.Popen(  # noqa: ASYNC220 - it runs beside the tests
            [COMMAND, "worker"], env=environment(**QUICK_JOBS, **variables), start_new_session=True
        )
        try:
            way_out = EgressSettings(enabled=True, allow_private=True)
            settings = make_settings(url, folder, redis_url=redis_url, egress=way_out)
            async with open_api(settings, ingest) as opened:
                await opened.services.diagnostics._redis.flushdb()  # pyright: ignore
                yield opened
        finally:
            os.killpg(worker.pid, signal.SIGKILL)
            worker.wait()


async def wait_for(ask: Callable[[], Any], true: Callable[[Any], bool]) -> Any:
    """Ask until the answer is such a one."""
    async with asyncio.timeout(60):
        while True:
            if true(answer := await ask()):
                return answer
            await asyncio.sleep(0.05)


async def run(api: Api, path: str, **body: Any) -> dict[str, Any]:
    """Queue a task and wait for its end."""
    reply = await api.client.post(f"/tasks/{path}", json=body)
    assert reply.status_code == 202, reply.text
    queued = reply.json()
    assert reply.headers["location"] == queued["status_url"]
    assert queued["status_url"] == f"/tasks/status/{queued['task_id']}"
    reply = await wait_for(
        lambda: api.client.get(queued["status_url"]),
        lambda got: got.json()["status"] in {"done", "failed"},
    )
    state = reply.json()
    assert state.pop("task_id") == queued["task_id"]
    return state


@pytest.mark.parametrize(
    ("path", "body", "result"),
    [
        ("calculate/add", {"x": 2, "y": 3}, 5),
        ("calculate/add", {"x": 0.5, "y": -1}, -0.5),
        ("calculate/divide", {"dividend": 1, "divisor": 4}, 0.25),
        ("workflow/chain", {"x": 10, "y": 5, "divisor": 2}, 7.5),
        ("workflow/parallel", {"x": 12, "y": 8, "z": 4}, 23),
    ],
)
async def test_sums(api: Api, path: str, body: dict[str, float], result: float) -> None:
    assert await run(api, path, **body) == {"status": "done", "result": result, "error": None}


async def test_any_json_is_measured(api: Api) -> None:
    state = await run(api, "process", data={"b": ["é", None], "a": 1})
    assert state["result"] == {
        "kind": "object",
        "size_bytes": len('{"a":1,"b":["é",null]}'.encode()),
        "sha256": "13d9a822ad32e5e212330efcac0a1d999dfc0508cee708a8a0cdbe2802a26cf1",
    }
    for data, kind in ((True, "boolean"), (1.5, "number"), ("x", "string"), (None, "null")):
        assert (await run(api, "process", data=data))["result"]["kind"] == kind


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("calculate/divide", {"dividend": 1, "divisor": 0}),
        ("workflow/chain", {"x": 1, "y": 1, "divisor": 0.0}),
        ("workflow/parallel", {"x": 1, "y": 1, "z": 0}),
    ],
)
async def test_a_division_by_zero_fails_with_a_sentence(
    api: Api, path: str, body: dict[str, float]
) -> None:
    assert await run(api, path, **body) == {
        "status": "failed",
        "result": None,
        "error": "Division by zero. Send another divisor.",
    }


async def test_a_result_that_is_no_finite_number_fails(api: Api) -> None:
    for path, body in (
        ("calculate/divide", {"dividend": 1e99, "divisor": 1e-300}),
        ("workflow/chain", {"x": 1e99, "y": 0, "divisor": 1e-300}),
    ):
        assert "too large" in (await run(api, path, **body))["error"]


async def test_results_last_an_hour_and_leave_no_subscription(api: Api) -> None:
    await run(api, "workflow/parallel", x=1, y=2, z=1)
    redis = api.services.diagnostics._redis  # pyright: ignore
    keys = await redis.keys("*")
    assert all(key.startswith(b"citewell.") for key in keys), keys
    kept = [key for key in keys if b"celery-task-meta" in key or b"diagnostics" in key]
    assert len(kept) >= 4
    for key in kept:
        assert 0 < await redis.ttl(key) <= 3600, key
    assert await redis.pubsub_channels("*") == []


async def test_only_diagnostics_keep_results(api: Api) -> None:
    redis = api.services.diagnostics._redis  # pyright: ignore
    before = await redis.keys("*celery-task-meta*")
    reply = await api.upload(("a.txt", b"A clock."))
    job = reply.json()["documents"][0]["job_id"]
    await wait_for(
        lambda: api.client.get(f"/jobs/{job}"), lambda got: got.json()["status"] == "done"
    )
    assert sorted(await redis.keys("*celery-task-meta*")) == sorted(before)


async def test_a_worker_tells_webhooks(api: Api) -> None:
    async with receiver() as got:
        reply = await api.client.post("/webhooks", json={"url": got.url()})
        assert reply.status_code == 201
        job = (await api.upload(("b.txt", b"A watch."))).json()["documents"][0]["job_id"]

        async def told() -> bool:
            return bool(got.requests)

        await wait_for(told, bool)
        await api.client.delete(f"/webhooks/{reply.json()['webhook_id']}")
    event = json.loads(got.requests[0].body)
    assert (event["type"], event["data"]["job_id"]) == ("job.done", job)


async def test_an_id_that_was_not_given_out_is_404(api: Api) -> None:
    for task_id in (str(uuid4()), "x", "*", "a b"):
        require_problem(await api.client.get(f"/tasks/status/{task_id}"), 404)
    queued = (await api.client.post("/tasks/calculate/add", json={"x": 1, "y": 1})).json()
    find = api.services.diagnostics.find
    assert await find(PUBLIC_WORKSPACE, queued["task_id"]) is not None
    assert await find(WorkspaceId(uuid4()), queued["task_id"]) is None


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("calculate/add", '{"x": 1}'),
        ("calculate/add", '{"x": 1, "y": 2, "z": 3}'),
        ("calculate/add", '{"x": true, "y": 2}'),
        ("calculate/add", '{"x": "1", "y": 2}'),
        ("calculate/add", '{"x": NaN, "y": 2}'),
        ("calculate/add", '{"x": Infinity, "y": 2}'),
        ("calculate/add", '{"x": 1e101, "y": 2}'),
        ("calculate/add", f'{{"x": 1{"0" * 5000}, "y": 2}}'),
        ("calculate/add", f'{{"x": {10**101}, "y": 2}}'),
        ("process", "{}"),
        ("process", '{"data": "\\u0000"}'),
        ("process", '{"data": "\\ud800"}'),
        ("process", '{"data": NaN}'),
        ("process", f'{{"data": "{"x" * 10_000}"}}'),
        ("process", f'{{"data": {"[" * 40}{"]" * 40}}}'),
    ],
    ids=range(15),
)
async def test_bad_values_are_refused(api: Api, path: str, body: str) -> None:
    headers = {"Content-Type": "application/json"}
    reply = await api.client.post(f"/tasks/{path}", content=body, headers=headers)
    require_problem(reply, (400, 422))


async def test_a_fault_of_the_worker_shows_no_trace(api: Api) -> None:
    diagnostics: Any = api.services.diagnostics
    task_id = await diagnostics.start(PUBLIC_WORKSPACE, "add", {"x": "secret", "y": 1})
    state = await wait_for(
        lambda: diagnostics.find(PUBLIC_WORKSPACE, task_id), lambda got: got.status == "failed"
    )
    assert (state.error, state.result) == (FAULT, None)


async def test_info_lists_queues_tasks_and_workers(api: Api) -> None:
    database = api.services.database
    async with database.system_transaction() as connection:
        alive = await register_worker(connection, "here", 7, ["document", "default"], 4)
        silent = await register_worker(connection, "gone", 8, ["rag"], 1)
    await value(
        database,
        "UPDATE workers SET started_at = now() - interval '90 s', "
        "seen_at = now() - interval '46 s' WHERE pid IN (7, 8)",
    )
    async with database.system_transaction() as connection:
        assert await touch_worker(connection, alive)
    info = (await api.client.get("/tasks/info")).json()
    assert {queue["name"] for queue in info["queues"]} == {
        "default", "document", "vectorstore", "rag"
    }  # fmt: skip
    assert {"citewell.ingest", "citewell.diagnostics.add"} <= set(info["tasks"])
    real, worker = sorted(info["workers"], key=lambda each: each["host"] == "here")
    assert (real["queues"], real["concurrency"]) == (list(QUEUES), 64)
    assert 90 <= worker.pop("up_seconds") < 100
    assert worker == {"host": "here", "pid": 7, "queues": ["document", "default"], "concurrency": 4}
    async with database.system_transaction() as connection:
        assert len(await list_workers(connection, 60)) == 3
        assert await remove_old_workers(connection, 45) == 1
        assert not await touch_worker(connection, silent)
        await forget_worker(connection, alive)
        (left,) = await list_workers(connection, 3600)
        assert left.pid == real["pid"]


async def test_without_a_broker_all_is_503_soon(
    make_settings: Callable[..., Settings], api: Api, ingest: IngestPipeline, tmp_path: Path
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # it does not listen
        away = f"redis://:pw@127.0.0.1:{taken.getsockname()[1]}/0"
        url = api.services.settings.database_url
        assert url is not None
        settings = make_settings(url.get_secret_value(), tmp_path, redis_url=away)
        async with open_api(settings, ingest) as broken, asyncio.timeout(10):
            for path in ("/tasks/info", f"/tasks/status/{uuid4()}"):
                require_problem(await broken.client.get(path), 503, "unavailable")
            for path, body in (
                ("calculate/add", {"x": 1, "y": 1}),
                ("workflow/parallel", {"x": 1, "y": 1, "z": 1}),
            ):
                reply = await broken.client.post(f"/tasks/{path}", json=body)
                require_problem(reply, 503, "unavailable")
                assert reply.headers["retry-after"]
