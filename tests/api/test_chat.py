"""/chat: turns that do not interleave, history, and what is stored of each answer."""

import asyncio
from time import monotonic
from typing import Any

import pytest

from api.scripted import CLOCK, TEXT, ScriptedModel, served, until, use
from api.stage import Api, read_events, require_problem
from citewell.errors import ProviderError
from citewell.settings import SessionSettings
from records.rows import value

GONE = "This answer was removed, because a document that it quoted was deleted."


@pytest.fixture
async def clock(fresh: Api) -> Api:
    """An application with one small document."""
    await fresh.add("clock.txt", TEXT)
    return fresh


async def chat(api: Api, message: str = CLOCK, **body: Any) -> dict[str, Any]:
    reply = await api.client.post("/chat", json={"message": message, **body})
    assert reply.status_code == 200, reply.text
    return reply.json()


async def history(api: Api, session_id: str) -> list[dict[str, Any]]:
    reply = await api.client.get(f"/chat/sessions/{session_id}/history")
    assert reply.status_code == 200, reply.text
    return reply.json()["messages"]


async def test_a_conversation_is_remembered(clock: Api) -> None:
    model = ScriptedModel()
    api = use(clock, model, session=SessionSettings(max_history=4))
    first = await chat(api)
    session = first["session_id"]
    assert session
    assert model.tasks[0].history == ()
    for _ in range(3):
        await chat(api, session_id=session)
    said = [(message.role, message.content) for message in model.tasks[-1].history]
    assert said == [("user", CLOCK), ("assistant", first["answer"])] * 2
    rows = await history(api, session)
    assert [row["ordinal"] for row in rows] == list(range(8))
    assert rows[1]["answer_id"] == first["answer_id"]
    assert (rows[1]["status"], rows[1]["refused"]) == ("complete", False)
    assert (await api.client.get(f"/answers/{first['answer_id']}")).json() == first


async def test_a_question_may_belong_to_a_session(clock: Api) -> None:
    api = use(clock, ScriptedModel())
    alone = (await api.client.post("/query", json={"question": CLOCK})).json()
    assert alone["session_id"] is None
    session = (await api.client.post("/session")).json()["session_id"]
    body = {"question": CLOCK, "session_id": session}
    assert (await api.client.post("/query", json=body)).json()["session_id"] == session
    events = read_events((await api.client.post("/query/stream", json=body)).text)
    assert events[0][1]["session_id"] == session
    assert len(await history(api, session)) == 4


async def test_two_messages_of_a_session_take_turns(clock: Api) -> None:
    model = ScriptedModel(pause=0.1)
    api = use(clock, model)
    session = (await api.client.post("/session")).json()["session_id"]
    asked = [f"{CLOCK} {number}" for number in range(4)]
    answers = await asyncio.gather(*(chat(api, message, session_id=session) for message in asked))
    assert model.most_writing == 1
    rows = await history(api, session)
    assert [row["role"] for row in rows] == ["user", "assistant"] * 4
    by_question = {answer["question"]: answer for answer in answers}
    for question, reply in zip(rows[::2], rows[1::2], strict=True):
        assert reply["answer_id"] == by_question[question["content"]]["answer_id"]
    # Each saw all that was said before it, whole.
    seen = sorted(len(task.history) for task in model.tasks)
    assert seen == [0, 2, 4, 6]


async def test_who_waits_too_long_is_told_so(clock: Api) -> None:
    model = ScriptedModel(pause=0.5)
    api = use(clock, model, session=SessionSettings(wait_seconds=0.3))
    session = (await api.client.post("/session")).json()["session_id"]
    first = asyncio.create_task(chat(api, session_id=session))
    await until(lambda: model.writing)
    started = monotonic()
    pool: Any = api.services.database.engine.pool
    for path in ("/chat", "/chat/stream"):
        reply = await api.client.post(path, json={"message": CLOCK, "session_id": session})
        require_problem(reply, 409, "session_busy")
        assert int(reply.headers["retry-after"]) >= 1
    assert monotonic() - started < 1.5
    assert pool.checkedout() == 0
    other = await chat(api)
    assert other["session_id"] != session
    await first
    assert (await chat(api, session_id=session))["status"] == "complete"


async def test_a_long_answer_keeps_its_turn(clock: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    from citewell.records import turns

    monkeypatch.setattr(turns, "TURN_SECONDS", 0.4)
    monkeypatch.setattr(turns, "RENEW_SECONDS", 0.1)
    model = ScriptedModel(pause=0.5)
    api = use(clock, model, session=SessionSettings(wait_seconds=0.9))
    session = (await api.client.post("/session")).json()["session_id"]
    first = asyncio.create_task(chat(api, session_id=session))
    await until(lambda: model.writing)
    reply = await api.client.post("/chat", json={"message": CLOCK, "session_id": session})
    require_problem(reply, 409, "session_busy")
    await first
    assert len(await history(api, session)) == 2


async def test_a_dead_process_leaves_its_turn_to_others(clock: Api) -> None:
    api = use(clock, ScriptedModel())
    session = (await api.client.post("/session")).json()["session_id"]
    await value(
        api.services.database,
        "UPDATE sessions SET turn_token = gen_random_uuid(), "
        "turn_until = now() + interval '0.5 seconds'",
    )
    assert (await chat(api, session_id=session))["status"] == "complete"
    assert await value(api.services.database, "SELECT count(turn_token) FROM sessions") == 0


async def test_a_turn_that_was_lost_writes_no_message(clock: Api) -> None:
    model = ScriptedModel(pause=0.2)
    api = use(clock, model)
    session = (await api.client.post("/session")).json()["session_id"]
    asked = asyncio.create_task(chat(api, session_id=session))
    await until(lambda: model.writing)
    await value(api.services.database, "UPDATE sessions SET turn_token = gen_random_uuid()")
    answer = await asked
    assert await history(api, session) == []
    assert (await api.client.get(f"/answers/{answer['answer_id']}")).status_code == 200


async def test_a_session_that_is_deleted_meanwhile_keeps_nothing(clock: Api) -> None:
    model = ScriptedModel(pause=0.2)
    api = use(clock, model)
    session = (await api.client.post("/session")).json()["session_id"]
    asked = asyncio.create_task(chat(api, session_id=session))
    await until(lambda: model.writing)
    assert (await api.client.delete(f"/session/{session}")).status_code == 204
    answer = await asked
    require_problem(await api.client.get(f"/answers/{answer['answer_id']}"), 404)
    assert await value(api.services.database, "SELECT count(*) FROM messages") == 0


async def test_a_refusal_is_a_message_too(fresh: Api) -> None:
    answer = await chat(fresh)
    assert (answer["refused"], answer["reason"]) == (True, "nothing_retrieved")
    rows = await history(fresh, answer["session_id"])
    assert [row["content"] for row in rows] == [CLOCK, answer["message"]]
    assert (rows[1]["refused"], rows[1]["status"]) == (True, "complete")


@pytest.mark.parametrize("path", ["/chat", "/chat/stream"])
async def test_what_was_written_before_a_failure_is_marked(clock: Api, path: str) -> None:
    api = use(clock, ScriptedModel(error=ProviderError("The model went away. Try again.")))
    session = (await api.client.post("/session")).json()["session_id"]
    reply = await api.client.post(path, json={"message": CLOCK, "session_id": session})
    if path == "/chat":
        require_problem(reply, 502)
    else:
        assert read_events(reply.text)[-1][0] == "error"
    question, said = await history(api, session)
    assert question["content"] == CLOCK
    assert said["content"].startswith("The pendulum clock")
    assert said["content"].endswith(
        "(This answer is not complete: The model went away. Try again.)"
    )
    assert said["status"] == "incomplete"
    assert await value(api.services.database, "SELECT count(turn_token) FROM sessions") == 0


async def test_a_reader_who_leaves_a_chat_ends_its_turn(clock: Api) -> None:
    model = ScriptedModel(pause=0.25, pieces=40)
    api = use(clock, model)
    session = (await api.client.post("/session")).json()["session_id"]
    body = {"message": CLOCK, "session_id": session}
    async with served(api) as client:
        async with client.stream("POST", "/chat/stream", json=body) as reply:
            async for line in reply.aiter_lines():
                if line == "event: sentence":
                    break
        model.pieces = 1
        again = await client.post("/chat", json=body)
    assert again.status_code == 200
    rows = await history(api, session)
    assert [row["role"] for row in rows] == ["user", "assistant"] * 2
    assert "not complete" in rows[1]["content"]
    assert rows[3]["status"] == "complete"


async def test_a_deleted_document_is_gone_from_the_history(clock: Api) -> None:
    other = await clock.add("other.txt", "The zymurgist of Leiden brews ale. " * 3)
    api = use(clock, ScriptedModel(pieces=1))
    where = {"filters": {"document_id": other["document_id"]}}
    first = await chat(api, "Where does the zymurgist brew ale?", **where)
    assert not first["refused"], first
    session = first["session_id"]
    second = await chat(api, session_id=session, filters={"document_name": "clock.txt"})
    assert not second["refused"], second
    assert (await api.client.delete(f"/documents/{other['document_id']}")).status_code == 204
    rows = await history(api, session)
    assert [row["content"] for row in rows] == [
        "Where does the zymurgist brew ale?", GONE, CLOCK, second["answer"],
    ]  # fmt: skip
    require_problem(await api.client.get(f"/answers/{first['answer_id']}"), 404)
    assert (await api.client.get(f"/answers/{second['answer_id']}")).status_code == 200


async def test_a_document_deleted_while_it_is_quoted_is_not_kept(clock: Api) -> None:
    model = ScriptedModel(pause=0.2)
    api = use(clock, model)
    document = (await api.client.get("/documents")).json()["documents"][0]["document_id"]
    asked = asyncio.create_task(chat(api))
    await until(lambda: model.writing)
    assert (await api.client.delete(f"/documents/{document}")).status_code == 204
    answer = await asked
    rows = await history(api, answer["session_id"])
    assert [row["content"] for row in rows] == [CLOCK, GONE]
    require_problem(await api.client.get(f"/answers/{answer['answer_id']}"), 404)


@pytest.mark.parametrize("path", ["/chat", "/chat/stream"])
@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({}, 422, "invalid"),
        ({"message": None}, 422, "invalid"),
        ({"message": "a\x00"}, 422, "invalid"),
        ({"message": "x", "typo": 1}, 422, "invalid"),
        ({"message": "x", "session_id": "abc"}, 422, "invalid"),
        ({"message": "x", "mode": "deep"}, 422, "unknown_mode"),
        ({"message": "x", "mode": "crag+deep"}, 422, "unknown_mode"),
        ({"message": "x", "budget": {"seconds": 0}}, 422, "invalid"),
        ({"message": "x", "budget": {"cost_usd": -1}}, 422, "invalid"),
        ({"message": "x", "budget": {"hours": 1}}, 422, "invalid"),
        ({"message": "x", "collection": "nowhere"}, 404, "not_found"),
        ({"message": "x " * 2001}, 413, "too_large"),
    ],
)
async def test_bad_messages_begin_no_session(
    api: Api, path: str, body: dict[str, Any], status: int, code: str
) -> None:
    require_problem(await api.client.post(path, json=body), status, code)
    assert (await api.client.get("/chat/sessions")).json()["sessions"] == []


async def test_a_budget_is_bounded_by_the_settings(clock: Api) -> None:
    model = ScriptedModel()
    api = use(clock, model)
    await chat(api, budget={"seconds": 5000})
    await chat(api, budget={"seconds": 2})
    assert 50 < model.tasks[0].deadline_seconds <= 60
    assert model.tasks[1].deadline_seconds <= 2
