"""What every queue must do; an adapter's tests subclass this."""

import asyncio
import time
from uuid import uuid4

import pytest

from citewell.domain import PUBLIC_WORKSPACE, JobId, WorkspaceId
from citewell.errors import Unavailable
from citewell.ports import Queue


def some_jobs(count: int) -> list[tuple[WorkspaceId, JobId]]:
    return [(PUBLIC_WORKSPACE, JobId(uuid4())) for _ in range(count)]


class QueueContract:
    """Subclass it with fixtures ``queue`` (empty) and ``absent`` (its broker is not there)."""

    async def test_sent_jobs_wait(self, queue: Queue) -> None:
        assert await queue.count_waiting() == 0
        for told in range(1, 4):
            await queue.send("ingest", some_jobs(1))
            assert await queue.count_waiting() == told

    async def test_sending_nothing_sends_nothing(self, queue: Queue) -> None:
        await queue.send("ingest", [])
        assert await queue.count_waiting() == 0

    async def test_sending_at_once_loses_nothing(self, queue: Queue) -> None:
        await asyncio.gather(*(queue.send("ingest", some_jobs(1)) for _ in range(80)))
        assert await queue.count_waiting() == 80

    async def test_an_absent_broker_is_unavailable_soon(self, absent: Queue) -> None:
        started = time.monotonic()
        with pytest.raises(Unavailable):
            await absent.send("ingest", some_jobs(2))
        with pytest.raises(Unavailable):
            await absent.count_waiting()
        assert time.monotonic() - started < 20
