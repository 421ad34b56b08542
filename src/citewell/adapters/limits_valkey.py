"""Counters in Valkey, for all API processes together: one round trip each, atomic in Lua."""

from collections.abc import Awaitable, Generator, Mapping, Sequence
from contextlib import contextmanager
from typing import cast

from limits.aio.storage import RedisStorage
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from citewell.adapters.limits_window import identifiers_of, item_of, room_of
from citewell.errors import Unavailable
from citewell.ports import Place, Room, Window
from citewell.ports.limits import LEASE_SECONDS, PERIOD_SECONDS

PREFIX = "citewell.limits"
CONNECTIONS = 16
TIMEOUT_SECONDS = 2.0
"""A request does not wait for its counters for longer; then its own process counts."""
TURN_SECONDS = 10.0
"""Most time for one of the connections, while others move on."""
RENEWED_AT_ONCE = 200

# The library's own scripts count in one window, and do not say what is left. This one does both
# for several windows, over the same keys: {KEY} is the present counter, {KEY}/-1 the one before.
HIT = """
local period = tonumber(ARGV[1])
local refused, said = 0, {}
for i = 1, #KEYS, 2 do
    local before, now, most = KEYS[i], KEYS[i + 1], tonumber(ARGV[1 + (i + 1) / 2])
    local lives = redis.call('pttl', now)
    if lives > 0 and lives < period then
        redis.call('rename', now, before)
        redis.call('set', now, 0, 'PX', lives + period)
        lives = lives + period
    end
    local earlier, count = tonumber(redis.call('get', before)) or 0, 0
    local earlier_lives = math.max(redis.call('pttl', before), 0)
    if lives > 0 then count = tonumber(redis.call('get', now)) end
    if math.floor(earlier * earlier_lives / period) + count + 1 > most then
        refused = refused + 2 ^ ((i - 1) / 2)
    end
    local place = (i - 1) * 2
    said[place + 1], said[place + 2] = earlier, earlier_lives
    said[place + 3], said[place + 4] = count, math.max(lives, 0)
end
if refused == 0 then
    for i = 1, #KEYS, 2 do
        local place = (i - 1) * 2
        if said[place + 4] > 0 then
            redis.call('incr', KEYS[i + 1])
        else
            redis.call('set', KEYS[i + 1], 1, 'PX', period * 2)
            said[place + 4] = period * 2
        end
        said[place + 3] = said[place + 3] + 1
    end
end
return {refused, unpack(said)}
"""
# A place is a sorted set of streams, each with the time until which it counts.
NOW = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local lease = tonumber(ARGV[1])
"""
ENTER = f"""
{NOW}
for i, key in ipairs(KEYS) do
    redis.call('ZREMRANGEBYSCORE', key, '-inf', now)
    if redis.call('ZCARD', key) >= tonumber(ARGV[2 + i]) then return i end
end
for _, key in ipairs(KEYS) do
    redis.call('ZADD', key, now + lease, ARGV[2])
    redis.call('PEXPIRE', key, lease * 2)
end
return 0
"""
RENEW = f"""
{NOW}
for i, key in ipairs(KEYS) do
    redis.call('ZADD', key, now + lease, ARGV[1 + i])
    redis.call('PEXPIRE', key, lease * 2)
end
"""
LEAVE = "for _, key in ipairs(KEYS) do redis.call('ZREM', key, ARGV[1]) end"


class WindowStorage(RedisStorage):
    """The library's storage, which counts in several windows by one call."""

    def __init__(self, url: str, pool: BlockingConnectionPool) -> None:
        super().__init__(
            f"async+{url.replace('unix://', 'redis+unix://', 1)}",
            implementation="redispy",
            key_prefix=PREFIX,
            connection_pool=pool,  # pyright: ignore[reportArgumentType] - as its documents say
        )

    def keys_of(self, window: Window) -> tuple[str, str]:
        """Return the names of a window's two counters: the one before, the present one."""
        key = item_of(window).key_for(*identifiers_of(window))
        return (
            self.bridge.prefixed_key(self._previous_window_key(key)),
            self.bridge.prefixed_key(self._current_window_key(key)),
        )


class ValkeyLimiter:
    """Windows as the library ``limits`` stores them, and streams with leases."""

    def __init__(self, url: str, lease_seconds: float = LEASE_SECONDS) -> None:
        pool = BlockingConnectionPool.from_url(  # pyright: ignore[reportUnknownMemberType]
            url,
            max_connections=CONNECTIONS,
            timeout=TURN_SECONDS,
            socket_timeout=TIMEOUT_SECONDS,
            socket_connect_timeout=TIMEOUT_SECONDS,
            retry=Retry(NoBackoff(), 0),
        )
        self.storage = WindowStorage(url, pool)
        self._redis = Redis(connection_pool=pool)
        self._lease_ms = int(lease_seconds * 1000)
        self._hit = self._redis.register_script(HIT)
        self._enter = self._redis.register_script(ENTER)
        self._renew = self._redis.register_script(RENEW)
        self._leave = self._redis.register_script(LEAVE)

    async def hit(self, windows: Sequence[Window]) -> list[Room]:
        """Count once in every window, or in none; return their state."""
        keys = [key for window in windows for key in self.storage.keys_of(window)]
        with _translated():
            refused, *said = await cast(
                "Awaitable[list[int]]",
                self._hit(keys, [PERIOD_SECONDS * 1000, *(window.most for window in windows)]),
            )
        rooms: list[Room] = []
        for place, window in enumerate(windows):
            earlier, earlier_ms, count, ms = said[4 * place : 4 * place + 4]
            full = bool(refused >> place & 1)
            rooms.append(
                room_of(window, (earlier, earlier_ms / 1000), (count, ms / 1000), refused=full)
            )
        return rooms

    async def enter(self, stream: str, places: Sequence[Place]) -> Place | None:
        """Count a stream at every place, or at none; return the place that is full."""
        arguments = [self._lease_ms, stream, *(place.most for place in places)]
        with _translated():
            full = await cast("Awaitable[int]", self._enter(_keys(places), arguments))
        return places[full - 1] if full else None

    async def leave(self, stream: str, places: Sequence[Place]) -> None:
        """Count a stream no more."""
        with _translated():
            await cast("Awaitable[object]", self._leave(_keys(places), [stream]))

    async def renew(self, streams: Mapping[str, Sequence[Place]]) -> None:
        """Say that these streams live; one that is not renewed leaves by itself."""
        pairs = [(key, stream) for stream, places in streams.items() for key in _keys(places)]
        for first in range(0, len(pairs), RENEWED_AT_ONCE):
            some = pairs[first : first + RENEWED_AT_ONCE]
            arguments = [self._lease_ms, *(stream for _, stream in some)]
            with _translated():
                keys = [key for key, _ in some]
                await cast("Awaitable[object]", self._renew(keys, arguments))

    async def close(self) -> None:
        """Close every connection."""
        await self._redis.aclose(close_connection_pool=True)


def _keys(places: Sequence[Place]) -> list[str]:
    return [f"{PREFIX}:streams/{place.bucket}" for place in places]


@contextmanager
def _translated() -> Generator[None]:
    try:
        yield
    except (RedisError, OSError) as error:
        raise Unavailable("The broker does not answer; limits cannot be read.") from error
