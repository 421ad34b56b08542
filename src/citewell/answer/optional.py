"""Run a stage that the answer can do without: inside the budget, and its failure is only said."""

import asyncio
from collections.abc import Awaitable, Callable
from time import perf_counter
from typing import TypeVar

from citewell.answer.path import QuestionPath
from citewell.domain import Usage
from citewell.errors import ProviderError

ResultT = TypeVar("ResultT")


async def attempt(
    path: QuestionPath,
    stage: str,
    work: Callable[[float], Awaitable[tuple[ResultT, Usage]]],
) -> ResultT | None:
    """Return what the stage made; None when it did not fit, failed, or took too long.

    ``work`` is given the seconds that it may take, and is cancelled after them.
    Holds:   why it was left out stands in the budget's ``skipped``; what it spent is booked.
    """
    if not path.budget.allows(stage):
        return None
    started = perf_counter()
    seconds = path.budget.share_seconds(stage)
    scope = asyncio.timeout(seconds)
    try:
        async with scope:
            result, usage = await work(seconds)
    except (ProviderError, TimeoutError) as error:
        if isinstance(error, TimeoutError) and not scope.expired():
            raise
        path.fail(stage, started)
        return None
    path.spend(stage, started, usage)
    return result
