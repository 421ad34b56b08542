"""Harms to how files are cut, embedded and stored; each needs the files to be ingested anew.

The default overlap of chunks is 0, so it cannot be halved. In its place stand two faults of the
same kind: text between two chunks that is in none, and boundaries that lie elsewhere.
"""

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import replace
from random import Random
from typing import Any

import numpy as np

from bench.altered import Altered
from citewell.domain import Chunk, ParsedPart
from citewell.ingest.pipeline import IngestPipeline

PREFIXES = ("passage: ", "title: none | text: ", "Translate to French: ", "0123456789 ", "SELECT ")
Harm = Callable[[IngestPipeline, Random], IngestPipeline]


def _cuts(ingest: IngestPipeline, change: Callable[[ParsedPart], list[Chunk]]) -> IngestPipeline:
    """Change the chunks of each part that is read."""

    async def read(*given: Any) -> AsyncGenerator[ParsedPart]:
        async with aclosing(ingest.parser.read(*given)) as parts:
            async for part in parts:
                assert part.last, "the examples are small files"
                chunks = [each for each in change(part) if each.text.strip()]
                numbered = (replace(each, ordinal=place) for place, each in enumerate(chunks))
                yield replace(part, chunks=tuple(numbered))

    return replace(ingest, parser=Altered(ingest.parser, read=read))


def _each_cut(ingest: IngestPipeline, change: Callable[[Chunk], Chunk]) -> IngestPipeline:
    return _cuts(ingest, lambda part: [change(each) for each in part.chunks])


def _embeds(
    ingest: IngestPipeline, text: Callable[[str], str], order: Callable[[int], Sequence[int]]
) -> IngestPipeline:
    """Change the texts that are embedded, and the order in which their vectors come back."""
    embedder = ingest.embedder

    async def embed(texts: Sequence[str], kind: Any) -> Any:
        vectors = await embedder.embed([text(each) for each in texts], kind)
        return np.asarray(vectors)[list(order(len(texts)))]

    return replace(ingest, embedder=Altered(embedder, embed=embed))


def truncated_chunks(ingest: IngestPipeline, random: Random) -> IngestPipeline:
    """Store only the beginning of each chunk."""
    share = random.uniform(0.2, 0.7)

    def cut(chunk: Chunk) -> Chunk:
        length = max(1, int(len(chunk.text) * share))
        return replace(chunk, text=chunk.text[:length], end=chunk.start + length)

    return _each_cut(ingest, cut)


def truncated_for_embedding(ingest: IngestPipeline, random: Random) -> IngestPipeline:
    """Embed only the beginning of each chunk, as a window that is too small does."""
    share = random.uniform(0.05, 0.3)
    return _embeds(ingest, lambda text: text[: max(1, int(len(text) * share))], range)


def wrong_prefix_of_chunks(ingest: IngestPipeline, random: Random) -> IngestPipeline:
    """Embed each chunk behind words that the model does not expect."""
    prefix = random.choice(PREFIXES) * random.randint(1, 3)
    return _embeds(ingest, lambda text: prefix + text, range)


def wrong_context(ingest: IngestPipeline, random: Random) -> IngestPipeline:
    """Give each chunk the title and section of another one of its document."""

    def shuffle(part: ParsedPart) -> list[Chunk]:
        contexts = random.sample([each.context for each in part.chunks], len(part.chunks))
        sections = random.sample([each.section for each in part.chunks], len(part.chunks))
        given = zip(part.chunks, contexts, sections, strict=True)
        return [replace(each, context=c, section=s) for each, c, s in given]

    return _cuts(ingest, shuffle)


def shuffled_vectors(ingest: IngestPipeline, random: Random) -> IngestPipeline:
    """Store each vector with another chunk of its batch."""
    return _embeds(ingest, lambda text: text, lambda count: random.sample(range(count), count))


def gaps_between_chunks(ingest: IngestPipeline, random: Random) -> IngestPipeline:
    """Lose the first part of each chunk, as an overlap that is counted twice does."""
    share = random.uniform(0.2, 0.5)

    def lose(chunk: Chunk) -> Chunk:
        lost = int(len(chunk.text) * share)
        return replace(chunk, text=chunk.text[lost:], start=chunk.start + lost)

    return _each_cut(ingest, lose)


def moved_boundaries(ingest: IngestPipeline, random: Random) -> IngestPipeline:
    """Cut everything a while later: inside of words, and across sections."""
    share = random.uniform(0.2, 0.8)

    def move(part: ParsedPart) -> list[Chunk]:
        moved: list[Chunk] = []
        for each in part.chunks:
            by = int(len(each.text) * share)
            start, end = each.start + by, min(each.end + by, len(part.text))
            moved.append(replace(each, start=start, end=end, text=part.text[start:end]))
        return moved

    return _cuts(ingest, move)


def off_by_one_chunks(ingest: IngestPipeline, random: Random) -> IngestPipeline:
    """Store each chunk with a place that is one character off."""
    by = random.choice([-1, 1])

    def shift(chunk: Chunk) -> Chunk:
        return replace(chunk, start=max(0, chunk.start + by), end=chunk.end + by)

    return _each_cut(ingest, shift)


INGEST_HARMS: dict[str, Harm] = {
    harm.__name__: harm
    for harm in (truncated_chunks, truncated_for_embedding, wrong_prefix_of_chunks, wrong_context,
                 shuffled_vectors, gaps_between_chunks, moved_boundaries, off_by_one_chunks)
}  # fmt: skip
