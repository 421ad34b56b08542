"""All of Citewell in one command: embedded servers, schema, a supervised worker, the API."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import structlog
import uvicorn

from citewell import embedded
from citewell.errors import AccessError, Conflict, Unavailable
from citewell.records.jobs import forget_workers
from citewell.records.schema import migrate
from citewell.records.session import Database
from citewell.settings import Settings

log = structlog.get_logger(__name__)

WORKER_STOP_SECONDS = 2.5
"""A worker that still runs a job is killed then; its lease brings the job back later."""
FIRST_RESTART_SECONDS = 0.5
LONGEST_RESTART_SECONDS = 30.0
API_START_SECONDS = 30.0
API_STOP_SECONDS = 2
LOOPBACK = {"127.0.0.1", "::1", "localhost"}


@dataclass(frozen=True, slots=True)
class Stack:
    """A running Citewell: its settings with the servers' URLs, and its own address."""

    settings: Settings
    url: str


@contextmanager
def open_backend(settings: Settings) -> Generator[Settings]:
    """Start the servers and migrate; stop them at the end.

    Embedded servers have no workers but ours, so jobs that a crash left running wait for nobody.
    """
    with embedded.start(settings) as ready:
        asyncio.run(_prepare_database(ready, alone=settings.database_url is None))
        yield ready


async def _prepare_database(settings: Settings, *, alone: bool) -> None:
    await migrate_database(settings)
    if alone and settings.database_url is not None:
        database = Database(settings.database_url.get_secret_value(), 2)
        try:
            async with database.system_transaction() as connection:
                await forget_workers(connection)
        finally:
            await database.close()


@contextmanager
def open_stack(settings: Settings, *, worker: bool) -> Generator[Stack]:
    """Start a whole Citewell on a free port for the life of one command."""
    with ExitStack() as stack:
        ready = stack.enter_context(open_backend(settings))
        listener = bind("127.0.0.1", 0)
        server = make_server(ready)
        if worker:
            log_file = settings.data / "logs" / "worker.log"
            stack.enter_context(supervised_worker(ready, server, log_file))
        thread = threading.Thread(
            target=server.run, kwargs={"sockets": [listener]}, name="api", daemon=True
        )
        thread.start()
        try:
            _wait_started(server, thread)
            url = f"http://127.0.0.1:{listener.getsockname()[1]}"
            embedded.announce(settings.data, url)
            yield Stack(ready, url)
        finally:
            server.should_exit = True
            thread.join(timeout=API_STOP_SECONDS + 1)


def _wait_started(server: uvicorn.Server, thread: threading.Thread) -> None:
    deadline = time.monotonic() + API_START_SECONDS
    while not server.started:
        if not thread.is_alive() or time.monotonic() > deadline:
            raise Unavailable("The API did not start. Run `citewell doctor` to see why.")
        time.sleep(0.01)


async def migrate_database(settings: Settings) -> bool:
    """Bring the database to the newest schema; return whether anything was to do."""
    if settings.database_url is None:
        raise Unavailable("CITEWELL_DATABASE_URL is not set. Set it, or use `citewell up`.")
    database = Database(settings.database_url.get_secret_value(), 2)
    try:
        return await migrate(database.engine)
    finally:
        await database.close()


def require_loopback(host: str) -> None:
    """Refuse to listen where others could reach it, while there is no authentication.

    Raises:  AccessError – the address is not a loopback one.
    """
    if host not in LOOPBACK:
        raise AccessError(
            f"Citewell does not listen on {host}: it has no authentication yet, and everyone who "
            "reaches it could read your documents. Use 127.0.0.1, and a tunnel or a proxy that "
            "authenticates."
        )


def bind(host: str, port: int) -> socket.socket:
    """Open the API's listening socket.

    Raises:  Conflict – the port is taken.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise Conflict(
            f"Port {port} on {host} is taken. Stop what uses it, or choose another with --port."
        ) from error
    return listener


def make_server(settings: Settings) -> uvicorn.Server:
    """Make the HTTP server for the API; our middleware writes the access log."""
    from citewell.api.app import create_app  # noqa: PLC0415 - loading FastAPI overlaps the servers' start

    config = uvicorn.Config(
        create_app(settings),
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=API_STOP_SECONDS,
        lifespan="on",
    )
    return uvicorn.Server(config)


@contextmanager
def supervised_worker(
    settings: Settings, server: uvicorn.Server, log_file: Path | None = None
) -> Generator[None]:
    """Keep one worker process running: a new one follows whenever it ends by itself.

    The first one starts when the API has, so that the two do not compete for the processor.
    """
    supervisor = _Supervisor(settings, server, log_file)
    supervisor.start()
    try:
        yield
    finally:
        supervisor.stop()


class _Supervisor(threading.Thread):
    """Starts the worker, waits for its end, starts it again after a growing pause."""

    def __init__(self, settings: Settings, server: uvicorn.Server, log_file: Path | None) -> None:
        super().__init__(name="supervisor", daemon=True)
        self._environment = os.environ | worker_environment(settings)
        self._server = server
        self._log_file = log_file
        self._process: subprocess.Popen[bytes] | None = None
        self._stopping = threading.Event()
        self._read_end, self._write_end = os.pipe()

    def run(self) -> None:
        """Start the worker, and again whenever it ends, until told to stop."""
        while not self._server.started:
            if self._stopping.wait(0.02):
                return
        pause = FIRST_RESTART_SECONDS
        while True:
            started = time.monotonic()
            self._process = self._spawn()
            code = self._process.wait()
            if self._stopping.is_set():
                return
            if time.monotonic() - started > LONGEST_RESTART_SECONDS:
                pause = FIRST_RESTART_SECONDS
            log.warning("the worker ended and is started again", code=code, pause_seconds=pause)
            if self._stopping.wait(pause):
                return
            pause = min(pause * 2, LONGEST_RESTART_SECONDS)

    def stop(self) -> None:
        """End the worker: politely, then not."""
        self._stopping.set()
        os.close(self._write_end)
        self.join(timeout=WORKER_STOP_SECONDS)
        if self._process is not None and self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
        self.join()
        os.close(self._read_end)

    def _spawn(self) -> subprocess.Popen[bytes]:
        command = [
            sys.executable,
            "-m",
            "citewell",
            "worker",
            "--supervisor-pipe",
            str(self._read_end),
        ]
        output = None if self._log_file is None else self._log_file.open("ab")
        try:
            return subprocess.Popen(
                command,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                pass_fds=[self._read_end],
                start_new_session=True,
            )
        finally:
            if output is not None:
                output.close()


def worker_environment(settings: Settings) -> dict[str, str]:
    """Write the settings that were made here as variables, for a process that reads them anew."""
    urls = {"DATABASE_URL": settings.database_url, "REDIS_URL": settings.redis_url}
    given = {f"CITEWELL_{name}": url.get_secret_value() for name, url in urls.items() if url}
    return given | {"CITEWELL_DATA": str(settings.data)}
