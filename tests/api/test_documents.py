"""/documents, /jobs, /collections: list, look into, delete."""

import pytest

from api.stage import Api, require_problem

UNKNOWN = "b0a7c6de-2f52-4a55-9f0f-6d1f3c0a9e11"
BAD_IDS = [
    UNKNOWN,
    "1",
    "not-a-uuid",
    "..%2F..",
    "%00",
    "x" * 500,
    "{00000000}",
    "é",
    "%F0%9F%98%80",
]


@pytest.mark.parametrize("bad", BAD_IDS)
async def test_unknown_and_malformed_ids_are_404(api: Api, bad: str) -> None:
    for path in (f"/documents/{bad}", f"/documents/{bad}/text", f"/documents/{bad}/chunks",
                 f"/jobs/{bad}", f"/answers/{bad}"):  # fmt: skip
        require_problem(await api.client.get(path), 404, "not_found")
    require_problem(await api.client.delete(f"/documents/{bad}"), 404, "not_found")


async def test_a_document_in_all_its_views(fresh: Api) -> None:
    text = "# 1 Clocks\n\nIntro 😀.\n\n## 1.1 Pendulum\n\n" + "A pendulum swings. " * 150
    document = await fresh.add("clocks.md", text, metadata='{"author": "Huygens"}')
    place = f"/documents/{document['document_id']}"
    reply = await fresh.client.get(f"{place}/text")
    assert reply.headers["content-type"] == "text/plain; charset=utf-8"
    assert reply.headers["x-version-id"] == document["version_id"]
    canonical = reply.text
    named = await fresh.client.get(f"{place}/text", params={"version_id": document["version_id"]})
    assert named.text == canonical
    for bad in (UNKNOWN, "x", ""):
        require_problem(await fresh.client.get(f"{place}/text", params={"version_id": bad}), 404)
    seen, after = [], -1
    while after is not None:
        page = (
            await fresh.client.get(f"{place}/chunks", params={"limit": 2, "after": after})
        ).json()
        seen += page["chunks"]
        after = page["next_after"]
    assert [chunk["ordinal"] for chunk in seen] == list(range(document["chunk_count"]))
    assert len(seen) > 2
    for chunk in seen:
        assert canonical[chunk["start"] : chunk["end"]] == chunk["text"]
        assert chunk["metadata"]["author"] == "Huygens"
    assert seen[-1]["section"] == "1.1"
    assert seen[-1]["section_path"] == ["Clocks", "Pendulum"]
    report = (await fresh.client.get(place)).json()["report"]
    assert report["characters"] == len(canonical)
    assert report["chunks"] == len(seen)


async def test_bad_limits_and_cursors_are_422(api: Api) -> None:
    for path in ("/documents", "/jobs"):
        for query in ({"limit": 0}, {"limit": 201}, {"limit": "x"}, {"cursor": "x"},
                      {"cursor": ""}, {"cursor": "a\x00"}, {"cursor": "x" * 201}):  # fmt: skip
            require_problem(await api.client.get(path, params=query), 422)
    require_problem(await api.client.get("/jobs", params={"status": "lost"}), 422)
    require_problem(await api.client.get("/documents", params={"collection": "nowhere"}), 404)
    require_problem(await api.client.get("/documents", params={"collection": "a\x00"}), (404, 422))


async def test_lists_are_paged(fresh: Api) -> None:
    for n in range(7):
        await fresh.upload((f"{n}.txt", f"text {n}".encode()))
    for path, field, key in (
        ("/documents", "documents", "document_id"),
        ("/jobs", "jobs", "job_id"),
    ):
        everything = (await fresh.client.get(path)).json()
        assert everything["next_cursor"] is None
        seen, cursor = [], None
        while True:
            query = {"limit": 3} | ({"cursor": cursor} if cursor else {})
            page = (await fresh.client.get(path, params=query)).json()
            seen += page[field]
            cursor = page["next_cursor"]
            if not cursor:
                break
        assert [item[key] for item in seen] == [item[key] for item in everything[field]]
        assert len(seen) == 7
    names = [item["name"] for item in (await fresh.client.get("/documents")).json()["documents"]]
    assert names == [f"{n}.txt" for n in reversed(range(7))]
    queued = (await fresh.client.get("/jobs", params={"status": "queued"})).json()["jobs"]
    assert len(queued) == 7


async def test_deleting_a_document_takes_all_of_it(fresh: Api) -> None:
    kept = await fresh.add("kept.txt", "The sundial needs the sun.")
    gone = await fresh.add("gone.txt", "The zymurgist brews ale in Leiden.")
    twin = await fresh.add("twin.txt", "The sundial needs the sun.")
    place = f"/documents/{gone['document_id']}"
    answer = await fresh.ask("Where does the zymurgist brew ale?")
    assert "Leiden" in answer["answer"]
    deleted = await fresh.client.delete(place)
    assert (deleted.status_code, deleted.content) == (204, b"")
    for path in (place, f"{place}/text", f"{place}/chunks", f"/answers/{answer['answer_id']}"):
        require_problem(await fresh.client.get(path), 404)
    require_problem(await fresh.client.delete(place), 404)
    found = await fresh.client.post("/search", json={"query": "zymurgist ale Leiden"})
    assert gone["document_id"] not in {item["document_id"] for item in found.json()["results"]}
    assert await fresh.services.blobs.find_path(gone["sha256"]) is None
    # The twin's bytes are also the kept document's.
    assert (await fresh.client.delete(f"/documents/{twin['document_id']}")).status_code == 204
    assert await fresh.services.blobs.find_path(kept["sha256"]) is not None
    job = (await fresh.client.get(f"/jobs/{gone['job_id']}")).json()
    assert (job["status"], job["document_name"]) == ("done", None)


async def test_deleting_before_the_job_ran_cancels_it(fresh: Api) -> None:
    (document,) = (await fresh.upload(("a.txt", b"text"))).json()["documents"]
    assert (await fresh.client.delete(f"/documents/{document['document_id']}")).status_code == 204
    assert await fresh.work() == 0
    job = (await fresh.client.get(f"/jobs/{document['job_id']}")).json()
    assert (job["status"], job["reason"]) == ("cancelled", "document_deleted")


async def test_collections_come_and_go(fresh: Api) -> None:
    made = await fresh.client.post("/collections", json={"name": "handbooks"})
    assert made.status_code == 201
    assert made.json()["name"] == "handbooks"
    require_problem(
        await fresh.client.post("/collections", json={"name": "handbooks"}), 409, "conflict"
    )
    document = await fresh.add("a.txt", "A handbook of clocks.", collection="handbooks")
    await fresh.add("b.txt", "Another text.")
    listed = (await fresh.client.get("/collections")).json()["collections"]
    assert [(item["name"], item["document_count"], item["chunk_count"]) for item in listed] == [
        ("default", 1, 1), ("handbooks", 1, 1),
    ]  # fmt: skip
    assert (await fresh.client.delete("/collections/handbooks")).status_code == 204
    require_problem(await fresh.client.get(f"/documents/{document['document_id']}"), 404)
    require_problem(await fresh.client.delete("/collections/handbooks"), 404, "not_found")
    require_problem(await fresh.client.delete("/collections/default"), 409, "conflict")
    assert await fresh.services.blobs.find_path(document["sha256"]) is None
    left = (await fresh.client.get("/collections")).json()["collections"]
    assert [item["name"] for item in left] == ["default"]


@pytest.mark.parametrize(
    "name",
    [
        "",
        " ",
        "a b",
        "-a",
        ".a",
        "a/b",
        "../x",
        "a\x00",
        "é",
        "x" * 64,
        "a\n",
        "😀",
        None,
        5,
        [],
        {},
    ],
)
async def test_bad_collection_names_are_422(api: Api, name: object) -> None:
    require_problem(await api.client.post("/collections", json={"name": name}), 422, "invalid")


@pytest.mark.parametrize(
    "body",
    ["", "{", "[]", "null", '"x"', "{}", '{"name": "a", "more": 1}', '{"name": "\\ud800"}',
     '{"name": "\\u0000"}', "\xff"],
)  # fmt: skip
async def test_bad_bodies_are_422(api: Api, body: str) -> None:
    reply = await api.client.post(
        "/collections", content=body.encode("latin-1"), headers={"content-type": "application/json"}
    )
    require_problem(reply, (400, 422))


async def test_deleting_a_collection_with_a_strange_name_is_404(api: Api) -> None:
    for name in ("nowhere", "%00", "a%20b", "x" * 300, "%F0%9F%98%80"):
        require_problem(await api.client.delete(f"/collections/{name}"), (404, 422))


async def test_every_change_is_audited(fresh: Api) -> None:
    from sqlalchemy import text

    document = await fresh.add("a.txt", "text")
    await fresh.client.post("/collections", json={"name": "second"})
    await fresh.client.delete("/collections/second", headers={"X-Request-ID": "my-id"})
    await fresh.client.delete(f"/documents/{document['document_id']}")
    await fresh.client.delete(f"/documents/{document['document_id']}")
    async with fresh.services.database.system_transaction() as connection:
        rows = await connection.execute(
            text("SELECT action, target, request_id FROM audit_log ORDER BY id")
        )
        found = [tuple(row) for row in rows]
    assert [row[:2] for row in found] == [
        ("document.upload", document["document_id"]),
        ("collection.add", "second"),
        ("collection.delete", "second"),
        ("document.delete", document["document_id"]),
    ]
    assert found[2][2] == "my-id"
