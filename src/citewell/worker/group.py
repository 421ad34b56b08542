"""Do many small things in one go: what comes while a transaction runs shares the next one."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

T = TypeVar("T")
R = TypeVar("R")


class Grouped(Generic[T, R]):
    """Collects items and gives them to ``work`` together; a single item never waits for others.

    Holds:   one call of ``work`` at a time. When a group fails, its items are tried one by one, so
             that one bad item does not spoil the others. When the work is cancelled, so is all that
             waits for it.
    """

    def __init__(self, work: Callable[[Sequence[T]], Awaitable[Sequence[R]]], most: int) -> None:
        self._work = work
        self._most = most
        self._waiting: list[tuple[T, asyncio.Future[R]]] = []
        self._running: asyncio.Task[None] | None = None

    async def submit(self, item: T) -> R:
        """Return what ``work`` returned for this item, or raise what it raised."""
        future: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, future))
        if self._running is None:
            self._running = asyncio.create_task(self._run())
        return await future

    async def _run(self) -> None:
        group: list[tuple[T, asyncio.Future[R]]] = []
        try:
            while self._waiting:
                group, self._waiting = self._waiting[: self._most], self._waiting[self._most :]
                if not await self._settle(group, last=len(group) == 1):
                    for single in group:
                        await self._settle([single], last=True)
        finally:
            self._running = None
            for _, future in (*group, *self._waiting):
                future.cancel()
            self._waiting = []

    async def _settle(self, group: list[tuple[T, asyncio.Future[R]]], *, last: bool) -> bool:
        """Work on the items whose submitters still wait; return whether they have their answers."""
        wanted = [(item, future) for item, future in group if not future.done()]
        if not wanted:
            return True
        try:
            results = await self._work([item for item, _ in wanted])
            answers = list(zip(wanted, results, strict=True))
        except Exception as error:  # noqa: BLE001 - a door: it is raised again where the item came from
            if not last:
                return False
            for _, future in wanted:
                if not future.done():
                    future.set_exception(error)
            return True
        for (_, future), result in answers:
            if not future.done():
                future.set_result(result)
        return True
