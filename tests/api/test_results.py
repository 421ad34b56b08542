"""Asynchronous questions: 202, a job of a worker, the answer under the job's id."""

import json
from typing import Any
from uuid import uuid4

import pytest

from api.scripted import CLOCK, TEXT, ScriptedModel, use
from api.stage import Api, read_events, require_problem
from citewell.errors import ProviderError
from citewell.settings import JobSettings
from records.rows import value


@pytest.fixture
async def clock(fresh: Api) -> Api:
    """An application with one small document."""
    await fresh.add("clock.txt", TEXT)
    return use(fresh, ScriptedModel())


async def result(api: Api, task_id: str) -> dict[str, Any]:
    reply = await api.client.get(f"/result/{task_id}")
    assert reply.status_code == 200, reply.text
    return reply.json()


async def later(api: Api, path: str = "/rag/query", **body: Any) -> str:
    field = "message" if path == "/chat" else "question"
    reply = await api.client.post(path, json={field: CLOCK, "async": True, **body})
    assert reply.status_code == 202, reply.text
    return reply.json()["task_id"]


@pytest.mark.parametrize(
    ("path", "header", "body"),
    [
        ("/query", True, {}),
        ("/query", False, {"async": True}),
        ("/chat", True, {}),
        ("/chat", False, {"async": True}),
        ("/rag/query", False, {}),
        ("/rag/query", True, {}),
    ],
)
async def test_a_question_is_answered_later(
    clock: Api, path: str, header: bool, body: dict[str, Any]
) -> None:
    field = "message" if path == "/chat" else "question"
    headers = {"Prefer": "wait=10, Respond-Async; x=1"} if header else {}
    reply = await clock.client.post(path, json={field: CLOCK, **body}, headers=headers)
    assert reply.status_code == 202, reply.text
    task = reply.json()["task_id"]
    assert reply.headers["location"] == f"/result/{task}"
    assert reply.headers.get("preference-applied") == ("respond-async" if header else None)
    assert (reply.json()["session_id"] is not None) is (path == "/chat")
    pending = await result(clock, task)
    assert (pending["status"], pending["answer"], pending["sources"], pending["result"]) == (
        "pending", None, [], None,
    )  # fmt: skip
    job = (await clock.client.get(f"/jobs/{task}")).json()
    assert (job["kind"], job["status"], job["steps"], job["share"]) == ("answer", "queued", [], 0)
    assert await clock.work() == 1
    done = await result(clock, task)
    answer = done["result"]
    assert done["status"] == "done"
    assert (done["answer"], done["sources"]) == (answer["answer"], answer["sources"])
    assert answer["answer_id"] == task
    assert not answer["refused"]
    assert answer["session_id"] == reply.json()["session_id"]
    await clock.check_citations(answer)
    assert (await clock.client.get(f"/answers/{task}")).json() == answer
    events = read_events((await clock.client.get(f"/answers/{task}/events")).text)
    assert [name for name, _ in events][:3] == ["meta", "evidence", "sentence"]
    assert events[-1] == ("done", answer)
    job = (await clock.client.get(f"/jobs/{task}")).json()
    assert (job["status"], job["share"], job["attempt"]) == ("done", 1, 1)
    assert job["progress"]["seconds"]["answer"] >= 0
    assert CLOCK not in json.dumps(job)
    database = clock.services.database
    assert await value(database, "SELECT payload::text FROM jobs WHERE kind = 'answer'") == "{}"
    if path == "/chat":
        address = f"/chat/sessions/{answer['session_id']}/history"
        rows = (await clock.client.get(address)).json()["messages"]
        assert [row["content"] for row in rows] == [CLOCK, answer["answer"]]
        assert rows[1]["answer_id"] == task


async def test_the_same_question_now_and_later_has_the_same_answer(clock: Api) -> None:
    now = await clock.client.post("/rag/query/sync", json={"question": CLOCK, "async": True})
    assert now.status_code == 200
    task = await later(clock)
    await clock.work()
    answer = (await result(clock, task))["result"]
    changing = {"answer_id", "timings_ms"}
    assert {k: v for k, v in answer.items() if k not in changing} == {
        k: v for k, v in now.json().items() if k not in changing
    }


async def test_a_key_asks_once(clock: Api) -> None:
    for path, body in (("/query", {"question": CLOCK}), ("/chat", {"message": CLOCK})):
        headers = {"Idempotency-Key": f"once {path}", "Prefer": "respond-async"}
        first = await clock.client.post(path, json=body, headers=headers)
        again = await clock.client.post(path, json=body, headers=headers)
        assert (again.status_code, again.content) == (202, first.content)
        assert again.headers["idempotency-replayed"] == "true"
        assert again.headers["location"] == first.headers["location"]
        assert again.headers["preference-applied"] == "respond-async"
        other = await clock.client.post(path, json={**body, "limit": 3}, headers=headers)
        require_problem(other, 422, "idempotency_mismatch")
    assert await clock.work() == 2
    assert len((await clock.client.get("/chat/sessions")).json()["sessions"]) == 1


async def test_messages_of_a_session_follow_each_other(clock: Api) -> None:
    session = (await clock.client.post("/session")).json()["session_id"]
    tasks = [await later(clock, "/chat", session_id=session) for _ in range(3)]
    assert await clock.work() == 3
    rows = (await clock.client.get(f"/chat/sessions/{session}/history")).json()["messages"]
    assert [row["answer_id"] for row in rows[1::2]] == tasks
    model: Any = clock.services.answers.chat_model
    assert [len(task.history) for task in model.tasks] == [0, 2, 4]


async def test_a_refusal_is_a_result(fresh: Api) -> None:
    task = await later(fresh)
    await fresh.work()
    done = await result(fresh, task)
    assert (done["status"], done["answer"], done["reason"]) == ("done", "", "nothing_retrieved")
    assert done["result"]["refused"]


async def test_a_model_that_fails_is_tried_again_and_then_given_up(clock: Api) -> None:
    model = ScriptedModel(error=ProviderError("The model went away. Try again."))
    api = use(clock, model, jobs=JobSettings(max_attempts=2))
    database = api.services.database
    task = await later(api)
    assert await api.work() == 1
    assert (await result(api, task))["status"] == "pending"
    await value(database, "UPDATE jobs SET run_after = now() WHERE status = 'queued'")
    assert await api.work() == 1
    failed = await result(api, task)
    assert (failed["status"], failed["reason"], failed["message"]) == (
        "failed", "provider_failed", "The model went away. Try again.",
    )  # fmt: skip
    assert len(model.tasks) == 2
    assert await value(database, "SELECT payload::text FROM jobs WHERE kind = 'answer'") == "{}"
    require_problem(await api.client.post(f"/jobs/{task}/retry"), 409)
    require_problem(await api.client.get(f"/answers/{task}"), 404)


async def test_a_question_can_be_cancelled(clock: Api) -> None:
    task = await later(clock)
    assert (await clock.client.post(f"/jobs/{task}/cancel")).status_code == 202
    assert await clock.work() == 0
    cancelled = await result(clock, task)
    assert (cancelled["status"], cancelled["reason"]) == ("failed", "cancelled")


async def test_an_answer_that_was_removed_says_so(clock: Api) -> None:
    task = await later(clock)
    await clock.work()
    document = (await clock.client.get("/documents")).json()["documents"][0]
    await clock.client.delete(f"/documents/{document['document_id']}")
    gone = await result(clock, task)
    assert (gone["status"], gone["reason"], gone["answer"], gone["result"]) == (
        "done", "answer_removed", None, None,
    )  # fmt: skip


async def test_unknown_tasks_and_bad_questions_are_refused(clock: Api) -> None:
    (job,) = (await clock.client.get("/jobs")).json()["jobs"]
    for task in (str(uuid4()), "abc", job["job_id"]):
        require_problem(await clock.client.get(f"/result/{task}"), 404)
    for path in ("/rag/query", "/rag/query/sync"):
        for body in ({"question": "x", "mode": "deep"}, {"question": "x", "typo": 1}, []):
            require_problem(await clock.client.post(path, json=body), 422)
        body = {"question": CLOCK, "session_id": str(uuid4())}
        require_problem(await clock.client.post(path, json=body), 404)
        require_problem(await clock.client.post(path, json={"question": "x " * 2001}), 413)
    assert await clock.work() == 0
