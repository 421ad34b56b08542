"""Limits that outlive the broker: while it is away this process counts for itself."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from time import monotonic
from typing import TypeVar

import structlog

from citewell.errors import Unavailable
from citewell.ports import Limiter, Place, Room, Window
from citewell.ports.limits import LEASE_SECONDS

log = structlog.get_logger(__name__)

Reply = TypeVar("Reply")

AT_ONCE = 16
"""Calls that wait for the shared counters together; a crowd behind them is no sign of trouble."""
RETRY_SECONDS = 3.0
"""So long the shared counters are left alone after they did not answer; then one call tries."""


class FallbackLimiter:
    """Uses the shared counters, or this process's own while those are away.

    Streams are always counted here as well, so that the local count is right at any time; all of
    them are renewed together, which also brings back what a broker that began anew has lost.
    """

    def __init__(self, shared: Limiter, own: Limiter, lease_seconds: float = LEASE_SECONDS) -> None:
        self._shared, self._own = shared, own
        self._renew_seconds = lease_seconds / 3
        self._turns = asyncio.Semaphore(AT_ONCE)
        self._away = False
        self._retry_at = 0.0
        self._streams: dict[str, Sequence[Place]] = {}
        self._renewing: asyncio.Task[None] | None = None

    async def hit(self, windows: Sequence[Window]) -> list[Room]:
        """Count once in every window, or in none; return their state."""
        rooms = await self._ask(lambda: self._shared.hit(windows))
        return await self._own.hit(windows) if rooms is None else rooms

    async def enter(self, stream: str, places: Sequence[Place]) -> Place | None:
        """Count a stream at every place, or at none; return the place that is full."""
        full = await self._own.enter(stream, places)
        if full is not None:
            return full
        full = await self._ask(lambda: self._enter_shared(stream, places))
        if full:
            await self._own.leave(stream, places)
            return full[0]
        self._streams[stream] = places
        if self._renewing is None or self._renewing.done():
            self._renewing = asyncio.create_task(self._renew())
        return None

    async def leave(self, stream: str, places: Sequence[Place]) -> None:
        """Count a stream no more; shared counters that are away lose it when its lease ends."""
        self._streams.pop(stream, None)
        await self._own.leave(stream, places)
        await self._ask(lambda: self._leave_shared(stream, places))

    async def renew(self, streams: Mapping[str, Sequence[Place]]) -> None:
        """Say that these streams live."""
        await self._own.renew(streams)
        await self._ask(lambda: self._renew_shared(streams))

    async def close(self) -> None:
        """Close both."""
        if self._renewing is not None:
            self._renewing.cancel()
            with suppress(asyncio.CancelledError):
                await self._renewing
        await self._shared.close()
        await self._own.close()

    async def _ask(self, call: Callable[[], Awaitable[Reply]]) -> Reply | None:
        """Return what the shared counters say; None while they are away."""
        if self._rests():
            return None
        async with self._turns:
            if self._rests():  # as those before found out meanwhile
                return None
            if self._away:
                self._retry_at = monotonic() + RETRY_SECONDS  # the others do not wait for this one
            try:
                reply = await call()
            except Unavailable as error:
                self._retry_at = monotonic() + RETRY_SECONDS
                if not self._away:
                    self._away = True
                    log.warning("this process counts requests for itself now", why=error.message)
                return None
        if self._away:
            self._away = False
            log.warning("requests are counted together with other processes again")
        return reply

    def _rests(self) -> bool:
        return self._away and monotonic() < self._retry_at

    async def _enter_shared(self, stream: str, places: Sequence[Place]) -> list[Place]:
        full = await self._shared.enter(stream, places)
        return [] if full is None else [full]

    async def _leave_shared(self, stream: str, places: Sequence[Place]) -> bool:
        await self._shared.leave(stream, places)
        return True

    async def _renew_shared(self, streams: Mapping[str, Sequence[Place]]) -> bool:
        await self._shared.renew(streams)
        return True

    async def _renew(self) -> None:
        while self._streams:
            await asyncio.sleep(self._renew_seconds)
            streams = dict(self._streams)
            await self._ask(lambda streams=streams: self._renew_shared(streams))
