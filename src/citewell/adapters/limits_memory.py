"""Counters of one process; they stand in while the broker is away."""

from collections import defaultdict
from collections.abc import Mapping, Sequence

from limits.aio.storage import MemoryStorage
from limits.aio.strategies import SlidingWindowCounterRateLimiter

from citewell.adapters.limits_window import identifiers_of, item_of, room_of
from citewell.ports import Place, Room, Window


class MemoryLimiter:
    """Windows by the library ``limits``; streams by their ids."""

    def __init__(self) -> None:
        self._storage = MemoryStorage()
        self._windows = SlidingWindowCounterRateLimiter(self._storage)
        self._streams: defaultdict[str, set[str]] = defaultdict(set)

    async def hit(self, windows: Sequence[Window]) -> list[Room]:
        """Count once in every window, or in none; return their state."""
        full = [
            window
            for window in windows
            if not await self._windows.test(item_of(window), *identifiers_of(window))
        ]
        if not full:
            full = [
                window
                for window in windows
                if not await self._windows.hit(item_of(window), *identifiers_of(window))
            ]
        return [await self._room(window, refused=window in full) for window in windows]

    async def enter(self, stream: str, places: Sequence[Place]) -> Place | None:
        """Count a stream at every place, or at none; return the place that is full."""
        for place in places:
            if len(self._streams.get(place.bucket, ())) >= place.most:
                return place
        for place in places:
            self._streams[place.bucket].add(stream)
        return None

    async def leave(self, stream: str, places: Sequence[Place]) -> None:
        """Count a stream no more."""
        for place in places:
            streams = self._streams[place.bucket]
            streams.discard(stream)
            if not streams:
                del self._streams[place.bucket]

    async def renew(self, streams: Mapping[str, Sequence[Place]]) -> None:
        """Count these streams, also those that were counted elsewhere before."""
        for stream, places in streams.items():
            for place in places:
                self._streams[place.bucket].add(stream)

    async def close(self) -> None:
        """Forget everything."""
        await self._storage.reset()

    async def _room(self, window: Window, *, refused: bool) -> Room:
        item = item_of(window)
        earlier, earlier_lives, count, lives = await self._storage.get_sliding_window(
            item.key_for(*identifiers_of(window)), item.get_expiry()
        )
        return room_of(window, (earlier, earlier_lives), (count, lives), refused=refused)
