"""What a process remembers of its look-ups, for a moment."""

import time
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")

MOST_KNOWN = 10_000
"""Entries of one memory; a crowd of others begins it anew."""


class Memory(Generic[Key, Value]):
    """Keeps each value that was looked up for so many seconds, also that there is none."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._known: dict[Key, tuple[float, Value]] = {}
        self._times_forgotten = 0

    async def recall(self, key: Key, look_up: Callable[[], Awaitable[Value]]) -> Value:
        """Return what is known of a key, looked up where that is older."""
        known = self._known.get(key)
        if known is not None and known[0] > time.monotonic():
            return known[1]
        began = self._times_forgotten
        value = await look_up()
        if began == self._times_forgotten:  # else it may have been looked up before the change
            if len(self._known) >= MOST_KNOWN:
                self._known.clear()
            self._known[key] = time.monotonic() + self._seconds, value
        return value

    def forget(self) -> None:
        """Look everything up anew from now on."""
        self._times_forgotten += 1
        self._known.clear()
