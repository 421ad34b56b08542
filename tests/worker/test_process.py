"""A worker process ends only when it does nothing, and nobody waits for one that ended."""

import asyncio
import os
import threading
from concurrent.futures import CancelledError
from contextlib import suppress
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest

from citewell.domain import JobId
from citewell.settings import Settings
from citewell.worker.process import Worker
from records.rows import A


class Waiting:
    """A broker in which one message waits."""

    async def count_waiting(self, _: Any) -> int:
        return 1


async def test_a_process_with_a_message_in_hand_is_not_deaf() -> None:
    claiming, may_go_on = asyncio.Event(), asyncio.Event()

    async def claim(_: Any) -> None:
        claiming.set()
        await may_go_on.wait()

    worker, queue = Worker(Settings(), ["document"]), Waiting()
    workshop: Any = SimpleNamespace(holder=SimpleNamespace(claim=claim))
    worker._opened.set_result(workshop)
    doing = asyncio.create_task(worker._do_all("ingest", A, [JobId(uuid4())]))
    await claiming.wait()
    told = worker._told
    assert not await worker._is_deaf(told, queue)  # pyright: ignore
    may_go_on.set()
    await doing
    assert await worker._is_deaf(told, queue)  # pyright: ignore
    worker._loop.close()


def test_nobody_waits_for_an_event_loop_that_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    signals: list[int] = []
    worker = Worker(Settings(), ["document"])

    async def claim(_: Any) -> None:
        worker._closing.set()
        await asyncio.sleep(60)

    async def serve() -> None:
        workshop: Any = SimpleNamespace(holder=SimpleNamespace(claim=claim))
        worker._opened.set_result(workshop)
        await worker._closing.wait()
        raise RuntimeError("the services are gone")

    monkeypatch.setattr(worker, "_serve", serve)
    monkeypatch.setattr(os, "kill", lambda _, number: signals.append(number))
    worker.start()

    def do() -> None:
        with suppress(CancelledError):
            worker.do("ingest", A, [JobId(uuid4())])

    thread = threading.Thread(target=do, daemon=True)
    thread.start()
    thread.join(timeout=5)
    assert not thread.is_alive()
    assert signals
