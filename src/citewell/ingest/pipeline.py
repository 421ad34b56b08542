"""A file's path: parse (load, section) → chunk → embed, in that order; the caller publishes."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from citewell.domain import Chunk, Json, ParsedDocument
from citewell.ingest.chunk import chunk
from citewell.ingest.embed import embed
from citewell.ports import Embedder, Parser, Vectors

Progress = Callable[[Json], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Indexed:
    """A file made searchable, ready to be published.

    Shapes:  vectors (len(chunks), dimension).
    """

    parsed: ParsedDocument
    chunks: list[Chunk]
    vectors: Vectors


@dataclass(frozen=True, slots=True)
class IngestPipeline:
    """The stages' partners, chosen by wiring."""

    parser: Parser
    embedder: Embedder
    size_tokens: int
    overlap_tokens: int

    async def run(
        self, path: str, name: str, media_type: str | None, progress: Progress
    ) -> Indexed:
        """Turn a stored file into chunks with vectors, telling how far it is.

        Raises:  DocumentRejected – no searchable text can be had.  ProviderError – no embedding.
        """
        await progress({"stage": "parse"})
        parsed = await self.parser.parse(path, name, media_type)
        await progress({"stage": "chunk"})
        chunks = await asyncio.to_thread(
            chunk,
            parsed,
            self.size_tokens,
            self.overlap_tokens,
            self.embedder.window_tokens,
            self.embedder.count_tokens,
        )
        total = len(chunks)

        async def embedded(count: int) -> None:
            await progress({"stage": "embed", "done": count, "total": total})

        await embedded(0)
        vectors = await embed(chunks, self.embedder, embedded)
        await progress({"stage": "publish", "done": total, "total": total})
        return Indexed(parsed, chunks, vectors)
