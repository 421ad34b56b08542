"""Rerank APIs: two forms of request, what replies look like, and what goes wrong."""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from citewell.adapters.http_reranker import MOST_REPLY_BYTES, HttpReranker
from citewell.domain import PUBLIC_WORKSPACE
from citewell.errors import (
    InputError,
    ProviderBadReply,
    ProviderBusy,
    ProviderError,
    ProviderTimeout,
)
from citewell.ports import Reranker
from contracts.reranker import RerankerContract

W = PUBLIC_WORKSPACE
Respond = Callable[["Asked", asyncio.StreamWriter], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Asked:
    """A request as it came."""

    path: str
    headers: dict[str, str]
    body: dict[str, Any]


@dataclass(slots=True)
class Server:
    """A real HTTP server on loopback, which replies by a function."""

    respond: Respond
    url: str = ""
    asked: list[Asked] = field(default_factory=list[Asked])

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            lines = head.split("\r\n")
            headers = {
                name.lower(): value for name, _, value in (line.partition(": ") for line in lines)
            }
            body = await reader.readexactly(int(headers["content-length"]))
            asked = Asked(lines[0].split()[1], headers, json.loads(body))
            self.asked.append(asked)
            await self.respond(asked, writer)
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            return
        finally:
            writer.close()


@asynccontextmanager
async def serving(respond: Respond) -> AsyncIterator[Server]:
    made = Server(respond)
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    made.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/rerank"
    try:
        yield made
    finally:
        server.close()


def send(writer: asyncio.StreamWriter, value: object, status: int = 200, headers: str = "") -> None:
    body = value if isinstance(value, bytes) else json.dumps(value).encode()
    head = (
        f"HTTP/1.1 {status} x\r\nContent-Length: {len(body)}\r\nConnection: close\r\n{headers}\r\n"
    )
    writer.write(head.encode() + body)


def word_counts(asked: Asked) -> list[float]:
    words = set(asked.body["query"].split())
    texts = asked.body.get("documents", asked.body.get("texts"))
    return [float(len(words & set(re.findall(r"\w+", text)))) for text in texts]


def by_rank(scores: list[float], name: str) -> list[dict[str, Any]]:
    results = [{"index": n, name: score} for n, score in enumerate(scores)]
    return sorted(results, key=lambda each: -each[name])


async def cohere(asked: Asked, writer: asyncio.StreamWriter) -> None:
    send(writer, {"id": "1", "results": by_rank(word_counts(asked), "relevance_score")})


async def tei(asked: Asked, writer: asyncio.StreamWriter) -> None:
    if len(asked.body["texts"]) > 32:
        send(writer, {"error": "batch size too large", "error_type": "Validation"}, 422)
        return
    send(writer, by_rank(word_counts(asked), "score"))


def replying(value: object, status: int = 200, headers: str = "") -> Respond:
    async def respond(_: Asked, writer: asyncio.StreamWriter) -> None:
        send(writer, value, status, headers)

    return respond


class TestCohereForm(RerankerContract):
    @pytest.fixture
    async def reranker(self) -> AsyncIterator[Reranker]:
        async with serving(cohere) as server:
            made = HttpReranker(server.url, "rerank-v1", "secret", 10.0)
            yield made
            await made.close()


class TestTeiForm(RerankerContract):
    @pytest.fixture
    async def reranker(self) -> AsyncIterator[Reranker]:
        async with serving(tei) as server:
            made = HttpReranker(server.url, None, None, 10.0, "tei")
            yield made
            await made.close()


async def ask(
    respond: Respond,
    *texts: str,
    key: str | None = None,
    form: Any = "cohere",
    seconds: float = 5.0,
) -> tuple[list[float], list[Asked]]:
    async with serving(respond) as server:
        made = HttpReranker(server.url, "m", key, seconds, form)
        try:
            found, _ = await made.score(W, "clock", list(texts or ("a", "b")), 5.0)
        finally:
            await made.close()
        return list(found), server.asked


async def test_the_request_in_coheres_form() -> None:
    _, (asked,) = await ask(cohere, "a clock", "b", key="top-secret")
    assert asked.path == "/rerank"
    assert asked.body == {"query": "clock", "documents": ["a clock", "b"], "top_n": 2, "model": "m"}
    assert asked.headers["authorization"] == "Bearer top-secret"
    _, (asked,) = await ask(cohere)
    assert "authorization" not in asked.headers


async def test_the_request_in_teis_form_comes_in_batches() -> None:
    texts = [f"text {n}" for n in range(69)] + ["a clock"]
    found, asked = await ask(tei, *texts, form="tei")
    assert [len(each.body["texts"]) for each in asked] == [32, 32, 6]
    assert asked[0].body.keys() == {"query", "texts", "truncate"}
    assert found == [0.0] * 69 + [1.0]


@pytest.mark.parametrize(
    "reply",
    [
        {"results": [{"index": 1, "relevance_score": 2}, {"index": 0, "relevance_score": -1.5}]},
        {"data": [{"index": 1, "relevance_score": 2}, {"index": 0, "relevance_score": -1.5}]},
        {
            "results": [
                {"index": 0, "score": -1.5, "document": "a"},
                {"index": 1, "score": 2},
            ]
        },
        [{"index": 1, "score": 2.0}, {"index": 0, "score": -1.5}],
    ],
)
@pytest.mark.parametrize("form", ["cohere", "tei"])
async def test_a_reply_is_read_by_what_it_looks_like(reply: object, form: str) -> None:
    found, _ = await ask(replying(reply), form=form)
    assert found == [-1.5, 2.0]


@pytest.mark.parametrize(
    "reply",
    [
        b"", b"<html>", b"\xff\xfe", b"[" * 100_000, {}, {"results": None}, {"results": "x"}, "x",
        3, [], [1, 2], [{"index": 0, "score": 1}],
        [{"index": 0, "score": 1}, {"index": 0, "score": 2}],
        [{"index": 0, "score": 1}, {"index": 2, "score": 2}],
        [{"index": 0, "score": 1}, {"index": -1, "score": 2}],
        [{"index": 0, "score": 1}, {"index": 1, "score": "2"}],
        [{"index": 0, "score": 1}, {"index": 1, "score": None}],
        [{"index": 0, "score": 1}, {"index": 1, "score": True}],
        [{"index": 0, "score": 1}, {"index": True, "score": 2}],
        [{"index": 0, "score": 1}, {"index": 1.0, "score": 2}],
        [{"index": 0, "score": 1}, {"index": 1}],
        b'[{"index": 0, "score": 1}, {"index": 1, "score": NaN}]',
        b'[{"index": 0, "score": 1}, {"index": 1, "score": 1e999}]',
        [{"index": n, "score": 1} for n in range(3)],
        b" " * (MOST_REPLY_BYTES + 1),
    ],
)  # fmt: skip
async def test_a_reply_that_cannot_be_is_a_bad_reply(reply: object) -> None:
    with pytest.raises(ProviderBadReply):
        await ask(replying(reply))


@pytest.mark.parametrize(
    ("status", "kind", "reason"),
    [
        (400, ProviderError, "provider_failed"), (401, ProviderError, "provider_refused"),
        (403, ProviderError, "provider_refused"), (404, ProviderError, "provider_failed"),
        (302, ProviderError, "provider_failed"), (422, ProviderError, "provider_failed"),
        (500, ProviderError, "provider_failed"), (429, ProviderBusy, "provider_busy"),
        (503, ProviderBusy, "provider_busy"), (504, ProviderTimeout, "provider_timeout"),
    ],
)  # fmt: skip
async def test_what_a_status_means(status: int, kind: type[ProviderError], reason: str) -> None:
    headers = "Location: http://127.0.0.1:9/\r\n" if status == 302 else ""
    with pytest.raises(ProviderError) as caught:
        await ask(replying({"detail": "top-secret"}, status, headers), key="top-secret")
    assert type(caught.value) is kind
    assert caught.value.reason == reason
    assert "top-secret" not in caught.value.message


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("Retry-After: 7", 7.0),
        ("Retry-After: 99999", 60.0),
        ("Retry-After: soon", 5.0),
        ("X: y", 5.0),
    ],
)
async def test_when_to_come_again(header: str, seconds: float) -> None:
    with pytest.raises(ProviderBusy) as caught:
        await ask(replying({}, 429, f"{header}\r\n"))
    assert caught.value.retry_after_seconds == seconds


async def test_a_slow_server_is_left_at_the_deadline() -> None:
    async def silent(_: Asked, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(3)

    async def dripping(_: Asked, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        for _n in range(30):
            writer.write(b" ")
            await writer.drain()
            await asyncio.sleep(0.1)

    for respond in (silent, dripping):
        started = asyncio.get_running_loop().time()
        with pytest.raises(ProviderTimeout):
            await ask(respond, seconds=0.3)
        assert asyncio.get_running_loop().time() - started < 2.5


async def test_a_server_that_breaks_off_or_is_away() -> None:
    async def half(_: Asked, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n[{")

    async def nothing(_: Asked, writer: asyncio.StreamWriter) -> None:
        writer.close()

    async def nonsense(_: Asked, writer: asyncio.StreamWriter) -> None:
        writer.write(b"SSH-2.0-OpenSSH\r\n\r\n")

    async def badly_packed(_: Asked, writer: asyncio.StreamWriter) -> None:
        send(writer, b"no gzip", headers="Content-Encoding: gzip\r\n")

    for respond in (half, nothing, nonsense, badly_packed):
        with pytest.raises(ProviderError):
            await ask(respond)
    made = HttpReranker("http://127.0.0.1:9/rerank", None, None, 5.0)
    with pytest.raises(ProviderError) as caught:
        await made.score(W, "clock", ["a"], 5.0)
    assert "CITEWELL_RERANK__URL" in caught.value.message
    await made.close()


@pytest.mark.parametrize("url", ["", "rerank", "ftp://a/b", "http://", "http://a:b", "file:///etc"])
def test_an_address_that_is_none_stops_the_start(url: str) -> None:
    with pytest.raises(InputError, match="CITEWELL_RERANK__URL"):
        HttpReranker(url, None, None, 5.0)
