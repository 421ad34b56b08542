"""Idempotency-Key: one request, one effect, equal replies; another request is told apart."""

import asyncio
from typing import Any

import pytest
from sqlalchemy import text

from api.stage import Api, require_problem
from citewell.records.idempotency import remove_old_keys
from citewell.records.verify import verify


def keyed(key: str) -> dict[str, str]:
    return {"Idempotency-Key": key}


async def count(api: Api, table: str) -> int:
    async with api.services.database.system_transaction() as connection:
        return (await connection.scalar(text(f"SELECT count(*) FROM {table}"))) or 0


async def upload(api: Api, key: str, name: str, data: bytes, **form: str) -> Any:
    return await api.client.post(
        "/documents/upload", files=[("files", (name, data))], data=form, headers=keyed(key)
    )


async def test_one_key_fifty_times_at_once_is_one_upload(fresh: Api) -> None:
    replies = await asyncio.gather(
        *(upload(fresh, "k", "a.txt", b"The same upload.") for _ in range(50))
    )
    assert {reply.status_code for reply in replies} == {202}
    assert {reply.content for reply in replies} == {replies[0].content}
    replayed = [reply.headers.get("idempotency-replayed") for reply in replies]
    assert sorted(map(str, replayed)) == ["None", *["true"] * 49]
    assert replies[0].json()["documents"][0]["status"] == "queued"
    assert await fresh.work() == 1
    for table in ("documents", "versions", "jobs", "audit_log", "idempotency_keys"):
        assert await count(fresh, table) == 1, table
    checks = await verify(fresh.services.database, fresh.services.blobs)
    assert [check.invariant for check in checks if check.breaches] == []


async def test_without_a_key_each_sending_counts(fresh: Api) -> None:
    first = await fresh.upload(("a.txt", b"text"))
    second = await fresh.upload(("a.txt", b"text"))
    assert second.json()["documents"][0]["status"] == "unchanged"
    for reply in (first, second):
        assert "idempotency-replayed" not in reply.headers


async def test_the_same_key_with_another_request_is_422(api: Api) -> None:
    first = await upload(api, "mine", "m.txt", b"one", metadata='{"a": 1}')
    again = await upload(api, "mine", "m.txt", b"one", metadata='{"a": 1}')
    assert (first.status_code, again.content) == (202, first.content)
    for name, data, form in (
        ("m.txt", b"two", {"metadata": '{"a": 1}'}),
        ("other.txt", b"one", {"metadata": '{"a": 1}'}),
        ("m.txt", b"one", {"metadata": '{"a": 2}'}),
        ("m.txt", b"one", {}),
    ):
        reply = await upload(api, "mine", name, data, **form)
        require_problem(reply, 422, "idempotency_mismatch")
    document = first.json()["documents"][0]["document_id"]
    other = await api.client.post(f"/documents/{document}/reindex", headers=keyed("mine"))
    require_problem(other, 422, "idempotency_mismatch")
    listed = (await api.client.get("/documents")).json()["documents"]
    assert "other.txt" not in [item["name"] for item in listed]


@pytest.mark.parametrize("key", ["", "x" * 256, "umlaut-\xfc", "tab\tbed"])
async def test_a_key_of_other_characters_is_422(api: Api, key: str) -> None:
    headers = [(b"idempotency-key", key.encode("latin-1"))]
    reply = await api.client.post("/collections", json={"name": "never"}, headers=headers)
    require_problem(reply, 422)


async def test_a_request_that_failed_leaves_its_key_free(api: Api) -> None:
    for _ in range(2):
        reply = await upload(api, "free", "f.txt", b"f", collection="later")
        require_problem(reply, 404)
    await api.client.post("/collections", json={"name": "later"})
    reply = await upload(api, "free", "f.txt", b"f", collection="later")
    assert reply.status_code == 202
    assert "idempotency-replayed" not in reply.headers


async def test_a_collection_is_made_once(api: Api) -> None:
    replies = await asyncio.gather(
        *(
            api.client.post("/collections", json={"name": "once"}, headers=keyed("c"))
            for _ in range(10)
        )
    )
    assert [reply.status_code for reply in replies] == [201] * 10
    assert {reply.content for reply in replies} == {replies[0].content}


async def test_texts_reindex_cancel_and_retry_are_done_once(fresh: Api) -> None:
    texts = {"texts": ["A text about tides.", "A text about rain."]}
    document = await fresh.add("a.txt", "Some text.")
    job = None

    async def twice(path: str, body: Any = None) -> Any:
        first = await fresh.client.post(path, json=body, headers=keyed(path))
        second = await fresh.client.post(path, json=body, headers=keyed(path))
        assert first.status_code == 202, first.text
        assert (second.status_code, second.content) == (202, first.content)
        assert second.headers["location"] == first.headers["location"]
        assert second.headers["idempotency-replayed"] == "true"
        return first.json()

    group = await twice("/ingest/", texts)
    assert group["total"] == 2
    job = await twice(f"/documents/{document['document_id']}/reindex")
    await twice(f"/jobs/{job['job_id']}/cancel")
    await twice(f"/jobs/{job['job_id']}/retry")
    await twice("/collections/default/reindex")
    assert await count(fresh, "versions") == 4


async def test_replies_are_forgotten_after_a_day(fresh: Api) -> None:
    await upload(fresh, "old", "a.txt", b"text")
    await upload(fresh, "new", "b.txt", b"text")
    async with fresh.services.database.system_transaction() as connection:
        await connection.execute(
            text(
                "UPDATE idempotency_keys SET created_at = now() - interval '25 hours' "
                "WHERE key = 'old'"
            )
        )
        await remove_old_keys(connection)
        assert list(await connection.scalars(text("SELECT key FROM idempotency_keys"))) == ["new"]


async def test_a_replayed_upload_leaves_no_bytes_behind(fresh: Api) -> None:
    first = await upload(fresh, "gone", "a.txt", b"soon deleted")
    document = first.json()["documents"][0]["document_id"]
    assert (await fresh.client.delete(f"/documents/{document}")).status_code == 204
    again = await upload(fresh, "gone", "a.txt", b"soon deleted")
    assert again.content == first.content
    assert await fresh.services.blobs.list_hashes(-1) == []


async def test_a_password_is_neither_in_the_reply_nor_in_what_is_kept(fresh: Api) -> None:
    reply = await upload(fresh, "secret", "a.txt", b"text", password="open sesame")
    assert "sesame" not in reply.text
    job = (await fresh.client.get("/jobs")).json()["jobs"][0]
    assert "sesame" not in str(job)
    await fresh.work()
    async with fresh.services.database.system_transaction() as connection:
        for table in ("jobs", "idempotency_keys", "audit_log", "versions", "documents"):
            found = await connection.scalar(
                text(f"SELECT count(*) FROM {table} t WHERE t::text LIKE '%sesame%'")
            )
            assert found == 0, table
