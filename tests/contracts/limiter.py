"""What every limiter does, whoever keeps its counters."""

import asyncio
from time import time
from uuid import uuid4

import pytest

from citewell.ports import Limiter, Place, Window


def window(most: int, name: str = "requests", bucket: str | None = None) -> Window:
    return Window(name, bucket or uuid4().hex, most)


async def well_inside_a_minute() -> None:
    """Counters in memory go by the clock's minutes; a test does not begin at the end of one."""
    left = 60 - time() % 60
    if left < 2:
        await asyncio.sleep(left + 0.1)


class LimiterContract:
    @pytest.fixture(autouse=True)
    async def _inside_a_minute(self) -> None:
        await well_inside_a_minute()

    @pytest.fixture
    def limiter(self) -> Limiter:
        raise NotImplementedError

    async def test_exactly_so_many_are_let_in_however_many_come_at_once(
        self, limiter: Limiter
    ) -> None:
        one = window(20)
        rooms = [room for (room,) in await asyncio.gather(*(limiter.hit([one]) for _ in range(50)))]
        assert sum(room.wait_seconds == 0 for room in rooms) == 20
        refused = [room for room in rooms if room.wait_seconds]
        assert all(room.left == 0 and 0 < room.wait_seconds <= 120 for room in refused)
        assert all(0 < room.reset_seconds <= 60 for room in rooms)

    async def test_what_is_left_counts_down(self, limiter: Limiter) -> None:
        one = window(3)
        left = [(await limiter.hit([one]))[0].left for _ in range(3)]
        assert left == [2, 1, 0]
        (room,) = await limiter.hit([one])
        assert room.wait_seconds > 0

    async def test_a_full_window_counts_in_no_other_one(self, limiter: Limiter) -> None:
        wide, narrow = window(10), window(2, "questions")
        for _ in range(5):
            rooms = await limiter.hit([wide, narrow])
        assert rooms[1].wait_seconds > 0
        assert rooms[0].wait_seconds == 0
        assert (await limiter.hit([wide]))[0].left == 7

    async def test_callers_have_counters_of_their_own(self, limiter: Limiter) -> None:
        one, two = window(1), window(1)
        await limiter.hit([one])
        assert (await limiter.hit([two]))[0].wait_seconds == 0
        assert (await limiter.hit([one]))[0].wait_seconds > 0

    async def test_streams_are_counted_at_every_place_or_at_none(self, limiter: Limiter) -> None:
        key, other = (Place("key", uuid4().hex, 2) for _ in range(2))
        workspace = Place("workspace", uuid4().hex, 3)
        assert await limiter.enter("1", [key, workspace]) is None
        assert await limiter.enter("2", [key, workspace]) is None
        assert await limiter.enter("3", [key, workspace]) == key
        assert await limiter.enter("4", [other, workspace]) is None
        assert await limiter.enter("5", [other, workspace]) == workspace
        await limiter.leave("1", [key, workspace])
        assert await limiter.enter("5", [other, workspace]) is None
        for stream, place in (("2", key), ("4", other), ("5", other)):
            await limiter.leave(stream, [place, workspace])
            await limiter.leave(stream, [place, workspace])
        assert await limiter.enter("6", [key, workspace]) is None

    async def test_renewed_streams_count_also_where_they_were_lost(self, limiter: Limiter) -> None:
        place = Place("key", uuid4().hex, 1)
        await limiter.renew({"1": [place]})
        assert await limiter.enter("2", [place]) == place
