"""The ``citewell`` command in processes of its own, and what they leave behind."""

import io
import json
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any
from unittest.mock import patch

import httpx
import psutil
import structlog

from citewell import embedded
from citewell.cli import main

PROJECT = Path(__file__).parents[2]
EXAMPLES = PROJECT / "examples"
COMMAND = str(Path(sys.executable).parent / "citewell")
READY_SECONDS = 60.0
PLAIN: dict[str, Any] = {"trust_env": False, "verify": False}
"""For requests over plain HTTP: to load all certificates takes longer than what is asked."""
SMALL = {"CITEWELL_JOBS__PROCESSES": "1", "CITEWELL_PARSE__PROCESSES": "1"}
"""One process of each kind starts faster than two, and few tests need both."""
TWO_WORKERS = {"CITEWELL_JOBS__PROCESSES": "2"}
QUICK_JOBS = {
    "CITEWELL_JOBS__LEASE_SECONDS": "3",
    "CITEWELL_JOBS__HEARTBEAT_SECONDS": "1",
    "CITEWELL_JOBS__RECONCILE_SECONDS": "0.5",
    "CITEWELL_JOBS__UNSENT_AFTER_SECONDS": "2",
}


def wait_until(true: Callable[[], Any], seconds: float) -> Any:
    """Return what ``true`` returns as soon as it is truthy."""
    deadline = time.monotonic() + seconds
    while not (answer := true()):
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)
    return answer


def environment(**more: str) -> dict[str, str]:
    """This shell's environment without its Citewell settings, but with the model that is built."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("CITEWELL_") or name == "CITEWELL_CACHE"
    }
    return kept | {"NO_COLOR": "1", "COLUMNS": "200"} | more


def command_of(process: psutil.Process) -> list[str]:
    """Return a process's command line; nothing once it has ended."""
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def name_of(process: psutil.Process) -> str:
    """Return a process's program; nothing once it has ended."""
    try:
        return process.name()
    except psutil.Error:
        return ""


def read_reply(done: subprocess.CompletedProcess[str]) -> Any:
    """Return what a command printed as JSON; it must have succeeded."""
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@contextmanager
def kept_logging() -> Iterator[None]:
    """Undo what a command inside of this process changes of its logging."""
    root, configured = logging.getLogger(), structlog.get_config()
    handlers, level = root.handlers, root.level
    try:
        yield
    finally:
        root.handlers = handlers
        root.setLevel(level)
        structlog.configure(**configured)


class Output(io.TextIOWrapper):
    """A stream to write to, as text or as bytes, that keeps what was written."""

    def __init__(self) -> None:
        super().__init__(io.BytesIO(), encoding="utf-8", write_through=True)

    def text(self) -> str:
        """Return all that was written."""
        self.seek(0)
        return self.read()


class Program:
    """One installation's ``citewell``, working on one data folder."""

    def __init__(self, data: Path, command: str = COMMAND, **settings: str) -> None:
        self.data = data
        self.command = command
        self.folder = data.parent
        self.environment = environment(**(SMALL | settings))

    def run(
        self, verb: str, *arguments: str, seconds: float = 60
    ) -> subprocess.CompletedProcess[str]:
        """Run one command to its end."""
        return subprocess.run(
            [self.command, verb, "--data", str(self.data), *arguments],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )

    def call(self, verb: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run one command inside of this process: a new one loads for a second, this one has."""
        command = [self.command, verb, "--data", str(self.data), *arguments]
        output, errors = Output(), Output()
        code: Any = 0
        with (
            kept_logging(),
            patch.dict(os.environ, self.environment, clear=True),
            patch.object(sys, "argv", command),
            redirect_stdout(output),
            redirect_stderr(errors),
        ):
            try:
                main()
            except SystemExit as end:
                code = end.code
        return subprocess.CompletedProcess(command, code, output.text(), errors.text())

    def json(self, verb: str, *arguments: str) -> Any:
        """Run one command with ``--json`` in a process of its own; it must succeed."""
        return read_reply(self.run(verb, *arguments, "--json"))

    def call_json(self, verb: str, *arguments: str) -> Any:
        """Run one command with ``--json`` inside of this process; it must succeed."""
        return read_reply(self.call(verb, *arguments, "--json"))

    def spawn(self) -> "Running":
        """Begin a ``citewell up``; it may not serve yet."""
        with (self.folder / "up.log").open("ab") as log:  # a pipe that nobody reads would fill up
            process = subprocess.Popen(
                [self.command, "up", "--data", str(self.data), "--port", "0"],
                cwd=self.folder,
                env=self.environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        return Running(self, process)

    @contextmanager
    def up(self) -> Iterator["Running"]:
        """Have ``citewell up`` run inside the block."""
        running = self.spawn()
        try:
            running.wait_ready()
            yield running
        finally:
            running.end()

    def leftovers(self) -> list[str]:
        """Every process that works for this data folder."""
        found = []
        for process in psutil.process_iter():
            try:
                own = process.environ().get("CITEWELL_DATA") == str(self.data)
                inside = process.cwd().startswith(str(self.data))
                named = any(str(self.data) in part for part in process.cmdline())
                if (own or inside or named) and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(f"{process.pid} {' '.join(process.cmdline())}")
            except psutil.Error:
                continue
        return found


class Running:
    """A ``citewell up`` that serves."""

    def __init__(self, program: Program, process: subprocess.Popen[bytes]) -> None:
        self.program = program
        self.process = process
        self.url = ""

    def wait_ready(self) -> None:
        def ready() -> bool:
            assert self.process.poll() is None, (self.program.folder / "up.log").read_text()
            holder = embedded.read_holder(self.program.data)
            if holder is None or holder.url is None or holder.pid != self.process.pid:
                return False
            self.url = holder.url
            try:
                return self.get("/ready").status_code == 200
            except httpx.TransportError:
                return False

        wait_until(ready, READY_SECONDS)

    def get(self, path: str, **query: Any) -> httpx.Response:
        return httpx.get(self.url + path, params=query, timeout=30, **PLAIN)

    def upload(self, files: dict[str, bytes]) -> list[dict[str, Any]]:
        reply = httpx.post(
            self.url + "/documents/upload",
            files=[("files", item) for item in files.items()],
            timeout=30,
            **PLAIN,
        )
        assert reply.status_code == 202, reply.text
        return reply.json()["documents"]

    def ask(self, question: str) -> dict[str, Any]:
        reply = httpx.post(self.url + "/query", json={"question": question}, timeout=30, **PLAIN)
        assert reply.status_code == 200, reply.text
        return reply.json()

    def jobs(self) -> list[dict[str, Any]]:
        return self.get("/jobs", limit=200).json()["jobs"]

    def wait_done(self, count: int, seconds: float = 60) -> list[dict[str, Any]]:
        """Wait until so many jobs are done; none may fail."""

        def done() -> bool:
            jobs = self.jobs()
            assert not [job for job in jobs if job["status"] in {"failed", "cancelled"}], jobs
            return sum(job["status"] == "done" for job in jobs) == count

        wait_until(done, seconds)
        return self.jobs()

    def workers(self) -> list[psutil.Process]:
        """Every worker process, whoever started it."""
        return [process for process in self.family()[1:] if "worker" in command_of(process)]

    def parsers(self) -> list[psutil.Process]:
        """Every process that reads files for a worker."""
        return [
            process
            for process in self.family()[1:]
            if any("citewell.ingest.sandbox" in part for part in command_of(process))
        ]

    def server(self, name: str) -> list[psutil.Process]:
        """The embedded server's first process: ``postgres`` or ``valkey-server``."""
        own = psutil.Process(self.process.pid)
        return [child for child in own.children() if Path(name_of(child)).name == name]

    def family(self) -> list[psutil.Process]:
        """This process and all that came from it, in whatever session."""
        own = psutil.Process(self.process.pid)
        return [own, *own.children(recursive=True)]

    def interrupt(self) -> tuple[int, float]:
        """Press Ctrl-C; return the exit code and the seconds until the end."""
        started = time.monotonic()
        self.process.send_signal(signal.SIGINT)
        self.process.wait(30)
        return self.process.returncode, time.monotonic() - started

    def kill(self) -> None:
        """End it as a power cut would."""
        self.process.kill()
        self.process.wait()

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(15)
            except subprocess.TimeoutExpired:
                self.kill()
