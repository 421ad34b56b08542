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


class RememberedSearches(Generic[ResultT]):
    """The ``most`` last results, each for ten minutes."""

    def __init__(self, most: int, seconds: float = KEPT_SECONDS) -> None:
        self._most = most
        self._seconds = seconds
        self._known: OrderedDict[tuple[Place, Hashable], ResultT] = OrderedDict()
        self._places: dict[Place, int] = {}

    def knows(self, place: Place) -> bool:
        """Say whether this was searched lately, by whomever and in whatever state."""
        return place in self._places

    def find(self, place: Place, state: Hashable) -> ResultT | None:
        """Return what was found in this state."""
        found = self._known.get((place, state))
        if found is not None:
            self._known.move_to_end((place, state))
        return found

    def keep(self, place: Place, state: Hashable, result: ResultT) -> None:
        """Keep what was found; ``state`` was read before it was looked for."""
        if (place, state) in self._known:
            return
        self._known[place, state] = result
        self._places[place] = self._places.get(place, 0) + 1
        loop = asyncio.get_running_loop()
        loop.call_later(self._seconds, self._drop, (place, state), result)
        while len(self._known) > self._most:
            self._forget(next(iter(self._known)))

    def _drop(self, key: tuple[Place, Hashable], result: ResultT) -> None:
        if self._known.get(key) is result:
            self._forget(key)

    def _forget(self, key: tuple[Place, Hashable]) -> None:
        del self._known[key]
        place = key[0]
        self._places[place] -= 1
        if not self._places[place]:
            del self._places[place]
