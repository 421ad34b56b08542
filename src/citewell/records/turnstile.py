"""Wait for one of a few places: in order, and for as long as those before move on."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

STEPS = 4
"""Parts of the time in which nobody may move on, each looked at by itself."""


class Turnstile:
    """So many places; a crowd that is served waits, one that stands still is told so.

    Units:   ``still_seconds`` since a place was last given back; ``most_seconds`` of one's own.
    Holds:   a part of that time in which the event loop was held up counts once, however long.
    """

    def __init__(self, places: int, still_seconds: float, most_seconds: float) -> None:
        self._places = asyncio.Semaphore(places)
        self._still_seconds = still_seconds
        self._most_seconds = most_seconds
        self._moves = 0

    @asynccontextmanager
    async def place(self) -> AsyncGenerator[None]:
        """Have a place inside the block.

        Raises:  TimeoutError – nobody moved on for too long, or the wait was too long in all.
        """
        if self._places.locked():
            await self._wait()
        else:
            await self._places.acquire()
        try:
            yield
        finally:
            self._moves += 1
            self._places.release()

    async def _wait(self) -> None:
        """Wait in one's place of the queue; whoever stops waiting takes none."""
        step = self._still_seconds / STEPS
        waited, still, moves = 0, 0, self._moves
        taking = asyncio.ensure_future(self._places.acquire())
        try:
            while not taking.done():
                if still == STEPS or waited * step >= self._most_seconds:
                    raise TimeoutError  # noqa: TRY301 - the queue is left below
                await asyncio.wait({taking}, timeout=min(step, self._most_seconds))
                still = 0 if moves != self._moves else still + 1
                waited, moves = waited + 1, self._moves
        except BaseException:
            if not taking.cancel() and not taking.cancelled():  # it came in the same moment
                self._places.release()
            raise
