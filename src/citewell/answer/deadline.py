"""End what takes longer than a question may: a partner that hangs is cancelled, not waited for."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from citewell.answer.budget import Budget
from citewell.errors import ProviderTimeout


@asynccontextmanager
async def in_time(budget: Budget) -> AsyncGenerator[None]:
    """Run the body until the question's deadline.

    Holds:   the body must not yield to a generator's reader, whose time is not ours.
    Raises:  ProviderTimeout – the time is over; the body was cancelled.
    """
    scope = asyncio.timeout(budget.seconds_left)
    try:
        async with scope:
            yield
    except TimeoutError as error:
        if not scope.expired():
            raise
        raise ProviderTimeout(
            f"The answer was not ready in {budget.allowance.seconds:g} seconds. Ask again, or "
            "allow more time: with the budget's seconds, where the question has one, and with "
            "CITEWELL_ANSWER__DEADLINE_SECONDS."
        ) from error
