"""Exports: made by a worker, told in their own words, downloaded by admins of the workspace."""

import asyncio
import csv
import hashlib
import io
import json
import os
import time
import tracemalloc
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text

from api.keyring import OWNER, bearer, make_key, make_workspace, open_guarded
from api.stage import Api, require_problem
from citewell.domain import INSTALLATION, PUBLIC_WORKSPACE, JobId
from citewell.errors import LeaseLost
from citewell.ingest.pipeline import IngestPipeline
from citewell.records.audit_chain import verify_chains
from citewell.records.leases import claim_jobs, requeue_expired
from citewell.records.verify import verify
from citewell.settings import Settings
from citewell.worker.exporting import make_export

BAD_NAME = "=HYPERLINK(1).txt"


@pytest.fixture
async def guarded(
    database_url: str,
    make_settings: Callable[..., Settings],
    ingest: IngestPipeline,
    tmp_path: Any,
) -> AsyncIterator[Api]:
    async with open_guarded(make_settings(database_url, tmp_path), ingest) as opened:
        yield opened


async def ask_for(api: Api, kind: str, **body: Any) -> dict[str, Any]:
    reply = await api.client.post("/exports", json={"kind": kind, **body})
    assert reply.status_code == 202, reply.text
    assert reply.headers["location"] == f"/exports/{reply.json()['export_id']}"
    return reply.json()


async def export(api: Api, kind: str, **body: Any) -> tuple[dict[str, Any], bytes]:
    """Make an export as a worker does; return it, and its file's bytes."""
    made = await ask_for(api, kind, **body)
    assert made["status"] == "pending"
    await api.work()
    ended = (await api.client.get(f"/exports/{made['export_id']}")).json()
    assert ended["status"] == "succeeded", ended
    reply = await api.client.get(f"/exports/{made['export_id']}/download")
    assert reply.status_code == 200
    assert ended["sha256"] == hashlib.sha256(reply.content).hexdigest()
    assert ended["size_bytes"] == len(reply.content)
    assert ended["share"] == 1.0
    return ended, reply.content


def rows_of(content: bytes) -> list[dict[str, Any]]:
    return [json.loads(line) for line in content.decode().splitlines()]


def cells_of(content: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(content.decode(), newline="")))


async def stored(api: Api) -> list[str]:
    return await api.services.blobs.list_hashes(-1)


async def run_sql(api: Api, statement: str, **values: Any) -> Any:
    async with api.services.database.system_transaction() as connection:
        return await connection.execute(text(statement), values)


async def test_documents_are_exported_with_what_lists_show_of_them(fresh: Api) -> None:
    kept = await fresh.add("a.txt", "Water boils at 100 degrees.", metadata='{"shelf": [1, 2]}')
    await fresh.add("b.txt", "Ice melts at 0 degrees.")
    await fresh.add("a.txt", "Water boils at 373 kelvin.")
    ended, content = await export(fresh, "documents")
    first, second = rows_of(content)
    assert ended["row_count"] == 2
    assert (first["document_id"], first["name"], first["collection"]) == (
        kept["document_id"],
        "a.txt",
        "default",
    )
    assert (first["status"], first["versions"], first["version"]) == ("ready", 2, 2)
    assert first["metadata"]["shelf"] == [1, 2]
    assert first["chunk_count"] == 1
    assert second["size_bytes"] == len("Ice melts at 0 degrees.")


async def test_chat_logs_and_feedback_are_exported_and_filtered(fresh: Api) -> None:
    await fresh.add("clock.txt", "The clock in the tower was built in 1859 by Edward Dent.")
    answer = await fresh.ask("Who built the clock in the tower?")
    refused = await fresh.ask("How long should sourdough bread rise?")
    assert (answer["refused"], refused["refused"]) == (False, True)
    for found, rating in ((answer, "up"), (refused, "down")):
        path = f"/answers/{found['answer_id']}/feedback"
        said = await fresh.client.post(path, json={"rating": rating, "comment": "+1, good"})
        assert said.status_code == 200
    _, content = await export(fresh, "chat_logs")
    rows = rows_of(content)
    assert [row["answer_id"] for row in rows] == [answer["answer_id"], refused["answer_id"]]
    assert rows[0]["answer"] == answer["answer"]
    assert rows[0]["citations"][0]["quote"] == answer["citations"][0]["quote"]
    assert rows[1]["reason"] == refused["reason"]
    _, content = await export(fresh, "chat_logs", filters={"refused": True})
    assert [row["answer_id"] for row in rows_of(content)] == [refused["answer_id"]]
    _, content = await export(fresh, "feedback", filters={"rating": "up"}, format="csv")
    (row,) = cells_of(content)
    assert (row["answer_id"], row["rating"]) == (answer["answer_id"], "up")
    assert row["comment"] == "'+1, good"
    _, content = await export(fresh, "feedback", filters={"from": "2099-01-01T00:00:00Z"})
    assert content == b""


async def test_usage_is_exported_and_a_log_outlives_its_text(fresh: Api) -> None:
    document = await fresh.add("clock.txt", "The clock in the tower was built in 1859 by Dent.")
    answer = await fresh.ask("Who built the clock in the tower?")
    _, content = await export(fresh, "usage", format="csv")
    rows = {row["kind"]: row for row in cells_of(content)}
    question = next(row for row in rows.values() if row["reference"] == answer["answer_id"])
    _, content = await export(fresh, "usage", filters={"kind": question["kind"]})
    assert [row["reference"] for row in rows_of(content)] == [answer["answer_id"]]
    assert sum(int(row["documents"]) for row in rows.values()) == 1
    assert sum(int(row["chunks"]) for row in rows.values()) == 1
    await fresh.client.delete(f"/documents/{document['document_id']}")
    _, content = await export(fresh, "chat_logs")
    (row,) = rows_of(content)
    assert row["answer_id"] == answer["answer_id"]
    assert row["question"] is row["answer"] is row["citations"] is None
    assert row["actor"] == "local"


async def test_the_audit_log_is_exported_with_the_export_itself(fresh: Api) -> None:
    await fresh.add("a.txt", "text of a document")
    made, content = await export(fresh, "audit", format="csv")
    rows = cells_of(content)
    assert [row["action"] for row in rows] == ["document.upload", "export.add"]
    assert rows[1]["target"] == made["export_id"]
    await fresh.client.delete(f"/exports/{made['export_id']}")
    _, content = await export(fresh, "audit", filters={"action": "export.delete"})
    assert [row["target"] for row in rows_of(content)] == [made["export_id"]]
    found = await run_sql(fresh, "SELECT action FROM audit_log ORDER BY id")
    assert list(found.scalars()) == [
        "document.upload", "export.add", "export.download", "export.delete", "export.add",
        "export.download",
    ]  # fmt: skip


def chain_of(workspace: UUID, rows: list[dict[str, Any]]) -> list[str]:
    """Make the hashes again by what docs/audit.md says, of nothing but an export's rows."""
    link, made = bytes(32), []
    for row in rows:
        at = datetime.fromisoformat(row["created_at"])
        micros = (at - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
        names = ("action", "target", "actor", "principal_id", "request_id", "outcome")
        words = [row[name] for name in names]
        written = json.dumps([str(workspace), row["id"], *words, micros], ensure_ascii=False)
        link = hashlib.sha256(link + written.encode()).digest()
        made.append(link.hex())
    return made


async def test_an_exported_log_can_be_checked_against_an_anchor(fresh: Api) -> None:
    for number in range(3):
        await fresh.add(f"{number}.txt", f"The text of document ü{number}.")
    _, content = await export(fresh, "audit")
    rows = rows_of(content)
    assert [row["position"] for row in rows] == [1, 2, 3, 4]
    assert chain_of(PUBLIC_WORKSPACE, rows) == [row["hash"] for row in rows]
    (chain,) = await verify_chains(fresh.services.database, PUBLIC_WORKSPACE, ())
    assert (chain.length - 1, chain.broken) == (4, ()), "the download came after"
    listed = (await fresh.client.get("/audit")).json()["entries"]
    of_list = {each["position"]: (each["id"], each["hash"]) for each in listed}
    assert [of_list[row["position"]] for row in rows] == [(row["id"], row["hash"]) for row in rows]


async def test_an_owner_alone_exports_what_concerns_the_installation(guarded: Api) -> None:
    await make_key(guarded, "owner")
    admin = bearer(await make_key(guarded, "admin"))
    asked = {"kind": "audit", "filters": {"installation": True}}
    reply = await guarded.client.post("/exports", json=asked, headers=admin)
    require_problem(reply, 403, "forbidden")
    guarded.client.headers.update(OWNER)
    made, content = await export(guarded, "audit", filters=asked["filters"])
    rows = rows_of(content)
    assert "key.add" in [row["action"] for row in rows]
    assert "export.add" not in [row["action"] for row in rows]
    assert chain_of(INSTALLATION, rows) == [row["hash"] for row in rows]
    path = f"/exports/{made['export_id']}"
    for method, place in (
        ("GET", path), ("GET", f"{path}/download"), ("POST", f"{path}/retry"), ("DELETE", path),
    ):  # fmt: skip
        require_problem(await guarded.client.request(method, place, headers=admin), 404)
    listed = await guarded.client.get("/exports", headers=admin)
    assert listed.json()["exports"] == []
    assert len((await guarded.client.get("/exports")).json()["exports"]) == 1


async def test_an_export_ends_where_it_was_asked_for(fresh: Api) -> None:
    made = await ask_for(fresh, "documents")
    await fresh.add("late.txt", "It came after the export was asked for.")
    ended = (await fresh.client.get(f"/exports/{made['export_id']}")).json()
    assert (ended["status"], ended["row_count"]) == ("succeeded", 0)


async def test_batches_hold_every_row_once_and_in_order(fresh: Api) -> None:
    await run_sql(
        fresh,
        "INSERT INTO feedback (workspace_id, answer_id, rating, question, created_at) "
        "SELECT :w, gen_random_uuid(), 1, n::text, now() - make_interval(secs => n / 7) "
        "FROM generate_series(1, 1250) n",
        w=PUBLIC_WORKSPACE,
    )
    _, content = await export(fresh, "feedback")
    rows = rows_of(content)
    assert {row["question"] for row in rows} == {str(n) for n in range(1, 1251)}
    assert rows == sorted(rows, key=lambda row: (row["created_at"], row["answer_id"]))


async def test_memory_does_not_grow_with_the_rows(fresh: Api) -> None:
    async def peak_of(rows: int) -> int:
        await run_sql(
            fresh,
            "INSERT INTO audit_log (workspace_id, action, target, outcome) SELECT :w, "
            "'test.' || :rows, repeat('x', 100), 'done' FROM generate_series(1, :rows) n",
            w=PUBLIC_WORKSPACE,
            rows=rows,
        )
        made = await ask_for(fresh, "audit", filters={"action": f"test.{rows}"}, format="csv")
        tracemalloc.start()
        try:
            await fresh.work()
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        ended = (await fresh.client.get(f"/exports/{made['export_id']}")).json()
        assert ended["row_count"] == rows
        return peak

    small = await peak_of(2_000)
    assert await peak_of(15_000) < small * 1.5 + 1_000_000


async def test_only_admins_of_the_workspace_see_and_make_exports(guarded: Api) -> None:
    own, foreign = await make_workspace(guarded), await make_workspace(guarded)
    admin = bearer(await make_key(guarded, "admin", own))
    stranger = bearer(await make_key(guarded, "admin", foreign))
    client, body = guarded.client, {"kind": "audit"}
    for role in ("viewer", "editor"):
        headers = bearer(await make_key(guarded, role, own))
        for reply in (
            await client.get("/exports", headers=headers),
            await client.post("/exports", json=body, headers=headers),
        ):
            require_problem(reply, 403, "forbidden")
    made = (await client.post("/exports", json=body, headers=admin)).json()
    assert made["created_by"] == f"key:{admin['Authorization'][7:22]}"
    await guarded.work()
    path = f"/exports/{made['export_id']}"
    for headers in (stranger, OWNER | {"X-Workspace-ID": str(foreign)}):
        require_problem(await client.get(path, headers=headers), 404)
        require_problem(await client.get(f"{path}/download", headers=headers), 404)
        require_problem(await client.post(f"{path}/retry", headers=headers), 404)
        require_problem(await client.delete(path, headers=headers), 404)
        assert (await client.get("/exports", headers=headers)).json()["exports"] == []
    reply = await client.get(f"{path}/download", headers=admin)
    assert {json.loads(line)["action"] for line in reply.text.splitlines()} == {
        "key.add",
        "access.denied",
        "export.add",
    }
    editor = bearer(await make_key(guarded, "editor", own))
    job = f"/jobs/{made['export_id']}"
    require_problem(await client.post(f"{job}/retry", headers=editor), 409)
    await client.post("/exports", json=body, headers=admin)
    (second, _) = (await client.get("/exports", headers=admin)).json()["exports"]
    job = f"/jobs/{second['export_id']}"
    require_problem(await client.post(f"{job}/cancel", headers=editor), 409)


async def test_an_archived_workspace_can_be_exported(guarded: Api) -> None:
    own = await make_workspace(guarded)
    admin = bearer(await make_key(guarded, "admin", own))
    await run_sql(guarded, "UPDATE workspaces SET archived_at = now() WHERE id = :w", w=own)
    reply = await guarded.client.post("/exports", json={"kind": "audit"}, headers=admin)
    assert reply.status_code == 202


async def test_the_download_is_a_file_that_no_browser_shows(fresh: Api) -> None:
    await fresh.add("a.txt", "text of a document")
    made, content = await export(fresh, "documents", format="csv")
    path = f"/exports/{made['export_id']}/download"
    reply = await fresh.client.get(path)
    assert reply.headers["content-type"] == "text/csv; charset=utf-8"
    assert reply.headers["x-content-type-options"] == "nosniff"
    assert reply.headers["content-disposition"].startswith('attachment; filename="documents-')
    assert "no-store" in reply.headers["cache-control"]
    size = len(content)
    for wanted, part in (
        ("bytes=3-10", content[3:11]),
        ("bytes=10-", content[10:]),
        ("bytes=-5", content[-5:]),
    ):
        reply = await fresh.client.get(path, headers={"Range": wanted})
        assert (reply.status_code, reply.content) == (206, part)
    for ignored in ("bytes=9-3", f"bytes={size}-", "bytes=-0", "lines=1-2", "bytes=1-2,4-5"):
        reply = await fresh.client.get(path, headers={"Range": ignored})
        assert (reply.status_code, reply.content) == (200, content), ignored


async def test_an_export_without_a_file_cannot_be_downloaded(fresh: Api) -> None:
    made = await ask_for(fresh, "audit")
    path = f"/exports/{made['export_id']}"
    require_problem(await fresh.client.get(f"{path}/download"), 409, "conflict")
    require_problem(await fresh.client.post(f"{path}/retry"), 409)
    for unknown in (uuid4(), "x"):
        require_problem(await fresh.client.get(f"/exports/{unknown}/download"), 404)


@pytest.mark.parametrize(
    "body",
    [
        {"kind": "secrets"},
        {"kind": "audit", "format": "xlsx"},
        {"kind": "audit", "filters": {"rating": "up"}},
        {"kind": "feedback", "filters": {"from": "yesterday"}},
        {"kind": "audit", "filters": {"actor": "a\u0000b"}},
        {"format": "csv"},
    ],
)
async def test_what_is_not_understood_is_refused(api: Api, body: dict[str, Any]) -> None:
    require_problem(await api.client.post("/exports", json=body), 422, "invalid")


async def test_the_same_key_makes_one_export(fresh: Api) -> None:
    headers, body = {"Idempotency-Key": "once"}, {"kind": "audit"}
    replies = [await fresh.client.post("/exports", json=body, headers=headers) for _ in range(2)]
    assert replies[0].json() == replies[1].json()
    assert replies[1].headers["idempotency-replayed"] == "true"
    other = await fresh.client.post("/exports", json={"kind": "documents"}, headers=headers)
    require_problem(other, 422, "idempotency_mismatch")
    assert len((await fresh.client.get("/exports")).json()["exports"]) == 1


async def test_deleting_removes_the_file_unless_another_export_has_the_same_bytes(
    fresh: Api,
) -> None:
    first, _ = await export(fresh, "feedback")
    second, _ = await export(fresh, "chat_logs")  # both are empty
    assert first["sha256"] == second["sha256"]
    reply = await fresh.client.delete(f"/exports/{first['export_id']}")
    assert reply.status_code == 204
    require_problem(await fresh.client.get(f"/exports/{first['export_id']}"), 404)
    reply = await fresh.client.get(f"/exports/{second['export_id']}/download")
    assert (reply.status_code, reply.content) == (200, b"")
    await fresh.client.delete(f"/exports/{second['export_id']}")
    assert await stored(fresh) == []


async def test_an_export_that_is_deleted_while_it_is_made_leaves_nothing(fresh: Api) -> None:
    made = await ask_for(fresh, "audit")
    lease = await claim(fresh, made["export_id"])
    await fresh.client.delete(f"/exports/{made['export_id']}")
    with pytest.raises(LeaseLost):
        await make_export(fresh.services, lease, lambda _: None, lambda: dict)
    assert await stored(fresh) == []
    job = (await fresh.client.get(f"/jobs/{made['export_id']}")).json()
    assert (job["status"], job["reason"]) == ("cancelled", "export_deleted")


async def claim(api: Api, export_id: str) -> Any:
    async with api.services.database.transaction(PUBLIC_WORKSPACE) as connection:
        job_id = JobId(UUID(export_id))
        claims = await claim_jobs(connection, PUBLIC_WORKSPACE, [(job_id, "export")], 60)
    return claims[job_id]


async def lose_worker(api: Api) -> None:
    """Let the leases of dead workers run out, and their pauses be over."""
    await run_sql(api, "UPDATE jobs SET lease_until = now() - interval '1 second' "
                       "WHERE status = 'running'")  # fmt: skip
    async with api.services.database.system_transaction() as connection:
        await requeue_expired(connection, api.services.settings.jobs.max_attempts)
    await run_sql(api, "UPDATE jobs SET run_after = now() WHERE status = 'queued'")


async def test_a_killed_worker_is_followed_by_another_one(fresh: Api) -> None:
    made = await ask_for(fresh, "audit")
    dead = await claim(fresh, made["export_id"])
    running = (await fresh.client.get(f"/exports/{made['export_id']}")).json()
    assert running["status"] == "running"
    await lose_worker(fresh)
    again = (await fresh.client.get(f"/exports/{made['export_id']}")).json()
    assert (again["status"], again["reason"]) == ("pending", "worker_lost")
    await fresh.work()
    ended = (await fresh.client.get(f"/exports/{made['export_id']}")).json()
    assert (ended["status"], ended["attempt"]) == ("succeeded", 2)
    with pytest.raises(LeaseLost):  # the first worker was only slow
        await make_export(fresh.services, dead, lambda _: None, lambda: dict)
    reply = await fresh.client.get(f"/exports/{made['export_id']}/download")
    assert hashlib.sha256(reply.content).hexdigest() == ended["sha256"]
    assert await stored(fresh) == [ended["sha256"]]


async def test_five_killed_workers_fail_it_and_an_admin_may_try_again(fresh: Api) -> None:
    made = await ask_for(fresh, "audit")
    path = f"/exports/{made['export_id']}"
    for _ in range(5):
        await claim(fresh, made["export_id"])
        await lose_worker(fresh)
    failed = (await fresh.client.get(path)).json()
    assert (failed["status"], failed["reason"], failed["attempt"]) == ("failed", "worker_lost", 5)
    assert failed["message"].startswith("The worker stopped while writing this file")
    reply = await fresh.client.post(f"{path}/retry")
    assert (reply.status_code, reply.json()["status"]) == (202, "pending")
    await fresh.work()
    assert (await fresh.client.get(path)).json()["status"] == "succeeded"


async def test_a_full_disk_is_tried_again(fresh: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    made = await ask_for(fresh, "audit")
    folder: Path = fresh.services.settings.blobs_folder
    hidden = folder.with_name("hidden")
    await asyncio.to_thread(folder.rename, hidden)
    await fresh.work()
    waiting = (await fresh.client.get(f"/exports/{made['export_id']}")).json()
    assert (waiting["status"], waiting["reason"]) == ("pending", "storage_failed")
    await asyncio.to_thread(hidden.rename, folder)
    await run_sql(fresh, "UPDATE jobs SET run_after = now()")
    await fresh.work()
    assert (await fresh.client.get(f"/exports/{made['export_id']}")).json()["attempt"] == 2


async def test_expired_exports_go_with_their_files(fresh: Api) -> None:
    old, _ = await export(fresh, "audit")
    waiting = await ask_for(fresh, "documents")
    await run_sql(fresh, "UPDATE exports SET expires_at = now() - interval '1 second'")
    reply = await fresh.client.get(f"/exports/{old['export_id']}/download")
    assert "expired" in require_problem(reply, 404)["detail"]
    await fresh.services.reconciler.run()
    require_problem(await fresh.client.get(f"/exports/{old['export_id']}"), 404)
    assert await stored(fresh) == []
    assert (await fresh.client.get(f"/exports/{waiting['export_id']}")).status_code == 200


async def test_the_checker_knows_the_files_of_exports(fresh: Api) -> None:
    made, _ = await export(fresh, "audit")
    services = fresh.services
    await age(fresh)
    assert [c for c in await verify(services.database, services.blobs) if c.breaches] == []
    services.reconciler.orphans_due = 0.0
    await services.reconciler.run()
    assert await stored(fresh) == [made["sha256"]]
    await services.blobs.remove(made["sha256"])
    (broken,) = [c for c in await verify(services.database, services.blobs) if c.breaches]
    assert "export's file is stored" in broken.invariant
    reply = await fresh.client.get(f"/exports/{made['export_id']}/download")
    assert "no longer stored" in require_problem(reply, 404)["detail"]


async def age(api: Api) -> None:
    """Make every stored file two days old."""
    for sha256 in await stored(api):
        path = await api.services.blobs.find_path(sha256)
        assert path is not None
        os.utime(path, (time.time() - 172_800,) * 2)


async def test_a_name_that_is_a_formula_runs_in_no_spreadsheet(fresh: Api) -> None:
    await fresh.add(BAD_NAME, "text of a document")
    _, content = await export(fresh, "documents", format="csv")
    (row,) = cells_of(content)
    assert (row["name"], row["source"]) == (f"'{BAD_NAME}", f"'{BAD_NAME}")
    _, content = await export(fresh, "documents")
    assert rows_of(content)[0]["name"] == BAD_NAME
