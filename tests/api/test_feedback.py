"""/feedback: given, replaced, listed, exported, kept longer than the answer."""

import json
from typing import Any
from uuid import uuid4

import pytest

from api.stage import Api, require_problem
from citewell.records.answers import remove_old_answers
from records.rows import value


async def answered(api: Api, question: str = "Who built it?") -> str:
    return (await api.ask(question))["answer_id"]


async def give(api: Api, answer_id: str, **body: Any) -> dict[str, Any]:
    reply = await api.client.post(f"/answers/{answer_id}/feedback", json=body)
    assert reply.status_code == 200, reply.text
    return reply.json()


async def test_feedback_is_given_replaced_and_deleted(fresh: Api) -> None:
    answer = await answered(fresh)
    first = await give(fresh, answer, rating="up", comment="Good.")
    assert (first["rating"], first["comment"], first["question"]) == (
        "up", "Good.", "Who built it?",
    )  # fmt: skip
    again = await give(fresh, answer, rating="down")
    assert (again["rating"], again["comment"]) == ("down", None)
    assert again["created_at"] == first["created_at"]
    assert again["updated_at"] > first["updated_at"]
    assert (await fresh.client.get("/feedback")).json()["feedback"] == [again]
    path = f"/answers/{answer}/feedback"
    assert (await fresh.client.delete(path)).status_code == 204
    require_problem(await fresh.client.delete(path), 404)
    assert (await fresh.client.get("/feedback")).json()["feedback"] == []


@pytest.mark.parametrize(
    "body",
    [{}, {"rating": "good"}, {"rating": 1}, {"rating": "up", "comment": "x" * 4001},
     {"rating": "up", "comment": "a\x00"}, {"rating": "up", "typo": 1}],
)  # fmt: skip
async def test_bad_feedback_is_422(api: Api, body: dict[str, Any]) -> None:
    answer = await answered(api)
    require_problem(await api.client.post(f"/answers/{answer}/feedback", json=body), 422)
    for unknown in (uuid4(), "abc"):
        reply = await api.client.post(f"/answers/{unknown}/feedback", json={"rating": "up"})
        require_problem(reply, 404)


async def test_feedback_outlives_its_answer(fresh: Api) -> None:
    answer = await answered(fresh)
    await give(fresh, answer, rating="up")
    await value(fresh.services.database, "UPDATE answers SET created_at = now() - interval '9 d'")
    async with fresh.services.database.system_transaction() as connection:
        assert await remove_old_answers(connection, 8) == 1
    require_problem(await fresh.client.get(f"/answers/{answer}"), 404)
    (kept,) = (await fresh.client.get("/feedback")).json()["feedback"]
    assert (kept["rating"], kept["question"]) == ("up", "Who built it?")
    assert (await give(fresh, answer, rating="down", comment="No."))["question"] == "Who built it?"


async def test_feedback_is_found_and_exported(fresh: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    from citewell.api import feedback

    monkeypatch.setattr(feedback, "EXPORT_ROWS", 2)
    answers = [await answered(fresh, f"Question {number}?") for number in range(5)]
    for number, answer in enumerate(answers):
        await give(fresh, answer, rating="down" if number % 2 else "up", comment=f"ü\n{number}")
        await value(
            fresh.services.database,
            "UPDATE feedback SET created_at = make_timestamptz(2026, 1, :day, 0, 0, 0, 'UTC') "
            "WHERE answer_id = CAST(:id AS uuid)",
            day=number + 1,
            id=answer,
        )

    async def listed(**query: Any) -> list[str]:
        reply = await fresh.client.get("/feedback", params=query)
        assert reply.status_code == 200, reply.text
        return [item["answer_id"] for item in reply.json()["feedback"]]

    async def exported(**query: Any) -> list[str]:
        reply = await fresh.client.get("/feedback/export", params=query)
        assert reply.headers["content-type"] == "application/jsonl"
        return [json.loads(line)["answer_id"] for line in reply.text.splitlines()]

    for read in (listed, exported):
        assert await read() == answers[::-1]
        assert await read(rating="down") == [answers[3], answers[1]]
        assert await read(since="2026-01-03T00:00:00Z") == answers[:1:-1]
        assert await read(since="2026-01-03T00:00:00", rating="up") == [answers[4], answers[2]]
        assert await read(since="2027-01-01T00:00:00Z") == []
    page = (await fresh.client.get("/feedback", params={"limit": 2})).json()
    assert await listed(limit=3, cursor=page["next_cursor"]) == answers[2::-1]
    for path in ("/feedback", "/feedback/export"):
        require_problem(await fresh.client.get(path, params={"rating": "x"}), 422)
        require_problem(await fresh.client.get(path, params={"since": "x"}), 422)
