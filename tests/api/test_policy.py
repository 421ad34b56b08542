"""/policy: what a workspace sets over the settings' defaults, and that questions follow it."""

from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import text

from api.scripted import CLOCK, TEXT, ScriptedModel, use
from api.stage import Api, require_problem

DEFAULTS = {"mode": "standard", "citations": "drop", "delivery": "sentence", "rewriting": "off",
            "min_similarity": 0.0, "scope": None, "off_topics": [], "model": "configured",
            "keep_days": 30, "redact": "off"}  # fmt: skip


async def test_a_policy_is_set_over_the_defaults(fresh: Api) -> None:
    assert (await fresh.client.get("/policy")).json() == {**DEFAULTS, "own": []}
    body = {"mode": "structured+crag", "min_similarity": 0.3, "scope": "Clocks.",
            "off_topics": ["politics", " politics ", "food"], "citations": None,
            "model": "extractive", "keep_days": 0, "redact": "questions"}  # fmt: skip
    changed = await fresh.client.put("/policy", json=body)
    assert changed.status_code == 200, changed.text
    expected = {**DEFAULTS, "mode": "crag+structured", "min_similarity": 0.3, "scope": "Clocks.",
                "off_topics": ["politics", "food"], "model": "extractive", "keep_days": 0,
                "redact": "questions",
                "own": ["keep_days", "min_similarity", "mode", "model", "off_topics", "redact",
                        "scope"]}  # fmt: skip
    assert changed.json() == expected
    assert (await fresh.client.get("/policy")).json() == expected
    assert (await fresh.client.put("/policy", json={})).json() == {**DEFAULTS, "own": []}
    async with fresh.services.database.system_transaction() as connection:
        actions = await connection.scalars(text("SELECT action FROM audit_log"))
        assert list(actions) == ["policy.change"] * 2


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"mode": "deep"}, "unknown_mode"),
        ({"mode": ""}, "invalid"),
        ({"citations": "keep"}, "invalid"),
        ({"delivery": "letter"}, "invalid"),
        ({"rewriting": "on"}, "invalid"),
        ({"min_similarity": 1.5}, "invalid"),
        ({"min_similarity": "NaN"}, "invalid"),
        ({"scope": "x" * 2001}, "invalid"),
        ({"scope": "  "}, "invalid"),
        ({"scope": "a\x00"}, "invalid"),
        ({"off_topics": ["x"] * 101}, "invalid"),
        ({"off_topics": [" "]}, "invalid"),
        ({"off_topics": ["x" * 201]}, "invalid"),
        ({"off_topics": "food"}, "invalid"),
        ({"model": "gpt"}, "invalid"),
        ({"keep_days": -1}, "invalid"),
        ({"keep_days": 36_501}, "invalid"),
        ({"keep_days": 1.5}, "invalid"),
        ({"redact": "answers"}, "invalid"),
        ({"typo": 1}, "invalid"),
    ],
)
async def test_a_bad_policy_changes_nothing(api: Api, body: dict[str, Any], code: str) -> None:
    require_problem(await api.client.put("/policy", json=body), 422, code)
    assert (await api.client.get("/policy")).json()["own"] == []


async def test_questions_follow_the_policy(fresh: Api) -> None:
    await fresh.add("clock.txt", TEXT)
    api = use(fresh, ScriptedModel())
    await api.client.put("/policy", json={"mode": "crag", "min_similarity": 0.999})
    answer = await api.ask(CLOCK)
    assert (answer["mode"], answer["refused"]) == ("crag", True)
    assert (await api.ask(CLOCK, mode="standard"))["mode"] == "standard"
    await api.client.put("/policy", json={})
    answer = await api.ask(CLOCK)
    assert (answer["mode"], answer["refused"]) == ("standard", False)


async def test_a_workspace_may_be_answered_by_quoting_although_there_is_a_model(fresh: Api) -> None:
    await fresh.add("clock.txt", TEXT)
    quoting, written = fresh.services.answers, ScriptedModel()
    api = use(fresh, written)
    pipeline = replace(api.services.answers, quoting=quoting)
    fresh.app.state.services = replace(api.services, answers=pipeline)
    assert (await fresh.ask(CLOCK))["model"] == "scripted"
    await fresh.client.put("/policy", json={"model": "extractive"})
    answer = await fresh.ask(CLOCK)
    assert (answer["model"], answer["refused"]) == ("extractive", False)
    assert len(written.tasks) == 1
    again = await fresh.client.post(f"/answers/{answer['answer_id']}/replay")
    assert (again.json()["same"], again.json()["makers_changed"]) == (True, [])
    await fresh.client.put("/policy", json={"model": "configured"})
    assert (await fresh.ask(CLOCK))["model"] == "scripted"


async def test_answers_are_kept_as_long_as_the_policy_says(fresh: Api) -> None:
    await fresh.add("clock.txt", TEXT)
    asked = [await fresh.ask(CLOCK) for _ in range(3)]
    async with fresh.services.database.system_transaction() as connection:
        for answer, days in zip(asked, (0, 3, 31), strict=True):
            await connection.execute(
                text("UPDATE answers SET created_at = now() - make_interval(days => :d) "
                     "WHERE id = :i"),
                {"d": days, "i": answer["answer_id"]},
            )  # fmt: skip

    async def kept() -> list[bool]:
        await fresh.services.reconciler.run()
        paths = [f"/answers/{answer['answer_id']}" for answer in asked]
        return [(await fresh.client.get(path)).is_success for path in paths]

    await fresh.client.put("/policy", json={"keep_days": 40})
    assert await kept() == [True, True, True]
    await fresh.client.put("/policy", json={})
    assert await kept() == [True, True, False]
    await fresh.client.put("/policy", json={"keep_days": 2})
    assert await kept() == [True, False, False]
    await fresh.client.put("/policy", json={"keep_days": 0})
    assert await kept() == [False, False, False]
