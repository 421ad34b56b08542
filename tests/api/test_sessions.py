"""/session and /chat/sessions: begun, listed, renamed, expired, deleted with all that they hold."""

from typing import Any
from uuid import uuid4

from sqlalchemy import text

from api.scripted import CLOCK, TEXT, ScriptedModel, use
from api.stage import Api, require_problem
from records.rows import value


async def begin(api: Api, **body: Any) -> str:
    reply = await api.client.post("/chat/sessions", json=body)
    assert reply.status_code == 201, reply.text
    return reply.json()["session_id"]


async def test_a_session_is_begun_by_either_address(fresh: Api) -> None:
    plain = await fresh.client.post("/session")
    assert plain.status_code == 201
    assert set(plain.json()) == {"session_id"}
    named = await fresh.client.post("/chat/sessions", json={"title": "  Clocks "})
    assert named.status_code == 201
    session = named.json()
    assert (session["title"], session["message_count"]) == ("Clocks", 0)
    assert (await fresh.client.post("/chat/sessions")).json()["title"] is None
    path = f"/chat/sessions/{session['session_id']}"
    assert (await fresh.client.get(path)).json() == session
    history = (await fresh.client.get(f"{path}/history")).json()
    assert history == {"messages": [], "next_after": None}
    for wrong in ({"title": ""}, {"title": "x" * 201}, {"title": "a\x00"}, {"typo": 1}):
        require_problem(await fresh.client.post("/chat/sessions", json=wrong), 422)


async def test_sessions_are_listed_in_pages_the_last_used_first(fresh: Api) -> None:
    made = [await begin(fresh, title=str(number)) for number in range(5)]
    await fresh.client.post("/chat", json={"message": CLOCK, "session_id": made[1]})
    seen: list[str] = []
    cursor = None
    while True:
        params = {"limit": 2} | ({"cursor": cursor} if cursor else {})
        page = (await fresh.client.get("/chat/sessions", params=params)).json()
        seen += [session["session_id"] for session in page["sessions"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert seen == [made[1], made[4], made[3], made[2], made[0]]
    require_problem(await fresh.client.get("/chat/sessions", params={"cursor": "x"}), 422)


async def test_a_session_is_renamed_and_named_by_its_first_question(fresh: Api) -> None:
    session = await begin(fresh)
    path = f"/chat/sessions/{session}"
    await fresh.client.post("/chat", json={"message": f"  {CLOCK}\n ", "session_id": session})
    assert (await fresh.client.get(path)).json()["title"] == CLOCK
    renamed = await fresh.client.patch(path, json={"title": "Mine"})
    assert (renamed.status_code, renamed.json()["title"]) == (200, "Mine")
    await fresh.client.post("/chat", json={"message": "And then?", "session_id": session})
    assert (await fresh.client.get(path)).json()["title"] == "Mine"
    require_problem(await fresh.client.patch(path, json={"title": " "}), 422)


async def test_unknown_and_expired_sessions_are_404_everywhere(fresh: Api) -> None:
    expired = await begin(fresh)
    await value(
        fresh.services.database, "UPDATE sessions SET expires_at = now() - interval '1 second'"
    )
    client = fresh.client
    for session in (expired, str(uuid4()), "abc"):
        path = f"/chat/sessions/{session}"
        require_problem(await client.get(path), 404)
        require_problem(await client.get(f"{path}/history"), 404)
        require_problem(await client.patch(path, json={"title": "x"}), 404)
        require_problem(await client.delete(path), 404)
        require_problem(await client.delete(f"/session/{session}"), 404)
    assert (await client.get("/chat/sessions")).json()["sessions"] == []
    body = {"message": CLOCK, "session_id": expired}
    require_problem(await client.post("/chat", json=body), 404)
    require_problem(await client.post("/chat/stream", json=body), 404)
    require_problem(await client.post("/chat", json={**body, "async": True}), 404)
    query = {"question": CLOCK, "session_id": expired}
    require_problem(await client.post("/query", json=query), 404)
    await fresh.services.reconciler.run()
    assert await value(fresh.services.database, "SELECT count(*) FROM sessions") == 0


async def test_each_message_puts_the_end_off(fresh: Api) -> None:
    session = await begin(fresh)
    await value(
        fresh.services.database, "UPDATE sessions SET expires_at = now() + interval '1 minute'"
    )
    await fresh.client.post("/chat", json={"message": CLOCK, "session_id": session})
    left = await value(
        fresh.services.database, "SELECT extract(epoch FROM expires_at - now()) FROM sessions"
    )
    assert 86_000 < float(str(left)) <= 86_400


async def test_a_deleted_session_takes_its_answers_and_feedback_along(fresh: Api) -> None:
    await fresh.add("clock.txt", TEXT)
    api = use(fresh, ScriptedModel())
    kept = (await api.client.post("/chat", json={"message": CLOCK})).json()
    for address in ("/session", "/chat/sessions"):
        answer = (await api.client.post("/chat", json={"message": CLOCK})).json()
        path = f"/answers/{answer['answer_id']}"
        await api.client.post(f"{path}/feedback", json={"rating": "up"})
        later = await api.client.post(
            "/chat", json={"message": CLOCK, "session_id": answer["session_id"], "async": True}
        )
        deleted = await api.client.delete(f"{address}/{answer['session_id']}")
        assert (deleted.status_code, deleted.content) == (204, b"")
        require_problem(await api.client.get(path), 404)
        require_problem(await api.client.get(f"{path}/events"), 404)
        assert (await api.client.get("/feedback")).json()["feedback"] == []
        job = (await api.client.get(f"/jobs/{later.json()['task_id']}")).json()
        assert (job["status"], job["reason"]) == ("cancelled", "session_deleted")
    assert (await api.client.get(f"/answers/{kept['answer_id']}")).status_code == 200
    async with api.services.database.system_transaction() as connection:
        rows = await connection.execute(text("SELECT DISTINCT session_id::text FROM messages"))
        assert [row[0] for row in rows] == [kept["session_id"]]
        audited = await connection.scalar(
            text("SELECT count(*) FROM audit_log WHERE action = 'session.delete'")
        )
    assert audited == 2


async def test_history_comes_in_pages(fresh: Api) -> None:
    session = await begin(fresh)
    for number in range(3):
        await fresh.client.post("/chat", json={"message": f"Q {number}?", "session_id": session})
    path = f"/chat/sessions/{session}/history"
    seen: list[dict[str, Any]] = []
    after = -1
    while True:
        page = (await fresh.client.get(path, params={"limit": 4, "after": after})).json()
        seen += page["messages"]
        if page["next_after"] is None:
            break
        after = page["next_after"]
    assert [message["ordinal"] for message in seen] == list(range(6))
    assert [message["role"] for message in seen] == ["user", "assistant"] * 3
    assert [message["content"] for message in seen][::2] == ["Q 0?", "Q 1?", "Q 2?"]
    assert all(message["answer_id"] for message in seen if message["role"] == "assistant")
    require_problem(await fresh.client.get(path, params={"after": -2}), 422)
