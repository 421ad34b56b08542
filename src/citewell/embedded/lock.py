"""One holder per data folder: an flock()ed file that says who holds it and at which URL.

The kernel drops the lock when the holder ends, however it ends; the JSON inside is only read while
the lock is really held, so a crashed holder is never believed.
"""

import fcntl
import json
import os
import re
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from citewell.errors import AccessError, Conflict, InputError

_PATIENCE_SECONDS = 0.3
_held: dict[Path, int] = {}


@dataclass(frozen=True, slots=True)
class Holder:
    """The process that holds a data folder, and the URL of its API once it has one."""

    pid: int
    command: str
    started_at: datetime
    url: str | None = None


def _close_in_child() -> None:
    """Let go of inherited locks: a forked child must not keep a dead holder's folder."""
    for descriptor in _held.values():
        os.close(descriptor)
    _held.clear()


os.register_at_fork(after_in_child=_close_in_child)


def _own_command() -> str:
    """Return ``citewell up``: the program and its verb, never an argument that may be secret."""
    program = Path(sys.argv[0] if sys.argv else "")
    name = program.parent.name if program.name == "__main__.py" else program.name
    verb = sys.argv[1] if name == "citewell" and len(sys.argv) > 1 else ""
    return f"{name} {verb}" if re.fullmatch(r"[a-z-]{1,20}", verb) else name or "python"


def _write(descriptor: int, holder: Holder) -> None:
    content = json.dumps(
        {
            "pid": holder.pid,
            "command": holder.command,
            "started_at": holder.started_at.isoformat(),
            "url": holder.url,
        }
    ).encode()
    os.pwrite(descriptor, content, 0)
    os.ftruncate(descriptor, len(content))


def _read(descriptor: int) -> Holder | None:
    try:
        content = json.loads(os.pread(descriptor, 65536, 0))
        return Holder(
            pid=int(content["pid"]),
            command=str(content["command"]),
            started_at=datetime.fromisoformat(content["started_at"]),
            url=content["url"],
        )
    except (ValueError, KeyError, TypeError):
        return None


def _open(path: Path, flags: int) -> int:
    try:
        return os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except PermissionError as error:
        raise AccessError(
            "The data folder belongs to another user. "
            "Run as that user, or choose another folder with --data."
        ) from error
    except (FileNotFoundError, NotADirectoryError):
        raise
    except OSError as error:
        raise InputError(
            "The file lock in the data folder cannot be opened. Choose another folder with --data."
        ) from error


def _try_lock(descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def held_by(holder: Holder | None) -> Conflict:
    """Say who holds the data folder."""
    who = "another process"
    if holder is not None:
        started = holder.started_at.astimezone()
        who = f"process {holder.pid} ({holder.command}), started {started:%H:%M}"
    return Conflict(
        f"The data folder is held by {who}. Stop it, or choose another folder with --data."
    )


def _acquire(path: Path) -> int:
    """Return a descriptor that holds the lock; a reader's short look is waited out."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while True:
        descriptor = _open(path, os.O_RDWR | os.O_CREAT)
        if _try_lock(descriptor, fcntl.LOCK_EX):
            with suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(descriptor), path.stat()):
                    return descriptor
        elif time.monotonic() > deadline:
            refusal = held_by(_read(descriptor))
            os.close(descriptor)
            raise refusal
        os.close(descriptor)
        time.sleep(0.02)


@contextmanager
def hold(path: Path) -> Generator[bool]:
    """Hold the lock file at ``path`` for the life of the context.

    Yields whether the last holder crashed: one that ends well leaves the file empty.

    Raises:  Conflict – another process, or another context of this one, holds it.
             AccessError, InputError – the file cannot be opened.
    """
    key = path.resolve()
    descriptor = _acquire(path)
    _held[key] = descriptor
    try:
        crashed = os.fstat(descriptor).st_size > 0
        _write(descriptor, Holder(os.getpid(), _own_command(), datetime.now(UTC)))
        yield crashed
    finally:
        if _held.pop(key, None) is not None:
            os.ftruncate(descriptor, 0)
            os.close(descriptor)


def read_holder(data: Path) -> Holder | None:
    """Return who holds the data folder now, or None when nobody does.

    Raises:  AccessError – the folder belongs to another user.
    """
    try:
        descriptor = _open(data / "lock", os.O_RDONLY)
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while not _try_lock(descriptor, fcntl.LOCK_SH):
            holder = _read(descriptor)
            if holder is not None or time.monotonic() > deadline:
                return holder
            time.sleep(0.01)
        return None
    finally:
        os.close(descriptor)


def announce(data: Path, url: str) -> None:
    """Write the URL of this process's API into the lock file, for command-line clients to find.

    Does nothing when this process does not hold the folder: with two given URLs nobody does.
    """
    descriptor = _held.get((data / "lock").resolve())
    holder = None if descriptor is None else _read(descriptor)
    if descriptor is not None and holder is not None:
        _write(descriptor, Holder(holder.pid, holder.command, holder.started_at, url))
