"""Quotas and the usage ledger: exact under parallel uploads, told in sentences, booked once."""

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest

from api.keyring import OWNER, bearer, make_key, make_workspace, open_guarded
from api.scripted import CLOCK, TEXT, ScriptedModel, use
from api.stage import Api, require_problem
from citewell.errors import ProviderBadReply
from citewell.ingest.pipeline import IngestPipeline
from citewell.records.usage import Entry, book, list_days
from citewell.records.verify import verify
from citewell.settings import Settings
from records.rows import value


@pytest.fixture
async def guarded(
    database_url: str,
    make_settings: Callable[..., Settings],
    ingest: IngestPipeline,
    tmp_path: Any,
) -> AsyncIterator[Api]:
    settings = make_settings(database_url, tmp_path, database_pool=10)
    async with open_guarded(settings, ingest) as opened:
        yield opened


async def put(api: Api, path: str, headers: dict[str, str] | None = None, **quota: Any) -> Any:
    reply = await api.client.put(path, json=quota, headers=headers)
    assert reply.status_code == 200, reply.text
    return reply.json()


async def quotas(api: Api) -> Any:
    return (await api.client.get("/quotas")).json()


async def require_healthy(api: Api) -> None:
    checks = await verify(api.services.database, api.services.blobs)
    assert [check for check in checks if check.breaches] == []


@pytest.mark.parametrize("path", ["/quotas", "/collections/default/quota"])
async def test_fifty_uploads_at_once_overshoot_nothing(fresh: Api, path: str) -> None:
    await put(fresh, path, documents=30)
    replies = await asyncio.gather(
        *(fresh.upload((f"{number}.txt", f"text {number}".encode())) for number in range(50))
    )
    statuses = [reply.status_code for reply in replies]
    assert statuses.count(202) == 30
    assert statuses.count(429) == 20
    problem = require_problem(
        next(reply for reply in replies if reply.status_code == 429), 429, "quota_exceeded"
    )
    assert "30 of 30 documents" in problem["detail"]
    assert "retry-after" not in next(r for r in replies if r.status_code == 429).headers
    assert await value(fresh.services.database, "SELECT count(*) FROM documents") == 30
    # What was refused left nothing behind.
    assert len(await fresh.services.blobs.list_hashes(0)) == 30
    await require_healthy(fresh)


async def test_bytes_are_exact_under_parallel_uploads_of_two_collections(fresh: Api) -> None:
    await fresh.client.post("/collections", json={"name": "papers"})
    await put(fresh, "/quotas", bytes=1000)
    await put(fresh, "/collections/papers/quota", bytes=400)
    replies = await asyncio.gather(
        *(
            fresh.upload((f"{n}.txt", f"{n:0100}".encode()), collection=name)
            for n in range(20)
            for name in ("papers", "default")
        )
    )
    assert sum(reply.status_code == 202 for reply in replies) == 10
    now = await quotas(fresh)
    assert now["workspace"]["used"]["bytes"] == 1000
    assert now["workspace"]["left"]["bytes"] == 0
    papers = next(each for each in now["collections"] if each["collection"] == "papers")
    assert papers["used"]["bytes"] <= 400


async def test_the_same_bytes_again_cost_nothing_and_deletion_gives_back(fresh: Api) -> None:
    await put(fresh, "/quotas", documents=2, bytes=100)
    first = (await fresh.upload(("a.txt", b"x" * 60))).json()["documents"][0]
    assert (await fresh.upload(("b.txt", b"y" * 40))).status_code == 202
    for _ in range(3):
        again = await fresh.upload(("a.txt", b"x" * 60))
        assert again.json()["documents"][0]["status"] == "unchanged"
    require_problem(await fresh.upload(("c.txt", b"z")), 429, "quota_exceeded")
    problem = require_problem(await fresh.upload(("a.txt", b"x" * 61)), 429, "quota_exceeded")
    assert "100 of 100 bytes" in problem["detail"]
    # A smaller version is no growth; several files of one request are taken together or not at all.
    assert (await fresh.upload(("a.txt", b"x" * 10))).status_code == 202
    both = await fresh.upload(("b.txt", b"y" * 80), ("c.txt", b"z"))
    require_problem(both, 429, "quota_exceeded")
    assert (await quotas(fresh))["workspace"]["left"] == {
        "documents": 0,
        "bytes": 50,
        "chunks": None,
        "tokens_per_day": None,
        "cost_usd_per_day": None,
    }
    deleted = await fresh.client.delete(f"/documents/{first['document_id']}")
    assert deleted.status_code == 204
    assert (await fresh.upload(("c.txt", b"z" * 60))).status_code == 202
    await require_healthy(fresh)


async def test_texts_are_under_the_quota_too(fresh: Api) -> None:
    await put(fresh, "/collections/default/quota", documents=1)
    reply = await fresh.client.post("/ingest/", json={"texts": ["one text", "another text"]})
    problem = require_problem(reply, 429, "quota_exceeded")
    assert "collection" in problem["detail"]
    assert await value(fresh.services.database, "SELECT count(*) FROM jobs") == 0


async def test_chunks_are_counted_before_a_version_is_published(fresh: Api) -> None:
    await fresh.add("small.txt", "One small text.")
    await put(fresh, "/quotas", chunks=2)
    await fresh.add("next.txt", "One more small text.")
    reply = await fresh.upload(("third.txt", b"A third small text."))
    job = reply.json()["documents"][0]["job_id"]
    await fresh.work()
    state = (await fresh.client.get(f"/jobs/{job}")).json()
    assert (state["status"], state["reason"]) == ("failed", "quota_exceeded")
    assert "2 of 2 chunks" in state["message"]
    assert (await quotas(fresh))["workspace"]["used"]["chunks"] == 2
    # A document that does not grow is published; with more room the job can be tried again.
    await fresh.add("small.txt", "Another small text.")
    await put(fresh, "/quotas", chunks=3)
    assert (await fresh.client.post(f"/jobs/{job}/retry")).status_code == 202
    await fresh.work()
    assert (await fresh.client.get(f"/jobs/{job}")).json()["status"] == "done"
    await require_healthy(fresh)


async def test_a_large_document_is_under_the_chunk_quota_too(fresh: Api) -> None:
    await put(fresh, "/collections/default/quota", chunks=20)
    large = "\n\n".join(f"# Part {n}\n\nIt tells of one thing, or of {n}." for n in range(600))
    reply = await fresh.upload(("large.md", large.encode()))
    job = reply.json()["documents"][0]["job_id"]
    await fresh.work()
    state = (await fresh.client.get(f"/jobs/{job}")).json()
    assert (state["status"], state["reason"]) == ("failed", "quota_exceeded"), state
    assert "0 of 20 chunks" in state["message"]
    assert await value(fresh.services.database, "SELECT count(*) FROM chunks") == 0
    await put(fresh, "/collections/default/quota")
    await fresh.client.post(f"/jobs/{job}/retry")
    assert await fresh.work() > 1, "it is staged in parts, each a job"
    assert (await fresh.client.get(f"/jobs/{job}")).json()["status"] == "done"
    booked = await value(
        fresh.services.database, "SELECT sum(chunks) FROM usage_ledger WHERE kind = 'publish'"
    )
    assert booked == await value(fresh.services.database, "SELECT count(*) FROM chunks")
    await require_healthy(fresh)


@pytest.fixture
async def clock(fresh: Api) -> Api:
    """One document, and a model whose answers cost 120 tokens and half a cent."""
    await fresh.add("clock.txt", TEXT)
    return use(fresh, ScriptedModel())


@pytest.mark.parametrize("quota", [{"tokens_per_day": 240}, {"cost_usd_per_day": 0.01}])
@pytest.mark.parametrize("path", ["/quotas", "/collections/default/quota"])
async def test_tokens_and_money_of_a_day_run_out(
    clock: Api, path: str, quota: dict[str, Any]
) -> None:
    await put(clock, path, **quota)
    ask = {"question": CLOCK, "collection": "default"}
    for _ in range(2):
        assert (await clock.client.post("/query", json=ask)).status_code == 200
    refused = await clock.client.post("/query", json=ask)
    problem = require_problem(refused, 429, "quota_exceeded")
    assert "midnight UTC" in problem["detail"]
    now = datetime.now(UTC)
    left = 86400 - (now.hour * 3600 + now.minute * 60 + now.second)
    assert abs(int(refused.headers["retry-after"]) - left) <= 5
    for route, body in (
        ("/query/stream", ask),
        ("/chat", {"message": CLOCK, "collection": "default"}),
        ("/rag/query", ask),
        ("/v1/chat/completions", {"model": "default", "messages": [
            {"role": "user", "content": CLOCK}]}),
    ):  # fmt: skip
        assert (await clock.client.post(route, json=body)).status_code == 429, route
    assert (await clock.client.post("/search", json={"query": CLOCK})).status_code == 200


async def test_a_question_that_waited_for_a_worker_is_refused_when_its_turn_comes(
    clock: Api,
) -> None:
    reply = await clock.client.post("/rag/query", json={"question": CLOCK})
    await put(clock, "/quotas", tokens_per_day=100)
    await clock.ask(CLOCK)
    await clock.work()
    result = (await clock.client.get(f"/result/{reply.json()['task_id']}")).json()
    assert (result["status"], result["reason"]) == ("failed", "quota_exceeded")


async def test_every_question_is_booked_once_whoever_asks_it(clock: Api) -> None:
    await clock.ask(CLOCK)
    await clock.ask(CLOCK, collection="default")
    await clock.client.post("/query/stream", json={"question": CLOCK})
    await clock.client.post("/rag/query", json={"question": CLOCK})
    await clock.work()
    body = {"model": "citewell", "messages": [{"role": "user", "content": CLOCK}]}
    for streamed in (False, True):
        reply = await clock.client.post("/v1/chat/completions", json=body | {"stream": streamed})
        assert reply.status_code == 200
    embedded = {"model": "all-MiniLM-L6-v2", "input": ["one", "two"]}
    reply = (await clock.client.post("/v1/embeddings", json=embedded)).json()
    usage = (await clock.client.get("/usage")).json()
    days = {day["collection"]: day for day in usage["days"]}
    assert days[None]["questions"] == 5
    assert days[None]["input_tokens"] == 5 * 100 + reply["usage"]["prompt_tokens"]
    assert days["default"] == {
        "workspace_id": days[None]["workspace_id"],
        "day": datetime.now(UTC).date().isoformat(),
        "collection": "default",
        "removed": False,
        "questions": 1,
        "input_tokens": 100,
        "output_tokens": 20,
        "cost_usd": 0.005,
        "documents": 1,
        "bytes": len(TEXT),
        "chunks": 1,
    }
    assert usage["quotas"]["workspace"]["used"]["tokens_per_day"] == sum(
        day["input_tokens"] + day["output_tokens"] for day in usage["days"]
    )
    await require_healthy(clock)


async def test_what_a_question_spent_before_it_failed_is_booked(clock: Api) -> None:
    class Spends(ScriptedModel):
        async def write(self, task: Any) -> Any:
            async for item in super().write(task):
                yield item
            raise ProviderBadReply

    api = use(clock, Spends())
    assert (await api.client.post("/query", json={"question": CLOCK})).status_code == 502
    body = {"model": "citewell", "messages": [{"role": "user", "content": CLOCK}]}
    assert (await api.client.post("/v1/chat/completions", json=body)).status_code == 502
    count = "SELECT count(*) FROM usage_ledger WHERE kind = 'failure' AND output_tokens = 20"
    rows = [0]

    async def look() -> None:
        rows[0] = await value(api.services.database, count)

    for _ in range(50):
        await look()
        if rows[0] == 2:
            break
        await asyncio.sleep(0.05)
    assert rows[0] == 2
    usage = (await api.client.get("/usage")).json()
    assert sum(day["questions"] for day in usage["days"]) == 0
    assert sum(day["output_tokens"] for day in usage["days"]) == 40
    await require_healthy(api)


async def test_the_same_thing_is_booked_once_and_by_its_principal(guarded: Api) -> None:
    database, workspace = guarded.services.database, await make_workspace(guarded)
    entry = Entry("question", uuid4(), input_tokens=5)

    async def once() -> None:
        async with database.transaction(workspace) as connection:
            await book(connection, workspace, [entry])

    await asyncio.gather(*(once() for _ in range(20)))
    today = datetime.now(UTC).date()
    async with database.transaction(workspace) as connection:
        (row,) = await list_days(connection, workspace, today, today)
    assert (row.questions, row.input_tokens, row.collection) == (1, 5, None)
    editor = bearer(await make_key(guarded, "editor", workspace))
    upload = [("files", ("a.txt", b"text"))]
    await guarded.client.post("/documents/upload", files=upload, headers=editor)
    booked = (
        "SELECT p.lookup FROM usage_ledger u JOIN principals p ON p.id = u.principal_id "
        "WHERE u.kind = 'upload'"
    )
    assert await value(database, booked) == editor["Authorization"].split()[1][3:15]


async def test_who_may_set_and_see_what(guarded: Api) -> None:
    own, foreign = await make_workspace(guarded), await make_workspace(guarded)
    keys = {
        role: bearer(await make_key(guarded, role, own)) for role in ("viewer", "editor", "admin")
    }
    owner = OWNER | {"X-Workspace-ID": str(own)}
    get, put_ = guarded.client.get, guarded.client.put
    await put(guarded, "/quotas", owner, documents=5)
    await put(guarded, "/collections/default/quota", keys["admin"], documents=3)
    for role in ("viewer", "editor", "admin"):
        reply = await put_("/quotas", json={"documents": 9}, headers=keys[role])
        require_problem(reply, 403, "forbidden")
    for role in ("viewer", "editor"):
        reply = await put_("/collections/default/quota", json={}, headers=keys[role])
        require_problem(reply, 403, "forbidden")
        require_problem(await get("/usage", headers=keys[role]), 403, "forbidden")
        seen = (await get("/quotas", headers=keys[role])).json()["workspace"]
        assert (seen["allowed"]["documents"], seen["used"], seen["left"]) == (5, None, None)
    seen = (await get("/collections/default/quota", headers=keys["admin"])).json()
    assert seen["left"]["documents"] == 3
    require_problem(await get("/collections/none/quota", headers=keys["admin"]), 404)
    require_problem(await put_("/collections/none/quota", json={}, headers=keys["admin"]), 404)
    require_problem(await put_("/quotas", json={"documents": -1}, headers=owner), 422)
    require_problem(await put_("/quotas", json={"sheep": 1}, headers=owner), 422)
    for workspace in (own, foreign):
        headers = OWNER | {"X-Workspace-ID": str(workspace)}
        await guarded.client.post(
            "/documents/upload", files=[("files", ("a.txt", b"text"))], headers=headers
        )
    mine = (await get("/usage", headers=keys["admin"])).json()
    assert {day["workspace_id"] for day in mine["days"]} == {str(own)}
    require_problem(await get("/usage", params={"all": "true"}, headers=keys["admin"]), 403)
    everything = (await get("/usage", params={"all": "true"}, headers=OWNER)).json()
    assert {day["workspace_id"] for day in everything["days"]} == {str(own), str(foreign)}
    changed = "SELECT count(*) FROM audit_log WHERE action = 'quota.change'"
    assert await value(guarded.services.database, changed) == 2


async def test_usage_outlives_its_collection_and_its_quota_does_not(fresh: Api) -> None:
    await fresh.client.post("/collections", json={"name": "papers"})
    await put(fresh, "/collections/papers/quota", documents=1)
    await fresh.add("a.txt", "Some text.", collection="papers")
    assert (await fresh.client.delete("/collections/papers")).status_code == 204
    (day,) = (await fresh.client.get("/usage")).json()["days"]
    assert (day["collection"], day["removed"], day["documents"]) == (None, True, 1)
    assert await value(fresh.services.database, "SELECT count(*) FROM quotas") == 0
    await require_healthy(fresh)


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ({}, 200),
        ({"from": "2026-01-01", "to": "2026-01-31"}, 200),
        ({"from": "2026-02-01", "to": "2026-01-31"}, 422),
        ({"from": "2020-01-01", "to": "2026-01-31"}, 422),
        ({"to": "0001-01-01"}, 200),
        ({"from": "9999-12-31"}, 422),
        ({"from": "yesterday"}, 422),
    ],
)
async def test_usage_of_days(api: Api, query: dict[str, str], status: int) -> None:
    reply = await api.client.get("/usage", params=query)
    assert reply.status_code == status, reply.text


async def test_questions_at_once_do_not_wait_for_one_another_and_sum_up(clock: Api) -> None:
    await asyncio.gather(*(clock.ask(CLOCK) for _ in range(50)))
    usage = (await clock.client.get("/usage")).json()
    assert sum(day["questions"] for day in usage["days"]) == 50
    assert sum(day["output_tokens"] for day in usage["days"]) == 50 * 20
    await require_healthy(clock)
