"""Documents limited to readers, by every way that leads to a document."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import httpx
import pytest
from sqlalchemy import text

from api.keyring import OWNER, bearer, make_key, make_workspace, open_guarded
from api.scripted import ScriptedModel, served, until, use
from api.stage import Api, read_events, require_problem
from citewell.domain import Visitor, WorkspaceId
from citewell.ingest.pipeline import IngestPipeline
from citewell.records.session import enter_as
from citewell.settings import Settings

OPEN = "The tower clock of Leiden was built by Salomon Coster in 1660 and it strikes every hour."
SECRET = "The budget of the moon project is 7,421 guilders, as the council decided in May 1661."
ASKED = "What is the budget of the moon project?"
FINANCE = json.dumps(["group:finance"])


@dataclass(frozen=True, slots=True)
class Hall:
    """A workspace with an open and a limited document, and keys of those who come in."""

    api: Api
    workspace: WorkspaceId
    keys: dict[str, dict[str, str]]
    open: str
    secret: str

    async def send(self, who: str, method: str, path: str, **request: Any) -> httpx.Response:
        headers = {**self.keys[who], **request.pop("headers", {})}
        return await self.api.client.request(method, path, headers=headers, **request)

    async def upload(self, who: str, name: str, data: str, **form: str) -> httpx.Response:
        files = [("files", (name, data.encode()))]
        return await self.send(who, "POST", "/documents/upload", files=files, data=form)

    async def add(self, who: str, name: str, data: str, **form: str) -> str:
        reply = await self.upload(who, name, data, **form)
        assert reply.status_code == 202, reply.text
        await self.api.work()
        return reply.json()["documents"][0]["document_id"]

    async def ask(self, who: str, question: str = ASKED, **body: Any) -> dict[str, Any]:
        reply = await self.send(who, "POST", "/query", json={"question": question, **body})
        assert reply.status_code == 200, reply.text
        return reply.json()

    async def value(self, statement: str) -> Any:
        enter_as(Visitor())
        async with self.api.services.database.system_transaction() as connection:
            done = await connection.execute(text(statement), {"w": self.workspace})
            return done.scalar() if done.returns_rows else done.rowcount


@pytest.fixture(scope="module")
async def guarded(
    clone: Callable[[], Any],
    make_settings: Callable[..., Settings],
    ingest: IngestPipeline,
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[Api]:
    with clone() as url:
        folder = tmp_path_factory.mktemp("data")
        async with open_guarded(make_settings(url, folder), ingest) as opened:
            yield opened


@pytest.fixture
async def hall(guarded: Api) -> Hall:
    """A workspace of its own for each test."""
    workspace = await make_workspace(guarded)
    people = {
        "admin": ("admin", []),
        "clerk": ("editor", ["finance"]),
        "editor": ("editor", []),
        "reader": ("viewer", ["finance"]),
        "viewer": ("viewer", []),
    }
    keys = {
        name: bearer(await make_key(guarded, role, workspace, groups=groups))
        for name, (role, groups) in people.items()
    }
    hall = Hall(guarded, workspace, keys, "", "")
    opened = await hall.add("editor", "open.txt", OPEN)
    secret = await hall.add("clerk", "secret.txt", SECRET, readers=FINANCE)
    return Hall(guarded, workspace, keys, opened, secret)


async def test_a_hidden_document_is_unknown_by_every_address(hall: Hall) -> None:
    path = f"/documents/{hall.secret}"
    ways = [("GET", ""), ("GET", "/text"), ("GET", "/versions"), ("GET", "/chunks")]
    shown = (await hall.send("reader", "GET", path)).json()
    assert shown["readers"] == ["group:finance"]
    unknown = f"/documents/{uuid4()}"
    said = "There is no document with that id. GET /documents lists them."
    for method, rest in ways:
        assert (await hall.send("reader", method, path + rest)).status_code == 200
        for place in (path, unknown):
            refused = await hall.send("viewer", method, place + rest)
            assert require_problem(refused, 404, "not_found")["detail"] == said
    for readers in (["role:editor"], []):
        body = {"readers": readers}
        for method, rest in (("POST", "/reindex"), ("DELETE", ""), ("PUT", "/readers")):
            request = {"json": body} if method == "PUT" else {}
            for place in (path, unknown):
                refused = await hall.send("editor", method, place + rest, **request)
                assert require_problem(refused, 404)["detail"] == said
    noted = "SELECT count(*) FROM audit_log WHERE workspace_id = :w AND outcome = 'denied'"
    assert await hall.value(noted) == 0
    again = {"document_id": hall.secret}
    require_problem(await hall.send("editor", "POST", "/rag/pipeline", json=again), 404)
    version = {"version_id": shown["version_id"]}
    reply = await hall.send("viewer", "GET", f"/documents/{hall.open}/text", params=version)
    require_problem(reply, 404)


async def test_lists_and_counts_leave_it_out(hall: Hall) -> None:
    for who, seen in (("reader", True), ("clerk", True), ("admin", True), ("viewer", False)):
        listed = (await hall.send(who, "GET", "/documents")).json()["documents"]
        assert {each["document_id"] for each in listed} == (
            {hall.open, hall.secret} if seen else {hall.open}
        )
        (collection,) = (await hall.send(who, "GET", "/collections")).json()["collections"]
        assert (collection["document_count"], collection["chunk_count"]) == (1 + seen, 1 + seen)
    digest = (await hall.send("admin", "GET", f"/documents/{hall.secret}")).json()["sha256"]
    body = {"files": [{"source": "secret.txt", "sha256": digest}]}
    for who, known in (("clerk", 1), ("editor", 0)):
        reply = await hall.send(who, "POST", "/documents/known", json=body)
        assert len(reply.json()["files"]) == known


async def test_a_workspaces_counts_and_quotas_do_not_tell_of_it(hall: Hall) -> None:
    path = f"/workspaces/{hall.workspace}"
    for who, seen in (("admin", 2), ("reader", 2), ("viewer", 1)):
        shown = (await hall.send(who, "GET", path)).json()
        assert (shown["documents"], shown["chunks"]) == (seen, seen)
    headers = OWNER | {"X-Workspace-ID": str(hall.workspace)}
    for most, told in ((2, "2 documents"), (1, "1 document")):
        await hall.api.client.put("/quotas", json={"documents": most}, headers=headers)
        refused = require_problem(await hall.upload("editor", "more.txt", "text"), 429)["detail"]
        assert refused == (
            f"The workspace may hold {told}, and this would be more. Delete documents, or ask an "
            "owner for a larger quota."
        )


async def test_export_jobs_are_hidden_where_a_document_is(hall: Hall) -> None:
    """How far an export is tells how many documents there are."""
    made = (await hall.send("admin", "POST", "/exports", json={"kind": "documents"})).json()
    for who, sees in (("admin", True), ("reader", True), ("editor", False), ("viewer", False)):
        jobs = (await hall.send(who, "GET", "/jobs")).json()["jobs"]
        assert (made["export_id"] in {job["job_id"] for job in jobs}) is sees
        reply = await hall.send(who, "GET", f"/jobs/{made['export_id']}")
        assert reply.status_code == (200 if sees else 404)


async def test_its_jobs_are_hidden_with_it_and_after_it(hall: Hall) -> None:
    job = (await hall.send("admin", "GET", f"/documents/{hall.secret}")).json()["job_id"]
    for gone in (False, True):
        if gone:
            assert (await hall.send("admin", "DELETE", f"/documents/{hall.secret}")).is_success
        for who, seen in (("reader", True), ("viewer", False)):
            jobs = (await hall.send(who, "GET", "/jobs")).json()["jobs"]
            assert (job in {each["job_id"] for each in jobs}) is seen
            named = await hall.send(who, "GET", "/jobs", params={"document_id": hall.secret})
            assert bool(named.json()["jobs"]) is seen
        for path in (f"/jobs/{job}", f"/jobs/{job}/events"):
            assert (await hall.send("reader", "GET", path)).status_code == 200
            require_problem(await hall.send("viewer", "GET", path), 404, "not_found")
        for what in ("cancel", "retry"):
            require_problem(await hall.send("editor", "POST", f"/jobs/{job}/{what}"), 404)


async def test_a_followed_job_ends_for_those_it_is_hidden_from(hall: Hall) -> None:
    reply = await hall.upload("editor", "later.txt", "A text that waits.")
    (made,) = reply.json()["documents"]
    async with (
        served(hall.api) as client,
        client.stream(
            "GET", f"/jobs/{made['job_id']}/events", headers=hall.keys["viewer"]
        ) as stream,
    ):
        lines = stream.aiter_lines()
        assert await anext(line async for line in lines if line.startswith("event: progress"))
        path = f"/documents/{made['document_id']}/readers"
        await hall.send("admin", "PUT", path, json={"readers": ["group:finance"]})
        # Something of it changes, which would be told.
        await hall.value("UPDATE jobs SET attempt = 7 WHERE workspace_id = :w")
        rest = [line async for line in lines]
    assert "event: error" in rest
    assert 'attempt":7' not in "".join(rest)


async def test_jobs_of_several_are_shown_to_those_who_see_all(hall: Hall) -> None:
    texts = {"texts": [{"text": "An open text.", "name": "a"}]}
    group = (await hall.send("editor", "POST", "/ingest/", json=texts)).json()["job_id"]
    limited = {"texts": [{"text": "Not for all.", "name": "b"}], "readers": ["group:finance"]}
    hidden = (await hall.send("clerk", "POST", "/ingest/", json=limited)).json()["job_id"]
    await hall.api.work()
    # The same again has no parts, and names its documents all the same.
    unchanged = (await hall.send("clerk", "POST", "/ingest/", json=limited)).json()["job_id"]
    reread = (await hall.send("admin", "POST", "/collections/default/reindex")).json()
    assert reread["documents"] == 4
    visible = (await hall.send("editor", "POST", "/collections/default/reindex")).json()
    await hall.api.work()
    assert visible["documents"] == 0, "all of what an editor sees waits for the admin's job"
    jobs = {"group": group, "visible": visible["job_id"]}
    secret = {"hidden": hidden, "unchanged": unchanged, "reread": reread["job_id"]}
    for who, sees in (("reader", True), ("viewer", False)):
        listed = {each["job_id"] for each in (await hall.send(who, "GET", "/jobs")).json()["jobs"]}
        for job, seen in [(j, True) for j in jobs.values()] + [(j, sees) for j in secret.values()]:
            assert (await hall.send(who, "GET", f"/jobs/{job}")).status_code == (
                200 if seen else 404
            )
            assert (job in listed) is seen
    for job in (hidden, unchanged):
        require_problem(await hall.send("viewer", "GET", f"/ingest/{job}"), 404)
        assert (await hall.send("reader", "GET", f"/ingest/{job}")).status_code == 200
    assert (await hall.send("viewer", "GET", f"/ingest/{group}")).status_code == 200


async def test_the_last_of_several_ends_their_job_whoever_removes_it(hall: Hall) -> None:
    texts = {"texts": [{"text": "One text.", "name": "a"}, {"text": "Another.", "name": "b"}]}
    made = (await hall.send("admin", "POST", "/ingest/", json=texts)).json()
    first, second = (each["document_id"] for each in made["texts"])
    body = {"readers": ["group:finance"]}
    await hall.send("admin", "PUT", f"/documents/{first}/readers", json=body)
    await hall.send("admin", "DELETE", f"/documents/{first}")
    assert (await hall.send("editor", "DELETE", f"/documents/{second}")).is_success
    group = (await hall.send("admin", "GET", f"/jobs/{made['job_id']}")).json()
    assert (group["status"], group["open_parts"]) == ("failed", 0)


async def test_an_upload_over_a_hidden_document_is_refused(hall: Hall) -> None:
    problem = require_problem(await hall.upload("editor", "secret.txt", "mine"), 409, "name_taken")
    assert "may not see it" in problem["detail"]
    text_ = {"texts": [{"text": "x y", "name": "b"}], "readers": ["group:finance"]}
    assert (await hall.send("clerk", "POST", "/ingest/", json=text_)).status_code == 202
    other = {"texts": [{"text": "other", "name": "b"}]}
    require_problem(await hall.send("editor", "POST", "/ingest/", json=other), 409, "name_taken")
    await hall.api.work()
    kept = (await hall.send("reader", "GET", f"/documents/{hall.secret}/text")).text
    assert kept == SECRET
    blobs = await hall.value("SELECT count(DISTINCT sha256) FROM versions WHERE workspace_id = :w")
    assert blobs == 3


async def test_readers_are_set_kept_and_recorded(hall: Hall) -> None:
    path = f"/documents/{hall.secret}"

    async def kept() -> Any:
        return (await hall.send("admin", "GET", path)).json()["readers"]

    await hall.add("clerk", "secret.txt", SECRET + " Later it was more.")
    assert await kept() == ["group:finance"], "a new version leaves them"
    given = json.dumps(["role:editor", "group:finance", "group:finance"])
    await hall.add("clerk", "secret.txt", SECRET, readers=given)
    assert await kept() == ["group:finance", "role:editor"]
    assert (await hall.send("editor", "GET", path)).is_success
    again = {"document_id": hall.secret, "readers": ["group:finance"]}
    assert (await hall.send("clerk", "POST", "/rag/pipeline", json=again)).status_code == 202
    await hall.api.work()
    assert await kept() == ["group:finance"]
    for readers, stored in ((["role:viewer", "group:x"], None), ([], []), (None, None)):
        reply = await hall.send("admin", "PUT", f"{path}/readers", json={"readers": readers})
        assert reply.json()["readers"] == stored
    audited = await hall.value(
        "SELECT string_agg(actor, ' ' ORDER BY id) FROM audit_log WHERE workspace_id = :w "
        f"AND action = 'document.readers' AND target = '{hall.secret}'"
    )
    clerk = f"key:{hall.keys['clerk']['Authorization'][7:22]}"
    admin = f"key:{hall.keys['admin']['Authorization'][7:22]}"
    assert audited.split() == [clerk, clerk, admin, admin, admin]


@pytest.mark.parametrize(
    "readers",
    ['"group:finance"', "[1]", '["finance"]', '["group:"]', '["role:owner"]', '["group:a b"]',
     '["group:a\\n"]', "{", "[[", '{"a": 1}', json.dumps([f"group:{n}" for n in range(33)]),
     '["group:' + "x" * 64 + '"]', "[" * 3000],
)  # fmt: skip
async def test_a_list_that_cannot_be_read_is_refused(hall: Hall, readers: str) -> None:
    require_problem(await hall.upload("clerk", "x.txt", "text", readers=readers), 422)
    try:
        body = {"readers": json.loads(readers)}
    except (ValueError, RecursionError):
        return
    path = f"/documents/{hall.open}/readers"
    require_problem(await hall.send("admin", "PUT", path, json=body), 422)
    require_problem(await hall.send("admin", "PUT", path, json={}), 422)
    text_ = {"texts": ["a text"], **body}
    require_problem(await hall.send("clerk", "POST", "/ingest/", json=text_), 422)


async def test_an_editor_stays_among_the_readers(hall: Hall) -> None:
    path = f"/documents/{hall.open}/readers"
    for readers in (["group:finance"], [], ["role:admin"]):
        reply = await hall.send("editor", "PUT", path, json={"readers": readers})
        problem = require_problem(reply, 403, "forbidden")
        assert "ask an admin" in problem["detail"]
        reply = await hall.upload("editor", "new.txt", "text", readers=json.dumps(readers))
        require_problem(reply, 403, "forbidden")
    reply = await hall.send("viewer", "PUT", path, json={"readers": None})
    require_problem(reply, 403, "forbidden")
    reply = await hall.send("editor", "PUT", path, json={"readers": ["role:editor"]})
    assert reply.json()["readers"] == ["role:editor"]
    require_problem(await hall.send("viewer", "GET", f"/documents/{hall.open}"), 404)


async def test_answers_and_what_was_said_of_them_are_hidden(hall: Hall) -> None:
    answer = await hall.ask("reader")
    assert {each["document_id"] for each in answer["citations"]} == {hall.secret}
    mine = await hall.ask("viewer")
    assert hall.secret not in json.dumps(mine)
    assert "7,421" not in json.dumps(mine)
    path = f"/answers/{answer['answer_id']}"
    said = {"rating": "up", "comment": "so much money"}
    assert (await hall.send("reader", "POST", f"{path}/feedback", json=said)).is_success
    for who, status in (("clerk", 200), ("viewer", 404)):
        assert (await hall.send(who, "GET", path)).status_code == status
        assert (await hall.send(who, "GET", f"{path}/events")).status_code == status
        for what in ("replay", "verify"):
            assert (await hall.send(who, "POST", f"{path}/{what}")).status_code == status
        listed = (await hall.send(who, "GET", "/feedback")).json()["feedback"]
        assert len(listed) == (status == 200)
    require_problem(await hall.send("viewer", "POST", f"{path}/feedback", json=said), 404)
    require_problem(await hall.send("viewer", "DELETE", f"{path}/feedback"), 404)
    # When the answer's time is over, what was said of it stays, and stays among its readers.
    await hall.value(f"DELETE FROM answers WHERE id = '{answer['answer_id']}'")
    require_problem(await hall.send("viewer", "POST", f"{path}/feedback", json=said), 404)
    for who, seen in (("clerk", 1), ("viewer", 0)):
        assert len((await hall.send(who, "GET", "/feedback")).json()["feedback"]) == seen
    # An open document that is limited later takes its answers along.
    about = await hall.ask("viewer", "Who built the tower clock of Leiden?")
    shown = f"/answers/{about['answer_id']}"
    assert (await hall.send("viewer", "GET", shown)).is_success
    body = {"readers": ["group:finance"]}
    await hall.send("admin", "PUT", f"/documents/{hall.open}/readers", json=body)
    require_problem(await hall.send("viewer", "GET", shown), 404)


async def test_a_replay_does_not_tell_that_something_hidden_changed(hall: Hall) -> None:
    answer = await hall.ask("viewer", "Who built the tower clock of Leiden?")
    path = f"/answers/{answer['answer_id']}/replay"
    first = (await hall.send("viewer", "POST", path)).json()
    await hall.add("clerk", "more.txt", "The tower clock is secret too.", readers=FINANCE)
    await hall.send("clerk", "DELETE", f"/documents/{hall.secret}")
    assert (await hall.send("viewer", "POST", path)).json() == first
    assert first["same"], first
    seen_by_reader = (await hall.send("reader", "POST", path)).json()
    assert seen_by_reader["index_changed"] == ["default"]


async def test_a_sessions_hidden_replies_are_blanked_for_readers_and_for_models(
    hall: Hall,
) -> None:
    first = await hall.send("reader", "POST", "/chat", json={"message": ASKED})
    session = first.json()["session_id"]
    # What follows rests on the reply before it, whatever it cites.
    more = {"message": "Who built the tower clock of Leiden?", "session_id": session}
    second = (await hall.send("reader", "POST", "/chat", json=more)).json()
    assert {each["document_id"] for each in second["citations"]} == {hall.open}
    require_problem(await hall.send("viewer", "GET", f"/answers/{second['answer_id']}"), 404)
    path = f"/chat/sessions/{session}/history"
    for who, seen in (("clerk", True), ("viewer", False)):
        history = (await hall.send(who, "GET", path)).json()["messages"]
        assert [each["content"] for each in history[::2]] == [ASKED, more["message"]]
        replies = [each["content"] for each in history[1::2]]
        assert ("7,421" in replies[0]) is seen
        if not seen:
            assert replies == [replies[0]] * 2
            assert "you may not see" in replies[0]
    model = ScriptedModel()
    try:
        told = use(hall.api, model)
        asked = {"message": "And which clock is there?", "session_id": session}
        reply = await hall.send("viewer", "POST", "/chat", json=asked)
        assert reply.status_code == 200, reply.text
        assert "7,421" not in repr(model.tasks)
        assert told.services.answers.chat_model is model
    finally:
        hall.api.app.state.services = hall.api.services
    # Whoever deletes the session deletes all of it.
    assert (await hall.send("viewer", "DELETE", f"/chat/sessions/{session}")).is_success
    assert await hall.value("SELECT count(*) FROM answers WHERE workspace_id = :w") == 0


async def test_an_answer_in_the_making_is_followed_by_those_who_see_as_much(hall: Hall) -> None:
    model = ScriptedModel(pause=0.3, pieces=4)
    use(hall.api, model)
    try:
        async with served(hall.api) as client:

            async def asking() -> str:
                body = {"question": ASKED}
                headers = hall.keys["reader"]
                reply = await client.post("/query/stream", json=body, headers=headers)
                return reply.text

            task = asyncio.create_task(asking())
            await until(lambda: model.writing)
            live = hall.api.app.state.live_answers
            ((_, answer_id),) = live._live
            path = f"/answers/{answer_id}/events"
            refused = await client.get(path, headers=hall.keys["viewer"])
            require_problem(refused, 404, "not_found")
            assert model.writing, "it is in the making still"
            allowed = [hall.keys[who] for who in ("reader", "clerk", "admin")]
            following = await asyncio.gather(*(client.get(path, headers=each) for each in allowed))
            for followed in following:
                assert read_events(followed.text)[-1][0] == "done"
            assert SECRET[:20] in await task
            require_problem(await client.get(path, headers=hall.keys["viewer"]), 404)
    finally:
        hall.api.app.state.services = hall.api.services


async def ask_later(hall: Hall, who: str) -> str:
    reply = await hall.send(who, "POST", "/rag/query", json={"question": ASKED})
    assert reply.status_code == 202, reply.text
    return reply.json()["task_id"]


async def test_a_worker_answers_with_the_rights_of_who_asked(hall: Hall) -> None:
    by_reader, by_viewer = await ask_later(hall, "reader"), await ask_later(hall, "viewer")
    await hall.api.work()
    seen = (await hall.send("reader", "GET", f"/result/{by_reader}")).json()
    assert "7,421" in seen["answer"]
    require_problem(await hall.send("viewer", "GET", f"/result/{by_reader}"), 404)
    require_problem(await hall.send("viewer", "GET", f"/jobs/{by_reader}"), 404)
    mine = (await hall.send("viewer", "GET", f"/result/{by_viewer}")).json()
    assert mine["status"] == "done"
    assert hall.secret not in json.dumps(mine)
    jobs = (await hall.send("viewer", "GET", "/jobs", params={"kind": "answer"})).json()["jobs"]
    assert [each["job_id"] for each in jobs] == [by_viewer]


async def test_a_question_that_waits_loses_what_its_asker_loses(hall: Hall) -> None:
    waiting = await ask_later(hall, "reader")
    hint = hall.keys["reader"]["Authorization"][7:22]
    lookup = hint.removeprefix("cw_")
    await hall.value(f"UPDATE principals SET groups = '{{}}' WHERE lookup = '{lookup}'")
    await hall.api.work()
    result = (await hall.send("reader", "GET", f"/result/{waiting}")).json()
    assert result["status"] == "done"
    assert hall.secret not in json.dumps(result)
    ended = await ask_later(hall, "clerk")
    lookup = hall.keys["clerk"]["Authorization"][10:22]
    await hall.value(f"UPDATE principals SET revoked_at = now() WHERE lookup = '{lookup}'")
    await hall.api.work()
    failed = (await hall.send("admin", "GET", f"/result/{ended}")).json()
    assert (failed["status"], failed["reason"]) == ("failed", "key_ended")
    assert "no longer valid" in failed["message"]
    assert await hall.value(f"SELECT count(*) FROM answers WHERE id = '{ended}'") == 0
    unnamed = await ask_later(hall, "admin")
    await hall.value(f"UPDATE jobs SET payload = payload - 'asker' WHERE id = '{unnamed}'")
    await hall.api.work()
    result = (await hall.send("admin", "GET", f"/result/{unnamed}")).json()
    assert result["status"] == "done"
    assert hall.secret not in json.dumps(result)


async def test_an_idempotency_key_replays_nothing_to_another_caller(hall: Hall) -> None:
    headers = {"Idempotency-Key": "the same"}
    body = {"question": ASKED}
    first = await hall.send("reader", "POST", "/rag/query", json=body, headers=headers)
    second = await hall.send("viewer", "POST", "/rag/query", json=body, headers=headers)
    assert first.json()["task_id"] != second.json()["task_id"]
    assert "Idempotency-Replayed" not in second.headers
    again = await hall.send("reader", "POST", "/rag/query", json=body, headers=headers)
    assert again.json() == first.json()
    await hall.api.work()
    require_problem(await hall.send("viewer", "GET", f"/result/{first.json()['task_id']}"), 404)


async def test_openais_addresses_see_as_little(hall: Hall) -> None:
    body = {"model": "citewell", "messages": [{"role": "user", "content": ASKED}]}
    models = (await hall.send("viewer", "GET", "/v1/models")).json()["data"]
    body["model"] = models[0]["id"]
    for who, seen in (("reader", True), ("viewer", False)):
        reply = await hall.send(who, "POST", "/v1/chat/completions", json=body)
        assert reply.status_code == 200, reply.text
        assert ("7,421" in reply.text) is seen
        assert (hall.secret in reply.text) is seen


async def test_who_may_see_it_finds_it_and_nobody_else(hall: Hall) -> None:
    for who, seen in (
        ("admin", True), ("clerk", True), ("reader", True), ("viewer", False), ("editor", False),
    ):  # fmt: skip
        for scope in ({}, {"filters": {"document_id": hall.secret}}):
            reply = await hall.send(who, "POST", "/search", json={"query": ASKED, **scope})
            found = {each["document_id"] for each in reply.json()["results"]}
            assert (hall.secret in found) is seen
    owner = OWNER | {"X-Workspace-ID": str(hall.workspace)}
    reply = await hall.api.client.post("/search", json={"query": ASKED}, headers=owner)
    assert hall.secret in reply.text
