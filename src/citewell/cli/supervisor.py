"""Keep a worker process running beside the API: start it, start it again, stop it in time."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import structlog

from citewell.cli.server import Server
from citewell.settings import Settings

log = structlog.get_logger(__name__)

WORKER_STOP_SECONDS = 2.5
"""A worker that still runs a job is killed then; its lease brings the job back later."""
FIRST_RESTART_SECONDS = 0.5
LONGEST_RESTART_SECONDS = 30.0


@contextmanager
def supervised_worker(
    settings: Settings, server: Server, log_file: Path | None = None
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

    def __init__(self, settings: Settings, server: Server, log_file: Path | None) -> None:
        super().__init__(name="supervisor", daemon=True)
        self._environment = os.environ | worker_environment(settings)
        self._server = server
        self._log_file = log_file
        self._stopping = server.stopping
        self._read_end, write_end = os.pipe()
        self._write_end: int | None = write_end

    def run(self) -> None:
        """Start the worker, and again whenever it ends, until told to stop."""
        while not self._server.started:
            if self._stopping.wait(0.02):
                return
        pause = FIRST_RESTART_SECONDS
        while not self._stopping.is_set():
            started = time.monotonic()
            code = self._run_once()
            if self._stopping.is_set():
                return
            if time.monotonic() - started > LONGEST_RESTART_SECONDS:
                pause = FIRST_RESTART_SECONDS
            log.warning("the worker ended and is started again", code=code, pause_seconds=pause)
            self._stopping.wait(pause)
            pause = min(pause * 2, LONGEST_RESTART_SECONDS)

    def _run_once(self) -> int | None:
        """Run a worker to its end; told to stop, it has a moment to hand its jobs back."""
        try:
            process = self._spawn()
        except OSError as error:
            log.warning("the worker could not be started", why=error.strerror)
            return None
        while process.poll() is None and not self._stopping.wait(0.1):
            pass
        if process.poll() is None:
            self._close_pipe()
            try:
                process.wait(WORKER_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
        return process.wait()

    def stop(self) -> None:
        """End the worker; at once, where the server was told to stop by a signal before."""
        self._stopping.set()
        self.join()
        self._close_pipe()
        os.close(self._read_end)

    def _close_pipe(self) -> None:
        if self._write_end is not None:
            os.close(self._write_end)
            self._write_end = None

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
