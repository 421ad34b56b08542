"""Wait for one of a few places: in order, and for as long as those before move on."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass

STEPS = 8
"""Parts of the time in which nobody may move on, each looked at by itself."""


@dataclass(frozen=True, slots=True, eq=False)
class _Waiting:
    """Somebody's turn, which comes or fails, and the look from which the wait is counted."""

    turn: asyncio.Future[None]
    since: int


class Turnstile:
    """So many places; a crowd that is served waits, one that stands still is told so.

    Units:   ``still_seconds`` since a place was last given back; ``most_seconds`` of one's own.
    Holds:   a part of that time in which the event loop was held up counts once, however long.
    Cost:    one timer for all who wait.
    """

    def __init__(self, places: int, still_seconds: float, most_seconds: float) -> None:
        self._free = places
        self._queue: deque[_Waiting] = deque()
        self._step = min(still_seconds / STEPS, most_seconds)
        self._most_looks = most_seconds / self._step
        self._looks = self._moved_at = 0
        self._moved = False
        self._timer: asyncio.TimerHandle | None = None

    @asynccontextmanager
    async def place(self) -> AsyncGenerator[None]:
        """Have a place inside the block.

        Raises:  TimeoutError – nobody moved on for too long, or the wait was too long in all.
        """
        if self._free:
            self._free -= 1
        else:
            await self._wait()
        try:
            yield
        finally:
            self._moved = True
            self._give_on()

    async def _wait(self) -> None:
        """Wait in one's place of the queue; whoever stops waiting takes none."""
        loop = asyncio.get_running_loop()
        waiting = _Waiting(loop.create_future(), self._looks)
        self._queue.append(waiting)
        if self._timer is None:
            self._moved = False
            self._timer = loop.call_later(self._step, self._look)
        try:
            await waiting.turn
        except BaseException:
            waiting.turn.cancel()
            if waiting in self._queue:
                self._queue.remove(waiting)
            if not waiting.turn.cancelled() and waiting.turn.exception() is None:
                self._give_on()  # it came in the same moment
            raise
        finally:
            self._rest()

    def _give_on(self) -> None:
        while self._queue:
            turn = self._queue.popleft().turn
            if not turn.done():
                turn.set_result(None)
                return
        self._free += 1

    def _rest(self) -> None:
        """Look no more when nobody waits."""
        if self._timer is not None and not self._queue:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        """Send those away who stood still or waited for too long; look again while anyone waits."""
        self._looks += 1
        if self._moved:
            self._moved, self._moved_at = False, self._looks
        for each in self._queue:
            still = self._looks - max(each.since, self._moved_at)
            waited = self._looks - each.since
            if not each.turn.done() and (still >= STEPS or waited >= self._most_looks):
                each.turn.set_exception(TimeoutError())
        self._queue = deque(each for each in self._queue if not each.turn.done())
        self._timer = None
        if self._queue:
            self._timer = asyncio.get_running_loop().call_later(self._step, self._look)
