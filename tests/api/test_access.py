"""Who may call: keys, roles, workspaces, and the same refusal for all who may not."""

import zlib
from collections.abc import Callable
from ipaddress import ip_network
from typing import Any
from uuid import uuid4

import pytest
from pydantic import SecretStr
from sqlalchemy import text

from api.keyring import LOCAL_KEY, OWNER, REQUIRED, bearer, make_key, make_workspace
from api.stage import Api, open_api, require_problem
from citewell.api.app import create_app
from citewell.api.rights import RIGHTS
from citewell.cli.server import require_keys
from citewell.domain import PUBLIC_WORKSPACE
from citewell.errors import AccessError, InputError
from citewell.ingest.pipeline import IngestPipeline
from citewell.records.credentials import DIGITS, new_credential, read_credential
from citewell.records.fleet_keys import read_fleet_keys
from citewell.records.workspaces import UNKNOWN_WORKSPACE
from citewell.settings import AuthSettings, Settings, key_required


def test_a_key_has_256_random_bits_and_shows_typing_errors() -> None:
    credential = new_credential()
    assert read_credential(credential.text) == credential
    assert len(credential.text) == 3 + 12 + 43 + 6
    changed = ("b" if credential.text[20] == "a" else "a").join(
        (credential.text[:20], credential.text[21:])
    )
    assert read_credential(changed) is None
    assert len({new_credential().text for _ in range(100)}) == 100


async def test_only_a_digest_is_stored(guarded: Api) -> None:
    key = await make_key(guarded, "viewer")
    async with guarded.services.database.system_transaction() as connection:
        rows = (await connection.execute(text("SELECT p::text FROM principals p"))).scalars().all()
        assert rows
        assert not [row for row in rows if key in row or key[15:58] in row]


@pytest.mark.parametrize("role", ["viewer", "editor", "admin", "owner"])
@pytest.mark.parametrize("carrier", ["bearer", "x-api-key"])
async def test_a_key_is_taken_from_either_header(guarded: Api, role: str, carrier: str) -> None:
    key = await make_key(guarded, role)
    headers = bearer(key) if carrier == "bearer" else {"X-API-Key": key}
    me = (await guarded.client.get("/me", headers=headers)).json()
    assert me["is_owner"] is (role == "owner")
    assert list(me["roles"].values()) == ([] if role == "owner" else [role])
    assert (await guarded.client.get("/documents", headers=headers)).status_code == 200


async def test_every_credential_that_is_not_valid_gets_the_same_401(guarded: Api) -> None:
    revoked, expired = await make_key(guarded, "owner"), await make_key(guarded, "owner")
    async with guarded.services.database.system_transaction() as connection:
        for key, column in ((revoked, "revoked_at"), (expired, "expires_at")):
            await connection.execute(
                text(f"UPDATE principals SET {column} = now() WHERE lookup = :l"),
                {"l": key[3:15]},
            )
    valid = await make_key(guarded, "owner")
    other = new_credential().text
    tried: list[dict[str, str]] = [
        {}, bearer(revoked), bearer(expired), bearer(other), bearer(""), bearer("x" * 5000),
        {"Authorization": f"Basic {valid}"}, {"Authorization": "Bearer"}, {"X-API-Key": valid[:-1]},
        {"X-API-Key": valid, "Authorization": f"Bearer {other}"},
        bearer(valid[:15] + other[15:]),
    ]  # fmt: skip
    seen = set()
    for headers in tried:
        for path in ("/documents", f"/documents/{uuid4()}", "/no-such-address", "/keys"):
            reply = await guarded.client.get(path, headers=headers)
            problem = require_problem(reply, 401, "unauthenticated")
            assert reply.headers["www-authenticate"].startswith("Bearer")
            seen.add((problem["detail"], problem["title"]))
    assert len(seen) == 1


async def test_a_body_is_not_read_before_the_caller_is_known(guarded: Api) -> None:
    read = 0

    async def receive() -> dict[str, Any]:
        nonlocal read
        read += 1
        return {"type": "http.request", "body": b"x" * 65536, "more_body": True}

    sent: list[dict[str, Any]] = []

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "POST",
        "path": "/documents/upload", "raw_path": b"/documents/upload", "query_string": b"",
        "root_path": "", "scheme": "http", "headers": [(b"host", b"127.0.0.1")],
        "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 8000), "app": guarded.app,
    }  # fmt: skip
    await guarded.app(scope, receive, send)
    assert sent[0]["status"] == 401
    viewer = await make_key(guarded, "viewer")
    scope["headers"] = [(b"host", b"127.0.0.1"), (b"x-api-key", viewer.encode())]
    await guarded.app(scope, receive, send)
    assert sent[2]["status"] == 403
    assert read == 0


async def test_roles_are_held_per_workspace(guarded: Api) -> None:
    one, two = await make_workspace(guarded), await make_workspace(guarded)
    viewer, editor = await make_key(guarded, "viewer", one), await make_key(guarded, "editor", one)
    both = await make_key(guarded, "editor", one, two)
    get, post = guarded.client.get, guarded.client.post
    new = {"name": "papers"}
    require_problem(await post("/collections", json=new, headers=bearer(viewer)), 403, "forbidden")
    assert (await post("/collections", json=new, headers=bearer(editor))).status_code == 201
    named = [
        c["name"] for c in (await get("/collections", headers=bearer(viewer))).json()["collections"]
    ]
    assert sorted(named) == ["default", "papers"]
    require_problem(await get("/collections", headers=bearer(both)), 400)
    reply = await get("/collections", headers=bearer(both, two))
    assert [c["name"] for c in reply.json()["collections"]] == ["default"]
    for stranger in (two, uuid4(), PUBLIC_WORKSPACE):
        require_problem(await get("/collections", headers=bearer(viewer, stranger)), 404)
    reply = await get("/collections", headers=bearer(viewer) | {"X-Workspace-ID": "../x"})
    require_problem(reply, 404)
    assert (await get("/collections", headers=OWNER | {"X-Workspace-ID": str(one)})).is_success


async def test_a_denied_change_and_a_done_one_are_recorded_with_their_actor(guarded: Api) -> None:
    workspace = await make_workspace(guarded)
    viewer = await make_key(guarded, "viewer", workspace)
    editor = await make_key(guarded, "editor", workspace)
    for key in (viewer, editor):
        await guarded.client.post("/collections", json={"name": "x"}, headers=bearer(key))
    async with guarded.services.database.system_transaction() as connection:
        rows = await connection.execute(
            text(
                "SELECT action, outcome, actor, principal_id IS NOT NULL FROM audit_log "
                "WHERE workspace_id = :w ORDER BY id"
            ),
            {"w": workspace},
        )
        found = [tuple(row) for row in rows]
    assert found == [
        ("key.add", "done", "local", False),
        ("key.add", "done", "local", False),
        ("access.denied", "denied", f"key:{viewer[:15]}", True),
        ("collection.add", "done", f"key:{editor[:15]}", True),
    ]


async def test_a_forged_secret_does_not_mark_a_key_as_used(guarded: Api) -> None:
    key = await make_key(guarded, "viewer")
    body = key[:15] + new_credential().text[15:58]
    check, rest = "", zlib.crc32(body.encode())
    for _ in range(6):
        rest, digit = divmod(rest, len(DIGITS))
        check = DIGITS[digit] + check
    assert read_credential(body + check) is not None, "it is refused for its secret alone"
    reply = await guarded.client.get("/me", headers=bearer(body + check))
    require_problem(reply, 401, "unauthenticated")

    async def used() -> Any:
        listed = (await guarded.client.get("/keys", headers=OWNER)).json()["keys"]
        return next(each["last_used_at"] for each in listed if each["hint"] == key[:15])

    assert await used() is None
    assert (await guarded.client.get("/me", headers=bearer(key))).status_code == 200
    assert await used() is not None


@pytest.mark.parametrize("path", ["/ingest", "/ingest/"])
async def test_texts_need_an_editor_with_and_without_the_slash(guarded: Api, path: str) -> None:
    for role, status in (("viewer", 403), ("editor", 202)):
        headers = bearer(await make_key(guarded, role))
        reply = await guarded.client.post(path, json={"texts": ["a text"]}, headers=headers)
        assert reply.status_code == status, reply.text


async def test_a_key_is_made_for_workspaces_by_name_or_id(guarded: Api) -> None:
    one, two = await make_workspace(guarded, "Team one"), await make_workspace(guarded, "Team two")
    body = {"name": "x", "role": "editor", "workspaces": ["Team one", str(two), str(one)]}
    made = await guarded.client.post("/keys", json=body, headers=OWNER)
    assert made.json()["roles"] == {str(one): "editor", str(two): "editor"}
    admin = bearer(await make_key(guarded, "admin", one))
    for named in ("Team two", str(two), "no team"):
        reply = await guarded.client.post(
            "/keys", json={"name": "x", "workspaces": [named]}, headers=admin
        )
        detail = require_problem(reply, 404)["detail"]
        assert detail == UNKNOWN_WORKSPACE


async def test_an_admin_sees_a_key_of_several_workspaces_and_rules_it_not(guarded: Api) -> None:
    one, two = await make_workspace(guarded), await make_workspace(guarded)
    admin = bearer(await make_key(guarded, "admin", one))
    await make_key(guarded, "viewer", two)
    body = {"name": "both", "role": "editor", "workspaces": [str(one), str(two)]}
    both = (await guarded.client.post("/keys", json=body, headers=OWNER)).json()
    assert both["manageable"]
    listed = (await guarded.client.get("/keys", headers=admin)).json()["keys"]
    assert [(key["name"], key["roles"], key["manageable"]) for key in listed] == [
        ("both", {str(one): "editor"}, False), ("a admin", {str(one): "admin"}, True),
    ]  # fmt: skip
    path = f"/keys/{both['id']}"
    assert (await guarded.client.get(path, headers=admin)).json() == listed[0]
    require_problem(await guarded.client.post(f"{path}/rotate", headers=admin), 404)
    require_problem(await guarded.client.delete(path, headers=admin), 404)
    assert (await guarded.client.get("/me", headers=bearer(both["key"], one))).is_success


async def test_an_admin_rules_keys_of_own_workspaces_only(guarded: Api) -> None:
    own, foreign = await make_workspace(guarded), await make_workspace(guarded)
    admin = bearer(await make_key(guarded, "admin", own))
    owners, shared = (
        await make_key(guarded, "owner"),
        await make_key(guarded, "viewer", own, foreign),
    )
    post, client = guarded.client.post, guarded.client
    made = await post("/keys", json={"name": "new", "role": "admin"}, headers=admin)
    assert made.status_code == 201, made.text
    require_problem(await post("/keys", json={"name": "x", "role": "owner"}, headers=admin), 403)
    body = {"name": "x", "workspaces": [str(own), str(foreign)]}
    require_problem(await post("/keys", json=body, headers=admin), 404)
    listed = (await client.get("/keys", headers=admin)).json()["keys"]
    own = {made.json()["hint"], admin["Authorization"][7:22]}
    assert {key["hint"] for key in listed} == own | {shared[:15]}
    assert {key["hint"] for key in listed if key["manageable"]} == own
    assert "key" not in listed[0]
    everything = (await client.get("/keys", headers=OWNER)).json()["keys"]
    ids = {key["hint"]: key["id"] for key in everything}
    for hidden in (owners[:15], shared[:15]):
        for reply in (
            await client.delete(f"/keys/{ids[hidden]}", headers=admin),
            await post(f"/keys/{ids[hidden]}/rotate", headers=admin),
        ):
            require_problem(reply, 404, "not_found")
    require_problem(await client.get(f"/keys/{ids[owners[:15]]}", headers=admin), 404)


async def test_a_rotated_key_works_on_for_the_overlap_and_a_revoked_one_does_not(
    guarded: Api,
) -> None:
    old = await make_key(guarded, "editor", PUBLIC_WORKSPACE, groups=["finance"])
    listed = (await guarded.client.get("/keys", headers=OWNER)).json()["keys"]
    key_id = next(key["id"] for key in listed if key["hint"] == old[:15])
    reply = await guarded.client.post(f"/keys/{key_id}/rotate", headers=OWNER)
    new = reply.json()
    assert new["roles"] == {str(PUBLIC_WORKSPACE): "editor"}
    assert new["groups"] == ["finance"]
    for key in (old, new["key"]):
        assert (await guarded.client.get("/me", headers=bearer(key))).status_code == 200
    again = await guarded.client.post(f"/keys/{key_id}/rotate", headers=OWNER)
    require_problem(again, 409)
    await guarded.client.delete(f"/keys/{new['id']}", headers=OWNER)
    require_problem(await guarded.client.get("/me", headers=bearer(new["key"])), 401)
    now = {"overlap_seconds": 0}
    third = await make_key(guarded, "viewer")
    listed = (await guarded.client.get("/keys", headers=OWNER)).json()["keys"]
    key_id = next(key["id"] for key in listed if key["hint"] == third[:15])
    await guarded.client.post(f"/keys/{key_id}/rotate", json=now, headers=OWNER)
    require_problem(await guarded.client.get("/me", headers=bearer(third)), 401)


async def test_an_archived_workspace_is_read_and_not_written(guarded: Api) -> None:
    workspace = await make_workspace(guarded)
    admin = bearer(await make_key(guarded, "admin", workspace))
    async with guarded.services.database.system_transaction() as connection:
        await connection.execute(
            text("UPDATE workspaces SET archived_at = now() WHERE id = :w"), {"w": workspace}
        )
    assert (await guarded.client.get("/documents", headers=admin)).status_code == 200
    ids = Ids(workspace_id=str(workspace))
    for name, right in RIGHTS.items():
        if right.writes:
            method, path = name.split(" ", 1)
            owner = OWNER | {"X-Workspace-ID": str(workspace)}
            headers = owner if right.role == "owner" else admin
            reply = await guarded.client.request(method, path.format_map(ids), headers=headers)
            require_problem(reply, 409, "workspace_archived")


class Ids(dict[str, str]):
    """Stands for every id in a path."""

    def __missing__(self, key: str) -> str:
        return str(uuid4())


async def test_without_keys_only_programs_of_this_machine_are_let_in(
    make_settings: Callable[..., Settings], database_url: str, ingest: IngestPipeline, tmp_path: Any
) -> None:
    settings = make_settings(
        database_url, tmp_path, auth=AuthSettings(pepper=REQUIRED.pepper, cache_seconds=0)
    )
    assert not key_required(settings)
    async with open_api(settings, ingest) as api:
        assert (await api.client.get("/me")).json()["actor"] == "local"
        for header in ("X-Forwarded-For", "Forwarded", "X-Real-IP", "Via"):
            reply = await api.client.get("/me", headers={header: "127.0.0.1"})
            require_problem(reply, 401, "unauthenticated")
        wrong = await api.client.get("/me", headers=bearer(new_credential().text))
        require_problem(wrong, 401)
        any_key = await api.client.get("/me", headers=bearer("sk-any"))  # OpenAI's clients need one
        assert any_key.json()["actor"] == "local"
        made = await api.client.post("/keys", json={"name": "reader"})
        viewer = bearer(made.json()["key"])
        new = {"name": "papers"}
        require_problem(await api.client.post("/collections", json=new, headers=viewer), 403)


def test_a_key_is_required_wherever_others_can_reach_the_api() -> None:
    def required(**changes: Any) -> bool:
        return key_required(Settings().model_copy(update=changes))

    assert not required()
    assert required(host="0.0.0.0")
    assert required(allowed_hosts=("localhost", "citewell.example.org"))
    assert required(auth=AuthSettings(mode="required"))


@pytest.mark.parametrize(
    ("variable", "changes"),
    [
        ("CITEWELL_HOST", {"host": "0.0.0.0"}),
        ("CITEWELL_ALLOWED_HOSTS", {"allowed_hosts": ("*",)}),
        ("CITEWELL_ALLOWED_HOSTS", {"allowed_hosts": ("localhost", "citewell.example.org")}),
        ("CITEWELL_PROXIES", {"proxies": (ip_network("127.0.0.1"),)}),
    ],
)
def test_authentication_is_not_off_where_others_can_reach_the_api(
    variable: str, changes: dict[str, Any]
) -> None:
    off = AuthSettings(mode="off")
    settings = Settings().model_copy(update={"auth": off, **changes})
    assert key_required(settings)  # if it were let in, it would still ask
    for start in (create_app, require_keys):
        with pytest.raises(AccessError, match=variable):
            start(settings)
    alone = Settings().model_copy(update={"auth": off})
    require_keys(alone)
    assert not key_required(alone)


async def test_keys_of_the_environment_are_stored_once_by_their_digest(
    make_settings: Callable[..., Settings], database_url: str, ingest: IngestPipeline, tmp_path: Any
) -> None:
    owner, viewer = new_credential().text, new_credential().text
    given = SecretStr(f"{owner}=owner, {viewer}=viewer@{PUBLIC_WORKSPACE}")
    auth = REQUIRED.model_copy(update={"keys": given})
    settings = make_settings(database_url, tmp_path, auth=auth)
    for _ in range(2):
        async with open_api(settings, ingest) as api:
            me = (await api.client.get("/me", headers=bearer(owner))).json()
            assert me["is_owner"]
            me = (await api.client.get("/me", headers=bearer(viewer))).json()
            assert me["roles"] == {str(PUBLIC_WORKSPACE): "viewer"}
            keys = (await api.client.get("/keys", headers=bearer(owner))).json()["keys"]
            assert len(keys) == 2


@pytest.mark.parametrize("right", ["", "owner@x", "reader@x", "viewer@", "viewer"])
def test_a_key_of_the_environment_that_cannot_be_read_is_not_repeated(right: str) -> None:
    key = new_credential().text
    with pytest.raises(InputError, match="key 1 of CITEWELL_AUTH__KEYS") as refused:
        read_fleet_keys(SecretStr(f"{key}={right}"))
    assert key not in refused.value.message
    with pytest.raises(InputError, match="Key 1"):
        read_fleet_keys(SecretStr("secret=owner"))


def test_the_local_key_is_no_stored_key() -> None:
    assert read_credential(LOCAL_KEY) is None
