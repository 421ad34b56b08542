"""Read and cut files in processes of their own, under limits, without secrets, network or files.

The parent opens the file and hands over only its descriptor; the answer comes in parts of bounded
size. A process that crashes, hangs or grows is killed with all that it started, and replaced.
"""

import asyncio
import logging
import signal
import time
from collections.abc import AsyncGenerator
from typing import Self

from citewell.domain import Chunking, DocumentHead, Json, ParsedPart
from citewell.errors import DocumentRejected, ParserKilled
from citewell.ingest.sandbox_limits import MEBIBYTE, ParserLimits
from citewell.ingest.sandbox_process import ParserProcess, remove_left_folders
from citewell.ingest.transfer import to_part

_log = logging.getLogger(__name__)
_FILES_PER_PROCESS = 5_000
_START_SECONDS = 30.0
_OUT_OF_MEMORY = (
    b"memory allocation of",
    b"MemoryError",
    b"bad_alloc",
    b"Cannot allocate memory",
    b"foreign exception",
)


class ParserPool:
    """Keeps parser processes warm and gives each file to one of them.

    ``count_tokens`` names the embedder's counter as "package.module:function".
    Holds:   no more than ``processes`` files are read at once; the others wait their turn.
    """

    def __init__(
        self,
        *,
        chunking: Chunking,
        count_tokens: str,
        processes: int = 2,
        limits: ParserLimits = ParserLimits(),  # noqa: B008 - frozen
        files_per_process: int = _FILES_PER_PROCESS,
    ) -> None:
        self._chunking = chunking
        self._count_tokens = count_tokens
        self._processes = processes
        self._limits = limits
        self._files_per_process = files_per_process
        self._turns = asyncio.Semaphore(processes)
        self._idle: list[ParserProcess] = []
        self._all: set[ParserProcess] = set()
        self._started = False
        self._warned = False

    async def start(self) -> None:
        """Start all processes now, so that the first file does not wait for one."""
        missing = self._processes - len(self._all)
        self._idle += await asyncio.gather(*(self._new_child() for _ in range(missing)))

    async def read(
        self, path: str, name: str, media_type: str | None = None, password: str | None = None
    ) -> AsyncGenerator[ParsedPart]:
        """Yield the file's canonical text, sections and chunks, in parts of bounded size.

        Holds:   a file of at most 512 chunks, 2,000 sections and 500,000 characters is one part.
                 The time-out counts the waiting for parts, not what is done between them.
        Raises:  DocumentRejected – the file cannot become searchable text; besides the codes of
                 ``load``: ``parser_timeout``, ``parser_memory``, ``parser_crashed``.
                 ParserKilled – somebody else ended the process; another try may do better.
        """
        request: Json = {
            "name": name,
            "media_type": media_type,
            "password": password,
            "max_characters": self._limits.max_text_characters,
            "cpu_seconds": self._limits.cpu_seconds,
            "ocr_seconds": self._limits.ocr_seconds,
        }
        async with self._turns:
            child = await self._free_child()
            head: DocumentHead | None = None
            patience = self._limits.longest_seconds
            ended = keep = False
            try:
                while not ended:
                    asked = time.monotonic()
                    answer = await self._answer(child, request, None if head else path, patience)
                    patience -= time.monotonic() - asked
                    ended = bool(answer.get("last", True))
                    keep = ended and self._is_fresh(child, answer)
                    part = _part(answer, head, name)
                    head = part.head
                    yield part
            finally:
                if keep:
                    self._idle.append(child)
                else:
                    self._all.discard(child)
                    await child.end()

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

    async def _answer(
        self, child: ParserProcess, request: Json, path: str | None, patience: float
    ) -> Json:
        """Wait for the next part; with a path, hand the file over before."""
        try:
            async with asyncio.timeout(max(0.0, patience)):
                if path is not None:
                    await child.give(request, path)
                return await child.receive()
        except TimeoutError as error:
            raise _timed_out(self._limits.longest_seconds) from error
        except (asyncio.IncompleteReadError, BrokenPipeError, ConnectionError) as error:
            code = await child.wait_for_end()
            raise self._died(code, child.last_words, request) from error

    def _died(self, code: int, words: bytes, request: Json) -> DocumentRejected | ParserKilled:
        """Say why a process ended by itself."""
        if request["password"]:
            words = words.replace(request["password"].encode(), b"...")
        _log.warning("parser process ended with %s on %r: %s", code, request["name"], words[-500:])
        if code == -signal.SIGXCPU:
            return _timed_out(self._limits.cpu_seconds)
        if any(sign in words for sign in _OUT_OF_MEMORY):
            return DocumentRejected(
                "parser_memory",
                f"The file needs more memory than one file may use "
                f"({self._limits.memory_bytes // MEBIBYTE} MiB). Split it, or export it in a "
                "simpler format.",
            )
        if code == -signal.SIGKILL:
            return ParserKilled()
        return _crashed()

    def _is_fresh(self, child: ParserProcess, answer: Json) -> bool:
        """Say whether a process may take another file."""
        most = max(self._limits.memory_bytes // 3, 192 * MEBIBYTE)
        grown = int(answer["resident_bytes"]) > most
        return child.files < self._files_per_process and not grown and child in self._all

    async def _free_child(self) -> ParserProcess:
        while self._idle:
            child = self._idle.pop()
            if child.lives:
                return child
            self._all.discard(child)
            await child.end()
        return await self._new_child()

    async def _new_child(self) -> ParserProcess:
        if not self._started:
            self._started = True
            await asyncio.to_thread(remove_left_folders)
        child = ParserProcess()
        self._all.add(child)
        try:
            async with asyncio.timeout(_START_SECONDS):
                refused = await child.start(self._limits, self._chunking, self._count_tokens)
        except BaseException:
            self._all.discard(child)
            await child.end()
            _log.warning("a parser process did not start: %s", child.last_words[-500:])
            raise
        if refused and not self._warned:
            self._warned = True
            _log.warning("parsers run with fewer limits than wanted: %s", " ".join(refused))
        return child


def _part(answer: Json, head: DocumentHead | None, name: str) -> ParsedPart:
    if "text" in answer:
        return to_part(answer, head)
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
