"""A file's path: read and cut (load, section, chunk) → embed → publish, in that order.

A small file goes the whole way at once. A large one is staged part by part, and other jobs embed
its parts: neither its text nor its vectors are ever held whole.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from citewell.domain import Chunk, Json, ParsedPart
from citewell.ingest.embed import embed
from citewell.ports import Embedder, Parser, Vectors

Progress = Callable[[Json], Awaitable[None]]


class Publisher(Protocol):
    """Where a version's parts go; each method raises LeaseLost once the job is another's."""

    async def find_vectors(self, chunks: Sequence[Chunk]) -> Mapping[int, Vectors]:
        """Return the vectors, by ordinal, of chunks that the document had before, word by word."""
        ...

    async def publish(self, part: ParsedPart, vectors: Vectors) -> None:
        """Make a whole small version searchable.

        Shapes:  vectors (len(part.chunks), dimension).
        """
        ...

    async def stage(self, number: int, part: ParsedPart) -> None:
        """Keep one part of a large version; number 0 begins anew."""
        ...

    async def fan_out(self) -> None:
        """Have the parts of a staged version embedded, and the version published after them."""
        ...


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A stored file, and what is known of it before it is read."""

    path: str
    name: str
    media_type: str | None
    password: str | None


@dataclass(frozen=True, slots=True)
class IngestPipeline:
    """The stages' partners, chosen by wiring."""

    parser: Parser
    embedder: Embedder

    async def run(self, file: SourceFile, publisher: Publisher, progress: Progress) -> None:
        """Turn a stored file into chunks with vectors, telling how far it is.

        Raises:  DocumentRejected – no searchable text can be had.  ProviderError – no embedding.
                 LeaseLost – the job is another worker's.
        """
        await progress({"stage": "parse"})
        reading = self.parser.read(file.path, file.name, file.media_type, file.password)
        async with aclosing(reading) as parts:
            first = await anext(parts)
            if not first.last:
                await self._stage(first, parts, publisher, progress)
                return
        await self._publish(first, publisher, progress)

    async def _publish(self, part: ParsedPart, publisher: Publisher, progress: Progress) -> None:
        total = len(part.chunks)
        await progress({"stage": "embed", "done": 0, "total": total})
        known = await publisher.find_vectors(part.chunks)
        new = [chunk for chunk in part.chunks if chunk.ordinal not in known]

        async def embedded(count: int) -> None:
            await progress({"stage": "embed", "done": len(known) + count, "total": total})

        vectors = np.zeros((total, self.embedder.dimension), np.float32)
        for ordinal, vector in known.items():
            vectors[ordinal] = vector
        if new:
            vectors[[chunk.ordinal for chunk in new]] = await embed(new, self.embedder, embedded)
        await progress({"stage": "publish", "done": total, "total": total, "reused": len(known)})
        await publisher.publish(part, vectors)

    async def _stage(
        self,
        part: ParsedPart,
        parts: AsyncGenerator[ParsedPart],
        publisher: Publisher,
        progress: Progress,
    ) -> None:
        number = staged = 0
        await publisher.stage(number, part)
        while not part.last:
            staged += len(part.chunks)
            await progress({"stage": "stage", "done": staged, "total": part.head.chunk_count})
            part = await anext(parts)
            number += 1
            await publisher.stage(number, part)
        await publisher.fan_out()
