"""Counters in Valkey and in memory, and the way from one to the other."""

import asyncio
from collections.abc import AsyncIterator
from time import monotonic
from uuid import uuid4

import pytest
from limits.aio.strategies import SlidingWindowCounterRateLimiter
from structlog.testing import capture_logs

from citewell.adapters import limits_fallback
from citewell.adapters.limits_fallback import FallbackLimiter
from citewell.adapters.limits_memory import MemoryLimiter
from citewell.adapters.limits_valkey import PREFIX, ValkeyLimiter
from citewell.adapters.limits_window import identifiers_of, item_of, room_of
from citewell.errors import Unavailable
from citewell.ports import Limiter, Place, Window
from contracts.limiter import LimiterContract, window
from records.databases import Servers


class TestMemoryLimiter(LimiterContract):
    @pytest.fixture
    def limiter(self) -> Limiter:
        return MemoryLimiter()


class TestValkeyLimiter(LimiterContract):
    @pytest.fixture
    async def limiter(self, servers: Servers) -> AsyncIterator[Limiter]:
        limiter = ValkeyLimiter(servers.redis_url())
        yield limiter
        await limiter.close()


class TestFallbackLimiter(LimiterContract):
    @pytest.fixture
    async def limiter(self, servers: Servers) -> AsyncIterator[Limiter]:
        limiter = FallbackLimiter(ValkeyLimiter(servers.redis_url()), MemoryLimiter())
        yield limiter
        await limiter.close()


class TestFallbackWithoutBroker(LimiterContract):
    @pytest.fixture
    async def limiter(self) -> AsyncIterator[Limiter]:
        limiter = FallbackLimiter(ValkeyLimiter("redis://127.0.0.1:1"), MemoryLimiter())
        yield limiter
        await limiter.close()


@pytest.fixture
async def valkey(servers: Servers) -> AsyncIterator[ValkeyLimiter]:
    limiter = ValkeyLimiter(servers.redis_url(), lease_seconds=0.5)
    yield limiter
    await limiter.close()


async def test_two_processes_share_a_window_without_overshoot(
    servers: Servers, valkey: ValkeyLimiter
) -> None:
    other, one = ValkeyLimiter(servers.redis_url()), window(100)
    rooms = await asyncio.gather(*(each.hit([one]) for _ in range(120) for each in (valkey, other)))
    await other.close()
    assert sum(room.wait_seconds == 0 for (room,) in rooms) == 100


async def test_the_counters_are_those_of_the_library(valkey: ValkeyLimiter) -> None:
    one = window(10)
    library = SlidingWindowCounterRateLimiter(valkey.storage)
    for _ in range(4):
        (room,) = await valkey.hit([one])
    stats = await library.get_window_stats(item_of(one), *identifiers_of(one))
    assert stats.remaining == room.left == 6
    assert await library.hit(item_of(one), *identifiers_of(one), cost=6)
    assert (await valkey.hit([one]))[0].wait_seconds > 0


async def test_a_window_that_is_over_weighs_by_its_share(valkey: ValkeyLimiter) -> None:
    one = window(10)
    for _ in range(10):
        await valkey.hit([one])
    _, now = valkey.storage.keys_of(one)
    redis = valkey._redis
    await redis.pexpire(now, 45_000)  # its minute ended 15 s ago
    rooms = [(await valkey.hit([one]))[0] for _ in range(4)]
    assert [room.wait_seconds > 0 for room in rooms] == [False, False, False, True]
    # 7.5 of the ten weigh still, rounded down; three came since: one weighs no more in 3 s or so.
    assert 2 < rooms[3].wait_seconds < 4


def test_the_wait_is_as_long_as_it_takes() -> None:
    one = Window("requests", "x", 10)
    full = room_of(one, (0, 0.0), (10, 80.0), refused=True)
    assert full.left == 0
    assert 20 <= full.wait_seconds <= 20.1  # then the minute is over, and one of ten weighs less
    assert room_of(one, (10, 30.0), (5, 90.0), refused=True).wait_seconds == pytest.approx(0.001)
    assert room_of(one, (20, 60.0), (5, 120.0), refused=True).wait_seconds == pytest.approx(45)


async def test_streams_of_a_killed_process_count_no_more_after_their_lease(
    servers: Servers, valkey: ValkeyLimiter
) -> None:
    place = Place("key", uuid4().hex, 1)
    assert await valkey.enter("of the dead", [place]) is None
    living = FallbackLimiter(
        ValkeyLimiter(servers.redis_url(), 0.5), MemoryLimiter(), lease_seconds=0.5
    )
    assert await living.enter("first", [place]) == place
    await asyncio.sleep(0.6)
    assert await living.enter("first", [place]) is None
    await asyncio.sleep(1.0)  # twice as long as its lease: it was renewed meanwhile
    assert await valkey.enter("second", [place]) == place
    await living.leave("first", [place])
    assert await valkey.enter("second", [place]) is None
    await living.close()


class Broken:
    """Counters that are away when the test says so."""

    def __init__(self, limiter: ValkeyLimiter) -> None:
        self.away, self.calls = False, 0
        self._limiter = limiter

    def __getattr__(self, name: str) -> object:
        async def call(*given: object) -> object:
            self.calls += 1
            if self.away:
                raise Unavailable("The broker does not answer.")
            return await getattr(self._limiter, name)(*given)

        return call


async def test_the_way_to_own_counters_and_back_is_told_once_each(
    valkey: ValkeyLimiter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits_fallback, "RETRY_SECONDS", 0.2)
    broken = Broken(valkey)
    limiter, one = FallbackLimiter(broken, MemoryLimiter()), window(10)  # pyright: ignore
    with capture_logs() as lines:
        assert (await limiter.hit([one]))[0].left == 9
        broken.away = True
        left = [(await limiter.hit([one]))[0].left for _ in range(5)]
        assert left == [9, 8, 7, 6, 5]  # of this process's own count
        assert broken.calls == 2  # only one waited for what did not answer
        broken.away = False
        await asyncio.sleep(0.25)
        assert (await limiter.hit([one]))[0].left == 8
    assert len(lines) == 2, lines


async def test_a_crowd_is_counted_together_and_a_silent_broker_holds_it_up_once(
    servers: Servers, valkey: ValkeyLimiter
) -> None:
    limiter, one = FallbackLimiter(valkey, MemoryLimiter()), window(300)
    with capture_logs() as lines:
        rooms = await asyncio.gather(*(limiter.hit([one]) for _ in range(1000)))
    assert sum(room.wait_seconds == 0 for (room,) in rooms) == 300
    assert lines == []

    async def silent(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(30)
        writer.close()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    stuck = FallbackLimiter(ValkeyLimiter(f"redis://127.0.0.1:{port}"), MemoryLimiter())
    began = monotonic()
    with capture_logs() as lines:
        rooms = await asyncio.gather(*(stuck.hit([one]) for _ in range(100)))
    assert monotonic() - began < 5
    assert all(room.wait_seconds == 0 for (room,) in rooms)
    assert len(lines) == 1
    await stuck.close()
    server.close()


async def test_a_broker_that_forgot_everything_learns_the_open_streams_again(
    servers: Servers, valkey: ValkeyLimiter
) -> None:
    place = Place("key", uuid4().hex, 1)
    limiter = FallbackLimiter(
        ValkeyLimiter(servers.redis_url(), 0.5), MemoryLimiter(), lease_seconds=0.5
    )
    assert await limiter.enter("open", [place]) is None
    await valkey._redis.delete(f"{PREFIX}:streams/{place.bucket}")
    await asyncio.sleep(0.4)
    assert await valkey.enter("another", [place]) == place
    await limiter.close()
