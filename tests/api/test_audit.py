"""The audit log at the door: one row for each change and each denial, nothing of content."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import httpx
import pytest
from sqlalchemy import text

from api.keyring import OWNER, bearer, make_key, make_workspace, open_guarded
from api.stage import Api, require_problem
from citewell.api.denials import MOST_A_MINUTE
from citewell.api.rights import RIGHTS
from citewell.domain import INSTALLATION, WorkspaceId
from citewell.ingest.pipeline import IngestPipeline
from citewell.records.audit_chain import verify_chains
from citewell.settings import EgressSettings, Settings

CANARY = "canary7231"
"""Stands in every text that a request sends: no row may hold it."""
PASSWORD = f"{CANARY} password"


@pytest.fixture(scope="module")
async def guarded(
    clone: Callable[[], Any],
    make_settings: Callable[..., Settings],
    ingest: IngestPipeline,
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[Api]:
    with clone() as url:
        folder = tmp_path_factory.mktemp("data")
        inbox = tmp_path_factory.mktemp("inbox")
        (inbox / "inbox.md").write_text(f"# {CANARY}\n\nA text of the inbox.\n")
        egress = EgressSettings(enabled=True, allow_private=True)
        settings = make_settings(url, folder, egress=egress, inbox=inbox)
        async with open_guarded(settings, ingest) as opened:
            yield opened


@dataclass
class Team:
    """A workspace with things in it, and an admin who changes them."""

    api: Api
    workspace: WorkspaceId
    admin: str
    made: dict[str, str] = field(default_factory=dict[str, str])

    async def send(self, address: str, **request: Any) -> httpx.Response:
        """Send a request as the admin, with the ids of what was made."""
        method, path = address.split(" ", 1)
        return await self.api.client.request(
            method, path.format_map(self.made), headers=bearer(self.admin), **request
        )

    async def rows(self) -> list[dict[str, Any]]:
        async with self.api.services.database.system_transaction() as connection:
            found = await connection.execute(
                text("SELECT * FROM audit_log WHERE workspace_id = :w ORDER BY id"),
                {"w": self.workspace},
            )
            return [dict(row) for row in found.mappings()]

    async def upload(self, name: str, words: str = "") -> httpx.Response:
        content = f"# Clocks\n\nThe {CANARY} clock strikes {name} {words}.\n"
        return await self.send(
            "POST /documents/upload",
            files={"files": (name, content)},
            data={"password": PASSWORD, "metadata": json.dumps({"note": CANARY})},
        )


@pytest.fixture
async def team(guarded: Api) -> Team:
    workspace = await make_workspace(guarded)
    made = Team(guarded, workspace, await make_key(guarded, "admin", workspace))
    reply = await made.upload("first.md")
    assert reply.status_code == 202, reply.text
    made.made["document_id"] = reply.json()["documents"][0]["document_id"]
    await guarded.work()
    made.made["job_id"] = (await made.upload("waiting.md")).json()["documents"][0]["job_id"]
    made.made["session_id"] = (await made.send("POST /session")).json()["session_id"]
    answer = await made.send("POST /query", json={"question": f"What does the {CANARY} clock do?"})
    assert answer.status_code == 200, answer.text
    made.made["answer_id"] = answer.json()["answer_id"]
    hook = await made.send("POST /webhooks", json={"url": f"http://127.0.0.1:9/{CANARY}"})
    assert hook.status_code == 201, hook.text
    made.made["webhook_id"] = hook.json()["webhook_id"]
    await made.send("POST /collections", json={"name": "shelf"})
    made.made["name"] = "shelf"
    key = await made.send("POST /keys", json={"name": CANARY, "role": "viewer"})
    made.made["key_id"] = key.json()["id"]
    return made


Act = Callable[[Team], Awaitable[httpx.Response]]


def sends(address: str, **request: Any) -> Act:
    """Return what sends one request."""

    async def act(team: Team) -> httpx.Response:
        return await team.send(address, **request)

    return act


async def _retry(team: Team) -> httpx.Response:
    await team.send("POST /jobs/{job_id}/cancel")
    return await team.send("POST /jobs/{job_id}/retry", json={"password": PASSWORD})


async def _take_back(team: Team) -> httpx.Response:
    await team.send("POST /answers/{answer_id}/feedback", json={"rating": "up"})
    return await team.send("DELETE /answers/{answer_id}/feedback")


async def _reindex_all(team: Team) -> httpx.Response:
    team.made["name"] = "default"
    return await team.send("POST /collections/{name}/reindex")


TEXTS = [f"{CANARY} one", f"{CANARY} two", f"{CANARY} three"]
CHANGES: dict[str, tuple[Act, dict[str, int]]] = {
    "POST /documents/upload": (
        lambda team: team.upload("new.md", "again"), {"document.upload": 1}),
    "DELETE /documents/{document_id}": (
        sends("DELETE /documents/{document_id}"), {"document.delete": 1}),
    "POST /documents/{document_id}/reindex": (
        sends("POST /documents/{document_id}/reindex"), {"document.reindex": 1}),
    "PUT /documents/{document_id}/readers": (
        sends("PUT /documents/{document_id}/readers", json={"readers": ["role:editor"]}),
        {"document.readers": 1}),
    "POST /ingest/": (
        sends("POST /ingest/", json={"texts": TEXTS}), {"document.upload": 3}),
    "POST /rag/pipeline": (
        sends("POST /rag/pipeline", json={"file_name": "inbox.md", "password": PASSWORD}),
        {"document.upload": 1}),
    "POST /collections": (
        sends("POST /collections", json={"name": "papers"}), {"collection.add": 1}),
    "DELETE /collections/{name}": (
        sends("DELETE /collections/{name}"), {"collection.delete": 1}),
    "POST /collections/{name}/reindex": (
        _reindex_all, {"collection.reindex": 1, "document.reindex": 1}),
    "POST /jobs/{job_id}/cancel": (sends("POST /jobs/{job_id}/cancel"), {"job.cancel": 1}),
    "POST /jobs/{job_id}/retry": (_retry, {"job.cancel": 1, "job.retry": 1}),
    "POST /webhooks": (
        sends("POST /webhooks", json={"url": f"http://127.0.0.1:9/{CANARY}/2"}),
        {"webhook.add": 1}),
    "DELETE /webhooks/{webhook_id}": (
        sends("DELETE /webhooks/{webhook_id}"), {"webhook.delete": 1}),
    "POST /webhooks/{webhook_id}/test": (
        sends("POST /webhooks/{webhook_id}/test"), {"webhook.test": 1}),
    "POST /answers/{answer_id}/feedback": (
        sends("POST /answers/{answer_id}/feedback", json={"rating": "up", "comment": CANARY}),
        {"feedback.set": 1}),
    "DELETE /answers/{answer_id}/feedback": (
        _take_back, {"feedback.set": 1, "feedback.delete": 1}),
    "POST /session": (sends("POST /session"), {"session.add": 1}),
    "POST /chat/sessions": (
        sends("POST /chat/sessions", json={"title": CANARY}), {"session.add": 1}),
    "PATCH /chat/sessions/{session_id}": (
        sends("PATCH /chat/sessions/{session_id}", json={"title": CANARY}), {"session.rename": 1}),
    "DELETE /chat/sessions/{session_id}": (
        sends("DELETE /chat/sessions/{session_id}"), {"session.delete": 1}),
    "DELETE /session/{session_id}": (
        sends("DELETE /session/{session_id}"), {"session.delete": 1}),
    "PUT /policy": (sends("PUT /policy", json={"scope": CANARY}), {"policy.change": 1}),
    "POST /keys": (sends("POST /keys", json={"name": CANARY}), {"key.add": 1}),
    "DELETE /keys/{key_id}": (sends("DELETE /keys/{key_id}"), {"key.revoke": 1}),
    "POST /keys/{key_id}/rotate": (sends("POST /keys/{key_id}/rotate"), {"key.rotate": 1}),
}  # fmt: skip
"""Each address that changes something: what does it, and the rows that are to appear."""

QUESTIONS = {name for name, right in RIGHTS.items() if right.asks}
NO_CHANGE = {
    "POST /documents/known", "POST /answers/{answer_id}/verify", "POST /tasks/calculate/add",
    "POST /tasks/calculate/divide", "POST /tasks/workflow/chain", "POST /tasks/workflow/parallel",
    "POST /tasks/process", "POST /ingest",
}  # fmt: skip
"""Not every POST changes something: these look, try the queue, or are another spelling."""


APART = ("/workspaces", "/exports", "/evals", "/auth/", "/quotas", "/collections/{name}/quota")
"""Their rows are looked at where they are tested: test_workspaces, test_exports, test_evals,
test_signin, test_quotas."""


def test_every_address_that_may_change_something_is_in_the_table() -> None:
    others = {name for name in RIGHTS if not name.startswith("GET ")} - QUESTIONS - NO_CHANGE
    tested = {name for name in others if not name.partition(" ")[2].startswith(APART)}
    assert tested == CHANGES.keys()


@pytest.mark.parametrize("address", CHANGES)
async def test_each_change_leaves_one_row_for_each_target(team: Team, address: str) -> None:
    act, expected = CHANGES[address]
    before = await team.rows()
    reply = await act(team)
    assert reply.is_success, reply.text
    added = (await team.rows())[len(before) :]
    counted: dict[str, int] = {}
    for row in added:
        counted[row["action"]] = counted.get(row["action"], 0) + 1
    assert counted == expected
    last = max(added, key=lambda row: row["id"])
    assert last["request_id"] == reply.headers["x-request-id"]
    for row in await team.rows():
        made_by_owner = row["actor"] == "local"
        assert made_by_owner or row["actor"] == f"key:{team.admin[:15]}"
        assert made_by_owner == (row["principal_id"] is None)
        assert row["outcome"] == "done"
        assert CANARY not in str(row)
        assert team.admin[15:] not in str(row)


@pytest.mark.parametrize("address", [name for name in CHANGES if RIGHTS[name].role != "viewer"])
async def test_each_denied_change_leaves_one_row_that_names_the_address(
    team: Team, address: str
) -> None:
    key = await make_key(team.api, "viewer", team.workspace)
    before = await team.rows()
    stranger = Team(team.api, team.workspace, key, team.made)
    act = CHANGES[address][0]
    reply = await (act(stranger) if act not in (_retry, _take_back) else stranger.send(address))
    require_problem(reply, 403, "forbidden")
    (row,) = (await team.rows())[len(before) :]
    assert (row["action"], row["target"], row["outcome"]) == ("access.denied", address, "denied")
    assert row["actor"] == f"key:{key[:15]}"
    assert row["request_id"] == reply.headers["x-request-id"]
    assert CANARY not in str(row)
    assert key[15:] not in str(row)


async def test_what_changes_nothing_leaves_no_row(team: Team) -> None:
    before = await team.rows()
    assert (await team.upload("first.md")).json()["documents"][0]["status"] == "unchanged"
    question = {"question": f"What does the {CANARY} clock do?"}
    for address in ("POST /query", "POST /rag/query", "POST /search"):
        body = {"query": CANARY} if address == "POST /search" else question
        assert (await team.send(address, json=body)).is_success
    assert (await team.send("POST /chat", json={"message": CANARY})).is_success
    assert (await team.send("POST /answers/{answer_id}/verify")).is_success
    assert (await team.send("DELETE /documents/" + str(uuid4()))).status_code == 404
    assert await team.rows() == before


async def test_other_metadata_of_the_same_file_are_a_change(team: Team) -> None:
    before = await team.rows()
    content = f"# Clocks\n\nThe {CANARY} clock strikes first.md .\n"
    reply = await team.send(
        "POST /documents/upload",
        files={"files": ("first.md", content)},
        data={"metadata": '{"note": "another"}'},
    )
    assert reply.json()["documents"][0]["status"] == "unchanged"
    again = {"document_id": team.made["document_id"], "metadata": {"note": CANARY}}
    assert (await team.send("POST /rag/pipeline", json=again)).is_success
    added = (await team.rows())[len(before) :]
    assert [row["action"] for row in added] == ["document.metadata", "document.reindex"]
    assert {row["target"] for row in added} == {team.made["document_id"]}


async def test_the_same_request_again_leaves_no_second_row(team: Team) -> None:
    before = await team.rows()
    for _ in range(2):
        reply = await team.api.client.post(
            "/collections",
            json={"name": "once"},
            headers=bearer(team.admin) | {"Idempotency-Key": "same"},
        )
        assert reply.status_code == 201
    assert len(await team.rows()) == len(before) + 1


async def read(team: Team, key: str, **query: Any) -> httpx.Response:
    return await team.api.client.get("/audit", params=query, headers=bearer(key))


async def test_an_admin_reads_the_workspace_and_an_owner_the_installation(team: Team) -> None:
    viewer = await make_key(team.api, "viewer", team.workspace)
    require_problem(await read(team, viewer), 403)
    page = (await read(team, team.admin, limit=2)).json()
    assert page["entries"][0]["action"] == "access.denied"
    assert page["entries"][0]["target"] == "GET /audit"
    rest = (await read(team, team.admin, limit=200, cursor=page["next_cursor"])).json()
    rows = await team.rows()
    assert len(page["entries"]) + len(rest["entries"]) == len(rows)
    actions = [each["action"] for each in page["entries"] + rest["entries"]]
    assert actions == [row["action"] for row in reversed(rows)]
    one = (await read(team, team.admin, target=team.made["document_id"])).json()["entries"]
    assert [each["action"] for each in one] == ["document.upload"]
    at = one[0]["created_at"]
    for query, found in (
        ({"from": at, "to": at}, 0), ({"from": at, "target": one[0]["target"]}, 1),
        ({"outcome": "denied"}, 1), ({"actor": "local"}, 2), ({"action": "key.add"}, 3),
        ({"request_id": one[0]["request_id"]}, 1),
    ):  # fmt: skip
        assert len((await read(team, team.admin, **query)).json()["entries"]) == found, query
    require_problem(await read(team, team.admin, outcome="maybe"), 422)
    require_problem(await read(team, team.admin, cursor="x"), 422)
    require_problem(await read(team, team.admin, installation="true"), 403)
    last = (await team.rows())[-1]
    assert (last["action"], last["target"]) == ("access.denied", "GET /audit")
    await make_key(team.api, "owner")
    reply = await team.api.client.get("/audit", params={"installation": "true"}, headers=OWNER)
    assert reply.json()["entries"][0]["action"] == "key.add"


async def test_denials_inside_a_handler_and_at_the_installations_door_are_noted(
    team: Team,
) -> None:
    body = {"name": CANARY, "role": "owner"}
    reply = await team.send("POST /keys", json=body)
    require_problem(reply, 403)
    assert reply.json()["detail"].startswith("Only an owner")
    (row,) = [row for row in await team.rows() if row["outcome"] == "denied"]
    assert row["target"] == "POST /keys"
    require_problem(await team.send("GET /tasks/info"), 403)
    async with team.api.services.database.system_transaction() as connection:
        noted = await connection.execute(
            text("SELECT target, actor FROM audit_log WHERE workspace_id = :w ORDER BY id DESC"),
            {"w": INSTALLATION},
        )
        assert tuple(noted.first() or ()) == ("GET /tasks/info", f"key:{team.admin[:15]}")


async def test_nobody_fills_the_log_with_denials(team: Team) -> None:
    viewer = await make_key(team.api, "viewer", team.workspace)
    before = await team.rows()
    for _ in range(MOST_A_MINUTE + 15):
        require_problem(await read(team, viewer), 403)
    assert len(await team.rows()) == len(before) + MOST_A_MINUTE
    other = await make_key(team.api, "viewer", team.workspace)
    require_problem(await read(team, other), 403)
    assert len(await team.rows()) == len(before) + MOST_A_MINUTE + 2  # with the new key


async def test_all_of_this_left_whole_chains(team: Team) -> None:
    chains = await verify_chains(team.api.services.database, None, [])
    assert {chain.workspace_id for chain in chains} >= {team.workspace, INSTALLATION}
    assert [chain for chain in chains if chain.broken] == []
