"""Limits: per key, per address, over two API processes, under headers that lie."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from ipaddress import ip_network
from typing import Any
from uuid import uuid4

import httpx
import pytest
from pydantic import SecretStr
from starlette.datastructures import Headers

from api.keyring import OWNER, REQUIRED, bearer, make_key, make_workspace
from api.served import serve
from api.stage import Api, open_api, require_problem
from citewell.api.client_address import client_of
from citewell.ingest.pipeline import IngestPipeline
from citewell.records.credentials import new_credential
from citewell.settings import LimitSettings, Settings, key_required

PROXY = "10.1.1.1"
LIMITS = LimitSettings(
    requests_per_minute=40,
    questions_per_minute=10,
    failures_per_minute=5,
    streams_per_key=2,
    streams_per_workspace=3,
)


@pytest.fixture(scope="module")
async def pair(
    clone: Callable[[], Any],
    make_settings: Callable[..., Settings],
    ingest: IngestPipeline,
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[tuple[Api, Api]]:
    """Two API processes on one database and one Valkey."""
    with clone() as url:
        settings = make_settings(
            url,
            tmp_path_factory.mktemp("data"),
            auth=REQUIRED,
            limits=LIMITS,
            proxies=(ip_network(PROXY),),
        )
        async with open_api(settings, ingest) as one, open_api(settings, ingest) as two:
            yield one, two


@asynccontextmanager
async def called_from(api: Api, address: str) -> AsyncIterator[httpx.AsyncClient]:
    """Open a client whose connections come from an address."""
    transport = httpx.ASGITransport(api.app, client=(address, 40000))
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8000") as client:
        yield client


def new_address() -> str:
    return ".".join(["198", *(str(byte) for byte in uuid4().bytes[:3])])


async def test_a_key_is_limited_over_two_processes_whatever_its_headers_say(
    pair: tuple[Api, Api],
) -> None:
    key = bearer(await make_key(pair[0], "viewer"))
    lies = ("X-Forwarded-For", "X-Real-IP", "Forwarded", "X-Client-IP", "CF-Connecting-IP")

    async def call(number: int) -> httpx.Response:
        async with called_from(pair[number % 2], new_address()) as client:
            spoofed = {lies[number % len(lies)]: new_address()}
            return await client.get("/collections", headers=key | spoofed)

    replies = await asyncio.gather(*(call(number) for number in range(100)))
    let_in = [reply for reply in replies if reply.status_code == 200]
    assert len(let_in) == LIMITS.requests_per_minute
    for reply in replies:
        if reply.status_code != 200:
            require_problem(reply, 429, "limit_exceeded")
            assert 1 <= int(reply.headers["retry-after"]) <= 120
            assert f"{LIMITS.requests_per_minute} requests a minute" in reply.json()["detail"]


async def test_every_limited_reply_says_what_is_left(pair: tuple[Api, Api]) -> None:
    key = bearer(await make_key(pair[0], "viewer"))
    reply = await pair[0].client.get("/collections", headers=key)
    assert reply.headers["ratelimit-limit"] == "40"
    assert reply.headers["ratelimit-remaining"] == "39"
    assert 1 <= int(reply.headers["ratelimit-reset"]) <= 60
    assert reply.headers["ratelimit-policy"] == '"requests";q=40;w=60'
    assert reply.headers["ratelimit"].startswith('"requests";r=39;t=')
    reply = await pair[1].client.post("/search", json={"query": "x"}, headers=key)
    assert reply.headers["ratelimit-policy"] == '"requests";q=40;w=60, "questions";q=10;w=60'
    assert reply.headers["ratelimit-remaining"] == "9"
    missing = await pair[1].client.get(f"/documents/{uuid4()}", headers=key)
    assert missing.status_code == 404
    assert missing.headers["ratelimit-remaining"] == "37"


async def test_questions_have_a_lower_limit_of_their_own(pair: tuple[Api, Api]) -> None:
    key = bearer(await make_key(pair[0], "viewer"))
    replies = [
        await pair[number % 2].client.post("/search", json={"query": "x"}, headers=key)
        for number in range(12)
    ]
    assert [reply.status_code for reply in replies] == [200] * 10 + [429] * 2
    assert "10 questions a minute" in replies[-1].json()["detail"]
    assert replies[-1].headers["ratelimit-remaining"] == "0"
    assert (await pair[0].client.get("/collections", headers=key)).status_code == 200
    body = {"model": "citewell", "messages": [{"role": "user", "content": "x"}]}
    reply = await pair[0].client.post("/v1/chat/completions", json=body, headers=key)
    assert reply.status_code == 429
    assert reply.json()["error"]["type"] == "rate_limit_error"
    assert reply.headers["retry-after"]


async def test_guessing_is_slowed_by_address_and_stops_nobody_who_was_known(
    pair: tuple[Api, Api],
) -> None:
    known, late = [bearer(await make_key(pair[0], "viewer")) for _ in range(2)]
    address = new_address()
    async with called_from(pair[0], address) as one, called_from(pair[1], address) as two:
        assert (await one.get("/me", headers=known)).status_code == 200
        statuses = []
        for number in range(10):
            client = (one, two)[number % 2]
            wrong = bearer(new_credential().text) | {"X-Forwarded-For": new_address()}
            statuses.append((await client.get("/me", headers=wrong)).status_code)
        assert statuses == [401] * 5 + [429] * 5
        # A right guess tells nothing now, and a key that was in use before goes on.
        refused = await one.get("/me", headers=late)
        require_problem(refused, 429, "limit_exceeded")
        assert int(refused.headers["retry-after"]) >= 1
        assert (await one.get("/me", headers=known)).status_code == 200
    async with called_from(pair[0], new_address()) as elsewhere:
        assert (await elsewhere.get("/me", headers=late)).status_code == 200


async def test_who_guesses_through_a_proxy_of_this_machine_does_not_lock_it_out(
    make_settings: Callable[..., Settings], database_url: str, ingest: IngestPipeline, tmp_path: Any
) -> None:
    redis = SecretStr("redis://127.0.0.1:1")  # counters of its own: others come from here as well
    settings = make_settings(database_url, tmp_path, auth=REQUIRED, limits=LIMITS, redis_url=redis)
    async with open_api(settings, ingest) as api:
        forwarded = bearer(new_credential().text) | {"X-Forwarded-For": new_address()}
        replies = [await api.client.get("/me", headers=forwarded) for _ in range(8)]
        assert [reply.status_code for reply in replies[:5]] == [401] * 5
        assert replies[-1].status_code == 429
        assert (await api.client.get("/me", headers=OWNER)).status_code == 200
        assert (await api.client.get("/me")).status_code == 401


async def test_behind_a_proxy_each_client_is_counted_for_itself(pair: tuple[Api, Api]) -> None:
    async with called_from(pair[0], PROXY) as proxy:
        one, two = new_address(), new_address()
        for number in range(8):  # what the client itself wrote stands before, and changes nothing
            headers = {"X-Forwarded-For": f"{new_address()}, {one}", "X-Real-IP": new_address()}
            reply = await proxy.get("/me", headers=headers)
            assert reply.status_code == (401 if number < 5 else 429)
        assert (await proxy.get("/me", headers={"X-Forwarded-For": two})).status_code == 401


async def test_open_addresses_are_counted_by_address(pair: tuple[Api, Api]) -> None:
    async with called_from(pair[0], new_address()) as client:
        replies = await asyncio.gather(*(client.get("/health") for _ in range(50)))
    assert sum(reply.status_code == 200 for reply in replies) == LIMITS.requests_per_minute


async def test_this_machine_itself_is_not_limited(pair: tuple[Api, Api]) -> None:
    replies = await asyncio.gather(
        *(pair[0].client.get("/collections", headers=OWNER) for _ in range(60)),
        *(pair[0].client.get("/health") for _ in range(60)),
        *(pair[0].client.get("/me") for _ in range(20)),
    )
    assert [reply.status_code for reply in replies] == [200] * 120 + [401] * 20
    assert not any("ratelimit-limit" in reply.headers for reply in replies)


@pytest.fixture
async def waiting(pair: tuple[Api, Api]) -> tuple[Any, str]:
    """A workspace of its own with a job that nobody does."""
    workspace = await make_workspace(pair[0])
    headers = OWNER | {"X-Workspace-ID": str(workspace)}
    reply = await pair[0].client.post(
        "/documents/upload", files=[("files", ("a.txt", b"Some text."))], headers=headers
    )
    return workspace, f"/jobs/{reply.json()['documents'][0]['job_id']}/events"


async def test_streams_are_counted_per_key_and_workspace_and_given_back(
    pair: tuple[Api, Api], waiting: tuple[Any, str]
) -> None:
    workspace, events = waiting
    first, second = [bearer(await make_key(pair[0], "viewer", workspace)) for _ in range(2)]
    async with serve(pair[0].app) as one, serve(pair[1].app) as two, AsyncExitStack() as stack:
        client = await stack.enter_async_context(httpx.AsyncClient(timeout=10))

        async def follow(server: str, key: dict[str, str], held: AsyncExitStack) -> int:
            reply = await held.enter_async_context(
                client.stream("GET", server + events, headers=key)
            )
            if reply.status_code == 429:
                await reply.aread()
                require_problem(reply, 429, "limit_exceeded")
                assert "Close one" in reply.json()["detail"]
            return reply.status_code

        leaving = await stack.enter_async_context(AsyncExitStack())
        assert await follow(one, first, leaving) == 200
        assert await follow(two, first, stack) == 200
        assert await follow(one, first, stack) == 429  # the key has two
        assert await follow(two, second, stack) == 200
        assert await follow(one, second, stack) == 429  # the workspace has three
        await leaving.aclose()
        status = 429
        for _ in range(50):
            if status != 200:
                await asyncio.sleep(0.1)
                status = await follow(one, second, leaving)
        assert status == 200


async def test_a_streamed_completion_counts_as_a_stream(pair: tuple[Api, Api]) -> None:
    workspace = await make_workspace(pair[0])
    key = bearer(await make_key(pair[0], "viewer", workspace))
    limits = pair[0].app.state.limits
    place = [
        each
        for each in limits.places_of(
            {
                "type": "http",
                "headers": [],
                "client": None,
                "state": {"caller": await caller_of(pair[0], key)},
            }
        )
        if each.bucket.startswith("key/")
    ]
    for stream in ("one", "two"):
        assert await limits.limiter.enter(stream, place) is None
    body = {"model": "citewell", "messages": [{"role": "user", "content": "x"}]}
    post = pair[0].client.post
    streamed = await post("/v1/chat/completions", json=body | {"stream": True}, headers=key)
    assert streamed.status_code == 429
    assert (await post("/v1/chat/completions", json=body, headers=key)).status_code == 200
    await limits.limiter.leave("one", place)
    for _ in range(2):  # each is given back when it has ended
        streamed = await post("/v1/chat/completions", json=body | {"stream": True}, headers=key)
        assert streamed.status_code == 200
    await limits.limiter.leave("two", place)


async def caller_of(api: Api, key: dict[str, str]) -> Any:
    from citewell.api.call import Call
    from citewell.api.rights import READ

    return await api.app.state.gate.admit(Call("GET", Headers(key), None, "GET /documents", READ))


async def test_without_the_broker_each_process_counts_for_itself(
    make_settings: Callable[..., Settings], database_url: str, ingest: IngestPipeline, tmp_path: Any
) -> None:
    settings = make_settings(
        database_url,
        tmp_path,
        auth=REQUIRED,
        limits=LIMITS,
        redis_url=SecretStr("redis://127.0.0.1:1"),
    )
    async with open_api(settings, ingest) as api:
        key = bearer(await make_key(api, "viewer"))
        replies = [await api.client.get("/collections", headers=key) for _ in range(45)]
        # In memory minutes are the clock's: where one ends meanwhile, its last share is let in.
        assert 40 <= sum(reply.status_code == 200 for reply in replies) <= 42
        assert {reply.status_code for reply in replies} == {200, 429}
        assert replies[0].headers["ratelimit-remaining"] == "39"


async def test_limits_can_be_switched_off_and_put_on_this_machine_too(
    make_settings: Callable[..., Settings], database_url: str, ingest: IngestPipeline, tmp_path: Any
) -> None:
    none = LimitSettings(
        requests_per_minute=0, questions_per_minute=0, failures_per_minute=0, streams_per_key=0,
        streams_per_workspace=0,
    )  # fmt: skip
    async with open_api(
        make_settings(database_url, tmp_path, auth=REQUIRED, limits=none), ingest
    ) as api:
        key = bearer(await make_key(api, "viewer"))
        reply = await api.client.get("/collections", headers=key)
        assert reply.status_code == 200
        assert "ratelimit-limit" not in reply.headers
    all_of_us = LIMITS.model_copy(update={"local": True, "requests_per_minute": 3})
    redis = SecretStr("redis://127.0.0.1:1")  # counters of its own: others come from here as well
    async with open_api(
        make_settings(database_url, tmp_path, limits=all_of_us, redis_url=redis), ingest
    ) as api:
        statuses = [(await api.client.get("/me")).status_code for _ in range(5)]
        assert statuses[:3] == [200, 200, 200]
        assert statuses[-1] == 429


@pytest.mark.parametrize(
    ("peer", "forwarded", "expected"),
    [
        ("203.0.113.9", [], "203.0.113.9"),
        ("203.0.113.9", ["198.51.100.1"], "203.0.113.9"),
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", ["198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", ["6.6.6.6, 198.51.100.1, 10.0.0.2"], "198.51.100.1"),
        ("10.0.0.1", ["6.6.6.6", "198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", ["198.51.100.1:4711"], "198.51.100.1"),
        ("10.0.0.1", ["[2001:db8:1:2:3::4]:4711"], "2001:db8:1:2::/64"),
        ("10.0.0.1", ["::ffff:198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", ["6.6.6.6, nonsense"], "10.0.0.1"),
        ("10.0.0.1", ["6.6.6.6, nonsense, 10.0.0.2"], "10.0.0.2"),
        ("10.0.0.1", ["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
        ("10.0.0.1", [""], "10.0.0.1"),
        ("::ffff:10.0.0.1", ["198.51.100.1"], "198.51.100.1"),
        ("2001:db8:1:2::9", [], "2001:db8:1:2::/64"),
        ("testclient", [], "unknown"),
        (None, ["198.51.100.1"], "unknown"),
    ],
)
def test_an_address_is_the_last_one_that_no_proxy_of_ours_has(
    peer: str | None, forwarded: list[str], expected: str
) -> None:
    headers = Headers(raw=[(b"x-forwarded-for", each.encode()) for each in forwarded])
    found = client_of(peer, headers, [ip_network("10.0.0.0/24")])
    assert found.bucket == expected
    assert not found.is_local


@pytest.mark.parametrize("proxies", [(), (ip_network("127.0.0.1"),)])
def test_what_a_proxy_forwards_is_never_this_machine(proxies: Any) -> None:
    assert client_of("127.0.0.1", Headers({}), ()).is_local
    assert client_of("::1", Headers({}), ()).is_local
    for name in ("x-forwarded-for", "forwarded", "x-real-ip", "via"):
        assert not client_of("127.0.0.1", Headers({name: "127.0.0.1"}), proxies).is_local


def test_with_a_proxy_others_reach_the_api() -> None:
    assert key_required(Settings(proxies=(ip_network("127.0.0.1"),)))
