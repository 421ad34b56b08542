"""A local server that speaks OpenAI's embeddings, rightly or with one of many faults."""

import asyncio
import json
import re
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from citewell.ports import Vectors

DIMENSION = 2048


@dataclass(frozen=True, slots=True)
class Asked:
    """A request as it came."""

    path: str
    headers: dict[str, str]
    body: dict[str, Any]


Respond = Callable[[Asked], Awaitable[tuple[int, Any, str]]]


@dataclass(slots=True)
class Server:
    """What was asked, how many requests were open at once, and how to answer."""

    respond: Respond
    url: str = ""
    asked: list[Asked] = field(default_factory=list[Asked])
    open: int = 0
    most_open: int = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.open += 1
        self.most_open = max(self.most_open, self.open)
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            headers = {
                name.lower(): value for name, _, value in (line.partition(": ") for line in head)
            }
            body = await reader.readexactly(int(headers["content-length"]))
            asked = Asked(head[0].split()[1], headers, json.loads(body))
            self.asked.append(asked)
            status, reply, more = await self.respond(asked)
            data = reply if isinstance(reply, bytes) else json.dumps(reply).encode()
            writer.write(
                f"HTTP/1.1 {status} x\r\nContent-Length: {len(data)}\r\n"
                f"Connection: close\r\n{more}\r\n".encode()
                + data
            )
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            return
        finally:
            self.open -= 1
            writer.close()


def bag_of_words(texts: list[str], dimension: int = DIMENSION) -> Vectors:
    """Count words by hashed place: texts that share words come out close."""
    vectors = np.full((len(texts), dimension), 0.01, np.float32)
    for row, text in enumerate(texts):
        for word in re.findall(r"\d+|\w{3,}", text.lower()):
            vectors[row, zlib.crc32(word.encode()) % dimension] += 1
    return vectors


def reply_of(rows: list[Any]) -> dict[str, Any]:
    data = [{"object": "embedding", "index": n, "embedding": row} for n, row in enumerate(rows)]
    return {"object": "list", "data": data, "usage": {"prompt_tokens": 1, "total_tokens": 1}}


async def answer(asked: Asked) -> tuple[int, Any, str]:
    rows = bag_of_words(asked.body["input"], asked.body.get("dimensions", DIMENSION)).tolist()
    reply = reply_of(rows)
    reply["data"].reverse()
    return 200, reply, ""


def replying(reply: Any, status: int = 200, more: str = "") -> Respond:
    async def respond(_: Asked) -> tuple[int, Any, str]:
        return status, reply, more

    return respond


@asynccontextmanager
async def serving(respond: Respond = answer) -> AsyncIterator[Server]:
    """Serve on loopback."""
    made = Server(respond)
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    made.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
    try:
        yield made
    finally:
        server.close()
