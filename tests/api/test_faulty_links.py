"""Servers that do not answer: every request ends in time, and all is well when they are back."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from pydantic import SecretStr
from sqlalchemy import make_url, text

from api.faulty_proxy import (
    FaultyProxy,
    broker_through,
    database_through,
    open_proxy,
    postgres_socket,
    valkey_socket,
)
from api.stage import Api, open_api, require_problem
from citewell.errors import InsufficientStorage, Unavailable
from citewell.ingest.pipeline import IngestPipeline
from citewell.records.link import own_time
from citewell.records.session import Database
from citewell.settings import JobSettings, Settings
from records.databases import Servers, open_database

REPLY_SECONDS = 5.0
HEALED_SECONDS = 10.0
QUESTION = {"question": "What does a clock show?"}


@dataclass(frozen=True, slots=True)
class Linked:
    """An application whose servers are reached through proxies."""

    api: Api
    postgres: FaultyProxy
    valkey: FaultyProxy
    database_url: str

    async def try_all(self) -> list[httpx.Response]:
        """Send one request of each kind, all at once; each must end in time."""
        client = self.api.client
        return list(
            await asyncio.gather(
                _in_time(client.get("/documents")),
                _in_time(client.post("/query", json=QUESTION)),
                _in_time(client.post("/search", json={"query": "clock"})),
                _in_time(client.post("/collections", json={"name": f"c{time.monotonic_ns()}"})),
                _in_time(self.api.upload((f"{time.monotonic_ns()}.txt", b"A clock shows time."))),
                _in_time(client.get("/ready")),
            )
        )

    async def wait_healed(self) -> None:
        deadline = time.monotonic() + HEALED_SECONDS
        while [reply.status_code for reply in await self.try_all()] != [
            200,
            200,
            200,
            201,
            202,
            200,
        ]:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.1)
        assert time.monotonic() < deadline


async def _in_time(request: Awaitable[httpx.Response]) -> httpx.Response:
    started = time.monotonic()
    reply = await request
    assert time.monotonic() - started < REPLY_SECONDS, reply.request.url
    return reply


@pytest.fixture
async def linked(
    servers: Servers,
    database_url: str,
    make_settings: Callable[..., Settings],
    ingest: IngestPipeline,
    tmp_path: Path,
) -> AsyncIterator[Linked]:
    async with AsyncExitStack() as stack:
        postgres = await stack.enter_async_context(open_proxy(postgres_socket(servers)))
        valkey = await stack.enter_async_context(open_proxy(valkey_socket(servers)))
        settings = make_settings(
            database_through(database_url, postgres),
            tmp_path,
            redis_url=SecretStr(broker_through(servers.redis_url(7), valkey)),
            jobs=JobSettings(reconcile_seconds=3600, unsent_after_seconds=1),
        )
        api = await stack.enter_async_context(open_api(settings, ingest))
        made = Linked(api, postgres, valkey, database_url)
        await made.wait_healed()
        yield made


def swallow(proxy: FaultyProxy) -> None:
    proxy.mode = "swallow"


def refuse(proxy: FaultyProxy) -> None:
    proxy.mode = "refuse"
    proxy.drop()


def slow(proxy: FaultyProxy) -> None:
    proxy.delay_seconds = 1.2


@pytest.mark.parametrize(
    ("fault", "pauses"), [(swallow, (2.1, 0.0)), (refuse, (0.0,)), (slow, (0.0,))]
)
async def test_a_database_that_does_not_answer(
    linked: Linked, fault: Callable[[FaultyProxy], None], pauses: tuple[float, ...]
) -> None:
    fault(linked.postgres)
    for pause in pauses:  # first with old connections, then with new ones
        *replies, ready = await linked.try_all()
        for reply in replies:
            require_problem(reply, 503, "unavailable")
            assert int(reply.headers["retry-after"]) > 0
        problem = require_problem(ready, 503, "unavailable")
        assert problem["checks"]["broker"] == "ok"
        assert problem["checks"]["database"] != "ok"
        assert int(ready.headers["retry-after"]) > 0
        await asyncio.sleep(pause)
    assert (await linked.api.client.get("/health")).status_code == 200
    linked.postgres.heal()
    await linked.wait_healed()
    blobs = linked.api.services.blobs
    assert len(await blobs.list_hashes(-1)) == 1  # the same bytes each time


async def test_half_open_connections_are_replaced_within_the_request(linked: Linked) -> None:
    linked.postgres.deafen()
    replies = await linked.try_all()
    assert [reply.status_code for reply in replies] == [200, 200, 200, 201, 202, 200]


@pytest.mark.parametrize("fault", [swallow, refuse])
async def test_a_broker_that_does_not_answer_delays_jobs_only(
    linked: Linked, fault: Callable[[FaultyProxy], None]
) -> None:
    fault(linked.valkey)
    for pause in (2.1, 1.0):  # once with old connections, once with new ones
        *replies, ready = await linked.try_all()
        assert [reply.status_code for reply in replies] == [200, 200, 200, 201, 202]
        checks = require_problem(ready, 503, "unavailable")["checks"]
        assert checks["database"] == "ok"
        assert checks["broker"] != "ok"
        await asyncio.sleep(pause)
    linked.valkey.heal()
    await linked.wait_healed()
    services = linked.api.services
    before = await services.queue.count_waiting()
    await services.reconciler.run()
    assert await services.queue.count_waiting() > before


async def test_a_lost_statement_leaves_no_lock_behind(servers: Servers, database_url: str) -> None:
    async def lock_and_go_deaf(database: Database, proxy: FaultyProxy) -> None:
        async with database.system_transaction() as connection:
            await connection.execute(text("SELECT pg_advisory_xact_lock(77)"))
            proxy.deafen()
            await connection.execute(text("SELECT 1"))

    async with (
        open_proxy(postgres_socket(servers)) as proxy,
        open_database(database_through(database_url, proxy)) as database,
        open_database(database_url) as other,
    ):
        started = time.monotonic()
        with pytest.raises(Unavailable):
            await lock_and_go_deaf(database, proxy)
        assert time.monotonic() - started < REPLY_SECONDS
        async with other.system_transaction() as connection:
            await connection.execute(text("SET LOCAL lock_timeout = '1s'"))
            await connection.execute(text("SELECT pg_advisory_xact_lock(77)"))
        await database.check()


async def test_a_slow_statement_is_left_alone(
    servers: Servers, database: Database, database_url: str
) -> None:
    async def sleep(seconds: float) -> None:
        async with database.system_transaction() as connection:
            await connection.execute(text("SELECT pg_sleep(:s)"), {"s": seconds})

    async def build() -> None:
        async with database.owner_connection() as connection:
            await connection.execute(text("SELECT pg_sleep(5)"))

    async def wait_for_lock() -> None:
        async with database.system_transaction() as connection:
            await connection.execute(text("SELECT pg_advisory_xact_lock(78)"))

    async def hold_lock() -> None:
        async with database.system_transaction() as connection:
            await connection.execute(text("SELECT pg_advisory_xact_lock(78)"))
            await asyncio.sleep(4.5)

    name = make_url(database_url).database
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(hold_lock())
            await asyncio.sleep(0.2)
            for work in (sleep(5), build(), wait_for_lock()):
                group.create_task(work)
            await asyncio.sleep(2.5)
            # From here on the server has no connection to spare for the question if it lives.
            servers.execute(f"ALTER DATABASE {name} CONNECTION LIMIT 1")
    finally:
        servers.execute(f"ALTER DATABASE {name} CONNECTION LIMIT -1")


async def test_an_interrupted_statement_waits_for_nobody(
    servers: Servers, database_url: str
) -> None:
    async def sleep(database: Database) -> None:
        async with database.system_transaction() as connection:
            await connection.execute(text("SELECT pg_sleep(3)"))

    async with (
        open_proxy(postgres_socket(servers)) as proxy,
        open_database(database_through(database_url, proxy)) as database,
    ):
        task = asyncio.create_task(sleep(database))
        await asyncio.sleep(0.3)
        proxy.mode = "swallow"
        started = time.monotonic()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert time.monotonic() - started < 1.5
        proxy.heal()
        await database.check()


async def test_a_full_disk_of_the_database_is_told(database: Database) -> None:
    with pytest.raises(InsufficientStorage) as caught:
        async with database.system_transaction() as connection:
            await connection.execute(
                text("DO $$ BEGIN RAISE 'no space left' USING ERRCODE = 'disk_full'; END $$")
            )
    assert caught.value.status == 507
    await database.check()


async def test_the_addresss_own_options_win(database_url: str) -> None:
    url = make_url(database_url).update_query_dict({"application_name": "mine"})
    async with (
        open_database(url.render_as_string(hide_password=False)) as database,
        database.system_transaction() as connection,
    ):
        assert await connection.scalar(text("SHOW application_name")) == "mine"


async def test_a_process_that_was_held_up_blames_no_server() -> None:
    async with own_time(0.3):
        time.sleep(0.5)  # noqa: ASYNC251 - so the loop stands still, as under load
        await asyncio.sleep(0.05)
    with pytest.raises(TimeoutError):
        async with own_time(0.1):
            await asyncio.sleep(1)
