"""/policy: what a workspace sets over the settings' defaults, and that questions follow it."""

from typing import Any

import pytest
from sqlalchemy import text

from api.scripted import CLOCK, TEXT, ScriptedModel, use
from api.stage import Api, require_problem

DEFAULTS = {"mode": "standard", "citations": "drop", "delivery": "sentence", "rewriting": "off",
            "min_similarity": 0.0, "scope": None, "off_topics": []}  # fmt: skip


async def test_a_policy_is_set_over_the_defaults(fresh: Api) -> None:
    assert (await fresh.client.get("/policy")).json() == {**DEFAULTS, "own": []}
    body = {"mode": "structured+crag", "min_similarity": 0.3, "scope": "Clocks.",
            "off_topics": ["politics", " politics ", "food"], "citations": None}  # fmt: skip
    changed = await fresh.client.put("/policy", json=body)
    assert changed.status_code == 200, changed.text
    expected = {**DEFAULTS, "mode": "crag+structured", "min_similarity": 0.3, "scope": "Clocks.",
                "off_topics": ["politics", "food"],
                "own": ["min_similarity", "mode", "off_topics", "scope"]}  # fmt: skip
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
