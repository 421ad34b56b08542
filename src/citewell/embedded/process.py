"""Start, find and end the servers' processes, so that none is left whatever happens."""

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import psutil
import structlog

from citewell.embedded.system_user import Account
from citewell.errors import Unavailable

log = structlog.get_logger(__name__)

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_PROGRAMS = frozenset({"postgres", "initdb", "valkey-server"})
_LOG_LIMIT_BYTES = 10 * 1024 * 1024
_POLL_SECONDS = 0.01
_STALE_STEP_SECONDS = 1.5
_KILL_AFTER_SECONDS = 4.5
# The servers inherit nothing of ours: no secrets, no locale, no PG* variables.
_ENVIRONMENT: Mapping[str, str] = {"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"}


@dataclass(slots=True)
class Server:
    """One server: how it is launched, when it answers, how it ends."""

    name: str
    log_name: str
    folder: Path
    make_ready: Callable[[], None]
    launch: Callable[[], subprocess.Popen[bytes]]
    answers: Callable[[], bool]
    signals: Sequence[tuple[float, signal.Signals]]
    patience_seconds: float
    process: subprocess.Popen[bytes] | None = None

    @property
    def running(self) -> bool:
        """Whether the process that we launched lives."""
        return self.process is not None and self.process.poll() is None

    def prepare(self) -> None:
        """Make the server's files; this may take long, and signals interrupt it.

        Raises:  Unavailable – the files cannot be made or used.
        """
        with self._explained():
            self.make_ready()

    def spawn(self) -> None:
        """Launch the process; a signal meanwhile waits, so that no process goes unnoticed.

        Raises:  Unavailable – its files or its program cannot be used.
        """
        with self._explained(), signals_deferred():
            self.process = self.launch()

    @contextmanager
    def _explained(self) -> Generator[None]:
        try:
            yield
        except OSError as error:
            raise Unavailable(
                f"{self.name} could not be launched. Look at the owner and mode of the data "
                "folder and at its free space, or choose another folder with --data."
            ) from error


@contextmanager
def signals_deferred() -> Generator[None]:
    """Let SIGINT, SIGTERM and SIGHUP wait until the block is done, then take effect."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    seen: list[int] = []

    def note(number: int, _frame: FrameType | None) -> None:
        seen.append(number)

    before = {
        number: handler
        for number in STOP_SIGNALS
        if (handler := signal.getsignal(number)) not in (None, signal.SIG_IGN)
    }
    try:
        for number in before:
            signal.signal(number, note)
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        for number in dict.fromkeys(seen):
            signal.raise_signal(number)


@contextmanager
def signals_unwind() -> Generator[None]:
    """Make SIGTERM and SIGHUP unwind the stack, where they would end us and leave the servers.

    Handlers that somebody else set stay as they are, and ignored signals stay ignored.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def unwind(number: int, _frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    ours = [s for s in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(s) == signal.SIG_DFL]
    for number in ours:
        signal.signal(number, unwind)
    try:
        yield
    finally:
        for number in ours:
            if signal.getsignal(number) is unwind:
                signal.signal(number, signal.SIG_DFL)


def trim_log(path: Path) -> None:
    """Keep one older log and begin a new one when the log has grown over 10 MB."""
    with suppress(FileNotFoundError):
        if path.lstat().st_size > _LOG_LIMIT_BYTES:
            path.replace(path.with_name(path.name + ".1"))


def launch(
    command: Sequence[str],
    *,
    account: Account,
    folder: Path,
    log_path: Path,
    standard_input: bytes | None = None,
) -> subprocess.Popen[bytes]:
    """Start a server in a session of its own, out of reach of the terminal's Ctrl-C.

    Holds:   ``standard_input`` carries secrets, which arguments and environment never do.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW
    descriptor = os.open(log_path, flags, 0o600)
    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL if standard_input is None else subprocess.PIPE,
            stdout=descriptor,
            stderr=descriptor,
            cwd=folder,
            env=dict(_ENVIRONMENT),
            umask=0o077,
            start_new_session=True,
            **account.credentials,
        )
    finally:
        os.close(descriptor)
    if process.stdin is not None and standard_input is not None:
        with suppress(BrokenPipeError), process.stdin:
            process.stdin.write(standard_input)
    return process


def _tree(pid: int) -> list[psutil.Process]:
    try:
        parent = psutil.Process(pid)
        return [parent, *parent.children(recursive=True)]
    except psutil.Error:
        return []


def _kill(processes: Sequence[psutil.Process]) -> None:
    for process in processes:
        with suppress(psutil.Error):
            process.kill()


def stop_servers(servers: Sequence[Server]) -> None:
    """Stop all servers at once, each by its own signals, and by SIGKILL at the end.

    Holds:   signals that come meanwhile wait; nothing is left after 5 seconds.
    """
    with signals_deferred():
        began = time.monotonic()
        waiting = {server.name: list(server.signals) for server in servers}
        while alive := [server for server in servers if server.running]:
            elapsed = time.monotonic() - began
            for server in alive:
                process, steps = server.process, waiting[server.name]
                if process is None:
                    continue
                if elapsed >= _KILL_AFTER_SECONDS:
                    _kill(_tree(process.pid))
                while steps and elapsed >= steps[0][0]:
                    with suppress(ProcessLookupError):
                        process.send_signal(steps.pop(0)[1])
            time.sleep(_POLL_SECONDS)
        for server in servers:
            if server.process is not None and server.process.returncode != 0:
                end_stale(server.folder, ())


def _works_in(process: psutil.Process, folder: Path) -> bool:
    """Return whether a process is one of our programs and works in the folder."""
    try:
        if process.name() not in _PROGRAMS:
            return False
        return process.cwd() == str(folder) or str(folder) in process.cmdline()
    except psutil.Error:
        return False


def end_stale(folder: Path, gentle: Sequence[signal.Signals]) -> bool:
    """End what a crashed run left working in a server's folder; return whether there was any.

    A process counts only by its program and its folder, so a recycled process id is never hit.
    The gentle signals come first, a second and a half apart, then SIGKILL.
    """
    found = [process for process in psutil.process_iter() if _works_in(process, folder)]
    if not found:
        return False
    log.warning("ending_stale_server", folder=folder.name, processes=len(found))
    parents = {process.pid for process in found}
    leaders = [process for process in found if _parent(process) not in parents]
    alive = found
    for step in (*gentle, signal.SIGKILL):
        for process in leaders if step != signal.SIGKILL else alive:
            with suppress(psutil.Error):
                process.send_signal(step)
        deadline = time.monotonic() + _STALE_STEP_SECONDS
        while (alive := [p for p in alive if _lives(p)]) and time.monotonic() < deadline:
            time.sleep(_POLL_SECONDS)
        if not alive:
            break
    return True


def _lives(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def _parent(process: psutil.Process) -> int:
    try:
        return process.ppid()
    except psutil.Error:
        return 0
