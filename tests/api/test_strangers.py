"""What strangers try: other workspaces' ids everywhere, foreign hosts and pages, slow guesses."""

import json
import statistics
from time import perf_counter
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text

from api.keyring import OWNER, bearer, make_key, make_workspace
from api.stage import Api
from citewell.records.credentials import new_credential

SECRET = "The vault of the other team opens with the word chrysanthemum."
QUESTION = "Which word opens the vault of the other team?"
GUESSES = 60
SLACK_SECONDS = 0.001


@pytest.fixture(scope="module")
async def theirs(guarded: Api) -> dict[str, str]:
    """Another workspace's ids of every kind that a request may name."""
    workspace = await make_workspace(guarded)
    headers = OWNER | {"X-Workspace-ID": str(workspace)}
    client = guarded.client
    await client.post("/collections", json={"name": "vault"}, headers=headers)
    files = [("files", ("vault.txt", SECRET.encode()))]
    data = {"collection": "vault"}
    reply = await client.post("/documents/upload", files=files, data=data, headers=headers)
    (document,) = reply.json()["documents"]
    await guarded.work()
    session = (await client.post("/session", headers=headers)).json()["session_id"]
    chat = {"session_id": session, "message": QUESTION}
    answer = (await client.post("/chat", json=chat, headers=headers)).json()
    assert "chrysanthemum" in answer["answer"]
    key = await client.post("/keys", json={"name": "theirs"}, headers=headers)
    return {
        "workspace": str(workspace),
        "document_id": document["document_id"],
        "version_id": answer["citations"][0]["version_id"],
        "job_id": document["job_id"],
        "task_id": document["job_id"],
        "answer_id": answer["answer_id"],
        "session_id": session,
        "key_id": key.json()["id"],
        "name": "vault",
        "model_id": "vault",
        "webhook_id": session,
        "export_id": document["job_id"],
        "eval_id": document["job_id"],
    }


async def count_rows(api: Api, workspace: str) -> dict[str, int]:
    """Count another workspace's rows in each table that has one."""
    async with api.services.database.system_transaction() as connection:
        tables = await connection.execute(
            text(
                "SELECT table_name FROM information_schema.columns WHERE column_name = "
                "'workspace_id' AND table_schema = current_schema() ORDER BY 1"
            )
        )
        return {
            table: await connection.scalar(
                text(f"SELECT count(*) FROM {table} WHERE workspace_id = :w"),
                {"w": UUID(workspace)},
            )
            for (table,) in tables.all()
        }


async def test_ids_of_another_workspace_are_unknown_in_every_address(
    guarded: Api, theirs: dict[str, str]
) -> None:
    own = await make_workspace(guarded)
    admin = bearer(await make_key(guarded, "admin", own))
    before = await count_rows(guarded, theirs["workspace"])
    tried = 0
    for path, methods in guarded.app.openapi()["paths"].items():
        if "{" not in path or path.startswith(("/workspaces", "/tasks")):
            continue
        for method in methods:
            reply = await guarded.client.request(
                method.upper(), path.format_map(theirs), headers=admin, json={"name": "x"}
            )
            assert reply.status_code in {403, 404, 409, 422}, (method, path, reply.text)
            assert "chrysanthemum" not in reply.text
            assert "vault.txt" not in reply.text
            tried += 1
    assert tried > 20
    assert await count_rows(guarded, theirs["workspace"]) == before


async def test_ids_of_another_workspace_are_unknown_in_every_body(
    guarded: Api, theirs: dict[str, str]
) -> None:
    own = await make_workspace(guarded)
    admin = bearer(await make_key(guarded, "admin", own))
    before = await count_rows(guarded, theirs["workspace"])
    post = guarded.client.post
    ask = {"question": QUESTION, "query": QUESTION, "message": QUESTION, "collection": None}
    places: list[dict[str, Any]] = [
        {"filters": {"document_ids": [theirs["document_id"]]}},
        {"filters": {"document_id": theirs["document_id"]}},
        {"collection": "vault"},
        {"session_id": theirs["session_id"]},
    ]
    for path in ("/search", "/query", "/query/stream", "/chat", "/chat/stream", "/rag/query",
                 "/rag/query/sync"):  # fmt: skip
        for place in places:
            known = {key: ask[key] for key in _fields(guarded, path) if key in ask}
            reply = await post(path, json=known | place, headers=admin)
            assert "chrysanthemum" not in reply.text, (path, place)
            assert "vault.txt" not in reply.text, (path, place)
    for body in (
        {"document_id": theirs["document_id"], "collection": "vault"},
        {"document_id": theirs["document_id"]},
    ):
        reply = await post("/rag/pipeline", json=body, headers=admin)
        assert reply.status_code in {403, 404, 422}, reply.text
    model = {"model": "vault", "messages": [{"role": "user", "content": QUESTION}]}
    reply = await post("/v1/chat/completions", json=model, headers=admin)
    assert "chrysanthemum" not in reply.text
    key = {"name": "x", "workspaces": [theirs["workspace"]]}
    assert (await post("/keys", json=key, headers=admin)).status_code == 404
    assert await count_rows(guarded, theirs["workspace"]) == before


def _fields(api: Api, path: str) -> set[str]:
    """Return the names of a body's fields, as the application describes it."""
    described = json.dumps(api.app.openapi()["paths"][path]["post"]["requestBody"])
    name = described.partition("#/components/schemas/")[2].partition('"')[0]
    return set(api.app.openapi()["components"]["schemas"][name]["properties"])


async def test_replies_kept_for_one_workspace_or_key_are_not_given_to_another(
    guarded: Api,
) -> None:
    one, two = await make_workspace(guarded), await make_workspace(guarded)
    keys = [await make_key(guarded, "editor", one) for _ in range(2)]
    keys.append(await make_key(guarded, "editor", two))
    replies = []
    for number, key in enumerate(keys):
        headers = bearer(key) | {"Idempotency-Key": "the same"}
        new = {"name": f"of-{number}"}
        replies.append(await guarded.client.post("/collections", json=new, headers=headers))
    assert [reply.status_code for reply in replies] == [201, 201, 201]
    assert [reply.json()["name"] for reply in replies] == ["of-0", "of-1", "of-2"]
    assert not [reply for reply in replies if "idempotency-replayed" in reply.headers]


@pytest.mark.parametrize(
    "host",
    ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example", "evil.example:8000", "",
     "localhost@evil.example", "127.0.0.1:8000@evil.example", "localhost, evil.example", "0.0.0.0",
     "[::ffff:127.0.0.1]", "127.1", "2130706433", "localhost.", "LOCALHOST.evil", "*"],
)  # fmt: skip
async def test_other_host_names_are_not_answered(guarded: Api, host: str) -> None:
    for headers in ({}, OWNER):
        reply = await guarded.client.get("/documents", headers=headers | {"Host": host})
        assert reply.status_code == 400
        assert reply.json()["code"] == "unknown_host"


@pytest.mark.parametrize(
    "origin",
    ["http://evil.example", "https://127.0.0.1.evil.example", "null", "http://localhost.evil",
     "file://", "http://127.0.0.1@evil.example", "chrome-extension://abc", "http://", "evil"],
)  # fmt: skip
async def test_pages_of_other_sites_may_not_call(guarded: Api, origin: str) -> None:
    for method, path in (("GET", "/documents"), ("POST", "/query"), ("OPTIONS", "/query")):
        headers = OWNER | {"Origin": origin, "Access-Control-Request-Method": "POST"}
        reply = await guarded.client.request(method, path, headers=headers)
        assert reply.status_code == 403
        assert reply.json()["code"] == "foreign_origin"
        assert not [name for name in reply.headers if name.startswith("access-control-")]


async def test_a_refusal_takes_as_long_for_a_known_name_as_for_an_unknown_one(
    guarded: Api,
) -> None:
    known, other = await make_key(guarded, "viewer"), new_credential().text
    revoked = await make_key(guarded, "viewer")
    async with guarded.services.database.system_transaction() as connection:
        await connection.execute(
            text("UPDATE principals SET revoked_at = now() WHERE lookup = :l"),
            {"l": revoked[3:15]},
        )
    guesses = {"unknown": other, "revoked": revoked, "wrong secret": _resealed(known, other)}
    times: dict[str, list[float]] = {name: [] for name in guesses}
    for _ in range(GUESSES):
        for name, key in guesses.items():
            started = perf_counter()
            reply = await guarded.client.get("/documents", headers=bearer(key))
            times[name].append(perf_counter() - started)
            assert reply.status_code == 401
    medians = {name: statistics.median(each) for name, each in times.items()}
    least, most = min(medians.values()), max(medians.values())
    assert most - least < SLACK_SECONDS + least * 0.25, medians


def _resealed(known: str, other: str) -> str:
    """Return a well-formed key with the public name of one and the secret of another."""
    from citewell.records import credentials

    body = known[:15] + other[15:-6]
    return body + credentials._check(body)
