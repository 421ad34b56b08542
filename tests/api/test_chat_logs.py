"""Chat logs: every question is logged, and what a workspace's policy does not keep is nowhere."""

import json
from collections.abc import AsyncIterator, Callable
from typing import Any
from uuid import uuid4

import httpx
import pytest
from sqlalchemy import text

from api.keyring import LOCAL_KEY, bearer, make_key, open_guarded
from api.stage import Api, read_events, require_problem
from citewell.domain import PUBLIC_WORKSPACE as A
from citewell.ingest.pipeline import IngestPipeline
from citewell.records.chat_logs import ChatLogFilter, iterate_chat_logs, remove_old_chat_logs
from citewell.settings import Settings

QUESTION = "How often does the zephyrquartz clock strike?"
TEXT = "# Clocks\n\nThe zephyrquartz clock strikes seven times a day.\n"
WORD, SEVEN = "zephyrquartz", "seven times"


@pytest.fixture
async def guarded(
    database_url: str,
    make_settings: Callable[..., Settings],
    ingest: IngestPipeline,
    tmp_path: Any,
) -> AsyncIterator[Api]:
    async with open_guarded(make_settings(database_url, tmp_path), ingest) as opened:
        opened.client.headers["Authorization"] = f"Bearer {LOCAL_KEY}"
        yield opened


async def logs(api: Api, **query: Any) -> list[dict[str, Any]]:
    reply = await api.client.get("/chat-logs", params=query)
    assert reply.status_code == 200, reply.text
    return reply.json()["chat_logs"]


async def set_policy(api: Api, **own: Any) -> None:
    async with api.services.database.system_transaction() as connection:
        await connection.execute(
            text("UPDATE workspaces SET policy = CAST(:own AS jsonb) WHERE id = :w"),
            {"own": json.dumps(own), "w": A},
        )


async def everything(api: Api, *tables: str) -> str:
    """Return all rows of these tables as text."""
    async with api.services.database.system_transaction() as connection:
        rows = [
            row
            for table in tables
            for row in await connection.scalars(text(f"SELECT t::text FROM {table} t"))
        ]
    return "\n".join(rows)


async def ask_every_way(api: Api, asker: dict[str, str]) -> dict[str, dict[str, Any]]:
    """Ask by each interface; return the replies that are answers, by how they were asked."""
    await api.add("clocks.md", TEXT)
    post = api.client.post
    body = {"question": QUESTION}
    first = await post("/query", json=body, headers=asker)
    refused = await post("/query", json={"question": "Who won the cup?"}, headers=asker)
    chat = await post("/chat", json={"message": QUESTION}, headers=asker)
    streamed = await post("/query/stream", json=body, headers=asker)
    spoken = {"model": "citewell", "messages": [{"role": "user", "content": QUESTION}]}
    assert (await post("/v1/chat/completions", json=spoken, headers=asker)).is_success
    task = await post("/rag/query", json=body, headers=asker)
    await api.work()
    return {
        "query": first.json(),
        "refused": refused.json(),
        "chat": chat.json(),
        "stream": read_events(streamed.text)[-1][1],
        "worker": {"answer_id": task.json()["task_id"]},
    }


async def test_every_way_to_ask_is_logged_with_who_asked(guarded: Api) -> None:
    key = await make_key(guarded, "viewer")
    replies = await ask_every_way(guarded, bearer(key))
    found = await logs(guarded)
    assert len(found) == 6
    assert {each["actor"] for each in found} == {f"key:{key[:15]}"}
    keys = (await guarded.client.get("/keys")).json()["keys"]
    (own,) = [each["id"] for each in keys if each["hint"] == key[:15]]
    assert {each["principal_id"] for each in found} == {own}
    by_id = {each["answer_id"]: each for each in found}
    assert by_id.keys() >= {each["answer_id"] for each in replies.values()}
    assert [each["channel"] for each in found] == ["api", "openai", "api", "api", "api", "api"]
    first, one = replies["query"], by_id[replies["query"]["answer_id"]]
    assert not first["refused"]
    assert one["question"] == QUESTION
    assert one["content"] == "kept"
    assert one["citation_count"] == len(first["citations"]) > 0
    assert one["timings_ms"] == first["timings_ms"]
    assert (one["mode"], one["model"]) == (first["mode"], first["model"])
    assert one["request_id"]
    refused, chat = replies["refused"], replies["chat"]
    assert by_id[refused["answer_id"]]["reason"] == refused["reason"]
    assert by_id[chat["answer_id"]]["session_id"] == chat["session_id"]


async def test_the_log_is_filtered_paged_and_exported(guarded: Api) -> None:
    key = await make_key(guarded, "viewer")
    replies = await ask_every_way(guarded, bearer(key))
    found = await logs(guarded)
    first, refused, chat = (replies[name] for name in ("query", "refused", "chat"))
    everyone = {each["answer_id"] for each in found}

    async def ids(**query: Any) -> set[str]:
        return {each["answer_id"] for each in await logs(guarded, **query)}

    assert await ids(refused="true") == {refused["answer_id"]} == await ids(q="won the CUP")
    assert await ids(reason=refused["reason"]) == {refused["answer_id"]}
    assert await ids(session_id=chat["session_id"]) == {chat["answer_id"]}
    assert await ids(status="complete") == await ids(mode=first["mode"]) == everyone
    assert await ids(model=first["model"], actor=f"key:{key[:15]}") == everyone
    assert await ids(channel="openai") == everyone - await ids(channel="api")
    nothing = [{"actor": "local"}, {"status": "incomplete"}, {"q": "100%"}, {"q": "_"}]
    assert [await ids(**query) for query in nothing] == [set()] * 4
    oldest = found[-1]["created_at"]
    assert await ids(**{"from": oldest}) == everyone
    assert await ids(to=oldest) == set()
    page = (await guarded.client.get("/chat-logs", params={"limit": 4})).json()
    rest = await logs(guarded, cursor=page["next_cursor"])
    assert page["chat_logs"] + rest == found
    batches = [b async for b in iterate_chat_logs(guarded.services.database, A, ChatLogFilter(), 4)]
    assert [len(batch) for batch in batches] == [4, 2]
    exported = [each for batch in batches for each in batch]
    assert [str(each.entry.answer_id) for each in exported] == [e["answer_id"] for e in found[::-1]]
    assert all(each.answer is not None for each in exported)


async def test_one_entry_has_its_answer_and_is_for_admins(guarded: Api) -> None:
    asker = bearer(await make_key(guarded, "viewer"))
    await guarded.add("clocks.md", TEXT)
    answer = await guarded.ask(QUESTION)
    (entry,) = await logs(guarded)
    detail = (await guarded.client.get(f"/chat-logs/{answer['answer_id']}")).json()
    stored = await guarded.client.get(f"/answers/{answer['answer_id']}")
    assert detail.pop("answer") == stored.json()
    assert detail == entry
    for address in ("/chat-logs", f"/chat-logs/{answer['answer_id']}"):
        require_problem(await guarded.client.get(address, headers=asker), 403)
    require_problem(await guarded.client.get(f"/chat-logs/{uuid4()}"), 404)


async def test_an_entry_stays_without_text_when_the_answer_goes(guarded: Api) -> None:
    document = await guarded.add("clocks.md", TEXT)
    answer = await guarded.ask(QUESTION)
    chat = (await guarded.client.post("/chat", json={"message": "Who won the cup?"})).json()
    assert (await guarded.client.delete(f"/documents/{document['document_id']}")).is_success
    assert (await guarded.client.delete(f"/session/{chat['session_id']}")).is_success
    entries = await logs(guarded)
    assert [each["content"] for each in entries] == ["removed", "removed"]
    assert [each["question"] for each in entries] == [None, None]
    assert entries[1]["citation_count"] == len(answer["citations"])
    assert entries[1]["timings_ms"] == answer["timings_ms"]
    detail = (await guarded.client.get(f"/chat-logs/{answer['answer_id']}")).json()
    assert detail["answer"] is None
    kept = await everything(guarded, "chat_logs", "answers", "messages")
    assert WORD not in kept
    assert "cup" not in kept


async def test_entries_go_with_their_time_and_not_before_their_answers(guarded: Api) -> None:
    await guarded.ask("Who won the cup?")
    await guarded.ask("Who won the race?")
    database = guarded.services.database

    async def remove(days: int) -> int:
        async with database.system_transaction() as connection:
            return await remove_old_chat_logs(connection, days)

    async with database.system_transaction() as connection:
        await connection.execute(
            text("UPDATE chat_logs SET created_at = now() - interval '9 days'")
        )
        await connection.execute(text("DELETE FROM answers WHERE question LIKE '%cup%'"))
    assert await remove(10) == 0
    await set_policy(guarded, keep_days=20)
    assert await remove(8) == 0
    await set_policy(guarded, keep_days=8)
    assert await remove(10) == 1
    assert [each["question"] for each in await logs(guarded)] == ["Who won the race?"]


TEXT_TABLES = ("answers", "chat_logs", "feedback", "jobs", "idempotency_keys", "audit_log")


@pytest.mark.parametrize("redact", ["questions", "all"])
async def test_what_the_policy_does_not_keep_is_nowhere(guarded: Api, redact: str) -> None:
    await set_policy(guarded, redact=redact)
    await guarded.add("clocks.md", TEXT)
    asked = "How often does the zephyrquartz timepiece strike, Mr Oxenbury?"
    whole = (await guarded.client.post("/query", json={"question": asked})).json()
    assert whole["question"] == asked
    assert not whole["refused"]
    assert SEVEN in whole["answer"]
    task = await guarded.client.post("/rag/query", json={"question": asked})
    await guarded.client.post("/query/stream", json={"question": asked})
    spoken = {"model": "citewell", "messages": [{"role": "user", "content": asked}]}
    assert SEVEN in (await guarded.client.post("/v1/chat/completions", json=spoken)).text
    await guarded.work()
    path = f"/answers/{whole['answer_id']}"
    await guarded.client.post(f"{path}/feedback", json={"rating": "up"})

    kept = await everything(guarded, *TEXT_TABLES)
    assert "Oxenbury" not in kept
    assert (SEVEN in kept) == (redact == "questions")
    stored = (await guarded.client.get(path)).json()
    assert stored["question"] == "(redacted)"
    assert (stored["answer"] == whole["answer"]) == (redact == "questions")
    for name in ("answer_id", "refused", "mode", "model", "timings_ms", "usage"):
        assert stored[name] == whole[name]
    spans = ("document_id", "version_id", "start", "end", "page", "section", "marker")
    for before, after in zip(whole["citations"], stored["citations"], strict=True):
        assert {name: before[name] for name in spans} == {name: after[name] for name in spans}
    events = read_events((await guarded.client.get(f"{path}/events")).text)
    assert events[-1] == ("done", stored)
    require_problem(await guarded.client.post(f"{path}/replay"), 409)
    checked = await guarded.client.post(f"{path}/verify")
    if redact == "all":
        require_problem(checked, 409)
    else:
        assert checked.json()["valid"]
    entries = await logs(guarded)
    assert {each["content"] for each in entries} == {"redacted"}
    assert {each["question"] for each in entries} == {"(redacted)"}
    assert await logs(guarded, q="red") == []
    assert (await guarded.client.get(f"/result/{task.json()['task_id']}")).json()[
        "status"
    ] == "done"


async def test_a_conversation_goes_on_by_its_messages_unless_all_is_redacted(guarded: Api) -> None:
    await guarded.add("clocks.md", TEXT)
    for redact, held in (("questions", QUESTION), ("all", "(redacted)")):
        await set_policy(guarded, redact=redact)
        first = (await guarded.client.post("/chat", json={"message": QUESTION})).json()
        session = first["session_id"]
        assert SEVEN in first["answer"]
        history = await guarded.client.get(f"/chat/sessions/{session}/history")
        contents = [each["content"] for each in history.json()["messages"]]
        assert contents[0] == held
        assert (SEVEN in contents[1]) == (redact == "questions")
        body = {"message": "How often does it strike?", "session_id": session}
        second = (await guarded.client.post("/chat", json=body)).json()
        understood = second["standalone"] or ""
        assert (WORD in understood) == (redact == "questions")
        assert "redacted" not in understood
        titled = (await guarded.client.get(f"/chat/sessions/{session}")).json()["title"]
        assert (titled == QUESTION) == (redact == "questions")


async def test_an_answer_that_broke_off_is_logged_as_incomplete(
    guarded: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    await guarded.add("clocks.md", TEXT)

    async def fail(*_: Any, **__: Any) -> Any:
        raise RuntimeError("a fault of the test")

    monkeypatch.setattr(guarded.services.embedder, "embed", fail)
    reply = await guarded.client.post("/chat", json={"message": QUESTION})
    assert reply.status_code == 500
    (entry,) = await logs(guarded, status="incomplete")
    assert entry["reason"] == "internal"
    assert entry["question"] == QUESTION


async def test_another_workspaces_questions_are_unknown(guarded: Api) -> None:
    answer = await guarded.ask("Who won the cup?")
    async with guarded.services.database.system_transaction() as connection:
        other = uuid4()
        await connection.execute(
            text("INSERT INTO workspaces (id, name) VALUES (:w, 'other')"), {"w": other}
        )
    admin = bearer(await make_key(guarded, "admin", other))

    async def get(address: str) -> httpx.Response:
        return await guarded.client.get(address, headers=admin)

    assert (await get("/chat-logs")).json()["chat_logs"] == []
    require_problem(await get(f"/chat-logs/{answer['answer_id']}"), 404)
