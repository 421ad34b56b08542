"""Embedding APIs: what is sent, what replies look like, and what goes wrong."""

import asyncio
import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from time import monotonic
from typing import Any

import numpy as np
import pytest

from adapters.embedding_server import (
    DIMENSION,
    Asked,
    Respond,
    Server,
    answer,
    bag_of_words,
    reply_of,
    replying,
    serving,
)
from citewell.adapters.embedder_names import EmbedderChoice
from citewell.adapters.embedding_replies import read_wait
from citewell.adapters.http_embedder import EmbeddingLimits, HttpEmbedder, Wording, shorten
from citewell.adapters.minilm_tokenizer import count_tokens
from citewell.errors import ProviderBadReply, ProviderBusy, ProviderError, ProviderTimeout
from citewell.ports import Embedder
from contracts.embedder import EmbedderContract

SECRET = "a key that nobody may see"
QUICK = EmbeddingLimits(timeout_seconds=5.0, max_attempts=2)


def open_at(
    url: str,
    wording: Wording = Wording(),  # noqa: B008 - it is frozen
    limits: EmbeddingLimits = QUICK,
    *,
    dimension: int = DIMENSION,
    send_dimension: bool = False,
) -> HttpEmbedder:
    choice = EmbedderChoice("openai", "words", url, SECRET)
    return HttpEmbedder(choice, dimension, wording, limits, send_dimension=send_dimension)


@asynccontextmanager
async def opened(
    respond: Respond = answer, limits: EmbeddingLimits = QUICK, **more: Any
) -> AsyncIterator[tuple[HttpEmbedder, Server]]:
    async with serving(respond) as server:
        embedder = open_at(server.url, limits=limits, **more)
        yield embedder, server
        await embedder.close()


class TestHttpEmbedder(EmbedderContract):
    @pytest.fixture
    async def embedder(self) -> AsyncIterator[Embedder]:
        async with opened() as (made, _):
            yield made


async def test_questions_and_documents_are_told_apart() -> None:
    wording = Wording("query: ", "passage: ", "query", "document", "task")
    async with opened(wording=wording) as (embedder, server):
        await embedder.embed(["Who?"], "query")
        await embedder.embed(["He."], "document")
    first, second = server.asked
    assert first.path == "/v1/embeddings"
    assert first.headers["authorization"] == f"Bearer {SECRET}"
    assert first.body == {
        "model": "words", "input": ["query: Who?"], "encoding_format": "float", "task": "query"
    }  # fmt: skip
    assert (second.body["input"], second.body["task"]) == (["passage: He."], "document")


async def test_batches_keep_to_texts_and_tokens() -> None:
    limits = EmbeddingLimits(batch_texts=3, batch_tokens=20, window_tokens=32)
    async with opened(limits=limits) as (embedder, server):
        texts = ["word " * 9, "word " * 9, "word " * 9, "a", "b", "c", "d", "long " * 100]
        vectors = await embedder.embed(texts, "document")
    sent = [each.body["input"] for each in server.asked]
    assert [len(batch) for batch in sent] == [2, 3, 2, 1]
    assert count_tokens(sent[-1]) == [32]
    assert np.allclose(vectors[0], vectors[1])
    assert len(vectors) == 8


async def test_no_more_calls_at_once_than_allowed() -> None:
    async def slow(asked: Asked) -> tuple[int, Any, str]:
        await asyncio.sleep(0.02)
        return await answer(asked)

    limits = EmbeddingLimits(max_concurrent=2)
    async with opened(slow, limits) as (embedder, server):
        await asyncio.gather(*(embedder.embed([f"text {n}"], "query") for n in range(8)))
    assert server.most_open == 2


async def test_base64_and_a_missing_index_are_read() -> None:
    rows = bag_of_words(["one thing", "another"])
    packed = [{"embedding": base64.b64encode(row.astype("<f4").tobytes()).decode()} for row in rows]
    async with opened(replying({"data": packed})) as (embedder, _):
        vectors = await embedder.embed(["one thing", "another"], "document")
    assert np.allclose(vectors, rows / np.linalg.norm(rows, axis=1, keepdims=True), atol=1e-6)


async def test_a_shorter_vector_is_asked_for_and_named() -> None:
    async with opened(dimension=16, send_dimension=True) as (embedder, server):
        assert (await embedder.embed(["a"], "document")).shape == (1, 16)
    assert server.asked[0].body["dimensions"] == 16
    names = {
        open_at("http://x", wording).name
        for wording in (Wording(), Wording(query_prefix="q: "), Wording(document_prefix="d: "))
    }
    assert len(names | {embedder.name}) == 3, "what documents are embedded with is in the name"


GOOD = [1.0] * DIMENSION
BAD_REPLIES = {
    "no JSON": b"<html>",
    "deep": b"[" * 100_000,
    "no data": {"embedding": GOOD},
    "a list": [GOOD],
    "text": {"data": ["x"]},
    "too few": reply_of([]),
    "too many": reply_of([GOOD, GOOD]),
    "twice": {"data": [{"index": 0, "embedding": GOOD}] * 2},
    "index of text": {"data": [{"index": "0", "embedding": GOOD}]},
    "beyond": {"data": [{"index": 1, "embedding": GOOD}]},
    "nothing": {"data": [{"index": 0}]},
    "words": reply_of([["1.0"] * DIMENSION]),
    "nested": reply_of([[GOOD]]),
    "booleans": reply_of([[True] * DIMENSION]),
    "NaN": reply_of([[*GOOD[1:], float("nan")]]),
    "infinite": reply_of([[*GOOD[1:], 1e400]]),
    "zeros": reply_of([[0.0] * DIMENSION]),
    "no base64": reply_of(["!!"]),
    "half a number": reply_of(["AAA="]),
}


@pytest.mark.parametrize("name", BAD_REPLIES)
async def test_what_is_no_vector_is_refused(name: str) -> None:
    async with opened(replying(BAD_REPLIES[name])) as (embedder, server):
        with pytest.raises(ProviderBadReply, match="embedding"):
            await embedder.embed(["text"], "document")
    assert len(server.asked) == 1, "a bad reply is not asked for again"


async def test_another_dimension_says_what_to_do() -> None:
    async with opened(replying(reply_of([GOOD[1:]]))) as (embedder, _):
        with pytest.raises(ProviderBadReply, match=r"2047 numbers, and 2048.*DIMENSION.*reindex"):
            await embedder.embed(["text"], "document")


@pytest.mark.parametrize(
    ("status", "says"),
    [(401, "API_KEY"), (403, "API_KEY"), (404, "MODEL"), (402, "empty"), (400, "WINDOW_TOKENS"),
     (413, "BATCH_TEXTS"), (422, "does not take"), (307, "another address")],
)  # fmt: skip
async def test_a_refusal_is_not_tried_again(status: int, says: str) -> None:
    leak = {"error": f"{SECRET} sent text"}
    location = "Location: http://127.0.0.1:1/\r\n"
    async with opened(replying(leak, status, location)) as (embedder, server):
        with pytest.raises(ProviderError, match=says) as caught:
            await embedder.embed(["text"], "document")
    assert caught.value.reason == "provider_refused"
    assert SECRET not in caught.value.message
    assert len(server.asked) == 1


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503])
async def test_what_may_pass_is_tried_again(status: int) -> None:
    async def once(asked: Asked) -> tuple[int, Any, str]:
        if len(server.asked) == 1:
            return status, {}, "Retry-After: 0\r\n"
        return await answer(asked)

    async with opened(once) as (embedder, server):
        assert len(await embedder.embed(["text"], "document")) == 1
    assert len(server.asked) == 2


async def test_a_wait_beyond_the_deadline_is_told_at_once() -> None:
    started = monotonic()
    async with opened(replying({}, 429, "Retry-After: 60\r\n")) as (embedder, _):
        with pytest.raises(ProviderBusy) as caught:
            await embedder.embed(["text"], "document")
    assert caught.value.retry_after_seconds == 60
    assert monotonic() - started < 4


async def test_a_silent_server_ends_at_the_deadline() -> None:
    async def never(_: Asked) -> tuple[int, Any, str]:
        await asyncio.sleep(30)
        raise AssertionError

    limits = EmbeddingLimits(timeout_seconds=0.3)
    async with opened(never, limits) as (embedder, _):
        with pytest.raises(ProviderTimeout, match="TIMEOUT_SECONDS"):
            await embedder.embed(["text"], "document")


async def test_a_server_that_is_not_there_is_left_alone_after_a_while() -> None:
    embedder = open_at("http://127.0.0.1:9/v1", limits=EmbeddingLimits(max_attempts=1))
    for _ in range(5):
        with pytest.raises(ProviderError, match="cannot be reached"):
            await embedder.embed(["text"], "document")
    with pytest.raises(ProviderBusy, match="left alone"):
        await embedder.embed(["text"], "document")
    await embedder.close()


def test_retry_after_is_read_in_both_forms() -> None:
    soon = format_datetime(datetime.now(UTC) + timedelta(seconds=30), usegmt=True)
    assert read_wait("7") == 7
    assert 25 < read_wait(soon) <= 30
    assert read_wait(None) == read_wait("soon") == read_wait("-1") == 1


def test_a_text_is_cut_to_the_window() -> None:
    assert shorten("two words", 8) == "two words"
    assert count_tokens([shorten("unbelievable " * 300, 8)])[0] <= 8
    assert len(shorten("東京" * 300, 8)) == 8
