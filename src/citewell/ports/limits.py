"""Counting what callers may do: requests a minute, and streams at once."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

PERIOD_SECONDS = 60
LEASE_SECONDS = 30.0
"""A stream that nobody renews counts no more after this: its process was killed."""


@dataclass(frozen=True, slots=True)
class Window:
    """So many times a minute, for one caller; ``name`` is what is counted."""

    name: str
    bucket: str
    most: int


@dataclass(frozen=True, slots=True)
class Room:
    """What a window has left, and in how many seconds its minute ends.

    ``wait_seconds`` is 0 while there is room.
    """

    window: Window
    left: int
    reset_seconds: float
    wait_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Place:
    """So many streams at once, for a key or a workspace."""

    name: str
    bucket: str
    most: int


class Limiter(Protocol):
    """Counters that every API process shares, or that one process has for itself."""

    async def hit(self, windows: Sequence[Window]) -> list[Room]:
        """Count once in every window, or in none when one of them is full; return their state.

        Holds:   a window slides: what was counted in the minute before counts on by its share.
        Raises:  Unavailable – the counters cannot be reached.
        """
        ...

    async def enter(self, stream: str, places: Sequence[Place]) -> Place | None:
        """Count a stream at every place, or at none; return the place that is full.

        Raises:  Unavailable – the counters cannot be reached.
        """
        ...

    async def leave(self, stream: str, places: Sequence[Place]) -> None:
        """Count a stream no more.

        Raises:  Unavailable – the counters cannot be reached.
        """
        ...

    async def renew(self, streams: Mapping[str, Sequence[Place]]) -> None:
        """Say that these streams live; one that is not renewed leaves by itself.

        Raises:  Unavailable – the counters cannot be reached.
        """
        ...

    async def close(self) -> None:
        """Close every connection."""
        ...
