"""A client of a stream who reads it as it comes, to its end or until it leaves."""

import asyncio
import json
import random
from dataclasses import dataclass, field
from time import monotonic
from typing import Any
from urllib.parse import urlsplit

from api.stage import read_events

READ_BYTES = 65536


@dataclass(frozen=True, slots=True)
class Leave:
    """When a client goes: so many events and seconds after it asked; ``abrupt`` sends a reset."""

    events: int
    seconds: float
    abrupt: bool

    @classmethod
    def draw(cls, draw: random.Random, most_events: int, most_seconds: float) -> "Leave":
        return cls(draw.randint(0, most_events), draw.uniform(0, most_seconds), draw.random() < 0.5)


@dataclass(slots=True)
class Seen:
    """What a client saw; ``body`` is without the marks of chunked transfer."""

    status: int = 0
    body: str = ""
    seconds: float = 0.0
    first_seconds: float = 0.0
    left: bool = False
    error: str = ""
    raw: bytes = field(default=b"", repr=False)

    @property
    def events(self) -> list[tuple[str, Any]]:
        """The stream's whole events."""
        return read_events(self.body) if self.status == 200 else []

    @property
    def last(self) -> tuple[str, Any]:
        return self.events[-1] if self.events else ("nothing", {})


async def read_stream(
    url: str,
    path: str,
    body: dict[str, Any] | None,
    leave: Leave | None = None,
    **headers: str,
) -> Seen:
    """Ask, and read the reply's events until it ends or the client leaves."""
    seen, started = Seen(), monotonic()
    address = urlsplit(url)
    writer: asyncio.StreamWriter | None = None
    try:
        reader, writer = await asyncio.open_connection(address.hostname, address.port)
        writer.write(_request(address.netloc, path, body, headers))
        if leave is None:
            await _read_all(reader, seen, started)
        else:
            await _read_and_leave(reader, seen, started, leave)
    except OSError as error:
        seen.error = type(error).__name__
    finally:
        seen.seconds = monotonic() - started
        if writer is not None:
            if seen.left and leave is not None and leave.abrupt:
                writer.transport.abort()
            writer.close()
    _decode(seen)
    return seen


def _request(host: str, path: str, body: dict[str, Any] | None, headers: dict[str, str]) -> bytes:
    data = b"" if body is None else json.dumps(body).encode()
    lines = [
        f"{'GET' if body is None else 'POST'} {path} HTTP/1.1",
        f"Host: {host}",
        "Connection: close",
        "Content-Type: application/json",
        f"Content-Length: {len(data)}",
        *(f"{name.replace('_', '-')}: {value}" for name, value in headers.items()),
    ]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + data


async def _read_all(reader: asyncio.StreamReader, seen: Seen, started: float) -> None:
    while piece := await reader.read(READ_BYTES):
        seen.first_seconds = seen.first_seconds or monotonic() - started
        seen.raw += piece


async def _read_and_leave(
    reader: asyncio.StreamReader, seen: Seen, started: float, leave: Leave
) -> None:
    """Read until both of its numbers are reached, unless the reply ends before."""

    async def enough() -> None:
        while seen.raw.count(b"event: ") < leave.events:
            piece = await reader.read(READ_BYTES)
            if not piece:
                return
            seen.raw += piece

    await enough()
    reading = asyncio.create_task(_read_all(reader, seen, started))
    await asyncio.wait({reading}, timeout=leave.seconds)
    seen.left = not reading.done()
    reading.cancel()
    await asyncio.gather(reading, return_exceptions=True)


def _decode(seen: Seen) -> None:
    head, _, rest = seen.raw.partition(b"\r\n\r\n")
    if not head:
        return
    seen.status = int(head.split(b" ", 2)[1])
    if b"chunked" not in head.lower():
        seen.body = rest.decode(errors="replace")
        return
    body = bytearray()
    while rest:
        size, mark, rest = rest.partition(b"\r\n")
        length = int(size, 16) if mark and size else 0
        if not length:
            break
        body += rest[:length]
        rest = rest[length + 2 :]
    text = body.decode(errors="replace").replace("\r\n", "\n")
    # Of an event that was cut by leaving, no whole data is known.
    seen.body = text if not seen.left else text.rpartition("\n\n")[0]
