"""Keep the results of the searches that were made last, for as long as nothing changed.

A result is found again by all that it depends on: the search, who may see what, and the state of
what was searched, which is read anew from the database each time. So a change is seen at once, in
whatever process it was made; what is saved is the legs, the fusion and the loading.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass
from hashlib import blake2b
from secrets import token_bytes
from typing import Generic, TypeVar

from citewell.domain import WorkspaceId

ResultT = TypeVar("ResultT")

KEPT_SECONDS = 600.0
"""So long a result stays in memory at most, whether it could still be found or not."""
USUAL_BYTES = 24_000
"""What a result of ten chunks takes; a larger one takes the room of several."""

Place = tuple[WorkspaceId, str]
"""A search in a workspace, written out."""
_Key = tuple[bytes, Hashable]


@dataclass(frozen=True, slots=True)
class _Kept(Generic[ResultT]):
    result: ResultT
    size: int
    timer: asyncio.TimerHandle


class RememberedSearches(Generic[ResultT]):
    """The last results, as many as have room for ``most`` usual ones; each for ten minutes.

    Holds:   of a search only a digest, keyed by a secret of this process.
    """

    def __init__(self, most: int, seconds: float = KEPT_SECONDS) -> None:
        self._most = self._room = most * USUAL_BYTES
        self._seconds = seconds
        self._secret = token_bytes(32)
        self._known: OrderedDict[_Key, _Kept[ResultT]] = OrderedDict()
        self._places: dict[bytes, int] = {}

    def knows(self, place: Place) -> bool:
        """Say whether this was searched lately, by whomever and in whatever state."""
        return self._digest(place) in self._places

    def find(self, place: Place, state: Hashable) -> ResultT | None:
        """Return what was found in this state."""
        key = self._digest(place), state
        kept = self._known.get(key)
        if kept is None:
            return None
        self._known.move_to_end(key)
        return kept.result

    def keep(self, place: Place, state: Hashable, result: ResultT, size: int) -> None:
        """Keep what was found, of about so many bytes; ``state`` was read before it was looked for.

        What takes a tenth of all room is not kept.
        """
        key = self._digest(place), state
        size = max(size, USUAL_BYTES)
        if key in self._known or 10 * size > self._most:
            return
        timer = asyncio.get_running_loop().call_later(self._seconds, self._forget, key)
        self._known[key] = _Kept(result, size, timer)
        self._room -= size
        self._places[key[0]] = self._places.get(key[0], 0) + 1
        while self._room < 0:
            self._forget(next(iter(self._known)))

    def _forget(self, key: _Key) -> None:
        kept = self._known.pop(key)
        kept.timer.cancel()
        self._room += kept.size
        self._places[key[0]] -= 1
        if not self._places[key[0]]:
            del self._places[key[0]]

    def _digest(self, place: Place) -> bytes:
        written = f"{place[0]} {place[1]}".encode(errors="surrogatepass")
        return blake2b(written, key=self._secret, digest_size=16).digest()
