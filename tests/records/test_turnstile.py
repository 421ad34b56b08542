"""Places are given in order; a crowd that moves waits, one that stands still is sent away."""

import asyncio
import time
from time import monotonic

import pytest

from citewell.records.turnstile import Turnstile


async def stay(turnstile: Turnstile, seconds: float, done: list[int], number: int) -> None:
    async with turnstile.place():
        await asyncio.sleep(seconds)
    done.append(number)


async def test_a_crowd_that_moves_waits_in_its_order() -> None:
    turnstile = Turnstile(2, still_seconds=0.2, most_seconds=10)
    done: list[int] = []
    started = monotonic()
    await asyncio.gather(*(stay(turnstile, 0.05, done, number) for number in range(20)))
    assert done == list(range(20))
    assert monotonic() - started > 0.4  # longer than a crowd that stands still would wait


async def test_who_stands_still_is_told_so_and_takes_no_place() -> None:
    turnstile = Turnstile(1, still_seconds=0.1, most_seconds=10)
    done: list[int] = []
    holding = asyncio.create_task(stay(turnstile, 0.3, done, 0))
    await asyncio.sleep(0.01)
    with pytest.raises(TimeoutError):
        await stay(turnstile, 0, done, 1)
    await holding
    await stay(turnstile, 0, done, 2)
    assert done == [0, 2]


async def test_the_wait_has_an_end_of_its_own() -> None:
    turnstile = Turnstile(1, still_seconds=0.4, most_seconds=0.1)
    done: list[int] = []
    holding = asyncio.create_task(stay(turnstile, 0.3, done, 0))
    await asyncio.sleep(0.01)
    started = monotonic()
    with pytest.raises(TimeoutError):
        await stay(turnstile, 0, done, 1)
    assert monotonic() - started < 0.25
    await holding
    assert done == [0]


async def test_time_in_which_the_loop_is_held_up_is_not_counted() -> None:
    turnstile = Turnstile(1, still_seconds=0.2, most_seconds=10)
    done: list[int] = []
    crowd = [asyncio.create_task(stay(turnstile, 0.01, done, number)) for number in range(5)]
    await asyncio.sleep(0)
    time.sleep(0.5)  # noqa: ASYNC251 - that is what is tried
    await asyncio.gather(*crowd)
    assert done == list(range(5))


@pytest.mark.parametrize("moment", [0.0, 0.05, 0.06])
async def test_who_stops_waiting_leaves_the_place_to_the_next(moment: float) -> None:
    turnstile = Turnstile(1, still_seconds=1, most_seconds=10)
    done: list[int] = []
    holding = asyncio.create_task(stay(turnstile, 0.05, done, 0))
    await asyncio.sleep(0)
    waiting = asyncio.create_task(stay(turnstile, 0, done, 1))
    await asyncio.sleep(moment)
    waiting.cancel()
    await asyncio.gather(holding, waiting, return_exceptions=True)
    async with asyncio.timeout(0.5):
        await stay(turnstile, 0, done, 2)
    assert done[0] == 0
    assert done[-1] == 2


async def test_everyone_who_stops_gives_all_places_back() -> None:
    turnstile = Turnstile(3, still_seconds=5, most_seconds=10)
    done: list[int] = []
    for round_number in range(20):
        crowd = [asyncio.create_task(stay(turnstile, 0.002, done, n)) for n in range(30)]
        await asyncio.sleep(0.0005 * round_number)
        for each in crowd[::2]:
            each.cancel()
        await asyncio.gather(*crowd, return_exceptions=True)
    async with asyncio.timeout(1), turnstile.place(), turnstile.place(), turnstile.place():
        pass


def test_another_event_loop_is_waited_in_as_well() -> None:
    turnstile = Turnstile(0, still_seconds=0.1, most_seconds=10)

    async def give_up_soon() -> None:
        waiting = asyncio.create_task(stay(turnstile, 0, [], 0))
        await asyncio.sleep(0.01)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)

    async def wait() -> None:
        async with asyncio.timeout(5):
            await stay(turnstile, 0, [], 1)

    asyncio.run(give_up_soon())
    started = monotonic()
    with pytest.raises(TimeoutError):
        asyncio.run(wait())
    assert monotonic() - started < 1
