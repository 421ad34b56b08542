"""Sessions of browsers: a cookie that scripts cannot read, and a token for every change."""

from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest
from sqlalchemy import text

from api.keyring import LOCAL_KEY, OWNER, REQUIRED, bearer, make_key, make_workspace
from api.stage import Api, open_api, require_problem
from citewell.api.signin import MOST_DENIALS, RefusedSignIns
from citewell.domain import INSTALLATION
from citewell.ingest.pipeline import IngestPipeline
from citewell.records.credentials import new_credential
from citewell.settings import Settings

PUBLIC_HOST = "citewell.example.org"


@pytest.fixture(scope="module")
async def shared(
    clone: Callable[[], Any],
    make_settings: Callable[..., Settings],
    ingest: IngestPipeline,
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[Api]:
    with clone() as url:
        data, hosts = tmp_path_factory.mktemp("data"), ("127.0.0.1", PUBLIC_HOST)
        settings = make_settings(url, data, auth=REQUIRED, allowed_hosts=hosts)
        async with open_api(settings, ingest) as opened:
            yield opened


@pytest.fixture
async def guarded(shared: Api) -> Api:
    """An application that nobody has a key of yet; ``audited`` shows what comes after now."""
    await run_sql(shared, "DELETE FROM principals")
    newest = await run_sql(shared, "SELECT coalesce(max(id), 0) FROM audit_log")
    shared.app.state.audited_from = newest.scalar_one()
    shared.app.state.refused_sign_ins = RefusedSignIns()
    return shared


def browser(api: Api, base_url: str = "http://127.0.0.1:8000") -> httpx.AsyncClient:
    """Return a client with cookies of its own."""
    return httpx.AsyncClient(transport=httpx.ASGITransport(api.app), base_url=base_url)


async def sign_in(client: httpx.AsyncClient, key: str) -> dict[str, str]:
    """Sign in; return the header that changes need."""
    reply = await client.post("/auth/login", json={"key": key})
    assert reply.status_code == 200, reply.text
    assert reply.headers["cache-control"] == "no-store"
    return {"X-CSRF-Token": reply.json()["csrf_token"]}


async def run_sql(api: Api, statement: str, **values: Any) -> Any:
    async with api.services.database.system_transaction() as connection:
        return await connection.execute(text(statement), values)


async def audited(api: Api) -> list[tuple[str, ...]]:
    rows = await run_sql(
        api,
        "SELECT action, outcome, actor, target FROM audit_log WHERE workspace_id = :w "
        "AND action LIKE 'auth.%' AND id > :mark ORDER BY id",
        w=INSTALLATION,
        mark=api.app.state.audited_from,
    )
    return [tuple(row) for row in rows]


async def test_a_session_may_what_its_key_may(guarded: Api) -> None:
    own, foreign = await make_workspace(guarded), await make_workspace(guarded)
    key = await make_key(guarded, "editor", own, groups=["finance"])
    async with browser(guarded) as client:
        require_problem(await client.get("/me"), 401)
        token = await sign_in(client, key)
        me = (await client.get("/me")).json()
        assert me["actor"] == f"key:{key[:15]}"
        assert (me["roles"], me["groups"]) == ({str(own): "editor"}, ["finance"])
        reply = await client.post("/collections", json={"name": "papers"}, headers=token)
        assert reply.status_code == 201
        require_problem(await client.get("/keys"), 403, "forbidden")
        other = {"X-Workspace-ID": str(foreign)}
        require_problem(await client.get("/documents", headers=other), 404)


async def test_the_cookie_is_kept_from_scripts_and_from_plain_http(guarded: Api) -> None:
    key = await make_key(guarded, "viewer")
    for base_url, secure in (
        ("http://127.0.0.1:8000", False),
        ("https://127.0.0.1:8000", True),
        (f"http://{PUBLIC_HOST}", True),
    ):
        async with browser(guarded, base_url) as client:
            reply = await client.post("/auth/login", json={"key": key})
            cookie = reply.headers["set-cookie"]
            parts = {part.strip().lower() for part in cookie.split(";")[1:]}
            assert {"httponly", "path=/", "samesite=lax"} <= parts
            assert ("secure" in parts) is secure
            assert cookie.startswith("citewell_session=")
            assert "max-age=43200" in parts
            secret = client.cookies["citewell_session"] if not secure else cookie[17:60]
            rows = await run_sql(guarded, "SELECT s::text FROM browser_sessions s")
            assert not [row for row in rows.scalars() if secret in row]


@pytest.mark.parametrize("token", [None, "", "x" * 43, "ü", "other"])
async def test_a_change_without_the_sessions_token_is_refused(
    guarded: Api, token: str | None
) -> None:
    key = await make_key(guarded, "admin")
    async with browser(guarded) as client, browser(guarded) as other:
        mine, theirs = await sign_in(client, key), await sign_in(other, key)
        assert mine != theirs
        headers = {} if token is None else {"X-CSRF-Token": token.encode()}
        if token == "other":
            headers = theirs
        for method, path in (
            ("POST", "/collections"), ("PUT", "/policy"), ("DELETE", "/collections/default"),
            ("POST", "/auth/logout"), ("PATCH", "/no-such-address"),
        ):  # fmt: skip
            reply = await client.request(method, path, headers=headers)
            require_problem(reply, 403, "csrf")
        assert (await client.get("/me", headers=headers)).status_code == 200


async def test_a_page_that_is_loaded_anew_gets_the_same_token(guarded: Api) -> None:
    key = await make_key(guarded, "viewer")
    async with browser(guarded) as client:
        token = await sign_in(client, key)
        for _ in range(2):
            reply = await client.get("/auth/csrf")
            assert reply.json()["csrf_token"] == token["X-CSRF-Token"]
            assert reply.headers["cache-control"] == "no-store"
    reply = await guarded.client.get("/auth/csrf", headers=bearer(key))
    require_problem(reply, 404)
    require_problem(await guarded.client.get("/auth/csrf"), 401)


async def test_a_header_wins_over_the_cookie(guarded: Api) -> None:
    viewer, owner = await make_key(guarded, "viewer"), await make_key(guarded, "owner")
    async with browser(guarded) as client:
        await sign_in(client, owner)
        me = (await client.get("/me", headers=bearer(viewer))).json()
        assert not me["is_owner"]
        # With a key no token is needed; what the cookie may does not count.
        reply = await client.post("/collections", json={"name": "x"}, headers=bearer(viewer))
        require_problem(reply, 403, "forbidden")
        for wrong in (bearer(new_credential().text), {"Authorization": "Basic eDp5"}):
            require_problem(await client.get("/me", headers=wrong), 401)


async def test_signing_out_ends_the_session_everywhere(guarded: Api) -> None:
    key = await make_key(guarded, "viewer")
    async with browser(guarded) as client:
        token = await sign_in(client, key)
        cookie = {"Cookie": f"citewell_session={client.cookies['citewell_session']}"}
        reply = await client.post("/auth/logout", headers=token)
        assert reply.status_code == 204
        assert "citewell_session" not in client.cookies
        require_problem(await guarded.client.get("/me", headers=cookie), 401)
        require_problem(await guarded.client.post("/auth/logout", headers=cookie | token), 401)
    assert [row[:3] for row in await audited(guarded)] == [
        ("auth.login", "done", f"key:{key[:15]}"),
        ("auth.logout", "done", f"key:{key[:15]}"),
    ]


async def test_a_second_sign_in_ends_the_first_session(guarded: Api) -> None:
    key = await make_key(guarded, "viewer")
    async with browser(guarded) as client:
        await sign_in(client, key)
        first = client.cookies["citewell_session"]
        await sign_in(client, key)
        assert client.cookies["citewell_session"] != first
    rows = await run_sql(guarded, "SELECT count(*) FROM browser_sessions")
    assert rows.scalar_one() == 1


@pytest.mark.parametrize("end", ["revoked", "key expired", "session expired", "removed"])
async def test_a_session_ends_with_its_key_and_with_its_time(guarded: Api, end: str) -> None:
    key = await make_key(guarded, "viewer")
    async with browser(guarded) as client:
        await sign_in(client, key)
        if end == "revoked":
            keys = (await guarded.client.get("/keys", headers=OWNER)).json()["keys"]
            key_id = next(each["id"] for each in keys if each["hint"] == key[:15])
            await guarded.client.delete(f"/keys/{key_id}", headers=OWNER)
            left = await run_sql(guarded, "SELECT count(*) FROM browser_sessions")
            assert left.scalar_one() == 0
        elif end == "key expired":
            await run_sql(guarded, "UPDATE principals SET expires_at = now()")
        elif end == "session expired":
            await run_sql(guarded, "UPDATE browser_sessions SET expires_at = now()")
        else:
            await run_sql(guarded, "DELETE FROM principals")
        require_problem(await client.get("/me"), 401, "unauthenticated")


async def test_a_session_lasts_no_longer_than_its_key(guarded: Api) -> None:
    key = await make_key(guarded, "viewer", expires_at="2099-01-01T00:00:00Z")
    await run_sql(guarded, "UPDATE principals SET expires_at = now() + interval '1 hour'")
    reply = await guarded.client.post("/auth/login", json={"key": key})
    assert "max-age=3600" in reply.headers["set-cookie"].lower()


async def test_ended_sessions_are_swept(guarded: Api) -> None:
    key = await make_key(guarded, "viewer")
    for _ in range(2):
        async with browser(guarded) as client:
            await sign_in(client, key)
    await run_sql(
        guarded,
        "UPDATE browser_sessions SET expires_at = now() WHERE id = "
        "(SELECT id FROM browser_sessions LIMIT 1)",
    )
    await guarded.services.reconciler.run()
    rows = await run_sql(guarded, "SELECT count(*) FROM browser_sessions")
    assert rows.scalar_one() == 1


async def test_refused_sign_ins_are_recorded_up_to_a_rate(guarded: Api) -> None:
    unknown = new_credential().text
    tried = [unknown, LOCAL_KEY, "x", "", unknown[:-1]]
    seen = set()
    for key in tried:
        reply = await guarded.client.post("/auth/login", json={"key": key})
        seen.add(require_problem(reply, 401, "unauthenticated")["detail"])
        assert "set-cookie" not in reply.headers
    assert len(seen) == 1
    rows = await audited(guarded)
    assert [row[1:] for row in rows] == [
        ("denied", "nobody", unknown[:15]), *[("denied", "nobody", "-")] * 4,
    ]  # fmt: skip
    assert unknown not in str(rows)
    for _ in range(MOST_DENIALS):
        await guarded.client.post("/auth/login", json={"key": unknown})
    assert len(await audited(guarded)) == MOST_DENIALS


async def test_another_sites_page_cannot_sign_a_browser_in(guarded: Api) -> None:
    key = await make_key(guarded, "viewer")
    headers = {"Origin": "https://evil.example"}
    reply = await guarded.client.post("/auth/login", json={"key": key}, headers=headers)
    require_problem(reply, 403, "foreign_origin")


async def test_two_cookies_or_a_strange_one_are_none(guarded: Api) -> None:
    key = await make_key(guarded, "viewer")
    async with browser(guarded) as client:
        await sign_in(client, key)
        good = client.cookies["citewell_session"]
    for cookie in ("", "short", good + "x", "a" * 43, f'"{good}'):
        headers = {"Cookie": f"citewell_session={cookie}"}
        require_problem(await guarded.client.get("/me", headers=headers), 401)
    two = [("Cookie", f"citewell_session={good}"), ("Cookie", f"citewell_session={'a' * 43}")]
    require_problem(await guarded.client.get("/me", headers=two), 401)


async def test_without_a_provider_there_is_no_sign_in_at_one(guarded: Api) -> None:
    for path in ("/auth/oidc/login", "/auth/oidc/callback?state=x&code=y"):
        require_problem(await guarded.client.get(path), 404, "not_found")
