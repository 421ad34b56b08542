"""Embed what several documents have waiting in common batches: short ones fill the gaps."""

import asyncio
from collections import deque
from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from citewell.ports import Embedder, Purpose, Vectors

BATCH_TEXTS = 64


class BatchingEmbedder:
    """Collects texts while the model is busy, and gives it full batches.

    Holds:   at most ``calls`` of the model at once; a text that comes alone to an idle model is
             embedded at once. Texts are served in the order in which they came. One call more
             than the model works on at once waits for it, so that it need not wait for the event
             loop in between.
    """

    def __init__(self, embedder: Embedder, calls: int) -> None:
        self.name = embedder.name
        self.dimension = embedder.dimension
        self.window_tokens = embedder.window_tokens
        self._embedder = embedder
        self._free = calls
        self._servers: set[asyncio.Task[None]] = set()
        self._waiting: deque[tuple[Sequence[str], asyncio.Future[Vectors]]] = deque()

    async def embed(self, texts: Sequence[str], purpose: Purpose) -> Vectors:
        """Embed n texts, together with those of other callers.

        Shapes:  n texts → (n, dimension) float32, each row of unit length.
        Raises:  ProviderError – the model failed on the batch that the texts were in.
        """
        if purpose == "query" or not texts:
            return await self._embedder.embed(texts, purpose)
        future: asyncio.Future[Vectors] = asyncio.get_running_loop().create_future()
        self._waiting.append((texts, future))
        if self._free:
            self._free -= 1
            server = asyncio.create_task(self._serve())
            self._servers.add(server)
            server.add_done_callback(self._servers.discard)
        return await future

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Count each text's tokens as the model sees them."""
        return self._embedder.count_tokens(texts)

    async def _serve(self) -> None:
        batch: list[tuple[Sequence[str], asyncio.Future[Vectors]]] = []
        try:
            while self._waiting:
                batch = self._next_batch()
                await self._embed_batch(batch)
        except asyncio.CancelledError:  # the process stops: nobody may wait for what will not come
            for _, future in (*batch, *self._waiting):
                future.cancel()
            self._waiting.clear()
            raise
        finally:
            self._free += 1

    def _next_batch(self) -> list[tuple[Sequence[str], asyncio.Future[Vectors]]]:
        batch = [self._waiting.popleft()]
        size = len(batch[0][0])
        while self._waiting and size + len(self._waiting[0][0]) <= BATCH_TEXTS:
            batch.append(self._waiting.popleft())
            size += len(batch[-1][0])
        return batch

    async def _embed_batch(
        self, batch: list[tuple[Sequence[str], asyncio.Future[Vectors]]]
    ) -> None:
        wanted = [(texts, future) for texts, future in batch if not future.done()]
        try:
            vectors = await self._embedder.embed(
                [text for texts, _ in wanted for text in texts], "document"
            )
        except Exception as error:  # noqa: BLE001 - it is raised again where the texts came from
            for _, future in wanted:
                if not future.done():
                    future.set_exception(error)
            return
        ends = np.cumsum([0, *(len(texts) for texts, _ in wanted)])
        for (first, last), (_, future) in zip(pairwise(ends), wanted, strict=True):
            if not future.done():
                future.set_result(vectors[first:last])
