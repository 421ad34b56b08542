"""Harms to the search path, seeded, each through the pipeline's ports; and one that is none."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from random import Random
from typing import Any

import numpy as np

from bench.altered import Altered, unchanged
from bench.ingest_harms import PREFIXES
from citewell.answer.pipeline import AnswerPipeline
from citewell.domain import Candidate, LegResult, WorkspaceId


def _reads(pipeline: AnswerPipeline, **methods: Callable[..., Any]) -> AnswerPipeline:
    """Change what is read of the index: each method takes the real one, and then its values."""
    index = pipeline.index

    @asynccontextmanager
    async def read(workspace_id: WorkspaceId) -> AsyncGenerator[Altered]:
        async with index.read(workspace_id) as reading:
            altered = {
                name: partial(method, getattr(reading, name)) for name, method in methods.items()
            }
            yield Altered(reading, **altered)

    return replace(pipeline, index=Altered(index, read=read))


def _legs(
    pipeline: AnswerPipeline, dense: Callable[..., Any], lexical: Callable[..., Any]
) -> AnswerPipeline:
    """Change what the legs return."""

    async def search_dense(real: Any, *given: Any) -> LegResult:
        return dense(await real(*given))

    async def search_lexical(real: Any, *given: Any) -> LegResult:
        return lexical(await real(*given))

    return _reads(pipeline, search_dense=search_dense, search_lexical=search_lexical)


def _loads(
    pipeline: AnswerPipeline, change: Callable[[Mapping[Any, Candidate]], Mapping[Any, Candidate]]
) -> AnswerPipeline:
    """Change the chunks that are loaded."""

    async def load(real: Any, *given: Any) -> Mapping[Any, Candidate]:
        return change(await real(*given))

    return _reads(pipeline, load=load)


def _embeds(
    pipeline: AnswerPipeline, text: Callable[[str], str], vector: Callable[[Any], Any]
) -> AnswerPipeline:
    """Change how questions are embedded."""
    embedder = pipeline.embedder

    async def embed(texts: Sequence[str], kind: Any) -> Any:
        if kind != "query":
            return await embedder.embed(texts, kind)
        return vector(await embedder.embed([text(each) for each in texts], kind))

    return replace(pipeline, embedder=Altered(embedder, embed=embed))


def drop_leg(pipeline: AnswerPipeline, random: Random) -> AnswerPipeline:
    def empty(found: LegResult) -> LegResult:
        return replace(found, scores={})

    return _legs(pipeline, *random.choice([(empty, unchanged), (unchanged, empty)]))


def shuffle_ids(pipeline: AnswerPipeline, random: Random) -> AnswerPipeline:
    def shuffle(found: LegResult) -> LegResult:
        ids = random.sample(list(found.scores), len(found.scores))
        return replace(found, scores=dict(zip(ids, found.scores.values(), strict=True)))

    return _legs(
        pipeline, *random.choice([(shuffle, unchanged), (unchanged, shuffle), (shuffle, shuffle)])
    )


def reverse_ranks(pipeline: AnswerPipeline, random: Random) -> AnswerPipeline:
    def turn(found: LegResult) -> LegResult:
        return replace(found, scores=dict(zip(found.scores, reversed(found.scores.values()),
                                              strict=True)))  # fmt: skip

    return _legs(pipeline, *random.choice([(turn, unchanged), (unchanged, turn), (turn, turn)]))


def lose_chunks(pipeline: AnswerPipeline, random: Random) -> AnswerPipeline:
    share, salt = random.uniform(0.1, 0.5), random.random()

    def lose(found: LegResult) -> LegResult:
        kept = {i: s for i, s in found.scores.items() if Random(f"{i}{salt}").random() > share}
        return replace(found, scores=kept)

    return _legs(pipeline, lose, lose)


def wrong_prefix(pipeline: AnswerPipeline, random: Random) -> AnswerPipeline:
    prefix = random.choice(PREFIXES) * random.randint(1, 3)
    return _embeds(pipeline, lambda text: prefix + text, unchanged)


def truncated_question(pipeline: AnswerPipeline, random: Random) -> AnswerPipeline:
    share = random.uniform(0.1, 0.5)
    return _embeds(pipeline, lambda text: text[: int(len(text) * share) or 1], unchanged)


def noisy_vectors(pipeline: AnswerPipeline, random: Random) -> AnswerPipeline:
    noise = np.random.default_rng(random.randrange(2**32))
    size = random.uniform(0.05, 0.2)

    def disturb(vectors: Any) -> Any:
        found = vectors + noise.normal(0, size, vectors.shape).astype(vectors.dtype)
        return found / np.linalg.norm(found, axis=-1, keepdims=True)

    return _embeds(pipeline, unchanged, disturb)


def truncated_text(pipeline: AnswerPipeline, random: Random) -> AnswerPipeline:
    share = random.uniform(0.2, 0.7)

    def cut(chunk: Candidate) -> Candidate:
        length = int(len(chunk.text) * share)
        return replace(chunk, text=chunk.text[:length], end=chunk.start + length)

    return _loads(pipeline, lambda found: {i: cut(chunk) for i, chunk in found.items()})


def off_by_one(pipeline: AnswerPipeline, random: Random) -> AnswerPipeline:
    by = random.choice([-1, 1])

    def shift(chunk: Candidate) -> Candidate:
        return replace(chunk, start=max(0, chunk.start + by), end=chunk.end + by)

    return _loads(pipeline, lambda found: {i: shift(chunk) for i, chunk in found.items()})


def swapped_texts(pipeline: AnswerPipeline, random: Random) -> AnswerPipeline:
    def swap(found: Mapping[Any, Candidate]) -> Mapping[Any, Candidate]:
        texts = random.sample([chunk.text for chunk in found.values()], len(found))
        return {i: replace(chunk, text=text, end=chunk.start + len(text))
                for (i, chunk), text in zip(found.items(), texts, strict=True)}  # fmt: skip

    return _loads(pipeline, swap)


def lost_sections(pipeline: AnswerPipeline, random: Random) -> AnswerPipeline:
    share = random.uniform(0.3, 1.0)

    def lose(chunk: Candidate) -> Candidate:
        if Random(str(chunk.chunk_id)).random() > share:
            return chunk
        return replace(chunk, section_number=None, section_title=None, section_path=(), page=None)

    return _loads(pipeline, lambda found: {i: lose(chunk) for i, chunk in found.items()})


HARMS: dict[str, Callable[[AnswerPipeline, Random], AnswerPipeline]] = {
    harm.__name__: harm
    for harm in (drop_leg, shuffle_ids, reverse_ranks, lose_chunks, wrong_prefix,
                 truncated_question, noisy_vectors, truncated_text, off_by_one, swapped_texts,
                 lost_sections)
}  # fmt: skip


def slower(pipeline: AnswerPipeline, random: Random) -> AnswerPipeline:
    """Change nothing but the time that each leg takes."""

    async def wait(real: Any, *given: Any) -> LegResult:
        await asyncio.sleep(random.uniform(0, 0.005))
        return await real(*given)

    return _reads(pipeline, search_dense=wait, search_lexical=wait)
