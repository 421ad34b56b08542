"""Keep worker processes running beside the API: start them, replace them, stop them in time."""

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
WORKER_START_SECONDS = 60.0
"""A worker that just starts has this long, beyond the setting, until its first pulse."""
FIRST_RESTART_SECONDS = 0.5
LONGEST_RESTART_SECONDS = 8.0


@contextmanager
def supervised_workers(
    settings: Settings, server: Server, log_file: Path | None = None
) -> Generator[None]:
    """Keep worker processes running: a new one follows whenever one ends or answers no more.

    The first ones start when the API has, so that they do not compete for the processor.
    """
    supervisors = [_Supervisor(settings, server, log_file) for _ in range(settings.jobs.processes)]
    for supervisor in supervisors:
        supervisor.start()
    try:
        yield
    finally:
        server.stopping.set()
        for supervisor in supervisors:
            supervisor.stop()


class _Supervisor(threading.Thread):
    """Starts a worker, watches its pulse, starts it again after a growing pause."""

    def __init__(self, settings: Settings, server: Server, log_file: Path | None) -> None:
        super().__init__(name="supervisor", daemon=True)
        self._environment = os.environ | worker_environment(settings)
        self._silent_after_seconds = settings.jobs.silent_after_seconds
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
        pulse, their_pulse = os.pipe()
        os.set_blocking(pulse, False)
        try:
            process = self._spawn(their_pulse)
        except OSError as error:
            log.warning("the worker could not be started", why=error.strerror)
            os.close(pulse)
            return None
        finally:
            os.close(their_pulse)
        try:
            self._watch(process, pulse)
        finally:
            os.close(pulse)
        if process.poll() is None:
            self._close_pipe()
            try:
                process.wait(WORKER_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
        return process.wait()

    def _watch(self, process: subprocess.Popen[bytes], pulse: int) -> None:
        """Return when the process ended or is to be stopped; kill it when its pulse is gone."""
        heard = time.monotonic() + WORKER_START_SECONDS
        while process.poll() is None and not self._stopping.wait(0.1):
            if _read_all(pulse):
                heard = time.monotonic()
            elif time.monotonic() - heard > self._silent_after_seconds:
                log.warning("a worker answers no more and is replaced", pid=process.pid)
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()

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

    def _spawn(self, pulse: int) -> subprocess.Popen[bytes]:
        command = [
            sys.executable,
            "-m",
            "citewell",
            "worker",
            "--supervision",
            f"{self._read_end},{pulse}",
        ]
        output = None if self._log_file is None else self._log_file.open("ab")
        try:
            return subprocess.Popen(
                command,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                pass_fds=[self._read_end, pulse],
                start_new_session=True,
            )
        finally:
            if output is not None:
                output.close()


def _read_all(pipe: int) -> bytes:
    """Read what is in the pipe; select() would refuse its number when many are open."""
    try:
        return os.read(pipe, 4096)
    except BlockingIOError:
        return b""


def worker_environment(settings: Settings) -> dict[str, str]:
    """Write the settings that were made here as variables, for a process that reads them anew."""
    urls = {"DATABASE_URL": settings.database_url, "REDIS_URL": settings.redis_url}
    given = {f"CITEWELL_{name}": url.get_secret_value() for name, url in urls.items() if url}
    return given | {"CITEWELL_DATA": str(settings.data)}
