"""Embed a document's chunks, in slices, so that progress can be told and memory stays small."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

import numpy as np

from citewell.errors import ProviderError
from citewell.ports import Embedder, Vectors

SLICE_CHUNKS = 64
PARALLEL_SLICES = 2


class Embeddable(Protocol):
    """A chunk's words, and where they stand."""

    @property
    def text(self) -> str:
        """The words themselves."""
        ...

    @property
    def context(self) -> str:
        """The document's title and the section's path."""
        ...


async def embed(
    chunks: Sequence[Embeddable],
    embedder: Embedder,
    progress: Callable[[int], Awaitable[None]],
) -> Vectors:
    """Embed each chunk with its context; tell after each slice how many are done.

    Shapes:  n chunks → (n, dimension) float32 of unit length, row i for chunk i.
    Raises:  ProviderError – the model failed or returned another shape.
    """
    texts = [f"{chunk.context}\n{chunk.text}" if chunk.context else chunk.text for chunk in chunks]
    vectors = np.zeros((len(texts), embedder.dimension), np.float32)
    step = SLICE_CHUNKS * PARALLEL_SLICES
    for first in range(0, len(texts), step):
        slices = [
            texts[start : start + SLICE_CHUNKS]
            for start in range(first, min(first + step, len(texts)), SLICE_CHUNKS)
        ]
        parts = await asyncio.gather(*(embedder.embed(part, "document") for part in slices))
        block = np.concatenate(parts)
        if block.shape != (sum(map(len, slices)), embedder.dimension):
            raise ProviderError("The embedding model returned vectors of another shape.")
        vectors[first : first + len(block)] = block
        await progress(first + len(block))
    return vectors
