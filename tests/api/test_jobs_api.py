"""/jobs: filters, steps, events, cancel and retry."""

import asyncio
import io
from dataclasses import replace
from datetime import UTC, datetime
from importlib import import_module
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text

from api.stage import EXAMPLES, Api, read_events, require_problem
from citewell.api.steps import share_of, steps_of
from citewell.domain import JobId
from citewell.records.jobs import JobRow

ROW = JobRow(
    job_id=JobId(UUID(int=1)), kind="ingest", task="ingest", status="queued", reason=None,
    message=None, attempt=0, progress={}, parent_id=None, part_count=0, open_parts=0,
    failed_parts=0, document_id=None, document_name=None, collection=None, chunk_count=None,
    request_id=None, created_at=datetime.now(UTC), started_at=None, finished_at=None,
)  # fmt: skip


@pytest.mark.parametrize(
    ("change", "states", "share"),
    [
        ({}, "queued queued queued queued", 0),
        ({"status": "running", "progress": {"stage": "parse"}}, "running queued queued queued", 0),
        ({"status": "running",
          "progress": {"stage": "stage", "done": 1, "total": 2, "seconds": {"parse": 1}}},
         "done running queued queued", 0.25),
        ({"status": "running", "progress": {"stage": "embed", "done": 1, "total": 4}},
         "done done running queued", 0.45),
        ({"status": "running", "progress": {"stage": "embed"}, "part_count": 4, "open_parts": 1},
         "done done running queued", 0.75),
        ({"status": "queued", "task": "publish", "part_count": 4}, "done done done queued", 0.9),
        ({"status": "running", "task": "publish", "part_count": 4, "attempt": 1},
         "done done done running", 0.9),
        ({"status": "done", "progress": {"stage": "done"}}, "done done done done", 1),
        ({"status": "failed", "progress": {"stage": "failed"}}, "failed skipped skipped skipped",
         0),
        ({"status": "failed", "progress": {"stage": "failed", "seconds": {"parse": 1}}},
         "done done failed skipped", 0.3),
        ({"status": "cancelled", "progress": {"stage": "embed"}, "part_count": 4, "open_parts": 2},
         "done done cancelled skipped", 0.3),
        ({"status": "queued", "attempt": 1, "progress": {"stage": "embed", "done": 1, "total": 4}},
         "queued queued queued queued", 0),
    ],
)  # fmt: skip
def test_steps_follow_from_the_jobs_row(change: dict[str, Any], states: str, share: float) -> None:
    row = replace(ROW, **change)
    steps = steps_of(row)
    assert [step.status for step in steps] == states.split()
    assert share_of(row) == share
    assert [step.step_id for step in steps] == [step.step_id for step in steps_of(ROW)]


async def queue(api: Api, name: str, data: bytes = b"", **form: str) -> dict[str, Any]:
    reply = await api.upload((name, data or name.encode()), **form)
    assert reply.status_code == 202, reply.text
    return reply.json()["documents"][0]


async def listed(api: Api, **query: Any) -> list[str]:
    reply = await api.client.get("/jobs", params=query)
    assert reply.status_code == 200, reply.text
    return [job["job_id"] for job in reply.json()["jobs"]]


async def test_jobs_are_found_by_what_they_are_about(fresh: Api) -> None:
    await fresh.client.post("/collections", json={"name": "other"})
    first = await queue(fresh, "a.txt")
    await fresh.work()
    second = await queue(fresh, "b.txt", collection="other")
    again = (await fresh.client.post(f"/documents/{first['document_id']}/reindex")).json()
    a, b, c = first["job_id"], second["job_id"], again["job_id"]
    assert await listed(fresh) == [c, b, a]
    assert await listed(fresh, status="done") == [a]
    assert await listed(fresh, kind="reindex") == [c]
    assert await listed(fresh, collection="other") == [b]
    assert await listed(fresh, collection="nowhere") == []
    assert await listed(fresh, document_id=first["document_id"]) == [c, a]
    assert await listed(fresh, document_id=first["document_id"], status="queued") == [c]
    assert await listed(fresh, parent_id=str(uuid4())) == []
    page = (await fresh.client.get("/jobs", params={"limit": 2})).json()
    rest = (await fresh.client.get("/jobs", params={"cursor": page["next_cursor"]})).json()
    assert [job["job_id"] for job in rest["jobs"]] == [a]
    for query in ({"kind": "x"}, {"status": "x"}, {"document_id": "x"}, {"parent_id": "x"}):
        require_problem(await fresh.client.get("/jobs", params=query), 422)


async def test_a_cancelled_job_publishes_nothing_and_can_be_tried_again(fresh: Api) -> None:
    item = await queue(fresh, "a.txt")
    path = f"/jobs/{item['job_id']}"
    cancelled = await fresh.client.post(f"{path}/cancel")
    assert cancelled.status_code == 202
    assert cancelled.headers["location"] == path
    assert (cancelled.json()["status"], cancelled.json()["reason"]) == ("cancelled", "cancelled")
    assert cancelled.json()["steps"][0]["status"] == "cancelled"
    assert await fresh.work() == 0
    require_problem(await fresh.client.post(f"{path}/cancel"), 409, "conflict")
    retried = await fresh.client.post(f"{path}/retry")
    assert (retried.status_code, retried.json()["status"]) == (202, "queued")
    require_problem(await fresh.client.post(f"{path}/retry"), 409, "conflict")
    assert await fresh.work() == 1
    assert (await fresh.client.get(path)).json()["status"] == "done"
    require_problem(await fresh.client.post(f"{path}/retry"), 409)
    async with fresh.services.database.system_transaction() as connection:
        actions = await connection.scalars(text("SELECT action FROM audit_log ORDER BY id"))
        assert list(actions) == ["document.upload", "job.cancel", "job.retry"]


async def test_a_cancelled_group_is_tried_again_to_its_end(fresh: Api) -> None:
    body = {"texts": ["One text.", "Two texts.", "%PDF-1.7 no text"]}
    group = (await fresh.client.post("/ingest/", json=body)).json()
    path = f"/jobs/{group['job_id']}"
    assert (await fresh.client.post(f"{path}/cancel")).json()["status"] == "cancelled"
    assert await fresh.work() == 0
    retried = (await fresh.client.post(f"{path}/retry")).json()
    assert (retried["status"], retried["open_parts"], retried["failed_parts"]) == ("running", 3, 0)
    assert await fresh.work() == 3
    ended = (await fresh.client.get(path)).json()
    assert (ended["status"], ended["open_parts"], ended["failed_parts"]) == ("done", 0, 1)
    again = (await fresh.client.post(f"{path}/retry")).json()
    assert (again["open_parts"], again["failed_parts"]) == (1, 0)
    assert await fresh.work() == 1
    ended = (await fresh.client.get(path)).json()
    assert (ended["status"], ended["failed_parts"]) == ("done", 1)


def locked_document(password: str) -> bytes:
    """An example under a password, as Office 2010 and later lock it."""
    ooxml: Any = import_module("msoffcrypto.format.ooxml")
    result = io.BytesIO()
    with (EXAMPLES / "calendars.docx").open("rb") as file:
        ooxml.OOXMLFile(file).encrypt(password, result)
    return result.getvalue()


async def test_a_locked_file_opens_when_it_is_tried_again_with_its_password(fresh: Api) -> None:
    item = await queue(fresh, "calendars.docx", locked_document("sesame"))
    path = f"/jobs/{item['job_id']}"
    for password, status, reason in (
        (None, "failed", "encrypted"),
        ("wrong", "failed", "wrong_password"),
        ("sesame", "done", None),
    ):
        if password:
            tried = await fresh.client.post(f"{path}/retry", json={"password": password})
            assert tried.status_code == 202, tried.text
        await fresh.work()
        job = (await fresh.client.get(path)).json()
        assert (job["status"], job["reason"]) == (status, reason)
        async with fresh.services.database.system_transaction() as connection:
            kept = "SELECT count(*) FROM jobs WHERE password IS NOT NULL"
            assert await connection.scalar(text(kept)) == 0
    again = await queue(fresh, "b.docx", locked_document("other"), password="other")
    await fresh.work()
    assert (await fresh.client.get(f"/jobs/{again['job_id']}")).json()["status"] == "done"


async def test_unknown_jobs_are_404(api: Api) -> None:
    for job_id in ("nonsense", str(uuid4())):
        require_problem(await api.client.get(f"/jobs/{job_id}/events"), 404)
        for verb in ("cancel", "retry"):
            require_problem(await api.client.post(f"/jobs/{job_id}/{verb}"), 404)


async def test_events_follow_a_job_to_its_end(fresh: Api) -> None:
    item = await queue(fresh, "a.txt", b"A text to follow.")
    following = asyncio.create_task(fresh.client.get(f"/jobs/{item['job_id']}/events"))
    await asyncio.sleep(0.2)
    await fresh.work()
    reply = await asyncio.wait_for(following, 10)
    assert reply.headers["content-type"].startswith("text/event-stream")
    assert reply.headers["x-accel-buffering"] == "no"
    events = read_events(reply.text)
    assert events[0][0] == "progress"
    assert events[0][1]["status"] == "queued"
    assert [name for name, _ in events[1:-1]] == ["progress"] * (len(events) - 2)
    name, last = events[-1]
    assert (name, last["status"], last["share"]) == ("done", "done", 1)
    assert last == (await fresh.client.get(f"/jobs/{item['job_id']}")).json()
    over = await fresh.client.get(f"/jobs/{item['job_id']}/events")
    assert read_events(over.text) == [("done", last)]
    assert "id: 0" in over.text


async def test_events_tell_failure_and_cancellation(fresh: Api) -> None:
    bad = await queue(fresh, "bad.pdf", b"%PDF-1.7\n" + b"garbage " * 50)
    waiting = await queue(fresh, "w.txt")
    await fresh.client.post(f"/jobs/{waiting['job_id']}/cancel")
    await fresh.work()
    for item, name in ((bad, "failed"), (waiting, "cancelled")):
        reply = await fresh.client.get(f"/jobs/{item['job_id']}/events")
        ((event, data),) = read_events(reply.text)
        assert (event, data["status"]) == (name, name)
        assert data["message"]


async def test_waiting_for_events_holds_no_connection(fresh: Api) -> None:
    item = await queue(fresh, "a.txt")
    path = f"/jobs/{item['job_id']}/events"
    following = [asyncio.create_task(fresh.client.get(path)) for _ in range(30)]
    await asyncio.sleep(0.5)
    pool: Any = fresh.services.database.engine.pool
    held = []
    for _ in range(20):
        held.append(pool.checkedout())
        await asyncio.sleep(0.05)
    assert min(held) == 0, held
    assert (await fresh.client.get("/documents")).status_code == 200
    await fresh.client.post(f"/jobs/{item['job_id']}/cancel")
    for reply in await asyncio.gather(*following):
        assert read_events(reply.text)[-1][0] == "cancelled"
