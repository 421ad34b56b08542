"""The parser process: takes one file after another, answers with JSON, trusts none of them."""

import os
import resource
import socket
import sys
import time
import traceback
from dataclasses import replace
from pathlib import Path

from citewell.domain import Json
from citewell.errors import DocumentRejected
from citewell.ingest.confinement import allow_cpu, confine
from citewell.ingest.load import load, preload
from citewell.ingest.transfer import document_to_json, pack, read_message

_MEMORY_MESSAGE = (
    "The file needs more memory than one file may use. Split it, or export it in a simpler format."
)


def main(channel: int, memory_bytes: int) -> None:
    """Serve files until the parent closes the pipe.

    The standard output is kept for answers: what a library prints goes to the standard error.
    """
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    preload()
    memory = _Memory()
    files = socket.socket(fileno=channel)
    refused = confine(memory_bytes, str(Path.cwd()))
    answers.write(pack({"ready": True, "refused": refused}))
    answers.flush()
    while (request := read_message(sys.stdin.buffer)) is not None:
        _, handles, _, _ = socket.recv_fds(files, 1, 1)
        with os.fdopen(handles[0], "rb") as file:
            answer = _answer(request, file.read(), memory)
        answers.write(pack(answer | {"resident_bytes": memory.resident_bytes()}))
        answers.flush()


def _answer(request: Json, data: bytes, memory: "_Memory") -> Json:
    allow_cpu(int(request["cpu_seconds"]))
    memory.restart_peak()
    started = time.perf_counter()
    try:
        document = load(data, request["name"], request["media_type"], request["max_characters"])
        seconds = round(time.perf_counter() - started, 6)
        report = replace(document.report, seconds=seconds, peak_memory_bytes=memory.peak_bytes())
        return {"document": document_to_json(replace(document, report=report))}
    except DocumentRejected as error:
        return {"rejected": [error.reason, error.message]}
    except MemoryError:
        return {"rejected": ["parser_memory", _MEMORY_MESSAGE]}
    except Exception:  # noqa: BLE001 - the door: a parser's bug must end as a reason, not as a hang
        return {"crashed": traceback.format_exc(limit=-6)[-4000:]}


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
