"""/workspaces: who sees and changes which, archived ones, many at once, and what a purge leaves."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text

from api.keyring import OWNER, bearer, make_key, open_guarded
from api.scripted import CLOCK, TEXT
from api.stage import Api, require_problem
from citewell.domain import PUBLIC_WORKSPACE
from citewell.ingest.pipeline import IngestPipeline
from citewell.records.usage import NO_COLLECTION
from citewell.settings import Settings, WorkspaceSettings

SOME_ID = "6f1c0de2-33a1-4c1e-9d0e-0f4f5d1f7a11"
UNKNOWN = "There is no workspace with that id here. GET /workspaces lists yours."


@pytest.fixture
async def guarded(
    database_url: str,
    make_settings: Callable[..., Settings],
    ingest: IngestPipeline,
    tmp_path: Any,
) -> AsyncIterator[Api]:
    """An application that asks for keys, and purges at the next round."""
    settings = make_settings(database_url, tmp_path, workspaces=WorkspaceSettings(purge_days=0))
    async with open_guarded(settings, ingest) as opened:
        yield opened


async def made(api: Api, name: str, **body: Any) -> UUID:
    reply = await api.client.post("/workspaces", json={"name": name, **body}, headers=OWNER)
    assert reply.status_code == 201, reply.text
    assert reply.headers["location"] == f"/workspaces/{reply.json()['id']}"
    return UUID(reply.json()["id"])


async def archive(api: Api, workspace: UUID, headers: dict[str, str] = OWNER) -> Any:
    return await api.client.post(
        f"/workspaces/{workspace}/archive", json={"reason": "the project ended"}, headers=headers
    )


async def actions(api: Api, workspace: UUID) -> list[str]:
    async with api.services.database.system_transaction() as connection:
        rows = await connection.scalars(
            text("SELECT action FROM audit_log WHERE workspace_id = :w ORDER BY id"),
            {"w": workspace},
        )
        return list(rows)


async def test_a_workspace_is_made_with_its_collection_and_seen_by_its_members(
    guarded: Api,
) -> None:
    get = guarded.client.get
    own = await made(guarded, " Wissen für Müller ", description="Clocks, 100% of them")
    await made(guarded, "other")
    viewer = bearer(await make_key(guarded, "viewer", own))
    page = (await get("/workspaces", headers=viewer)).json()
    (seen,) = page["workspaces"]
    assert (seen["id"], seen["name"], seen["role"]) == (str(own), "Wissen für Müller", "viewer")
    assert (seen["status"], page["next_cursor"]) == ("active", None)
    listed = (await get("/collections", headers=viewer)).json()["collections"]
    assert [each["name"] for each in listed] == ["default"]
    whole = (await get(f"/workspaces/{own}", headers=viewer)).json()
    counts = ("documents", "collections", "chunks", "bytes", "sessions", "answers", "open_jobs")
    assert [whole[name] for name in counts] == [0, 1, 0, 0, 0, 0, 0]
    assert (whole["keys"], whole["people"]) == (1, 0)
    everything = (await get("/workspaces", headers=OWNER)).json()["workspaces"]
    assert [each["name"] for each in everything] == ["other", "Wissen für Müller", "public"]
    assert {each["role"] for each in everything} == {"owner"}


async def test_a_foreign_workspace_is_unknown_at_every_address_that_names_one(
    guarded: Api,
) -> None:
    own, foreign = await made(guarded, "own"), await made(guarded, "foreign")
    admin = bearer(await make_key(guarded, "admin", own))
    request = guarded.client.request
    seen = set()
    for method, path, body in (
        ("GET", "", None),
        ("PATCH", "", {"name": "mine"}),
        ("DELETE", "", {"confirm": "foreign"}),
        ("POST", "/archive", {"reason": "x"}),
        ("POST", "/restore", None),
        ("PATCH", "", {"no": "such field"}),
    ):
        for named in (foreign, uuid4(), "foreign", "%00", "a b", "x" * 5000):
            reply = await request(method, f"/workspaces/{named}{path}", json=body, headers=admin)
            seen.add(require_problem(reply, 404, "not_found")["detail"])
    for header in (str(foreign), "foreign", "nothing", "x" * 5000, "f\xfcr"):
        headers: Any = {**admin, "X-Workspace-ID": header.encode("latin-1")}
        reply = await guarded.client.get("/documents", headers=headers)
        seen.add(require_problem(reply, 404, "not_found")["detail"])
    assert seen == {UNKNOWN}
    require_problem(await request("GET", f"/workspaces/{own}"), 401, "unauthenticated")


async def test_the_header_takes_a_name_as_well_as_an_id(guarded: Api) -> None:
    own = await made(guarded, "Wissen für Müller")
    viewer = bearer(await make_key(guarded, "viewer", own, PUBLIC_WORKSPACE))
    for named in (str(own), "Wissen für Müller", str(own).upper()):
        headers: Any = {**viewer, "X-Workspace-ID": named.encode()}
        assert (await guarded.client.get("/documents", headers=headers)).status_code == 200
    changed = {"name": "Wissen"}
    reply = await guarded.client.patch(f"/workspaces/{own}", json=changed, headers=OWNER)
    assert reply.json()["name"] == "Wissen"
    require_problem(await guarded.client.get("/documents", headers=headers | {
        "X-Workspace-ID": "Wissen für Müller".encode()}), 404)  # fmt: skip
    headers["X-Workspace-ID"] = b"Wissen"
    assert (await guarded.client.get("/documents", headers=headers)).status_code == 200


async def test_each_role_may_do_its_part_and_no_more(guarded: Api) -> None:
    own = await made(guarded, "own")
    path = f"/workspaces/{own}"
    keys = {role: bearer(await make_key(guarded, role, own)) for role in ("viewer", "editor")}
    keys["admin"] = bearer(await make_key(guarded, "admin", own))
    for role, headers in keys.items():
        assert (await guarded.client.get(path, headers=headers)).status_code == 200
        for reply in (
            await guarded.client.post("/workspaces", json={"name": "x"}, headers=headers),
            await guarded.client.post("/workspaces/bulk", json={}, headers=headers),
            await guarded.client.get("/workspaces/purges", headers=headers),
            await guarded.client.request("DELETE", path, json={"confirm": "own"}, headers=headers),
        ):
            require_problem(reply, 403, "forbidden")
        if role == "admin":
            continue
        for reply in (
            await guarded.client.patch(path, json={"name": "x"}, headers=headers),
            await archive(guarded, own, headers),
            await guarded.client.post(f"{path}/restore", headers=headers),
        ):
            require_problem(reply, 403, "forbidden")
    changed = {"name": "ours", "description": "About clocks."}
    assert (await guarded.client.patch(path, json=changed, headers=keys["admin"])).json()[
        "name"
    ] == "ours"
    assert (await archive(guarded, own, keys["admin"])).json()["changed"]
    assert (await actions(guarded, own)).count("access.denied") == 9


@pytest.mark.parametrize(
    "name", ["", "  ", "x" * 101, "a\nb", "a\x00b", "a\x7fb", "\u202ename", SOME_ID, None, 1]
)
async def test_a_name_that_no_header_could_hold_is_refused(guarded: Api, name: Any) -> None:
    reply = await guarded.client.post("/workspaces", json={"name": name}, headers=OWNER)
    require_problem(reply, 422, "invalid")


async def test_names_are_unique_also_when_they_are_taken_at_once(guarded: Api) -> None:
    post = guarded.client.post
    replies = await asyncio.gather(
        *(post("/workspaces", json={"name": "one"}, headers=OWNER) for _ in range(5))
    )
    assert sorted(reply.status_code for reply in replies) == [201, 409, 409, 409, 409]
    two = await made(guarded, "two")
    taken = await guarded.client.patch(f"/workspaces/{two}", json={"name": "one"}, headers=OWNER)
    require_problem(taken, 409, "conflict")
    same = await guarded.client.patch(f"/workspaces/{two}", json={"name": "two"}, headers=OWNER)
    assert same.status_code == 200
    require_problem(
        await guarded.client.patch(f"/workspaces/{two}", json={}, headers=OWNER), 422, "invalid"
    )


async def test_a_repeated_request_with_its_key_makes_one_workspace(guarded: Api) -> None:
    headers = {**OWNER, "Idempotency-Key": "k"}
    body = {"name": "once"}
    first = await guarded.client.post("/workspaces", json=body, headers=headers)
    again = await guarded.client.post("/workspaces", json=body, headers=headers)
    assert (first.status_code, again.status_code) == (201, 201)
    assert first.content == again.content
    assert again.headers["idempotency-replayed"] == "true"
    assert again.headers["location"] == first.headers["location"]
    other = await guarded.client.post("/workspaces", json={"name": "x"}, headers=headers)
    require_problem(other, 422, "idempotency_mismatch")


async def test_lists_are_searched_and_paged(guarded: Api) -> None:
    ids = [
        await made(guarded, f"Team {number}", description="100% clocks" if number % 2 else "maps")
        for number in range(5)
    ]
    await archive(guarded, ids[0])

    async def names(**query: Any) -> list[str]:
        found, cursor = [], None
        while True:
            params = {**query, "limit": 2} | ({"cursor": cursor} if cursor else {})
            page = (await guarded.client.get("/workspaces", params=params, headers=OWNER)).json()
            assert len(page["workspaces"]) <= 2
            found += [each["name"] for each in page["workspaces"]]
            cursor = page["next_cursor"]
            if cursor is None:
                return found

    whole = ["Team 4", "Team 3", "Team 2", "Team 1", "Team 0", "public"]
    assert await names() == whole
    assert await names(status="active") == [name for name in whole if name != "Team 0"]
    assert await names(status="archived") == ["Team 0"]
    assert await names(search="tEAM 3") == ["Team 3"]
    assert await names(search="100%") == ["Team 3", "Team 1"]
    assert await names(search="T_am") == []
    assert await names(search="maps", status="active") == ["Team 4", "Team 2"]
    some = bearer(await make_key(guarded, "viewer", ids[1], ids[4]))
    page = (await guarded.client.get("/workspaces?limit=1", headers=some)).json()
    rest = (
        await guarded.client.get(f"/workspaces?cursor={page['next_cursor']}", headers=some)
    ).json()
    seen = [each["name"] for each in page["workspaces"] + rest["workspaces"]]
    assert seen == ["Team 4", "Team 1"]
    for query in ("cursor=x", "status=gone", "search=", "limit=0"):
        reply = await guarded.client.get(f"/workspaces?{query}", headers=OWNER)
        require_problem(reply, 422)


async def test_an_archived_workspace_takes_no_change_and_no_job_until_it_is_restored(
    guarded: Api,
) -> None:
    own = await made(guarded, "own")
    headers = bearer(await make_key(guarded, "admin", own))
    guarded.client.headers.update(headers)
    await guarded.add("clock.txt", TEXT)
    session = (await guarded.client.post("/session")).json()["session_id"]
    waiting = (await guarded.upload(("later.txt", b"Accepted before."))).json()["documents"][0]
    done = (await archive(guarded, own, headers)).json()
    assert (done["changed"], done["workspace"]["status"]) == (True, "archived")
    again = await guarded.client.post(
        f"/workspaces/{own}/archive", json={"reason": "another"}, headers=headers
    )
    assert (again.json()["changed"], again.json()["workspace"]["archived_reason"]) == (
        False, "the project ended",
    )  # fmt: skip
    assert "already" in again.json()["message"]
    assert not (await guarded.ask(CLOCK))["refused"]
    post = guarded.client.post
    for path, body, more in (
        ("/query", {"question": CLOCK, "async": True}, {}),
        ("/query", {"question": CLOCK}, {"Prefer": "respond-async"}),
        ("/rag/query", {"question": CLOCK}, {}),
        ("/query", {"question": CLOCK, "session_id": session}, {}),
        ("/query/stream", {"question": CLOCK, "session_id": session}, {}),
        ("/chat", {"message": CLOCK}, {}),
    ):
        reply = await post(path, json=body, headers=more)
        require_problem(reply, 409, "workspace_archived")
    require_problem(await guarded.upload(("new.txt", b"new")), 409, "workspace_archived")
    reply = await guarded.client.patch(f"/workspaces/{own}", json={"name": "x"})
    require_problem(reply, 409, "workspace_archived")
    assert await guarded.work() == 1
    document = (await guarded.client.get(f"/documents/{waiting['document_id']}")).json()
    assert document["status"] == "ready"
    restored = (await post(f"/workspaces/{own}/restore")).json()
    assert (restored["changed"], restored["workspace"]["archived_reason"]) == (True, None)
    assert (await post(f"/workspaces/{own}/restore")).json()["changed"] is False
    assert (await guarded.upload(("new.txt", b"new"))).status_code == 202
    kept = [each for each in await actions(guarded, own) if each.startswith("workspace.")]
    assert kept == ["workspace.add", "workspace.archive", "workspace.restore"]


async def test_many_are_archived_by_their_ids_in_one_request(guarded: Api) -> None:
    ids = [await made(guarded, f"w{number}") for number in range(3)]
    await archive(guarded, ids[0])
    unknown = uuid4()
    body = {"action": "archive", "reason": "tidying", "ids": [*map(str, [*ids, unknown, ids[1]])]}
    headers = {**OWNER, "Idempotency-Key": "bulk"}
    reply = (await guarded.client.post("/workspaces/bulk", json=body, headers=headers)).json()
    outcomes = {each["id"]: each["outcome"] for each in reply["results"]}
    assert list(outcomes.values()) == ["unchanged", "done", "done", "not_found"]
    assert (reply["total"], reply["done"], reply["unchanged"], reply["not_found"]) == (4, 2, 1, 1)
    again = await guarded.client.post("/workspaces/bulk", json=body, headers=headers)
    assert (again.json(), again.headers["idempotency-replayed"]) == (reply, "true")
    assert [(await actions(guarded, each)).count("workspace.archive") for each in ids] == [1, 1, 1]
    require_problem(
        await guarded.client.post(
            "/documents/upload", headers={**OWNER, "X-Workspace-ID": str(ids[2])}
        ),
        409,
        "workspace_archived",
    )


async def test_many_are_changed_by_a_filter_only_when_their_number_is_known(guarded: Api) -> None:
    ids = [await made(guarded, f"old {number}") for number in range(12)]
    keep = await made(guarded, "new")
    post = guarded.client.post
    body: dict[str, Any] = {"action": "archive", "filter": {"search": "old"}}
    preview = (await post("/workspaces/bulk", json={**body, "preview": True}, headers=OWNER)).json()
    assert (preview["total"], len(preview["sample"]), preview["results"]) == (12, 10, [])
    assert preview["sample"][0]["name"] == "old 11"
    assert (await guarded.client.get("/workspaces?status=archived", headers=OWNER)).json()[
        "workspaces"
    ] == []
    body |= {"reason": "tidying", "expected_total": 11, "confirm": True}
    problem = require_problem(
        await post("/workspaces/bulk", json=body, headers=OWNER), 409, "total_changed"
    )
    assert "there are 12 now" in problem["detail"]
    body["expected_total"] = 12
    done = (await post("/workspaces/bulk", json=body, headers=OWNER)).json()
    assert (done["done"], len(done["results"])) == (12, 12)
    page = (await guarded.client.get(f"/workspaces/{keep}", headers=OWNER)).json()
    assert page["status"] == "active"
    back = {"action": "restore", "filter": {"status": "archived"}, "expected_total": 12,
            "confirm": True}  # fmt: skip
    assert (await post("/workspaces/bulk", json=back, headers=OWNER)).json()["done"] == 12
    assert (await actions(guarded, ids[0]))[-2:] == ["workspace.archive", "workspace.restore"]


@pytest.mark.parametrize(
    "body",
    [
        {"action": "archive", "reason": "x"},
        {"action": "archive", "reason": "x", "ids": [], "filter": {}},
        {"action": "archive", "ids": [SOME_ID]},
        {"action": "archive", "reason": "x", "ids": []},
        {"action": "delete", "reason": "x", "ids": [SOME_ID]},
        {"action": "restore", "ids": [SOME_ID], "preview": True},
        {"action": "restore", "filter": {}},
        {"action": "restore", "filter": {}, "expected_total": 1},
        {"action": "restore", "filter": {}, "confirm": True},
        {"action": "restore", "filter": {"status": "gone"}, "preview": True},
        {"action": "restore", "ids": ["x"]},
    ],
)
async def test_an_unclear_request_for_many_changes_nothing(
    guarded: Api, body: dict[str, Any]
) -> None:
    reply = await guarded.client.post("/workspaces/bulk", json=body, headers=OWNER)
    require_problem(reply, 422, "invalid")


async def test_a_workspace_is_deleted_only_by_its_name_when_it_is_archived(guarded: Api) -> None:
    own = await made(guarded, "own")
    delete = guarded.client.delete
    path = f"/workspaces/{own}"
    require_problem(await delete(f"{path}?confirm=own", headers=OWNER), 409, "conflict")
    await archive(guarded, own)
    require_problem(await delete(path, headers=OWNER), 422, "invalid")
    require_problem(await delete(f"{path}?confirm=Own", headers=OWNER), 422, "invalid")
    await archive(guarded, PUBLIC_WORKSPACE)
    public = f"/workspaces/{PUBLIC_WORKSPACE}?confirm=public"
    require_problem(await delete(public, headers=OWNER), 409, "conflict")
    reply = await delete(f"{path}?confirm=own", headers=OWNER)
    assert (reply.status_code, reply.json()["changed"]) == (202, True)
    assert (await delete(f"{path}?confirm=own", headers=OWNER)).json()["changed"] is False
    restored = (await guarded.client.post(f"{path}/restore", headers=OWNER)).json()
    assert (restored["changed"], restored["workspace"]["purge_after"]) == (True, None)
    await guarded.services.reconciler.run()
    assert (await guarded.client.get(path, headers=OWNER)).status_code == 200


async def test_what_was_used_is_shown_to_admins(guarded: Api) -> None:
    own = await made(guarded, "used")
    admin, viewer = [bearer(await make_key(guarded, role, own)) for role in ("admin", "viewer")]
    guarded.client.headers.update(admin)
    await guarded.add("a.txt", TEXT)
    await guarded.ask(CLOCK)
    del guarded.client.headers["Authorization"]
    async with guarded.services.database.transaction(own) as connection:
        days = text(
            "INSERT INTO usage_days (workspace_id, day, collection_id, shard, questions, "
            "input_tokens, output_tokens, micro_usd, documents, bytes, chunks) SELECT :w, "
            "(now() AT TIME ZONE 'UTC')::date - days, :c, 0, 2, 30, 4, 500000, 0, 0, 0 "
            "FROM unnest(ARRAY[29, 30]) AS days"
        )
        await connection.execute(days, {"w": own, "c": NO_COLLECTION})
    for headers in (OWNER, admin):
        usage = (await guarded.client.get(f"/workspaces/{own}", headers=headers)).json()["usage"]
        assert usage == {
            "today": {"questions": 1, "input_tokens": 0, "output_tokens": 0, "cost_usd": 0.0},
            "last_30_days": {
                "questions": 3, "input_tokens": 30, "output_tokens": 4, "cost_usd": 0.5,
            },
        }  # fmt: skip
    shown = await guarded.client.get(f"/workspaces/{own}", headers=viewer)
    assert shown.json()["usage"] is None


async def test_a_purged_workspace_leaves_a_proof_and_nothing_else(guarded: Api) -> None:
    own, other = await made(guarded, "own"), await made(guarded, "other")
    only, both = (
        bearer(await make_key(guarded, "admin", own)),
        bearer(await make_key(guarded, "editor", own, other), own),
    )
    guarded.client.headers.update(only)
    alone = await guarded.add("alone.txt", TEXT)
    shared = await guarded.add("shared.txt", "Shared by two workspaces, word for word.")
    await guarded.ask(CLOCK)
    exported = await guarded.client.post("/exports", json={"kind": "documents"})
    await guarded.work()
    exported = await guarded.client.get(f"/exports/{exported.json()['export_id']}")
    file = exported.json()["sha256"]
    assert await guarded.services.blobs.find_path(file) is not None
    guarded.client.headers.update(both | {"X-Workspace-ID": str(other)})
    await guarded.add("shared.txt", "Shared by two workspaces, word for word.")
    del guarded.client.headers["Authorization"], guarded.client.headers["X-Workspace-ID"]
    await archive(guarded, own)
    asked = await guarded.client.request(
        "DELETE", f"/workspaces/{own}", json={"confirm": "own"}, headers=OWNER
    )
    assert asked.status_code == 202, asked.text
    await guarded.services.reconciler.run()
    for headers in (OWNER, both):
        reply = await guarded.client.get(f"/workspaces/{own}", headers=headers)
        assert require_problem(reply, 404)["detail"] == UNKNOWN
    require_problem(await guarded.client.get("/me", headers=only), 401)
    assert (await guarded.client.get("/me", headers=both)).json()["roles"] == {str(other): "editor"}
    (proof,) = (await guarded.client.get("/workspaces/purges", headers=OWNER)).json()["purges"]
    assert proof["workspace_id"] == str(own)
    assert (proof["requested_by"], proof["keys_revoked"]) == ("local", 1)
    assert proof["finished_at"] is not None
    assert set(proof["rows_left"].values()) == {0}
    assert proof["rows_left"].keys() >= proof["rows_removed"].keys()
    removed = proof["rows_removed"]
    assert (removed["documents"], removed["versions"], removed["workspaces"]) == (2, 2, 1)
    assert (removed["memberships"], removed["answers"]) == (2, 1)
    assert removed["chunks"] == removed["vectors_384"] == removed["chunk_terms"] == 2
    assert proof["bytes_removed"]["vectors_384"] > 2 * 768
    assert (proof["blobs_removed"], proof["blobs_left"]) == (2, 0)
    assert proof["blob_bytes_removed"] == len(TEXT.encode()) + exported.json()["size_bytes"]
    blobs = guarded.services.blobs
    assert await blobs.find_path(file) is None
    assert await blobs.find_path(alone["sha256"]) is None
    assert await blobs.find_path(shared["sha256"]) is not None
    assert (await actions(guarded, own))[-3:] == ["workspace.delete", "key.revoke",
                                                  "workspace.purge"]  # fmt: skip
    again = await made(guarded, "own")
    assert again != own
