"""Read files in processes of their own, under limits, without secrets, network or other files.

The parent opens the file and hands over only its descriptor; the answer is JSON with its length in
front. A process that crashes, hangs or grows is killed with all that it started, and replaced.
"""

import asyncio
import json
import logging
import os
import shutil
import signal
import socket
import sys
import tempfile
from contextlib import suppress
from typing import IO, Self

from citewell.domain import Json, ParsedDocument
from citewell.errors import DocumentRejected
from citewell.ingest.transfer import LENGTH_BYTES, document_from_json, pack, unpack_length

MEBIBYTE = 1024 * 1024
_log = logging.getLogger(__name__)
_FILES_PER_PROCESS = 200
_LONGEST_ANSWER_BYTES = 512 * MEBIBYTE
_START_SECONDS = 30.0
_OUT_OF_MEMORY = (b"memory allocation of", b"MemoryError", b"bad_alloc", b"Cannot allocate memory")
_ENVIRONMENT = {
    "LANG": "C.UTF-8",
    "MALLOC_ARENA_MAX": "2",
    "RAYON_NUM_THREADS": "1",
    "TOKIO_WORKER_THREADS": "1",
}


class ParserPool:
    """Keeps parser processes warm and gives each file to one of them.

    Holds:   no more than ``processes`` files are read at once; the others wait their turn.
    """

    def __init__(
        self,
        *,
        processes: int = 2,
        timeout_seconds: float = 60.0,
        memory_bytes: int = 1024 * MEBIBYTE,
        max_text_characters: int = 20_000_000,
        files_per_process: int = _FILES_PER_PROCESS,
    ) -> None:
        self._processes = processes
        self._timeout_seconds = timeout_seconds
        self._memory_bytes = memory_bytes
        self._max_text_characters = max_text_characters
        self._files_per_process = files_per_process
        self._turns = asyncio.Semaphore(processes)
        self._idle: list[_Child] = []
        self._all: set[_Child] = set()
        self._warned = False

    async def start(self) -> None:
        """Start all processes now, so that the first file does not wait for one."""
        missing = self._processes - len(self._all)
        self._idle += await asyncio.gather(*(self._new_child() for _ in range(missing)))

    async def parse(self, path: str, name: str, media_type: str | None = None) -> ParsedDocument:
        """Return the file's canonical text and structure.

        Raises:  DocumentRejected – the file cannot become searchable text; besides the codes of
                 ``load``: ``parser_timeout``, ``parser_memory``, ``parser_crashed``.
        """
        async with self._turns:
            child = await self._free_child()
            keep = False
            try:
                answer = await self._ask(child, path, name, media_type)
                keep = self._is_fresh(child, answer)
            finally:
                if keep:
                    self._idle.append(child)
                else:
                    self._all.discard(child)
                    await child.end()
        return _document(answer, name)

    async def close(self) -> None:
        """End all processes."""
        children, self._idle = list(self._all), []
        self._all.clear()
        await asyncio.gather(*(child.end() for child in children))

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def _ask(self, child: "_Child", path: str, name: str, media_type: str | None) -> Json:
        request: Json = {
            "name": name,
            "media_type": media_type,
            "max_characters": self._max_text_characters,
            "cpu_seconds": int(self._timeout_seconds) + 1,
        }
        try:
            async with asyncio.timeout(self._timeout_seconds):
                return await child.ask(request, path)
        except TimeoutError as error:
            raise _timed_out(self._timeout_seconds) from error
        except (asyncio.IncompleteReadError, BrokenPipeError, ConnectionError) as error:
            code = await child.wait_for_end()
            raise self._died(code, child.last_words, name) from error

    def _died(self, code: int, words: bytes, name: str) -> DocumentRejected:
        """Say why a process ended by itself."""
        _log.warning("parser process ended with %s on %r: %s", code, name, words[-500:])
        if code == -signal.SIGXCPU:
            return _timed_out(self._timeout_seconds)
        if code == -signal.SIGKILL or any(sign in words for sign in _OUT_OF_MEMORY):
            return DocumentRejected(
                "parser_memory",
                f"The file needs more memory than one file may use "
                f"({self._memory_bytes // MEBIBYTE} MiB). Split it, or export it in a "
                "simpler format.",
            )
        return _crashed()

    def _is_fresh(self, child: "_Child", answer: Json) -> bool:
        """Say whether a process may take another file."""
        grown = int(answer["resident_bytes"]) > max(self._memory_bytes // 3, 192 * MEBIBYTE)
        return child.files < self._files_per_process and not grown and child in self._all

    async def _free_child(self) -> "_Child":
        while self._idle:
            child = self._idle.pop()
            if child.lives:
                return child
            self._all.discard(child)
            await child.end()
        return await self._new_child()

    async def _new_child(self) -> "_Child":
        child = _Child()
        self._all.add(child)
        try:
            async with asyncio.timeout(_START_SECONDS):
                refused = await child.start(self._memory_bytes)
        except BaseException:
            self._all.discard(child)
            await child.end()
            raise
        if refused and not self._warned:
            self._warned = True
            _log.warning("parsers run with fewer limits than wanted: %s", " ".join(refused))
        return child


class _Child:
    """One parser process with its pipes, its channel for descriptors and its own folder."""

    def __init__(self) -> None:
        self.files = 0
        self.last_words = b""
        self._process: asyncio.subprocess.Process | None = None
        self._channel: socket.socket | None = None
        self._errors: IO[bytes] | None = None
        self._folder = ""

    async def start(self, memory_bytes: int) -> list[str]:
        """Start the process and return the limits that the system refused."""
        self._folder = tempfile.mkdtemp(prefix="citewell-parser-")
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed in end()
        self._channel, theirs = socket.socketpair()
        with theirs:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, "-I", "-B", "-m", "citewell.ingest.sandbox",
                str(theirs.fileno()), str(memory_bytes),
                stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
                stderr=self._errors, cwd=self._folder, start_new_session=True,
                pass_fds=(theirs.fileno(),), env={**_ENVIRONMENT, "TMPDIR": self._folder,
                "HOME": self._folder},
            )  # fmt: skip
        return list((await self._read())["refused"])

    async def ask(self, request: Json, path: str) -> Json:
        """Hand one file over and return the answer."""
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
        return await self._read()

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

    async def end(self) -> int:
        """Kill the process and all that it started, remove its folder, return its exit code."""
        code = 0
        if self._process is not None:
            if self._process.returncode is None:
                with suppress(ProcessLookupError, PermissionError):
                    os.killpg(self._process.pid, signal.SIGKILL)
            code = await self._process.wait()
        if self._channel is not None:
            self._channel.close()
        if self._errors is not None:
            self.last_words = _tail(self._errors)
            self._errors.close()
            self._errors = None
        if self._folder:
            await asyncio.to_thread(shutil.rmtree, self._folder, ignore_errors=True)
            self._folder = ""
        return code

    async def _read(self) -> Json:
        if self._process is None or self._process.stdout is None:
            raise ConnectionError
        length = unpack_length(await self._process.stdout.readexactly(LENGTH_BYTES))
        if length > _LONGEST_ANSWER_BYTES:
            raise ConnectionError
        return dict(json.loads(await self._process.stdout.readexactly(length)))


def _tail(file: IO[bytes]) -> bytes:
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - 4000))
    return file.read()


def _document(answer: Json, name: str) -> ParsedDocument:
    if "document" in answer:
        return document_from_json(answer["document"])
    if "rejected" in answer:
        code, message = answer["rejected"]
        raise DocumentRejected(code, message)
    _log.error("a parser failed on %r: %s", name, answer["crashed"])
    raise _crashed()


def _timed_out(seconds: float) -> DocumentRejected:
    return DocumentRejected(
        "parser_timeout",
        f"The file could not be read within {seconds:g} seconds. Split it, or export it in a "
        "simpler format.",
    )


def _crashed() -> DocumentRejected:
    return DocumentRejected(
        "parser_crashed",
        "The parser failed on this file. Open it in its own program, save it anew and upload that.",
    )


if __name__ == "__main__":
    from citewell.ingest.sandbox_child import main

    main(int(sys.argv[1]), int(sys.argv[2]))
