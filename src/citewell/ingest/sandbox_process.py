"""One parser process, seen from outside: its pipes, its channel for descriptors, its folder."""

import asyncio
import fcntl
import json
import os
import re
import shutil
import signal
import socket
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import IO

from citewell.domain import Chunking, Json
from citewell.ingest.sandbox_limits import MEBIBYTE, ParserLimits
from citewell.ingest.transfer import LENGTH_BYTES, pack, unpack_length

_LONGEST_MESSAGE_BYTES = 128 * MEBIBYTE
_NEW_SECONDS = 60.0
_FOLDER = re.compile(r"citewell-parser-(\d+)-\w+")
_ENVIRONMENT = {
    "LANG": "C.UTF-8",
    "MALLOC_ARENA_MAX": "2",
    "OPENBLAS_NUM_THREADS": "1",
    "RAYON_NUM_THREADS": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "TOKIO_WORKER_THREADS": "1",
}


class ParserProcess:
    """One parser process with all that belongs to it."""

    def __init__(self) -> None:
        self.files = 0
        self.last_words = b""
        self._process: asyncio.subprocess.Process | None = None
        self._channel: socket.socket | None = None
        self._errors: IO[bytes] | None = None
        self._folder = ""
        self._lock = -1

    async def start(self, limits: ParserLimits, chunking: Chunking, count_tokens: str) -> list[str]:
        """Start the process and return the limits that the system refused."""
        self._folder = tempfile.mkdtemp(prefix=f"citewell-parser-{os.getpid()}-")
        self._lock = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY)
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed in end()
        self._channel, theirs = socket.socketpair()
        order: Json = {
            "channel": theirs.fileno(),
            "memory_bytes": limits.memory_bytes,
            "max_written_bytes": limits.max_written_bytes,
            "max_threads": limits.max_threads,
            "chunking": asdict(chunking),
            "count_tokens": count_tokens,
        }
        with theirs:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, "-I", "-B", "-m", "citewell.ingest.sandbox_child",
                json.dumps(order), stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
                stderr=self._errors, cwd=self._folder, start_new_session=True,
                pass_fds=(theirs.fileno(),), env={**_ENVIRONMENT, "TMPDIR": self._folder,
                "HOME": self._folder},
            )  # fmt: skip
        return list((await self.receive())["refused"])

    async def give(self, request: Json, path: str) -> None:
        """Hand one file over.

        Raises:  ConnectionError – the process is gone.
        """
        if self._process is None or self._process.stdin is None or self._channel is None:
            raise ConnectionError
        self.files += 1
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            socket.send_fds(self._channel, [b"f"], [handle])
        finally:
            os.close(handle)
        self._process.stdin.write(pack(request))
        await self._process.stdin.drain()

    async def receive(self) -> Json:
        """Wait for the next message; the process waits meanwhile when its pipe is full.

        Raises:  ConnectionError, IncompleteReadError – the process is gone, or sends nonsense.
        """
        if self._process is None or self._process.stdout is None:
            raise ConnectionError
        length = unpack_length(await self._process.stdout.readexactly(LENGTH_BYTES))
        if length > _LONGEST_MESSAGE_BYTES:
            raise ConnectionError
        return dict(json.loads(await self._process.stdout.readexactly(length)))

    @property
    def lives(self) -> bool:
        """Whether the process still runs."""
        return self._process is not None and self._process.returncode is None

    async def wait_for_end(self) -> int:
        """Let a process that closed its pipe come to its own end, for its true exit code."""
        if self._process is not None:
            with suppress(TimeoutError):
                async with asyncio.timeout(1.0):
                    await self._process.wait()
        return await self.end()

    async def _drop_unread(self) -> None:
        """Read a dead process's pipe to its end: while it is full, asyncio does not close it."""
        if self._process is not None and self._process.stdout is not None:
            with suppress(RuntimeError):  # the reader who waits there now comes to the end himself
                while await self._process.stdout.read(MEBIBYTE):
                    pass

    async def end(self) -> int:
        """Kill the process and all that it started, remove its folder, return its exit code."""
        code = 0
        if self._process is not None:
            if self._process.returncode is None:
                with suppress(ProcessLookupError, PermissionError):
                    os.killpg(self._process.pid, signal.SIGKILL)
            await self._drop_unread()
            code = await self._process.wait()
        if self._channel is not None:
            self._channel.close()
        if self._errors is not None:
            self.last_words = _tail(self._errors)
            self._errors.close()
            self._errors = None
        if self._folder:
            folder, self._folder = self._folder, ""
            await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1
        return code


def remove_left_folders() -> None:
    """Remove this user's parser folders whose owner is gone: a killed worker leaves them.

    An owner holds a lock on its folder from its first moment on; its process id alone says little,
    since another container may use the same one.
    """
    for folder in Path(tempfile.gettempdir()).glob("citewell-parser-*"):
        named = _FOLDER.fullmatch(folder.name)
        if named is None:
            continue
        with suppress(OSError):
            handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                status = os.fstat(handle)
                settled = time.time() - status.st_mtime > _NEW_SECONDS
                if status.st_uid == os.geteuid() and (settled or not _lives(int(named[1]))):
                    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(handle)


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True


def _tail(file: IO[bytes]) -> bytes:
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - 4000))
    return file.read()
