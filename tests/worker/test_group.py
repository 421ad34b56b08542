"""What comes while a group is at work makes up the next one; a bad item spoils only itself."""

import asyncio
from collections.abc import Sequence

import pytest

from citewell.worker.group import Grouped


class Work:
    """Doubles numbers in groups; refuses 13."""

    def __init__(self) -> None:
        self.groups: list[list[int]] = []

    async def __call__(self, items: Sequence[int]) -> list[int]:
        self.groups.append(list(items))
        await asyncio.sleep(0.01)
        if 13 in items:
            raise ValueError("thirteen")
        return [2 * item for item in items]


async def test_waiting_items_go_together() -> None:
    work = Work()
    grouped = Grouped(work, most=8)
    answers = await asyncio.gather(*(grouped.submit(n) for n in range(20, 40)))
    assert answers == [2 * n for n in range(20, 40)]
    assert [len(group) for group in work.groups] == [8, 8, 4]
    assert await grouped.submit(5) == 10


async def test_a_bad_item_spoils_only_itself() -> None:
    grouped = Grouped(Work(), most=8)
    results = await asyncio.gather(*(grouped.submit(n) for n in (1, 13, 3)), return_exceptions=True)
    assert results[0] == 2
    assert isinstance(results[1], ValueError)
    assert results[2] == 6
    with pytest.raises(ValueError, match="thirteen"):
        await grouped.submit(13)
    assert await grouped.submit(2) == 4


async def test_an_item_whose_submitter_left_is_not_worked_on() -> None:
    work = Work()
    grouped = Grouped(work, most=1)
    first = asyncio.create_task(grouped.submit(1))
    left = asyncio.create_task(grouped.submit(2))
    await asyncio.sleep(0)
    left.cancel()
    assert await first == 2
    assert await grouped.submit(3) == 6
    assert work.groups == [[1], [3]]


async def test_work_that_is_cancelled_leaves_nobody_waiting() -> None:
    begun = asyncio.Event()

    async def work(items: Sequence[int]) -> list[int]:
        begun.set()
        if 1 in items:
            await asyncio.sleep(60)
        return list(items)

    grouped = Grouped(work, most=1)
    submitted = [asyncio.create_task(grouped.submit(n)) for n in (1, 2)]
    await begun.wait()
    assert grouped._running is not None
    grouped._running.cancel()
    async with asyncio.timeout(5):
        ended = await asyncio.gather(*submitted, return_exceptions=True)
    assert [type(end) for end in ended] == [asyncio.CancelledError] * 2
    assert await grouped.submit(3) == 3


async def test_answers_that_are_too_few_leave_nobody_waiting() -> None:
    async def work(items: Sequence[int]) -> list[int]:
        return [*items][1:]

    grouped = Grouped(work, most=8)
    async with asyncio.timeout(5):
        ended = await asyncio.gather(*(grouped.submit(n) for n in (1, 2)), return_exceptions=True)
    assert all(isinstance(end, ValueError) for end in ended)
