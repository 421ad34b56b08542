"""Give work up when the client that waits for it is gone."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from fastapi import Request
from fastapi.responses import Response

ResultT = TypeVar("ResultT")
NOBODY_READS_THIS = 499


async def until_gone(request: Request, work: Coroutine[Any, Any, ResultT]) -> ResultT | None:
    """Return what the work returns; cancel it and return None when the client leaves before.

    Holds:   the work has ended when this returns, or raises.
    """
    working = asyncio.create_task(work)
    leaving = asyncio.create_task(_wait_gone(request))
    try:
        await asyncio.wait({working, leaving}, return_when=asyncio.FIRST_COMPLETED)
        return working.result() if working.done() else None
    finally:
        working.cancel()
        leaving.cancel()
        await asyncio.gather(working, leaving, return_exceptions=True)


def gone() -> Response:
    """Return what is left to send to a client that left: a status for the log."""
    return Response(status_code=NOBODY_READS_THIS)


async def _wait_gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
