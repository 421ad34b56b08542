"""The parser process: takes one file after another, answers in parts, trusts none of them."""

import gc
import json
import os
import resource
import socket
import sys
import time
import traceback
from collections.abc import Iterator
from dataclasses import replace
from importlib import import_module
from pathlib import Path

from citewell.domain import Chunking, Json
from citewell.errors import DocumentRejected
from citewell.ingest.chunk import WordCosts, chunk
from citewell.ingest.confinement import allow_cpu, confine
from citewell.ingest.load import load, preload
from citewell.ingest.ocr import OcrAllowance, is_installed
from citewell.ingest.transfer import pack, read_message, to_messages

_MEMORY_MESSAGE = (
    "The file needs more memory than one file may use. Split it, or export it in a simpler format."
)


def main(order: Json) -> None:
    """Serve files until the parent closes the pipe.

    The standard output is kept for answers: what a library prints goes to the standard error.
    """
    answers = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)
    preload()
    costs = _word_costs(order["count_tokens"])
    reader = _Reader(Chunking(**order["chunking"]), costs)
    files = socket.socket(fileno=order["channel"])
    refused = confine(
        order["memory_bytes"], order["max_written_bytes"], order["max_threads"], str(Path.cwd())
    )
    gc.collect()
    gc.freeze()
    _send(answers.fileno(), {"ready": True, "refused": refused})
    while (request := read_message(sys.stdin.buffer)) is not None:
        _, handles, _, _ = socket.recv_fds(files, 1, 1)
        with os.fdopen(handles[0], "rb") as file:
            parts = reader.answers(request, file.read())
        for answer in parts:
            _send(answers.fileno(), answer)


def _word_costs(counter: str) -> WordCosts:
    """Import the embedder's counter, and use it once: later the disk is closed off."""
    module, _, function = counter.partition(":")
    costs = WordCosts(getattr(import_module(module), function))
    costs.of(["ready"])
    return costs


def _send(handle: int, message: Json) -> None:
    rest = memoryview(pack(message))
    while rest:
        rest = rest[os.write(handle, rest) :]


class _Reader:
    """Reads and cuts files, and measures what that takes."""

    def __init__(self, chunking: Chunking, costs: WordCosts) -> None:
        self._chunking = chunking
        self._costs = costs
        self._memory = _Memory()

    def answers(self, request: Json, data: bytes) -> Iterator[Json]:
        """Yield a file's parts, or why there are none; ``last`` or no such key ends them."""
        allow_cpu(int(request["cpu_seconds"]))
        self._memory.restart_peak()
        try:
            yield from self._parts(request, data)
        except DocumentRejected as error:
            yield self._end({"rejected": [error.reason, error.message]})
        except MemoryError:
            yield self._end({"rejected": ["parser_memory", _MEMORY_MESSAGE]})
        except Exception:  # noqa: BLE001 - the door: a parser's bug ends as a reason, not a hang
            trace = traceback.format_exc(limit=-6)[-4000:]
            password = request["password"]
            yield self._end({"crashed": trace.replace(password, "…") if password else trace})

    def _parts(self, request: Json, data: bytes) -> Iterator[Json]:
        started = time.perf_counter()
        document = load(
            data,
            request["name"],
            request["media_type"],
            request["max_characters"],
            request["password"],
            _allowance(request),
        )
        chunks = chunk(document, self._chunking, self._costs)
        report = replace(
            document.report,
            seconds=round(time.perf_counter() - started, 6),
            peak_memory_bytes=self._memory.peak_bytes(),
        )
        for message in to_messages(document, chunks, report):
            yield self._end(message) if message["last"] else message

    def _end(self, message: Json) -> Json:
        return message | {"resident_bytes": self._memory.resident_bytes()}


def _allowance(request: Json) -> OcrAllowance | None:
    """Allow OCR as much CPU time for each page as there is for a file without OCR."""
    if not request["ocr_seconds"] or not is_installed():
        return None
    return OcrAllowance(
        float(request["ocr_seconds"]), lambda: allow_cpu(int(request["cpu_seconds"]))
    )


class _Memory:
    """Reads this process's memory through files that were opened before the disk was closed off."""

    def __init__(self) -> None:
        self._status = _opened("/proc/self/status", os.O_RDONLY)
        self._reset = _opened("/proc/self/clear_refs", os.O_WRONLY)

    def restart_peak(self) -> None:
        """Begin to measure the peak anew."""
        if self._reset is not None:
            try:
                os.pwrite(self._reset, b"5", 0)
            except OSError:
                self._reset = None

    def peak_bytes(self) -> int:
        """Return the most memory held since ``restart_peak``, or ever where that is not known."""
        return self._line(b"VmHWM:") or _lifetime_peak_bytes()

    def resident_bytes(self) -> int:
        """Return the memory held now."""
        return self._line(b"VmRSS:") or _lifetime_peak_bytes()

    def _line(self, name: bytes) -> int:
        if self._status is None:
            return 0
        _, _, rest = os.pread(self._status, 8192, 0).partition(name)
        return int(rest.split(None, 1)[0]) * 1024 if rest else 0


def _opened(path: str, flags: int) -> int | None:
    try:
        return os.open(path, flags)
    except OSError:
        return None


def _lifetime_peak_bytes() -> int:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
