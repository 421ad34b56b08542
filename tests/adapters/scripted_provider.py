"""A local server that speaks OpenAI's Chat Completions, rightly or with one of many faults."""

import asyncio
import gzip
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from time import monotonic
from typing import Any

PIECES = ("Wells ", "are ", "dug ", "by hand.")
TEXT = "".join(PIECES)
USAGE = {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18}
WAIT_SECONDS = 30


@dataclass
class Exchange:
    """One request, and how to answer it."""

    body: dict[str, Any]
    headers: dict[str, str]
    writer: asyncio.StreamWriter

    @property
    def wants_stream(self) -> bool:
        return bool(self.body.get("stream"))

    async def send(self, data: bytes | str) -> None:
        self.writer.write(data if isinstance(data, bytes) else data.encode())
        await self.writer.drain()

    async def head(
        self,
        status: int = 200,
        kind: str = "application/json",
        *more: str,
        length: int | None = None,
    ) -> None:
        lines = [f"HTTP/1.1 {status} Said", f"Content-Type: {kind}", "Connection: close", *more]
        if length is not None:
            lines.append(f"Content-Length: {length}")
        await self.send("\r\n".join(lines) + "\r\n\r\n")

    async def reply(
        self, body: str | bytes, status: int = 200, *more: str, kind: str = "application/json"
    ) -> None:
        data = body if isinstance(body, bytes) else body.encode()
        await self.head(status, kind, *more, length=len(data))
        await self.send(data)

    async def events(self, *data: str) -> None:
        for each in data:
            await self.send(f"data: {each}\n\n")

    async def start(self, *more: str) -> None:
        await self.head(200, "text/event-stream", *more)


Play = Callable[[Exchange], Awaitable[None]]


def chunk(content: str | None = None, finish: str | None = None, **more: Any) -> str:
    delta = {"role": "assistant", "content": content} if content is not None else {}
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return json.dumps({**_frame("chat.completion.chunk"), "choices": [choice], **more})


def usage_chunk(usage: Any = USAGE) -> str:
    return json.dumps({**_frame("chat.completion.chunk"), "choices": [], "usage": usage})


def completion(content: str | None, usage: Any = USAGE, finish: str = "stop") -> str:
    message = {"role": "assistant", "content": content}
    choice = {"index": 0, "message": message, "finish_reason": finish}
    return json.dumps({**_frame("chat.completion"), "choices": [choice], "usage": usage})


def _frame(kind: str) -> dict[str, Any]:
    return {"id": "reply-1", "object": kind, "created": 1_700_000_000, "model": "scripted"}


def answer(
    text: str = TEXT,
    usage: Any = USAGE,
    *,
    done: bool = True,
    wait: float = 0.0,
    pause: float = 0.0,
) -> Play:
    """Answer as one should, streamed word by word; ``pause`` is before each word."""

    async def play(exchange: Exchange) -> None:
        await asyncio.sleep(wait)
        words = re.findall(r"\S*\s*", text)[:-1] or [""]
        if not exchange.wants_stream:
            await asyncio.sleep(pause * len(words))
            await exchange.reply(completion(text, usage))
            return
        await exchange.start()
        for word in words:
            await asyncio.sleep(pause)
            await exchange.events(chunk(word))
        await exchange.events(chunk(finish="stop"), usage_chunk(usage))
        if done:
            await exchange.events("[DONE]")

    return play


def fails(status: int, *more: str, body: str = "", kind: str = "application/json") -> Play:
    async def play(exchange: Exchange) -> None:
        said = {"message": f"scripted {status} of sk-secret", "type": "scripted", "code": None}
        await exchange.reply(body or json.dumps({"error": said}), status, *more, kind=kind)

    return play


def says(body: bytes | str, *more: str, kind: str = "application/json") -> Play:
    async def play(exchange: Exchange) -> None:
        await exchange.reply(body, 200, *more, kind=kind)

    return play


def streams(*data: str, cut: bool = False) -> Play:
    """Send these events and stop: properly, or in the middle of what was announced."""

    async def play(exchange: Exchange) -> None:
        await exchange.start(*(["Content-Length: 100000"] if cut else []))
        await exchange.events(*data)

    return play


async def silence(exchange: Exchange) -> None:
    del exchange
    await asyncio.sleep(60)


async def drip(exchange: Exchange) -> None:
    text = "".join(f"data: {each}\n\n" for each in map(chunk, PIECES * 9))
    body = text if exchange.wants_stream else completion(TEXT)
    await exchange.head(200, "text/event-stream" if exchange.wants_stream else "application/json")
    for byte in body.encode():
        await exchange.send(bytes([byte]))
        await asyncio.sleep(1)


async def endless(exchange: Exchange) -> None:
    if not exchange.wants_stream:
        await exchange.head()
        await exchange.send('{"choices": [')
        while True:
            await exchange.send(" " * 65536)
    await exchange.start()
    while True:
        await exchange.events(*[chunk("more and more of it ")] * 50)


async def oversized(exchange: Exchange) -> None:
    """One line that never ends: no event is ever whole."""
    await exchange.head(200, "text/event-stream" if exchange.wants_stream else "application/json")
    await exchange.send('data: {"x": "' if exchange.wants_stream else '{"x": "')
    for _ in range(20 * 16):
        await exchange.send(b"x" * 65536)


def http_date(seconds: float = WAIT_SECONDS) -> str:
    return format_datetime(datetime.now(UTC) + timedelta(seconds=seconds), usegmt=True)


async def busy_until(exchange: Exchange) -> None:
    await fails(429, f"Retry-After: {http_date()}")(exchange)


async def error_inside(exchange: Exchange) -> None:
    error = json.dumps(
        {"error": {"message": "sk-secret broke", "type": "server_error", "code": 500}}
    )
    if not exchange.wants_stream:
        await exchange.reply(error)
        return
    await exchange.start()
    await exchange.events(chunk("Wells "), error)


FAULTS: dict[str, Play] = {
    "silent": silence,
    "busy seconds": fails(429, f"Retry-After: {WAIT_SECONDS}"),
    "busy date": busy_until,
    "busy": fails(429),
    "no quota": fails(
        429, body='{"error": {"message": "x", "type": "x", "code": "insufficient_quota"}}'
    ),
    "bad key": fails(401),
    "bad request": fails(400),
    "no model": fails(404),
    "request timeout": fails(408),
    "internal": fails(500),
    "gateway": fails(502, body="<html>bad gateway</html>", kind="text/html"),
    "unavailable": fails(503),
    "gateway timeout": fails(504),
    "overloaded": fails(529),
    "redirect": fails(302, "Location: http://127.0.0.1:9/elsewhere"),
    "malformed JSON": says('{"choices": [{"mess'),
    "malformed events": streams('{"choices": [{"del', "[DONE]"),
    "events of another form": streams('{"choices": "none"}', "[1, 2]", '"x"', "[DONE]"),
    "empty body": says(b""),
    "null": says("null"),
    "empty choices": says(json.dumps({**_frame("chat.completion"), "choices": []})),
    "empty choices in events": streams(usage_chunk(), "[DONE]"),
    "no text": answer(""),
    "cut": streams(chunk("Wells "), chunk("are "), cut=True),
    "ends early": streams(chunk("Wells "), chunk("are ")),
    "filtered": streams(chunk("Wells "), chunk(finish="content_filter"), "[DONE]"),
    "not UTF-8": says(b'{"choices": [{"message": {"content": "\xff\xfe"}}]}'),
    "drip": drip,
    "endless": endless,
    "oversized": oversized,
    "wrong type": says("<html>Sign in</html>", kind="text/html"),
    "compressed": says(gzip.compress(b"x" * 100_000), "Content-Encoding: gzip"),
    "error inside": error_inside,
}


@dataclass
class ScriptedProvider:
    """Where it listens, what it was asked, and which connections are open."""

    port: int
    plays: list[Play]
    exchanges: list[Exchange] = field(default_factory=list)
    open: int = 0
    most_open: int = 0
    left_at: list[float] = field(default_factory=list)
    """When clients went away before the reply had ended."""

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def next_play(self) -> Play:
        return self.plays.pop(0) if len(self.plays) > 1 else self.plays[0]

    async def all_left(self, seconds: float = 1.0) -> bool:
        """Wait until no connection is open."""
        ends = monotonic() + seconds
        while self.open and monotonic() < ends:  # noqa: ASYNC110 - as long as it takes, at most
            await asyncio.sleep(0.01)
        return self.open == 0


@asynccontextmanager
async def scripted_provider(*plays: Play) -> AsyncIterator[ScriptedProvider]:
    """Answer the n-th request as the n-th play says, later ones as the last."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        provider.open += 1
        provider.most_open = max(provider.most_open, provider.open)
        try:
            exchange = await _read(reader, writer)
            provider.exchanges.append(exchange)
            await _play(provider, provider.next_play(), exchange, reader)
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            provider.open -= 1
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    provider = ScriptedProvider(server.sockets[0].getsockname()[1], list(plays))
    try:
        yield provider
    finally:
        server.close()
        await provider.all_left(5.0)


async def _play(
    provider: ScriptedProvider, play: Play, exchange: Exchange, reader: asyncio.StreamReader
) -> None:
    """Play until the end, or until the client goes away."""
    playing = asyncio.ensure_future(play(exchange))
    leaving = asyncio.ensure_future(reader.read(1))
    await asyncio.wait({playing, leaving}, return_when=asyncio.FIRST_COMPLETED)
    if not playing.done() or isinstance(playing.exception(), OSError):
        provider.left_at.append(monotonic())
    for task in (playing, leaving):
        task.cancel()
        with suppress(asyncio.CancelledError, OSError):
            await task


async def _read(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Exchange:
    head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
    fields = [line.partition(": ") for line in head[1:] if line]
    headers = {name.lower(): value for name, _, value in fields}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Exchange(json.loads(body), headers | {"": head[0]}, writer)
