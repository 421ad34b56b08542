"""Keep the results of the searches that were made last, for as long as nothing changed.

A result is found again by all that it depends on: the search, who may see what, and the state of
what was searched, which is read anew from the database each time. So a change is seen at once, in
whatever process it was made; what is saved is the legs, the fusion and the loading.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

from citewell.domain import WorkspaceId

ResultT = TypeVar("ResultT")

KEPT_SECONDS = 600.0
"""So long a result stays in memory at most, whether it could still be found or not."""

Place = tuple[WorkspaceId, str]
"""A search in a workspace, written out."""


USUAL_CHUNKS = 10
"""A larger result takes the room of several; one of nothing takes room as well."""


class RememberedSearches(Generic[ResultT]):
    """The last results, as many as have room for ``most`` of ten chunks; each for ten minutes."""

    def __init__(self, most: int, seconds: float = KEPT_SECONDS) -> None:
        self._room = most * USUAL_CHUNKS
        self._seconds = seconds
        self._known: OrderedDict[tuple[Place, Hashable], tuple[ResultT, int]] = OrderedDict()
        self._places: dict[Place, int] = {}

    def knows(self, place: Place) -> bool:
        """Say whether this was searched lately, by whomever and in whatever state."""
        return place in self._places

    def find(self, place: Place, state: Hashable) -> ResultT | None:
        """Return what was found in this state."""
        found = self._known.get((place, state))
        if found is None:
            return None
        self._known.move_to_end((place, state))
        return found[0]

    def keep(self, place: Place, state: Hashable, result: ResultT, chunks: int) -> None:
        """Keep what was found, of so many chunks; ``state`` was read before it was looked for."""
        if (place, state) in self._known:
            return
        kept = self._known[place, state] = result, max(chunks, USUAL_CHUNKS)
        self._room -= kept[1]
        self._places[place] = self._places.get(place, 0) + 1
        loop = asyncio.get_running_loop()
        loop.call_later(self._seconds, self._drop, (place, state), kept)
        while self._room < 0:
            self._forget(next(iter(self._known)))

    def _drop(self, key: tuple[Place, Hashable], kept: tuple[ResultT, int]) -> None:
        if self._known.get(key) is kept:
            self._forget(key)

    def _forget(self, key: tuple[Place, Hashable]) -> None:
        self._room += self._known.pop(key)[1]
        place = key[0]
        self._places[place] -= 1
        if not self._places[place]:
            del self._places[place]
