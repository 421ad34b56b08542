"""POST /ingest/: texts become documents; one job waits for all; the same text is a no-op."""

import resource
import time
from typing import Any

import pytest

from api.stage import Api, require_problem
from citewell.records.verify import verify

HARBOUR = "The harbour of Delft has nine tide gauges. They are read every hour."
BELLS = "Church bells rang the hours. A sexton wound the clock each week."


async def send(api: Api, *texts: Any, **more: Any) -> Any:
    reply = await api.client.post("/ingest/", json={"texts": list(texts), **more})
    assert reply.status_code == 202, reply.text
    assert reply.headers["location"] == f"/ingest/{reply.json()['job_id']}"
    return reply.json()


async def look(api: Api, job_id: str) -> Any:
    reply = await api.client.get(f"/ingest/{job_id}")
    assert reply.status_code == 200
    return reply.json()


async def test_texts_become_documents(api: Api) -> None:
    named = {"text": BELLS, "name": "bells.md", "title": "Of bells", "metadata": {"year": 1400}}
    sent = await send(api, HARBOUR, named, metadata={"shelf": "towns", "year": 1})
    assert (sent["status"], sent["total"], sent["chunks_ok"]) == ("queued", 2, 0)
    assert [item["name"] for item in sent["texts"]] == [
        "The harbour of Delft has nine tide gauges.txt", "bells.md"]  # fmt: skip
    await api.work()
    done = await look(api, sent["job_id"])
    assert (done["status"], done["total"], done["chunks_ok"], done["failed"]) == ("done", 2, 2, 0)
    assert [item["status"] for item in done["texts"]] == ["done", "done"]
    second = (await api.client.get(f"/documents/{done['texts'][1]['document_id']}")).json()
    assert second["metadata"].items() >= {
        "shelf": "towns", "year": 1400, "title": "Of bells"}.items()  # fmt: skip
    answer = await api.ask("How many tide gauges does the harbour of Delft have?")
    assert not answer["refused"]
    assert answer["sources"][0]["document_id"] == done["texts"][0]["document_id"]
    await api.check_citations(answer)


async def test_the_same_text_again_changes_nothing_and_says_so(api: Api) -> None:
    given = ("Snow fell on the glass dome.", {"text": "Named snow.", "name": "snow"})
    first = await send(api, *given)
    await api.work()
    second = await send(api, *given)
    assert second["job_id"] != first["job_id"]
    assert (second["status"], second["chunks_ok"]) == ("done", 2)
    assert [item["status"] for item in second["texts"]] == ["unchanged", "unchanged"]
    assert [item["document_id"] for item in second["texts"]] == [
        item["document_id"] for item in first["texts"]]  # fmt: skip
    assert await api.work() == 0
    third = await send(api, {"text": "Named snow, now melted.", "name": "snow"})
    assert third["texts"][0]["document_id"] == first["texts"][1]["document_id"]
    await api.work()
    document = third["texts"][0]["document_id"]
    assert (await api.client.get(f"/documents/{document}/text")).text == "Named snow, now melted."


async def test_the_same_text_twice_in_one_request(api: Api) -> None:
    sent = await send(api, "Twice the same.", "Twice the same.")
    assert [item["status"] for item in sent["texts"]] == ["queued", "unchanged"]
    await api.work()
    done = await look(api, sent["job_id"])
    assert (done["status"], done["chunks_ok"]) == ("done", 1), "a document counts once"


async def test_one_bad_text_does_not_stop_the_others(api: Api) -> None:
    sent = await send(api, "A good text.", "%PDF-1.7 is no text at all")
    await api.work()
    done = await look(api, sent["job_id"])
    assert (done["status"], done["failed"], done["chunks_ok"]) == ("done", 1, 1)
    assert done["texts"][1]["status"] == "failed"
    assert done["texts"][1]["reason"]
    assert done["texts"][1]["message"]
    alone = await send(api, "%PDF-1.7 alone")
    await api.work()
    done = await look(api, alone["job_id"])
    assert (done["status"], done["reason"]) == ("failed", "all_failed")


async def test_a_deleted_text_lets_the_others_go_on(fresh: Api) -> None:
    sent = await send(fresh, "Stays here.", "Goes away.")
    gone = sent["texts"][1]["document_id"]
    assert (await fresh.client.delete(f"/documents/{gone}")).status_code == 204
    await fresh.work()
    done = await look(fresh, sent["job_id"])
    assert (done["status"], done["chunks_ok"], done["failed"]) == ("done", 1, 1)
    assert [item["status"] for item in done["texts"]] == ["done", "cancelled"]
    assert done["texts"][1]["reason"] == "document_deleted"
    found = (await fresh.client.post("/search", json={"query": "Goes away"})).json()["results"]
    assert [item["text"] for item in found] == ["Stays here."]
    checks = await verify(fresh.services.database, fresh.services.blobs)
    assert [check.invariant for check in checks if check.breaches] == []


async def test_its_jobs_are_listed_by_their_parent(api: Api) -> None:
    sent = await send(api, "First of the parts.", "Second of the parts.")
    listed = await api.client.get("/jobs", params={"parent_id": sent["job_id"]})
    parts = {job["job_id"] for job in listed.json()["jobs"]}
    assert parts == {item["job_id"] for item in sent["texts"]}
    job = (await api.client.get(f"/jobs/{sent['job_id']}")).json()
    assert (job["kind"], job["part_count"], job["open_parts"]) == ("texts", 2, 2)
    assert job["share"] == 0
    await api.work()
    job = (await api.client.get(f"/jobs/{sent['job_id']}")).json()
    assert (job["status"], job["open_parts"], job["share"]) == ("done", 0, 1)


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"texts": []},
        {"texts": [""]},
        {"texts": ["   \n "]},
        {"texts": ["a\u0000b"]},
        {"texts": [{"text": "a", "nme": "b"}]},
        {"texts": [{"name": "b"}]},
        {"texts": ["a"], "collection": "?"},
        {"texts": [{"text": "a", "name": "/../"}]},
        {"texts": [1]},
        {"texts": ["a"], "metadata": {"a": "x" * 100_001}},
        {"texts": ["a"], "metadata": {"a": "\u0000"}},
        [],
    ],
)
async def test_what_is_no_text_is_422(api: Api, body: Any) -> None:
    require_problem(await api.client.post("/ingest/", json=body), 422)


@pytest.mark.parametrize("part", [b"{},", b'"a",', b"[],", b'{"a":', b'""'])
async def test_a_body_of_too_many_values_costs_little(api: Api, part: bytes) -> None:
    """Each wrong value would become an error of a kilobyte, three bytes at a time."""
    body = b'{"texts":[' + part * 400_000 + b'"a"]}'
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = time.monotonic()
    reply = await api.client.post(
        "/ingest/", content=body, headers={"content-type": "application/json"}
    )
    require_problem(reply, 413)
    assert time.monotonic() - started < 2
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100 * 1024


@pytest.mark.parametrize("path", ["/ingest/", "/search", "/rag/pipeline"])
async def test_a_body_of_very_many_unknown_fields_costs_little(api: Api, path: str) -> None:
    body = {"texts": ["a"], **{f"k{number}": 0 for number in range(60_000)}}
    started = time.process_time()
    problem = require_problem(await api.client.post(path, json=body), 422)
    assert "at most 100 fields" in problem["detail"]
    assert time.process_time() - started < 2


async def test_other_bodies_are_refused(api: Api) -> None:
    as_text = {"content-type": "text/plain"}
    plain = await api.client.post("/ingest/", content=b'{"texts": ["a"]}', headers=as_text)
    require_problem(plain, 422)
    as_json = {"content-type": "application/json"}
    for content in (b"", b"{", b"\xff", b'{"texts": ["\\ud800"]}'):
        require_problem(await api.client.post("/ingest/", content=content, headers=as_json), 422)
    slashless = await api.client.post("/ingest", json={"texts": ["Without a slash."]})
    assert slashless.status_code == 202
    many = await api.client.post("/ingest/", json={"texts": ["a"] * 1001})
    require_problem(many, 413)
    nowhere = await api.client.post("/ingest/", json={"texts": ["a"], "collection": "nowhere"})
    require_problem(nowhere, 404)


async def test_a_body_larger_than_other_requests_may_have_is_taken(api: Api) -> None:
    sentence = "The lighthouse keeper wrote down the weather. "
    sent = await send(api, {"text": sentence * 30_000, "name": "weather"})
    assert sent["status"] == "queued"
    await api.client.post(f"/jobs/{sent['job_id']}/cancel")


async def test_an_unknown_or_other_job_is_404(api: Api) -> None:
    uploaded = (await api.upload(("file.txt", b"a file"))).json()["documents"][0]
    for job_id in (uploaded["job_id"], "nonsense", "00000000-0000-4000-8000-000000000000"):
        require_problem(await api.client.get(f"/ingest/{job_id}"), 404)
    await api.work()
