"""Texts of several callers share batches, in their order, and nobody gets another's vectors."""

import asyncio
from collections.abc import Sequence

import numpy as np
import pytest

from citewell.adapters.batching import BATCH_TEXTS, BatchingEmbedder
from citewell.errors import ProviderError
from citewell.ports import Purpose, Vectors


class Model:
    """Embeds a text as its length; slow, and told which batches it got."""

    name = "lengths"
    dimension = 1
    window_tokens = 10

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.running = self.most_running = 0
        self.started = asyncio.Event()

    async def embed(self, texts: Sequence[str], purpose: Purpose) -> Vectors:
        self.batches.append(list(texts))
        self.running += 1
        self.started.set()
        self.most_running = max(self.running, self.most_running)
        await asyncio.sleep(0.01)
        self.running -= 1
        if "poison" in texts:
            raise ProviderError("The model failed.")
        return np.array([[len(text)] for text in texts], np.float32)

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        return [len(text) for text in texts]


async def test_callers_share_batches_and_get_their_own_rows() -> None:
    model = Model()
    embedder = BatchingEmbedder(model, calls=2)
    sizes = [(caller * 7) % 5 + 1 for caller in range(60)]
    replies = await asyncio.gather(
        *(
            embedder.embed(["x" * (10 * caller + row) for row in range(size)], "document")
            for caller, size in enumerate(sizes)
        )
    )
    for caller, (size, vectors) in enumerate(zip(sizes, replies, strict=True)):
        assert vectors.tolist() == [[10 * caller + row] for row in range(size)]
    assert len(model.batches) < 10
    assert max(map(len, model.batches)) <= BATCH_TEXTS
    assert model.most_running == 2


async def test_a_large_request_is_one_batch_and_an_idle_model_starts_at_once() -> None:
    model = Model()
    embedder = BatchingEmbedder(model, calls=1)
    assert (await embedder.embed(["a"] * 200, "document")).shape == (200, 1)
    assert [len(batch) for batch in model.batches] == [200]
    assert (await embedder.embed([], "document")).shape[0] == 0
    await embedder.embed(["question"], "query")
    assert model.batches[-1] == ["question"]


async def test_a_failure_reaches_its_batch_and_the_next_ones_go_on() -> None:
    embedder = BatchingEmbedder(Model(), calls=1)
    first = asyncio.create_task(embedder.embed(["poison"], "document"))
    await asyncio.sleep(0)
    second = asyncio.create_task(embedder.embed(["good"], "document"))
    with pytest.raises(ProviderError):
        await first
    assert (await second).tolist() == [[4]]


async def test_a_caller_that_leaves_does_not_stop_the_others() -> None:
    embedder = BatchingEmbedder(Model(), calls=1)
    busy = asyncio.create_task(embedder.embed(["busy"], "document"))
    await asyncio.sleep(0)
    leaving = asyncio.create_task(embedder.embed(["leaving"], "document"))
    staying = asyncio.create_task(embedder.embed(["staying"], "document"))
    await asyncio.sleep(0)
    leaving.cancel()
    assert (await staying).tolist() == [[7]]
    await busy


async def test_nobody_waits_for_a_model_that_was_cancelled() -> None:
    model = Model()
    embedder = BatchingEmbedder(model, calls=1)
    callers = [
        asyncio.ensure_future(embedder.embed(["x"] * BATCH_TEXTS, "document")) for _ in range(3)
    ]
    await model.started.wait()
    for server in list(embedder._servers):
        server.cancel()
    _, waiting = await asyncio.wait(callers, timeout=2)
    assert not waiting
    assert all(caller.cancelled() for caller in callers)
    assert (await embedder.embed(["four"], "document")).tolist() == [[4]]
