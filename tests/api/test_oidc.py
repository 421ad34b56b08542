"""Sign-in at a provider: only its own, fresh, signed word for this browser is taken."""

import sys
from collections.abc import AsyncIterator, Callable
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from joserfc.jwk import OctKey, RSAKey
from pydantic import SecretStr
from sqlalchemy import text
from starlette.responses import JSONResponse, PlainTextResponse

from api.keyring import REQUIRED, make_workspace
from api.provider import CLIENT_ID, CLIENT_SECRET, Claims, Provider, open_provider
from api.stage import Api, open_api, require_problem
from citewell.domain import INSTALLATION, PUBLIC_WORKSPACE
from citewell.errors import InputError
from citewell.ingest.pipeline import IngestPipeline
from citewell.records.people import read_group_roles, rights_of
from citewell.settings import OidcSettings, Settings
from citewell.wiring.identity import open_identity

CALLBACK = "http://127.0.0.1:8000/auth/oidc/callback"
GONE = uuid4()
ROLES = (
    f"staff=viewer@{PUBLIC_WORKSPACE}, writers=editor@{PUBLIC_WORKSPACE}, root=owner, "
    f"lost=viewer@{GONE}"
)


@pytest.fixture(scope="module")
async def running() -> AsyncIterator[Provider]:
    async with open_provider() as opened:
        yield opened


@pytest.fixture(scope="module")
async def shared(
    running: Provider,
    clone: Callable[[], Any],
    make_settings: Callable[..., Settings],
    ingest: IngestPipeline,
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[Api]:
    oidc = OidcSettings(
        issuer=running.issuer,
        client_id=CLIENT_ID,
        client_secret=SecretStr(CLIENT_SECRET),
        redirect_url=CALLBACK,
        roles=ROLES,
        timeout_seconds=2,
    )
    with clone() as url:
        data = tmp_path_factory.mktemp("data")
        settings = make_settings(url, data, auth=REQUIRED, oidc=oidc)
        async with open_api(settings, ingest) as opened:
            yield opened


@pytest.fixture
def provider(running: Provider) -> Provider:
    """A provider that tells the truth again, with a new key."""
    fresh = Provider(issuer=running.served_at)
    vars(running).update(vars(fresh) | {"served_at": running.served_at})
    return running


@pytest.fixture
async def guarded(shared: Api, provider: Provider) -> Api:
    """An application that nobody signed in to yet, and that knows nothing of the provider."""
    await query(shared, "DELETE FROM principals RETURNING id")
    await query(shared, "DELETE FROM sign_ins RETURNING digest")
    newest = await query(shared, "SELECT coalesce(max(id), 0) FROM audit_log")
    shared.app.state.audited_from = newest[0][0]
    vars(shared.services.identity)["_known"] = None
    return shared


@pytest.fixture
async def client(guarded: Api) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(guarded.app)
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8000") as opened:
        yield opened


async def begin(client: httpx.AsyncClient, provider: Provider) -> dict[str, str]:
    """Go to the provider and sign in there; return what the browser brings back."""
    reply = await client.get("/auth/oidc/login")
    assert reply.status_code == 303, reply.text
    assert reply.headers["location"].startswith(f"{provider.issuer}/authorize?")
    cookie = reply.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=lax" in cookie
    assert "path=/auth/oidc" in cookie
    return provider.allow(reply.headers["location"])


async def sign_in(client: httpx.AsyncClient, provider: Provider) -> httpx.Response:
    brought = await begin(client, provider)
    return await client.get("/auth/oidc/callback", params=brought)


async def query(api: Api, statement: str, **values: Any) -> list[tuple[Any, ...]]:
    async with api.services.database.system_transaction() as connection:
        return [tuple(row) for row in await connection.execute(text(statement), values)]


async def count(api: Api, table: str) -> int:
    return (await query(api, f"SELECT count(*) FROM {table}"))[0][0]


async def test_a_person_signs_in_with_the_rights_of_their_groups(
    guarded: Api, client: httpx.AsyncClient, provider: Provider
) -> None:
    provider.claims["groups"] = ["staff", "writers", "others"]
    reply = await sign_in(client, provider)
    assert (reply.status_code, reply.headers["location"]) == (303, "/")
    assert "citewell_sign_in" not in client.cookies
    me = (await client.get("/me")).json()
    assert me == {
        "actor": "person:ada-1",
        "name": "Ada",
        "is_owner": False,
        "roles": {str(PUBLIC_WORKSPACE): "editor"},
        "groups": ["others", "staff", "writers"],
    }
    new = {"name": "papers"}
    require_problem(await client.post("/collections", json=new), 403, "csrf")
    token = {"X-CSRF-Token": (await client.get("/auth/csrf")).json()["csrf_token"]}
    assert (await client.post("/collections", json=new, headers=token)).status_code == 201
    rows = await query(
        guarded,
        "SELECT a.action, a.outcome, a.actor, p.kind, p.subject FROM audit_log a "
        "JOIN principals p ON p.id::text = a.target WHERE a.workspace_id = :w AND a.id > :mark",
        w=INSTALLATION,
        mark=guarded.app.state.audited_from,
    )
    assert rows == [("auth.login", "done", "person:ada-1", "person", "ada-1")]
    made = await query(guarded, "SELECT actor FROM audit_log WHERE action = 'collection.add'")
    assert made == [("person:ada-1",)]
    assert (await client.post("/auth/logout", headers=token)).status_code == 204
    require_problem(await client.get("/me"), 401)


async def test_groups_are_taken_anew_at_each_sign_in(
    guarded: Api, client: httpx.AsyncClient, provider: Provider
) -> None:
    provider.claims["groups"] = ["root", "staff"]
    await sign_in(client, provider)
    assert (await client.get("/me")).json()["is_owner"]
    provider.claims |= {"groups": ["staff"], "name": "Ada Lovelace"}
    await sign_in(client, provider)
    me = (await client.get("/me")).json()
    assert (me["is_owner"], me["name"]) == (False, "Ada Lovelace")
    assert me["roles"] == {str(PUBLIC_WORKSPACE): "viewer"}
    assert await count(guarded, "principals") == 1
    provider.claims["groups"] = ["others"]
    before = dict(client.cookies)
    require_problem(await sign_in(client, provider), 403, "forbidden")
    # The sessions from before are over as well.
    assert dict(client.cookies)["citewell_session"] == before["citewell_session"]
    require_problem(await client.get("/me"), 401)
    assert await count(guarded, "memberships") == 0


@pytest.mark.parametrize("groups", [[], ["others"], ["lost"], None, 5, {"staff": 1}, [["staff"]]])
async def test_a_person_without_a_group_of_ours_is_told_so(
    guarded: Api, client: httpx.AsyncClient, provider: Provider, groups: Any
) -> None:
    provider.claims["groups"] = groups
    problem = require_problem(await sign_in(client, provider), 403, "forbidden")
    assert "none of your groups has a right here" in problem["detail"]
    assert "citewell_session" not in client.cookies
    denied = await query(
        guarded,
        "SELECT target FROM audit_log WHERE action = 'auth.login' AND outcome = 'denied' "
        "AND id > :mark",
        mark=guarded.app.state.audited_from,
    )
    assert denied == [("person:ada-1",)]


async def test_groups_may_come_as_one_name_or_from_the_userinfo(
    client: httpx.AsyncClient, provider: Provider
) -> None:
    provider.claims["groups"] = "staff"
    assert (await sign_in(client, provider)).status_code == 303


async def test_groups_that_only_the_userinfo_has_are_asked_for(
    client: httpx.AsyncClient, provider: Provider
) -> None:
    del provider.claims["groups"]
    provider.userinfo = {"sub": "somebody else", "groups": ["root"]}
    require_problem(await sign_in(client, provider), 403, "forbidden")
    provider.userinfo = {"sub": "ada-1", "groups": ["root"]}
    assert (await sign_in(client, provider)).status_code == 303


async def test_a_person_who_was_shut_out_stays_out(
    guarded: Api, client: httpx.AsyncClient, provider: Provider
) -> None:
    provider.claims["groups"] = ["root"]
    await sign_in(client, provider)
    await query(guarded, "UPDATE principals SET revoked_at = now() RETURNING id")
    require_problem(await client.get("/me"), 401)
    require_problem(await sign_in(client, provider), 403, "forbidden")
    assert await count(guarded, "browser_sessions") == 0


LIES: dict[str, Callable[[Claims], Claims]] = {
    "wrong nonce": lambda claims: claims | {"nonce": "another"},
    "no nonce": lambda claims: {k: v for k, v in claims.items() if k != "nonce"},
    "wrong audience": lambda claims: claims | {"aud": "another client"},
    "no audience": lambda claims: {k: v for k, v in claims.items() if k != "aud"},
    "another party": lambda claims: claims | {"aud": [CLIENT_ID, "b"], "azp": "b"},
    "several audiences": lambda claims: claims | {"aud": [CLIENT_ID, "b"]},
    "wrong issuer": lambda claims: claims | {"iss": "https://evil.example"},
    "expired": lambda claims: claims | {"exp": claims["iat"] - 120},
    "no expiry": lambda claims: {k: v for k, v in claims.items() if k != "exp"},
    "not yet": lambda claims: claims | {"nbf": claims["iat"] + 3600},
    "no subject": lambda claims: {k: v for k, v in claims.items() if k != "sub"},
    "a number as subject": lambda claims: claims | {"sub": 5},
    "an empty subject": lambda claims: claims | {"sub": ""},
    "a subject with NUL": lambda claims: claims | {"sub": "a\0"},
    "wrong access token": lambda claims: claims | {"at_hash": "AAAAAAAAAAAAAAAAAAAAAA"},
}


@pytest.mark.parametrize("lie", LIES)
async def test_a_claim_that_is_wrong_is_refused(
    guarded: Api, client: httpx.AsyncClient, provider: Provider, lie: str
) -> None:
    provider.claims["groups"] = ["root"]
    provider.change = LIES[lie]
    require_problem(await sign_in(client, provider), 403, "forbidden")
    assert await count(guarded, "principals") == 0
    assert "citewell_session" not in client.cookies


@pytest.mark.parametrize("kind", ["another key", "the client's secret", "none", "unknown key"])
async def test_a_signature_that_is_wrong_is_refused(
    guarded: Api, client: httpx.AsyncClient, provider: Provider, kind: str
) -> None:
    provider.claims["groups"] = ["root"]
    if kind == "another key":
        provider.signing = RSAKey.generate_key(2048, {"kid": "one"})
    elif kind == "unknown key":
        provider.header["kid"] = "two"
        provider.signing = RSAKey.generate_key(2048, {"kid": "two"})
    elif kind == "none":
        reply = {
            "access_token": "a",
            "token_type": "Bearer",
            "id_token": "eyJhbGciOiJub25lIn0.e30.",
        }
        provider.token_reply = JSONResponse(reply)
    else:
        provider.header = {"alg": "HS256"}
        provider.signing = OctKey.import_key(CLIENT_SECRET)  # pyright: ignore
    require_problem(await sign_in(client, provider), 403, "forbidden")
    assert await count(guarded, "principals") == 0


async def test_a_provider_may_change_its_key(client: httpx.AsyncClient, provider: Provider) -> None:
    provider.claims["groups"] = ["root"]
    assert (await sign_in(client, provider)).status_code == 303
    asked = provider.asked
    provider.key = RSAKey.generate_key(2048, {"kid": "two"})
    provider.header["kid"] = "two"
    assert (await sign_in(client, provider)).status_code == 303
    assert (await sign_in(client, provider)).status_code == 303
    assert provider.asked == asked + 1


async def test_a_callback_works_once(
    guarded: Api, client: httpx.AsyncClient, provider: Provider
) -> None:
    provider.claims["groups"] = ["root"]
    brought = await begin(client, provider)
    cookie = {"Cookie": f"citewell_sign_in={client.cookies['citewell_sign_in']}"}
    query_ = provider.codes[brought["code"]]
    assert (await client.get("/auth/oidc/callback", params=brought)).status_code == 303
    provider.codes[brought["code"]] = query_  # even if the provider took its code twice
    again = await guarded.client.get("/auth/oidc/callback", params=brought, headers=cookie)
    assert "used already" in require_problem(again, 403, "forbidden")["detail"]
    assert await count(guarded, "browser_sessions") == 1


@pytest.mark.parametrize("state", ["", "x", "ü" * 20, "another's"])
async def test_a_state_that_is_not_this_browsers_is_refused(
    guarded: Api, client: httpx.AsyncClient, provider: Provider, state: str
) -> None:
    provider.claims["groups"] = ["root"]
    brought = await begin(client, provider)
    if state == "another's":
        transport = httpx.ASGITransport(guarded.app)
        async with httpx.AsyncClient(transport=transport, base_url=CALLBACK[:21]) as other:
            brought = await begin(other, provider)
    else:
        brought["state"] = state
    reply = await client.get("/auth/oidc/callback", params=brought)
    require_problem(reply, 403, "forbidden")
    no_cookie = await guarded.client.get("/auth/oidc/callback", params=brought)
    require_problem(no_cookie, 403, "forbidden")
    assert await count(guarded, "browser_sessions") == 0


async def test_a_sign_in_that_took_too_long_is_over(
    guarded: Api, client: httpx.AsyncClient, provider: Provider
) -> None:
    brought = await begin(client, provider)
    await query(guarded, "UPDATE sign_ins SET expires_at = now() RETURNING digest")
    reply = await client.get("/auth/oidc/callback", params=brought)
    require_problem(reply, 403, "forbidden")
    await guarded.services.reconciler.run()
    assert await count(guarded, "sign_ins") == 0


async def test_what_the_provider_says_instead_of_a_code_is_not_repeated(
    client: httpx.AsyncClient, provider: Provider
) -> None:
    for more in ({"error": "access_denied", "error_description": "<b>no</b>"}, {}):
        brought = await begin(client, provider)
        del brought["code"]
        reply = await client.get("/auth/oidc/callback", params=brought | more)
        problem = require_problem(reply, [400, 403])
        assert "<b>" not in reply.text
        assert "Begin again" in problem["detail"]


async def test_no_request_says_where_a_browser_goes(
    client: httpx.AsyncClient, provider: Provider
) -> None:
    provider.claims["groups"] = ["root"]
    brought = await begin(client, provider)
    more = {"next": "https://evil.example", "redirect_uri": "https://evil.example"}
    reply = await client.get("/auth/oidc/callback", params=brought | more)
    assert reply.headers["location"] == "/"


@pytest.mark.parametrize(
    "reply",
    [
        PlainTextResponse("<html>busy</html>", 502),
        PlainTextResponse("no JSON"),
        JSONResponse([1]),
        PlainTextResponse("x" * 2_000_000),
    ],
    ids=["502", "text", "list", "too long"],
)
async def test_a_provider_that_answers_nonsense_is_said_to(
    client: httpx.AsyncClient, provider: Provider, reply: Any
) -> None:
    provider.token_reply = reply
    problem = require_problem(await sign_in(client, provider), 502, "remote_failed")
    assert "does not answer as it should" in problem["detail"]


async def test_a_provider_that_is_away_or_another_one_is_said_to_be(
    client: httpx.AsyncClient, provider: Provider
) -> None:
    right = provider.issuer
    provider.issuer = "http://127.0.0.1:9/other"
    require_problem(await client.get("/auth/oidc/login"), 502, "remote_failed")
    provider.issuer = right
    provider.token_reply = JSONResponse({"error": "invalid_client"}, 401)
    require_problem(await sign_in(client, provider), 403, "forbidden")


async def test_the_largest_role_of_several_groups_counts(guarded: Api) -> None:
    one = await make_workspace(guarded)
    read = read_group_roles(f"a=viewer@{one},b=admin@{one},a=editor@{one},cn=x=owner")
    assert rights_of(["a", "b"], read).roles == {one: "admin"}
    assert rights_of(["cn=x"], read).is_owner
    assert rights_of([], read).roles == {}


@pytest.mark.parametrize("roles", ["staff", "=owner", "a=owner@x", "a=reader@x", "a=viewer@x"])
def test_roles_that_cannot_be_read_stop_the_start(roles: str) -> None:
    with pytest.raises(InputError, match="Part 2 of CITEWELL_OIDC__ROLES"):
        read_group_roles(f"a=viewer@{UUID(int=1)}, {roles}")


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"client_id": None}, "together"),
        ({"roles": None}, "together"),
        ({"issuer": "http://login.example.org"}, "https"),
        ({"redirect_url": "http://citewell.example.org/auth/oidc/callback"}, "https"),
        ({"redirect_url": "https://citewell.example.org/"}, "must end with"),
    ],
)
def test_a_half_set_up_provider_is_refused(changes: dict[str, Any], why: str) -> None:
    whole = {"issuer": "https://login.example.org", "client_id": "c", "roles": "a=owner",
             "redirect_url": "https://citewell.example.org/auth/oidc/callback"}  # fmt: skip
    OidcSettings(**whole)  # pyright: ignore
    with pytest.raises(ValueError, match=why):
        OidcSettings(**(whole | changes))  # pyright: ignore


def test_without_the_extra_the_start_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    oidc = OidcSettings(
        issuer="https://login.example.org",
        client_id="c",
        roles="a=owner",
        redirect_url="https://citewell.example.org/auth/oidc/callback",
    )
    monkeypatch.setitem(sys.modules, "citewell.adapters.oidc", None)
    with pytest.raises(InputError, match=r"Install citewell\[oidc\]"):
        open_identity(Settings(oidc=oidc))
    assert open_identity(Settings()) is None
