"""Reindexing: a new version of the same bytes, searchable without a gap, vectors reused."""

import asyncio
from typing import Any
from uuid import uuid4

from sqlalchemy import text

from api.stage import Api, require_problem
from citewell.records.verify import verify

PARAGRAPHS = [f"Paragraph {n} tells of the {n}th tide gauge on the quay." for n in range(40)]


async def versions(api: Api, document_id: str) -> list[dict[str, Any]]:
    reply = await api.client.get(f"/documents/{document_id}/versions")
    assert reply.status_code == 200, reply.text
    return reply.json()["versions"]


async def breaches(api: Api) -> list[str]:
    checks = await verify(api.services.database, api.services.blobs)
    return [check.invariant for check in checks if check.breaches]


async def test_a_document_is_read_anew(fresh: Api) -> None:
    document = await fresh.add("gauges.md", "\n\n".join(PARAGRAPHS))
    path = f"/documents/{document['document_id']}"
    reply = await fresh.client.post(f"{path}/reindex")
    assert reply.status_code == 202
    assert (reply.json()["status"], reply.json()["documents"]) == ("queued", 1)
    assert reply.headers["location"] == f"/jobs/{reply.json()['job_id']}"
    waiting = await fresh.client.post(f"{path}/reindex")
    assert waiting.json()["job_id"] == reply.json()["job_id"], "it is left to the job that waits"
    found = await versions(fresh, document["document_id"])
    assert [(item["number"], item["active"]) for item in found] == [(2, False), (1, True)]
    assert {item["sha256"] for item in found} == {document["sha256"]}
    assert (await fresh.client.get(path)).json()["chunk_count"] == document["chunk_count"]
    await fresh.work()
    found = await versions(fresh, document["document_id"])
    assert [(item["number"], item["active"]) for item in found] == [(2, True), (1, False)]
    assert found[0]["published_at"] > found[1]["published_at"]
    job = (await fresh.client.get(f"/jobs/{reply.json()['job_id']}")).json()
    assert (job["kind"], job["chunk_count"]) == ("reindex", document["chunk_count"])
    assert job["progress"]["reused"] == document["chunk_count"], "no text changed"
    assert await breaches(fresh) == []


async def test_a_change_embeds_only_what_changed(fresh: Api) -> None:
    first = "\n\n".join(f"# {n}\n\n{line}" for n, line in enumerate(PARAGRAPHS))
    document = await fresh.add("book.md", first)
    changed = await fresh.add("book.md", first.replace("7th tide gauge on", "7th bell above"))
    assert changed["version"] == 2
    job = (await fresh.client.get(f"/jobs/{changed['job_id']}")).json()
    new = job["chunk_count"] - job["progress"]["reused"]
    assert 0 < new <= 5, job
    assert document["document_id"] == changed["document_id"]


async def test_a_large_document_tells_its_steps_and_keeps_its_vectors(fresh: Api) -> None:
    document = await fresh.add("log.md", "\n\n".join(f"# {n}\n\nEbb {n}." for n in range(600)))
    job = (await fresh.client.get(f"/jobs/{document['job_id']}")).json()
    assert job["part_count"] == 5
    assert (job["progress"]["reused"], job["chunk_count"]) == (0, 600)
    seconds = {step["name"]: step["seconds"] for step in job["steps"]}
    assert min(seconds["parse"], seconds["chunk"], seconds["publish"]) > 0
    await fresh.client.post(f"/documents/{document['document_id']}/reindex")
    await fresh.work()
    again = (await fresh.client.get("/jobs", params={"kind": "reindex"})).json()["jobs"][0]
    assert (again["status"], again["part_count"]) == ("done", 0), "nothing was to be embedded"
    assert again["progress"]["reused"] == 600
    assert await breaches(fresh) == []


async def test_a_collection_is_read_anew(fresh: Api) -> None:
    await fresh.client.post("/collections", json={"name": "shelf"})
    await fresh.client.post("/collections", json={"name": "empty"})
    names = [f"{n}.txt" for n in range(7)]
    for name in names:
        await fresh.add(name, f"Text of {name}.", collection="shelf")
    other = await fresh.add("other.txt", "Not on the shelf.")
    busy = (await fresh.upload(("0.txt", b"Newer."), collection="shelf")).json()["documents"][0]
    reply = (await fresh.client.post("/collections/shelf/reindex")).json()
    assert (reply["status"], reply["documents"]) == ("running", 6), "one has a job already"
    async with fresh.services.database.system_transaction() as connection:
        unsent = "SELECT count(*) FROM jobs WHERE status = 'queued' AND sent_at IS NULL"
        assert await connection.scalar(text(unsent)) == 0
    assert await fresh.work() == 7
    job = (await fresh.client.get(f"/jobs/{reply['job_id']}")).json()
    assert (job["kind"], job["status"], job["part_count"]) == ("reindex", "done", 6)
    assert (job["open_parts"], job["failed_parts"], job["share"]) == (0, 0, 1)
    listed = await fresh.client.get("/documents", params={"collection": "shelf"})
    assert {item["version"] for item in listed.json()["documents"]} == {2}
    assert busy["document_id"] in {item["document_id"] for item in listed.json()["documents"]}
    assert len(await versions(fresh, other["document_id"])) == 1
    none = (await fresh.client.post("/collections/empty/reindex")).json()
    assert (none["status"], none["documents"]) == ("done", 0)
    assert await breaches(fresh) == []


async def test_reindexing_while_others_upload(fresh: Api) -> None:
    for n in range(5):
        await fresh.add(f"{n}.txt", f"Text {n}.")

    async def upload(n: int) -> int:
        return (await fresh.upload((f"{n % 5}.txt", f"Newer {n}.".encode()))).status_code

    async def reindex() -> int:
        return (await fresh.client.post("/collections/default/reindex")).status_code

    codes = await asyncio.gather(*(upload(n) for n in range(20)), *(reindex() for _ in range(4)))
    assert set(codes) == {202}
    await fresh.work()
    for job in (await fresh.client.get("/jobs", params={"limit": 200})).json()["jobs"]:
        assert job["status"] == "done", job
    assert await breaches(fresh) == []


async def test_unknown_ones_are_404(api: Api) -> None:
    for path in (f"/documents/{uuid4()}", "/documents/nonsense", "/collections/nowhere"):
        require_problem(await api.client.post(f"{path}/reindex"), 404)
    require_problem(await api.client.get(f"/documents/{uuid4()}/versions"), 404)


async def test_known_files_need_no_upload(fresh: Api) -> None:
    document = await fresh.add("part1/a.txt", "Known.")
    await fresh.upload(("queued.txt", b"Queued."))
    reply = await fresh.upload(("bad.pdf", b"%PDF-1.7\n" + b"garbage " * 50))
    failed = reply.json()["documents"][0]["job_id"]
    await fresh.client.post(f"/jobs/{failed}/cancel")
    sha = {item["source"]: item["sha256"]
           for item in (await fresh.client.get("/documents")).json()["documents"]}  # fmt: skip
    files = [
        {"source": "./part1\\a.txt", "sha256": sha["part1/a.txt"]},
        {"source": "part1/a.txt", "sha256": "0" * 64},
        {"source": "queued.txt", "sha256": sha["queued.txt"]},
        {"source": "bad.pdf", "sha256": sha["bad.pdf"]},
        {"source": "new.txt", "sha256": sha["part1/a.txt"]},
    ]
    reply = await fresh.client.post("/documents/known", json={"files": files})
    assert reply.status_code == 200, reply.text
    known = {item["source"]: item for item in reply.json()["files"]}
    assert known.keys() == {"./part1\\a.txt", "queued.txt"}
    first = known["./part1\\a.txt"]
    assert (first["document_id"], first["status"]) == (document["document_id"], "done")
    assert first["chunk_count"] == 1
    assert known["queued.txt"]["status"] == "queued"
    for body in ({"files": [{"source": "a", "sha256": "x"}]}, {"files": [{"source": "a"}]}):
        require_problem(await fresh.client.post("/documents/known", json=body), 422)
