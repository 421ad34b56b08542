"""/v1/embeddings, driven by the official client over real HTTP."""

import asyncio
import base64
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import httpx
import numpy as np
import pytest
from openai import AsyncOpenAI, BadRequestError, InternalServerError, NotFoundError

from api.served import serve
from api.stage import Api
from citewell.errors import ProviderError
from citewell.ports import Purpose, Vectors

MODEL = "all-MiniLM-L6-v2"
TEXTS = ["The pendulum clock of Huygens.", "Sourdough bread.", "x"]


@pytest.fixture(scope="module")
async def address(library: Api) -> AsyncIterator[str]:
    async with serve(library.app) as url:
        yield url


@pytest.fixture(scope="module")
async def client(address: str) -> AsyncIterator[AsyncOpenAI]:
    async with AsyncOpenAI(base_url=f"{address}/v1", api_key="any", max_retries=0) as opened:
        yield opened


async def test_the_vectors_are_the_embedders(client: AsyncOpenAI, library: Api) -> None:
    embedder = library.services.embedder
    expected = await embedder.embed(TEXTS, "document")
    for encoding in ("float", "base64", None):
        chosen: Any = {} if encoding is None else {"encoding_format": encoding}
        reply = await client.embeddings.create(model=MODEL, input=TEXTS, **chosen)
        assert (reply.object, reply.model) == ("list", MODEL)
        assert [item.index for item in reply.data] == [0, 1, 2]
        assert reply.usage.prompt_tokens == sum(embedder.count_tokens(TEXTS))
        assert reply.usage.total_tokens == reply.usage.prompt_tokens
        vectors = [item.embedding for item in reply.data]
        if encoding == "base64":
            raw: Any = vectors
            vectors = [np.frombuffer(base64.b64decode(text), "<f4").tolist() for text in raw]
        assert np.array_equal(np.array(vectors, np.float32), expected)


async def test_one_text_an_alias_and_what_has_no_effect(client: AsyncOpenAI, library: Api) -> None:
    (expected,) = await library.services.embedder.embed(["a clock"], "document")
    reply = await client.embeddings.create(
        model="citewell",
        input="a clock",
        dimensions=384,
        user="someone",
        extra_body={"input_type": "query"},
    )
    assert reply.model == MODEL
    assert np.array_equal(np.array(reply.data[0].embedding, np.float32), expected)


async def test_as_many_texts_as_are_allowed(client: AsyncOpenAI) -> None:
    texts = [f"clock {number}" for number in range(2048)]
    reply = await client.embeddings.create(model=MODEL, input=texts)
    assert [item.index for item in reply.data] == list(range(2048))
    alone = await client.embeddings.create(model=MODEL, input=texts[1500])
    assert np.dot(reply.data[1500].embedding, alone.data[0].embedding) > 0.97


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"input": [1, 2, 3]}, "input"),
        ({"input": [[1, 2], [3]]}, "input"),
        ({"input": []}, "input"),
        ({"input": ""}, "input"),
        ({"input": ["x", ""]}, "input"),
        ({"input": None}, "input"),
        ({"input": 5}, "input"),
        ({"input": {"a": 1}}, "input"),
        ({"input": ["x"] * 2049}, "input"),
        ({"input": "a\0b"}, "input"),
        ({"input": "x" * 4001, "input_type": "query"}, "input"),
        ({"input_type": "poem"}, "input_type"),
        ({"encoding_format": "int8"}, "encoding_format"),
        ({"dimensions": 256}, "dimensions"),
        ({"dimensions": 0}, "dimensions"),
        ({"model": None}, "model"),
    ],
)
async def test_a_bad_parameter_is_named(
    client: AsyncOpenAI, change: dict[str, Any], param: str
) -> None:
    body = {"model": MODEL, "input": "x"} | change
    with pytest.raises(BadRequestError) as found:
        await client.post("/embeddings", body=body, cast_to=object)
    assert found.value.param == param
    assert "Value error" not in found.value.message


async def test_half_a_surrogate_pair_is_refused(address: str) -> None:
    async with httpx.AsyncClient(base_url=address) as plain:
        reply = await plain.post(
            "/v1/embeddings",
            content=b'{"model": "citewell", "input": "a\\ud800b"}',
            headers={"content-type": "application/json"},
        )
    assert (reply.status_code, reply.json()["error"]["param"]) == (400, "input")


@pytest.mark.parametrize("model", ["text-embedding-3-small", "default", "nowhere"])
async def test_another_model_is_not_replaced_in_silence(client: AsyncOpenAI, model: str) -> None:
    with pytest.raises(NotFoundError) as found:
        await client.embeddings.create(model=model, input="x")
    assert found.value.code == "model_not_found"
    assert MODEL in found.value.message


async def test_long_texts_are_cut_and_the_body_is_bounded(
    client: AsyncOpenAI, library: Api
) -> None:
    long = "word " * 5000
    many = await client.embeddings.create(model=MODEL, input=[long] * 60)
    assert len(many.data) == 60
    assert many.usage.prompt_tokens == 60 * 5000
    for path, most in {"embeddings": 8 * 1_048_576, "chat/completions": 1_048_576}.items():
        reply = await library.client.post(f"/v1/{path}", json={"input": "x" * most})
        assert reply.status_code == 413
        assert reply.json()["error"]["code"] == "too_large"


class CountingEmbedder:
    """Embeds slowly and counts its batches; the third one fails where that is wanted."""

    name, dimension, window_tokens = MODEL, 384, 256

    def __init__(self, *, fails: bool) -> None:
        self.batches = 0
        self._fails = fails

    async def embed(self, texts: Sequence[str], purpose: Purpose) -> Vectors:
        self.batches += 1
        await asyncio.sleep(0.2)
        if self._fails and self.batches == 3:
            raise ProviderError("The embedding model failed on a text.")
        return np.zeros((len(texts), 384), np.float32)

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        return [1] * len(texts)


@pytest.fixture
def use_embedder(library: Api) -> Iterator[Callable[[CountingEmbedder], None]]:
    """Embed with another model during one test."""
    state = library.app.state
    services = state.services

    def use(embedder: CountingEmbedder) -> None:
        state.services = replace(services, embedder=embedder)

    yield use
    state.services = services


async def test_a_model_that_fails(client: AsyncOpenAI, use_embedder: Callable[..., None]) -> None:
    use_embedder(CountingEmbedder(fails=True))
    with pytest.raises(InternalServerError) as found:
        await client.embeddings.create(model=MODEL, input=["x"] * 500)
    assert (found.value.status_code, found.value.code) == (502, "provider_failed")


async def test_a_client_that_leaves_ends_the_work(
    address: str, use_embedder: Callable[..., None]
) -> None:
    embedder = CountingEmbedder(fails=False)
    use_embedder(embedder)
    async with httpx.AsyncClient(base_url=address) as plain:
        with pytest.raises(httpx.ReadTimeout):
            await plain.post(
                "/v1/embeddings", json={"model": MODEL, "input": ["x"] * 2048}, timeout=0.5
            )
    left = time.monotonic()
    await asyncio.sleep(1)
    seen = embedder.batches
    await asyncio.sleep(0.6)
    assert embedder.batches == seen < 10, time.monotonic() - left
