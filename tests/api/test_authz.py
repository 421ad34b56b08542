"""The table tests/authz.csv against the application: every address, role, workspace and carrier.

The table says what each kind of caller gets: ``in`` (the request reaches its handler, whatever that
says), or the refusal's status. ``foreign`` is an admin of another workspace that names this one;
``archived`` an admin in an archived workspace; ``nobody`` sends no key.
"""

import csv
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from urllib.parse import unquote
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text

from api.keyring import make_key, make_workspace
from api.stage import Api
from citewell.api.rights import RIGHTS
from citewell.records.workspaces import UNKNOWN_WORKSPACE

TABLE = Path(__file__).parents[1] / "authz.csv"
CALLERS = ["nobody", "viewer", "editor", "admin", "owner", "foreign", "archived"]
CARRIERS = ["bearer", "x-api-key", "cookie"]


def read_table() -> list[dict[str, str]]:
    with TABLE.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
async def callers(guarded: Api) -> dict[str, tuple[str | None, UUID]]:
    """Each kind of caller: its key, and the workspace that its requests name."""
    own, other = await make_workspace(guarded), await make_workspace(guarded)
    archived = await make_workspace(guarded)
    made: dict[str, tuple[str | None, UUID]] = {"nobody": (None, own)}
    for role in ("viewer", "editor", "admin"):
        made[role] = await make_key(guarded, role, own), own
    made["owner"] = await make_key(guarded, "owner"), own
    made["foreign"] = await make_key(guarded, "admin", other), own
    made["archived"] = await make_key(guarded, "admin", archived), archived
    return made


async def archive(api: Api, workspace: UUID) -> None:
    async with api.services.database.system_transaction() as connection:
        await connection.execute(
            text("UPDATE workspaces SET archived_at = now() WHERE id = :w"), {"w": workspace}
        )


def test_the_table_has_every_address_of_the_application(guarded: Api) -> None:
    served = {
        f"{method.upper()} {path}"
        for path, methods in guarded.app.openapi()["paths"].items()
        for method in methods
    }
    listed = [row["route"] for row in read_table()]
    assert len(listed) == len(set(listed))
    assert set(listed) == served


@pytest.mark.parametrize("end", ["\n", "%0A", "/", "//", "%2F", ";x", "%00", " ", "\u2028"])
async def test_an_address_that_is_written_otherwise_is_unknown(
    guarded: Api, callers: dict[str, tuple[str | None, UUID]], end: str
) -> None:
    key, _ = callers["foreign"]
    for name in RIGHTS:
        method, path = name.split(" ", 1)
        if (
            "{" in path
            or RIGHTS[name].place == "open"
            or f"{method} {path}{unquote(end)}" in RIGHTS
        ):
            continue
        for written in (path + end, "/" + path, path.upper()):
            scope = raw_scope(guarded, method, written, str(key))
            sent: list[Any] = []
            await guarded.app(scope, no_body, sent_to(sent))
            assert sent[0]["status"] in {404, 405}, (method, written, sent)


def raw_scope(api: Api, method: str, path: str, key: str) -> dict[str, Any]:
    """Return a request as the server gives it to the application, with any path at all."""
    return {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": method,
        "path": unquote(path), "raw_path": path.encode(), "query_string": b"", "root_path": "",
        "scheme": "http", "headers": [(b"host", b"127.0.0.1"), (b"x-api-key", key.encode())],
        "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 8000), "app": api.app,
    }  # fmt: skip


async def no_body() -> dict[str, Any]:
    return {"type": "http.request", "body": b"", "more_body": False}


def sent_to(sent: list[Any]) -> Callable[[Any], Awaitable[None]]:
    async def send(message: Any) -> None:
        sent.append(message)

    return send


@pytest.mark.parametrize("row", read_table(), ids=lambda row: row["route"])
async def test_each_caller_gets_what_the_table_says(
    guarded: Api, callers: dict[str, tuple[str | None, UUID]], row: dict[str, str]
) -> None:
    method, path = row["route"].split(" ", 1)
    await archive(guarded, callers["archived"][1])  # one of the addresses restores it
    for caller in CALLERS:
        key, workspace = callers[caller]
        for carrier in CARRIERS if key else CARRIERS[:1]:
            headers = {"X-Workspace-ID": str(workspace)} | await carry(guarded, key, carrier)
            ids = Ids(workspace_id=str(workspace))
            reply = await guarded.client.request(method, path.format_map(ids), headers=headers)
            assert outcome(reply) == row[caller], (caller, carrier, reply.text)
            if path == "/auth/logout" and key is not None:
                sessions.pop(key, None)


async def carry(api: Api, key: str | None, carrier: str) -> dict[str, str]:
    """Return the headers by which a caller shows a key, or the browser's session that it opens."""
    if key is None:
        return {}
    if carrier != "cookie":
        return {"Authorization": f"Bearer {key}"} if carrier == "bearer" else {"X-API-Key": key}
    if key not in sessions:
        reply = await api.client.post("/auth/login", json={"key": key})
        cookie = f"citewell_session={reply.cookies['citewell_session']}"
        sessions[key] = {"Cookie": cookie, "X-CSRF-Token": reply.json()["csrf_token"]}
        api.client.cookies.clear()
    return sessions[key]


sessions: dict[str, dict[str, str]] = {}


class Ids(dict[str, str]):
    """Stands for every id in a path: unknown ones, but for the workspace's."""

    def __missing__(self, key: str) -> str:
        return str(uuid4())


def outcome(reply: Any) -> str:
    """Say whether a request reached its handler, or what it was refused with before."""
    if reply.status_code not in {401, 403, 404, 409}:
        return "in"
    problem = reply.json()
    problem = problem.get("error", problem)  # the addresses of OpenAI's form have it inside
    said = problem.get("detail") or problem["message"]
    refused = problem["code"] in {"unauthenticated", "forbidden", "workspace_archived"}
    return str(reply.status_code) if refused or said == UNKNOWN_WORKSPACE else "in"
