"""/evals: runs by a worker, their figures, comparisons, the guard, and who may do what."""

from dataclasses import replace
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import text

from api.keyring import OWNER, bearer, make_key, make_workspace
from api.scripted import ScriptedModel, use
from api.stage import Api, require_problem
from citewell.domain import EvalId, JobId, WorkspaceId
from citewell.errors import LeaseLost, ProviderError
from citewell.records.leases import claim_jobs
from citewell.worker.evaluating import evaluate

CLOCKS = "# Clocks\n\nThe pendulum clock was designed in 1656 by Christiaan Huygens.\n"
TEA = "# Tea\n\nGreen tea is brewed with water at 80 degrees for two minutes.\n"
QUESTIONS: list[dict[str, Any]] = [
    {"id": "when", "question": "When was the pendulum clock designed?",
     "document": "clocks.md", "phrases": ["1656"]},
    {"id": "tea", "question": "At which temperature is green tea brewed?",
     "document": "tea.md", "quote": "water at 80 degrees"},
    {"id": "not", "question": "Who won the football cup in Brazil?", "answerable": False},
]  # fmt: skip


@pytest.fixture
async def filled(fresh: Api) -> Api:
    """An application with two documents."""
    await fresh.add("clocks.md", CLOCKS)
    await fresh.add("tea.md", TEA)
    return fresh


async def run(api: Api, questions: list[dict[str, Any]] = QUESTIONS, **body: Any) -> dict[str, Any]:
    """Evaluate questions to the end; return the run."""
    reply = await api.client.post("/evals", json={"questions": questions, **body})
    assert reply.status_code == 202, reply.text
    assert reply.json()["status"] == "pending"
    assert reply.headers["location"] == f"/evals/{reply.json()['eval_id']}"
    assert await api.work() == 1
    return (await api.client.get(reply.headers["location"])).json()


async def audit(api: Api) -> list[str]:
    async with api.services.database.system_transaction() as connection:
        rows = await connection.scalars(text("SELECT action FROM audit_log ORDER BY id"))
        return [row for row in rows if row.startswith(("eval", "policy"))]


async def test_a_dataset_is_searched_answered_and_measured(filled: Api) -> None:
    made = await run(filled, name="nightly")
    assert (made["status"], made["share"], made["question_count"]) == ("succeeded", 1.0, 3)
    figures = made["figures"]
    means = {name: figure["mean"] for name, figure in figures["metrics"].items()}
    assert means == {
        "ndcg_at_10": 1.0, "recall_at_5": 1.0, "recall_at_10": 1.0, "recall_at_20": 1.0,
        "recall_at_100": 1.0, "mrr": 1.0, "span_recall": 1.0, "exactness": 1.0,
        "citation_precision": 1.0, "citation_recall": 1.0, "cited_span_recall": 1.0,
        "citation_exactness": 1.0, "answer_contains": 1.0, "refusal_accuracy": 1.0,
        "answered": 1.0, "refused": 1.0,
    }  # fmt: skip
    assert figures["metrics"]["refusal_accuracy"]["count"] == 3
    assert figures["metrics"]["refusal_accuracy"]["low"] < 0.5
    assert figures["search_ms"]["p95"] >= figures["search_ms"]["p50"] > 0
    assert (figures["cost_usd"], figures["tokens"], figures["failed"]) == (None, 0, 0)
    assert made["settings"]["makers"]["model"] == "extractive"
    assert made["settings"]["policy"]["mode"] == "standard"
    path = f"/evals/{made['eval_id']}/questions"
    page = (await filled.client.get(path, params={"limit": 2})).json()
    rest = (await filled.client.get(path, params={"cursor": page["next_cursor"]})).json()
    rows = page["questions"] + rest["questions"]
    assert rest["next_cursor"] is None
    assert [row["expected"]["id"] for row in rows] == ["when", "tea", "not"]
    assert rows[2]["result"]["refused"] is True
    assert "80 degrees" not in str([row["result"] for row in rows])  # no word of a document
    assert await audit(filled) == ["eval.add"]
    require_problem(await filled.client.get(path, params={"cursor": "x"}), 422)
    job = (await filled.client.get(f"/jobs/{made['eval_id']}")).json()
    assert (job["kind"], job["status"], job["steps"]) == ("evaluate", "done", [])


async def test_retrieval_alone_answers_nothing(filled: Api) -> None:
    made = await run(filled, retrieval_only=True)
    assert "answered" not in made["figures"]["metrics"]
    assert made["figures"]["answer_ms"] == {}
    assert "policy" not in made["settings"]
    assert made["figures"]["metrics"]["mrr"]["count"] == 2


async def test_runs_are_compared_and_followed(filled: Api) -> None:
    first = await run(filled)
    (document,) = [
        each for each in (await filled.client.get("/documents")).json()["documents"]
        if each["name"] == "tea.md"
    ]  # fmt: skip
    await filled.client.delete(f"/documents/{document['document_id']}")
    second = await run(filled)
    other = await run(filled, QUESTIONS[:1])
    params = {"a": first["eval_id"], "b": second["eval_id"]}
    found = (await filled.client.get("/evals/diff", params=params)).json()
    assert (found["same_dataset"], found["shared"], found["settings_changed"]) == (True, 3, [])
    by_name = {each["metric"]: each for each in found["differences"]}
    assert by_name["mrr"]["difference"] == -0.5
    assert by_name["refused"]["verdict"] == "no difference"
    params["b"] = other["eval_id"]
    found = (await filled.client.get("/evals/diff", params=params)).json()
    assert (found["same_dataset"], found["shared"]) == (False, 1)
    listed = (await filled.client.get("/evals")).json()["evals"]
    assert [each["eval_id"] for each in listed] == [
        each["eval_id"] for each in (other, second, first)
    ]
    trend = (await filled.client.get("/evals/trend")).json()
    assert [each["eval_id"] for each in trend["evals"]] == [other["eval_id"]]
    wanted = {"dataset_sha256": first["dataset_sha256"]}
    trend = (await filled.client.get("/evals/trend", params=wanted)).json()
    assert [each["eval_id"] for each in trend["evals"]] == [first["eval_id"], second["eval_id"]]
    wanted = {"name": "never"}
    assert (await filled.client.get("/evals/trend", params=wanted)).json()["evals"] == []


async def test_a_changed_policy_is_named_in_the_comparison(filled: Api) -> None:
    first = await run(filled)
    await filled.client.put("/policy", json={"min_similarity": 0.1, "keep_days": 3})
    second = await run(filled)
    assert first["settings_sha256"] != second["settings_sha256"]
    params = {"a": first["eval_id"], "b": second["eval_id"]}
    found = (await filled.client.get("/evals/diff", params=params)).json()
    assert found["settings_changed"] == ["policy.min_similarity"]


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"questions": []}, "questions"),
        ({"questions": [{"question": "?"}]}, "Question 1: an answerable question needs"),
        ({"questions": [QUESTIONS[0], {"question": 3}]}, "Question 2: question must be text"),
        ({"questions": [{"question": "a\u0000", "phrases": ["a"]}]}, "NUL"),
        ({"questions": QUESTIONS, "typo": 1}, "typo"),
        ({"questions": QUESTIONS, "collection": "-"}, "collection"),
    ],
)
async def test_what_is_not_understood_is_refused(api: Api, body: dict[str, Any], said: str) -> None:
    assert said in require_problem(await api.client.post("/evals", json=body), 422)["detail"]


async def test_unknown_things_are_not_found(api: Api) -> None:
    body = {"questions": QUESTIONS, "collection": "none"}
    require_problem(await api.client.post("/evals", json=body), 404)
    for unknown in (str(uuid4()), "x"):
        for path in (f"/evals/{unknown}", f"/evals/{unknown}/questions"):
            require_problem(await api.client.get(path), 404)
        require_problem(await api.client.delete(f"/evals/{unknown}"), 404)
        params = {"a": unknown, "b": unknown}
        require_problem(await api.client.get("/evals/diff", params=params), 404)
    require_problem(await api.client.get("/evals/guard"), 404)
    require_problem(await api.client.delete("/evals/guard"), 404)


async def test_a_run_that_is_deleted_while_it_is_made_leaves_nothing(filled: Api) -> None:
    reply = await filled.client.post("/evals", json={"questions": QUESTIONS})
    eval_id = EvalId(reply.json()["eval_id"])
    workspace = WorkspaceId((await filled.client.get("/workspaces")).json()["workspaces"][0]["id"])
    async with filled.services.database.transaction(workspace) as connection:
        claims = await claim_jobs(connection, workspace, [(JobId(eval_id), "evaluate")], 60)
    (lease,) = claims.values()
    assert (await filled.client.delete(f"/evals/{eval_id}")).status_code == 204
    with pytest.raises(LeaseLost):
        await evaluate(filled.services, lease, lambda _: None, lambda: dict)
    async with filled.services.database.system_transaction() as connection:
        assert await connection.scalar(text("SELECT count(*) FROM eval_questions")) == 0
    job = (await filled.client.get(f"/jobs/{eval_id}")).json()
    assert (job["status"], job["reason"]) == ("cancelled", "eval_deleted")
    assert await audit(filled) == ["eval.add", "eval.delete"]


async def test_a_run_whose_collection_is_gone_fails_and_cannot_be_compared(filled: Api) -> None:
    await filled.client.post("/collections", json={"name": "shelf"})
    body = {"questions": QUESTIONS, "collection": "shelf"}
    made = (await filled.client.post("/evals", json=body)).json()
    await filled.client.delete("/collections/shelf")
    await filled.work()
    ended = (await filled.client.get(f"/evals/{made['eval_id']}")).json()
    assert (ended["status"], ended["reason"]) == ("failed", "not_found")
    params = {"a": made["eval_id"], "b": made["eval_id"]}
    require_problem(await filled.client.get("/evals/diff", params=params), 409)
    retried = await filled.client.post(f"/jobs/{made['eval_id']}/retry")
    assert "Start a new one" in require_problem(retried, 409)["detail"]


async def test_the_same_key_starts_one_run(filled: Api) -> None:
    headers, body = {"Idempotency-Key": "once"}, {"questions": QUESTIONS}
    replies = [
        await filled.client.post("/evals", json=body, headers=headers) for _ in range(2)
    ]  # fmt: skip
    assert replies[0].json() == replies[1].json()
    assert len((await filled.client.get("/evals")).json()["evals"]) == 1
    assert await filled.work() == 1


async def test_what_a_model_spends_is_booked(filled: Api) -> None:
    made = await run(use(filled, ScriptedModel()))
    assert (made["figures"]["tokens"], made["figures"]["cost_usd"]) == (240, 0.01)
    async with filled.services.database.system_transaction() as connection:
        kinds = await connection.scalars(text("SELECT DISTINCT kind FROM usage_ledger "
                                              "WHERE input_tokens > 0"))  # fmt: skip
        assert list(kinds) == ["evaluation"]
        assert await connection.scalar(text("SELECT sum(questions) FROM usage_days")) == 0


async def test_a_model_that_fails_is_a_result(filled: Api) -> None:
    made = await run(use(filled, ScriptedModel(error=ProviderError())))
    assert (made["status"], made["figures"]["failed"]) == ("succeeded", 2)
    assert made["figures"]["metrics"]["answered"]["mean"] == 0.0


async def test_a_quota_that_is_used_up_ends_the_run(filled: Api) -> None:
    await filled.client.put("/quotas", json={"tokens_per_day": 100})
    made = await run(use(filled, ScriptedModel()))
    assert (made["status"], made["reason"]) == ("failed", "quota_exceeded")
    assert made["figures"]["metrics"] == {}


async def test_a_run_tells_nothing_of_documents_that_viewers_do_not_see(guarded: Api) -> None:
    workspace = await make_workspace(guarded)
    admin = bearer(await make_key(guarded, "admin", workspace))
    files = [("files", ("clocks.md", CLOCKS.encode())), ("files", ("tea.md", TEA.encode()))]
    reply = await guarded.client.post("/documents/upload", files=files, headers=admin)
    await guarded.work()
    (tea,) = [each["document_id"] for each in reply.json()["documents"] if each["name"] == "tea.md"]
    path = f"/documents/{tea}/readers"
    await guarded.client.put(path, json={"readers": ["role:admin"]}, headers=admin)
    reply = await guarded.client.post("/evals", json={"questions": QUESTIONS}, headers=admin)
    await guarded.work()
    made = (await guarded.client.get(reply.headers["location"], headers=admin)).json()
    assert made["figures"]["metrics"]["mrr"]["mean"] == 0.5
    viewer = bearer(await make_key(guarded, "viewer", workspace))
    assert (await guarded.client.get(reply.headers["location"], headers=viewer)).json() == made
    assert made["created_by"].startswith("key:")


GUARD = {"questions": QUESTIONS, "tolerance": 0.05}


async def test_a_change_that_makes_answers_worse_is_refused_with_the_figures(filled: Api) -> None:
    reply = await filled.client.put("/evals/guard", json=GUARD)
    assert reply.status_code == 200, reply.text
    assert (reply.json()["question_count"], reply.json()["tolerance"]) == (3, 0.05)
    assert (await filled.client.get("/evals/guard")).json() == reply.json()
    worse = {"min_similarity": 0.99}
    refused = await filled.client.put("/policy", json=worse)
    problem = require_problem(refused, 409, "guard_refused")
    figures = {each["metric"]: each for each in problem["figures"]}
    assert figures["answered"]["before"] == 1.0 > figures["answered"]["after"] == 0.0
    assert "answered 1.000 → 0.000" in problem["detail"]
    assert (await filled.client.get("/policy")).json()["own"] == []
    assert (await filled.client.put("/policy", json={"min_similarity": 0.01})).status_code == 200
    assert (await filled.client.put("/policy", json={"keep_days": 3})).status_code == 200
    forced = await filled.client.put("/policy", json=worse, params={"force": True})
    assert forced.json()["min_similarity"] == 0.99
    assert await audit(filled) == [
        "eval.guard.set", "policy.change", "policy.change", "policy.force"]  # fmt: skip
    # what is better is let through, and so is everything once the guard is gone
    assert (await filled.client.put("/policy", json={})).status_code == 200
    assert (await filled.client.delete("/evals/guard")).status_code == 204
    assert (await filled.client.put("/policy", json=worse)).status_code == 200


async def test_a_trial_asks_no_language_model(filled: Api) -> None:
    quoting, written = filled.services.answers, ScriptedModel()
    api = use(filled, written)
    pipeline = replace(api.services.answers, quoting=quoting)
    filled.app.state.services = replace(api.services, answers=pipeline)
    await filled.client.put("/evals/guard", json=GUARD)
    require_problem(await filled.client.put("/policy", json={"min_similarity": 0.99}), 409)
    assert written.tasks == []


async def test_a_trial_that_takes_too_long_is_said_to(
    filled: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("citewell.api.guarding.GUARD_SECONDS", 0.0)
    await filled.client.put("/evals/guard", json=GUARD)
    reply = await filled.client.put("/policy", json={"mode": "crag"})
    assert "force=true" in require_problem(reply, 409, "guard_untried")["detail"]
    forced = await filled.client.put("/policy", json={"mode": "crag"}, params={"force": True})
    assert forced.status_code == 200


async def test_a_guard_has_few_questions(api: Api) -> None:
    many = [{"question": f"{n}?", "phrases": ["a"]} for n in range(201)]
    require_problem(await api.client.put("/evals/guard", json={"questions": many}), 422)
    for tolerance in (-0.1, 1.1, "NaN"):
        body = {"questions": QUESTIONS, "tolerance": tolerance}
        require_problem(await api.client.put("/evals/guard", json=body), 422)


async def test_another_workspaces_guard_counts_nothing(guarded: Api) -> None:
    own, other = await make_workspace(guarded), await make_workspace(guarded)
    reply = await guarded.client.put(
        "/evals/guard", json=GUARD, headers=OWNER | {"X-Workspace-ID": str(other)}
    )
    assert reply.status_code == 200
    admin = bearer(await make_key(guarded, "admin", own))
    require_problem(await guarded.client.get("/evals/guard", headers=admin), 404)
    changed = await guarded.client.put("/policy", json={"mode": "crag"}, headers=admin)
    assert changed.status_code == 200
