"""Measure what keys and limits add to a request, against the same route without either.

    .venv/bin/python -m bench.access --requests 3000

Starts its own PostgreSQL and Valkey, and one API process for each case: without gate and limits,
with keys only, with keys and limits. The cases take turns, request by request, over connections
that stay open, so that whatever else the machine does hits all of them. Prints a Markdown table.
"""

import argparse
import asyncio
import multiprocessing
import socket
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import uvicorn
import uvloop
from pydantic import SecretStr
from starlette.types import ASGIApp, Receive, Scope, Send

from bench.scifact import percentile
from citewell import embedded
from citewell.api.access_gate import AccessGate
from citewell.api.app import create_app
from citewell.api.gate import Caller
from citewell.api.limits import FailureLimit, RequestLimit
from citewell.domain import LOCAL_PRINCIPAL, PUBLIC_WORKSPACE
from citewell.records.schema import migrate
from citewell.records.session import Database
from citewell.settings import AuthSettings, LimitSettings, Settings
from citewell.telemetry import configure_logging

LOCAL_KEY = "the key of this measurement"
ROUTES = ("/me", "/collections")
WARM = 200
WANTED_MS = 1.5
OFF = LimitSettings(
    requests_per_minute=0,
    questions_per_minute=0,
    failures_per_minute=0,
    streams_per_key=0,
    streams_per_workspace=0,
)
ON = LimitSettings(requests_per_minute=1_000_000, questions_per_minute=1_000_000)
CASES = ("without", "keys", "keys and limits")


class LetIn:
    """Stands in the gate's place and asks nothing."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request as this machine's own."""
        if scope["type"] == "http":
            caller = Caller(LOCAL_PRINCIPAL, PUBLIC_WORKSPACE, "owner")
            scope.setdefault("state", {})["caller"] = caller
        await self._app(scope, receive, send)


def serve(settings: Settings, case: str, port: int) -> None:
    """Serve one case, until the process is ended."""
    configure_logging("error", "plain")
    limits = ON if case == "keys and limits" else OFF
    app = create_app(settings.model_copy(update={"limits": limits}))
    if case == "without":
        app.user_middleware = [
            each
            for each in app.user_middleware
            if each.cls not in {AccessGate, FailureLimit, RequestLimit}
        ]
        app.add_middleware(LetIn)
    uvicorn.run(app, port=port, log_config=None, access_log=False, loop="uvloop")


@contextmanager
def serving(settings: Settings, case: str) -> Iterator[int]:
    """Run one case in a process of its own; yield its port."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    context = multiprocessing.get_context("spawn")
    process = context.Process(target=serve, args=(settings, case, port), daemon=True)
    process.start()
    try:
        for _ in range(300):
            try:
                httpx.get(f"http://127.0.0.1:{port}/health")
                break
            except httpx.TransportError:
                time.sleep(0.1)
        yield port
    finally:
        process.terminate()
        process.join(10)


class Line:
    """One open connection that sends the same request again and again."""

    def __init__(self, path: str, port: int, key: str) -> None:
        self._port = port
        self._request = (
            f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nX-API-Key: {key}\r\n\r\n"
        ).encode()
        self.milliseconds: list[float] = []

    async def open(self) -> None:
        """Connect."""
        self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port)

    async def call(self) -> None:
        """Send one request, and take the time until the whole reply is there."""
        started = time.perf_counter()
        self._writer.write(self._request)
        head = await self._reader.readuntil(b"\r\n\r\n")
        length = head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0]
        await self._reader.readexactly(int(length))
        self.milliseconds.append((time.perf_counter() - started) * 1000)
        if b" 200 " not in head[:16]:
            raise SystemExit(f"The reply was {head[:60]!r}; nothing is measured.")


async def measure(ports: dict[str, int], key: str, path: str, requests: int) -> dict[str, Line]:
    """Time a route in each case, in turns."""
    lines = {case: Line(path, port, key) for case, port in ports.items()}
    for line in lines.values():
        await line.open()
    for number in range(WARM + requests):
        for line in lines.values():
            await line.call()
            if number == WARM - 1:
                line.milliseconds.clear()
    return lines


def make_key(port: int) -> str:
    """Make a viewer's key."""
    headers = {"X-API-Key": LOCAL_KEY}
    reply = httpx.post(f"http://127.0.0.1:{port}/keys", json={"name": "bench"}, headers=headers)
    reply.raise_for_status()
    return reply.json()["key"]


async def prepare(settings: Settings) -> None:
    """Make the tables."""
    assert settings.database_url is not None
    database = Database(settings.database_url.get_secret_value(), 2)
    await migrate(database.engine)
    await database.close()


def run(requests: int, data: Path) -> None:
    """Measure, and print the table."""
    auth = AuthSettings(
        mode="required",
        pepper=SecretStr("a pepper for this measurement, long enough"),
        local_key=SecretStr(LOCAL_KEY),
    )
    with embedded.start(Settings(data=data)) as started, ExitStack() as stack:
        settings = started.model_copy(update={"auth": auth})
        uvloop.run(prepare(settings))
        ports = {case: stack.enter_context(serving(settings, case)) for case in CASES}
        key = make_key(ports["keys"])
        print("| route | case | p50 ms | p95 ms | added p50 ms | ratio p50 |")
        print("|---|---|---|---|---|---|")
        for path in ROUTES:
            lines = uvloop.run(measure(ports, key, path, requests))
            bare = statistics.median(lines["without"].milliseconds)
            for case, line in lines.items():
                p50 = statistics.median(line.milliseconds)
                p95 = percentile(line.milliseconds, 0.95)
                print(
                    f"| `GET {path}` | {case} | {p50:.2f} | {p95:.2f} | {p50 - bare:+.2f} "
                    f"| {p50 / bare:.2f} |"
                )
            added = statistics.median(lines[CASES[-1]].milliseconds) - bare
            verdict = "under" if added < WANTED_MS else "NOT under"
            print(f"`GET {path}`: keys and limits add {added:.2f} ms, {verdict} {WANTED_MS} ms.")


def main() -> None:
    """Read the command line and measure."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--requests", type=int, default=3000, help="for each route and case")
    given: Any = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o711)
        try:
            run(given.requests, Path(folder) / "data")
        finally:
            embedded.remove_data(Path(folder) / "data")


if __name__ == "__main__":
    main()
