"""PostgreSQL and Valkey stand still (SIGSTOP) under a whole Citewell, and go on."""

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from e2e.processes import PLAIN, QUICK_JOBS, Program, Running, wait_until

pytestmark = pytest.mark.timeout(240)
REPLY_SECONDS = 5.0
HEALED_SECONDS = 10.0


@pytest.fixture(scope="module")
def running(data: Path) -> Iterator[Running]:
    with Program(data, **QUICK_JOBS).up() as up:
        yield up


@contextmanager
def stopped(running: Running, name: str) -> Iterator[None]:
    """Have every process of this server stand still."""
    found: list[psutil.Process] = []
    for process in running.family():
        with suppress(psutil.Error):
            if process.name().startswith(name):
                process.suspend()
                found.append(process)
    assert found
    try:
        yield
    finally:
        for process in found:
            process.resume()


def _timed(call: Any, *arguments: Any, **options: Any) -> httpx.Response:
    started = time.monotonic()
    reply = call(*arguments, timeout=30, **PLAIN, **options)
    assert time.monotonic() - started < REPLY_SECONDS
    return reply


def _upload(running: Running, name: str) -> httpx.Response:
    files = [("files", (name, f"The clock of {name} shows the time.".encode()))]
    return _timed(httpx.post, running.url + "/documents/upload", files=files)


def _is_ready(running: Running) -> bool:
    return running.get("/ready").status_code == 200


def test_a_stopped_postgresql(running: Running) -> None:
    assert _upload(running, "before.txt").status_code == 202
    with stopped(running, "postgres"):
        for reply in (
            _timed(httpx.get, running.url + "/documents"),
            _timed(httpx.post, running.url + "/query", json={"question": "What is shown?"}),
            _upload(running, "lost.txt"),
            _timed(httpx.get, running.url + "/ready"),
        ):
            assert reply.status_code == 503
            assert reply.headers["content-type"] == "application/problem+json"
            assert reply.headers["retry-after"]
    wait_until(lambda: _is_ready(running), HEALED_SECONDS)
    assert _upload(running, "after.txt").status_code == 202
    running.wait_done(2, 30)
    assert running.ask("What does the clock of after.txt show?")["sources"]


def test_a_stopped_valkey(running: Running) -> None:
    with stopped(running, "valkey"):
        assert _upload(running, "meanwhile.txt").status_code == 202
        ready = _timed(httpx.get, running.url + "/ready")
        assert ready.status_code == 503
        assert ready.json()["checks"]["database"] == "ok"
        assert ready.json()["checks"]["broker"] != "ok"
        time.sleep(4)  # longer than the worker waits for its broker
    wait_until(lambda: _is_ready(running), HEALED_SECONDS)
    running.wait_done(3, 20)
    checked = running.program.run("verify")
    assert checked.returncode == 0, checked.stdout
