"""Tiny partners of the pipeline for its tests: a store, an index, an embedder of words."""

import re
import zlib
from collections.abc import AsyncGenerator, Hashable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import numpy as np

from citewell.answer.expand import Expansion
from citewell.answer.path import Question
from citewell.answer.pipeline import AnswerPipeline
from citewell.domain import (
    PUBLIC_WORKSPACE,
    Allowance,
    Answer,
    AnswerEvent,
    Candidate,
    ChunkId,
    DocumentId,
    DraftSentence,
    Finished,
    LegResult,
    Quote,
    Scope,
    Usage,
    VersionId,
    WorkspaceId,
)
from citewell.errors import ProviderError
from citewell.ports import LanguageModel, Purpose, Vectors, WritingTask

TEXTS = ["The pendulum clock was built in 1656.", "The sea is deep.", "A sundial needs the sun."]
IDS = [ChunkId(UUID(int=n + 1)) for n in range(9)]
STRONG = {IDS[0]: 0.9, IDS[1]: 0.7}
WORDS = {IDS[0]: 2.0, IDS[2]: 1.0}
DIMENSION = 64


def candidate(number: int, text: str | None = None, **scores: float) -> Candidate:
    shown = TEXTS[number] if text is None else text
    return Candidate(
        IDS[number], DocumentId(UUID(int=9)), "a.txt", "A", VersionId(UUID(int=8)), number,
        shown, 1000 * number, 1000 * number + len(shown), None, None, None, (), None, {},
        scores=scores,
    )  # fmt: skip


class WordEmbedder:
    """Texts lie close when they share words: each word has a place of its own."""

    name = "words"
    dimension = DIMENSION
    window_tokens = 256

    async def embed(self, texts: Sequence[str], purpose: Purpose) -> Vectors:
        rows = np.zeros((len(texts), DIMENSION), np.float32)
        for row, text in enumerate(texts):
            for word in re.findall(r"\w+", text.lower()):
                rows[row, zlib.crc32(word.encode()) % DIMENSION] += 1
        return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9)

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        return [len(text.split()) for text in texts]


class Store:
    """Finds the same for every question, or what ``by_turn`` has for the n-th search."""

    def __init__(
        self, scores: dict[ChunkId, float], by_turn: Sequence[dict[ChunkId, float]] = ()
    ) -> None:
        self.scores = scores
        self.by_turn = list(by_turn)
        self.asked: list[tuple[WorkspaceId, Scope, int]] = []

    async def search(
        self, workspace_id: WorkspaceId, vector: Vectors, scope: Scope, limit: int
    ) -> LegResult:
        self.asked.append((workspace_id, scope, limit))
        return LegResult(self.by_turn.pop(0) if self.by_turn else self.scores)


class Index:
    """Finds the same words for every question; loads ``TEXTS`` or its own texts."""

    def __init__(
        self,
        scores: dict[ChunkId, float],
        gone: Sequence[ChunkId] = (),
        texts: Sequence[str] = TEXTS,
        idf: Mapping[str, float] | None = None,
    ) -> None:
        self.scores = scores
        self.gone = gone
        self.texts = texts
        self.idf = {"clock": 2.0} if idf is None else idf
        self.queries: list[str] = []

    @asynccontextmanager
    async def read(self, workspace_id: WorkspaceId) -> AsyncGenerator["Index"]:
        yield self

    async def state(self, scope: Scope) -> Hashable:
        return "as ever"

    async def search_dense(self, vector: Vectors, scope: Scope, limit: int) -> LegResult:
        raise AssertionError("a store stands in for the dense leg")

    async def search_lexical(self, question: str, scope: Scope, limit: int) -> LegResult:
        self.queries.append(question)
        return LegResult(self.scores, self.idf, {"shelf": 3})

    async def load(self, chunk_ids: Sequence[ChunkId]) -> Mapping[ChunkId, Candidate]:
        return {
            id_: candidate(IDS.index(id_), self.texts[IDS.index(id_)])
            for id_ in chunk_ids
            if id_ not in self.gone
        }


class Quoting:
    """Quotes each source whole, or what it is told; may fail in the middle."""

    name = "quoting"

    def __init__(self, drafts: Sequence[DraftSentence] | None = None, fails: bool = False) -> None:
        self.drafts = drafts
        self.fails = fails
        self.closed = False
        self.asked: list[WritingTask] = []

    async def write(self, task: WritingTask) -> AsyncGenerator[DraftSentence | Usage]:
        self.asked.append(task)
        whole = [
            DraftSentence(source.text, (Quote(n, source.start, source.end),))
            for n, source in enumerate(task.evidence)
        ]
        try:
            for draft in whole if self.drafts is None else self.drafts:
                yield draft
            if self.fails:
                raise ProviderError
        finally:
            self.closed = True


def pipeline(
    store: Store | None = None,
    index: Index | None = None,
    model: Any = None,
    language_model: LanguageModel | None = None,
    **changes: Any,
) -> AnswerPipeline:
    values: dict[str, Any] = {
        "embedder": WordEmbedder(),
        "store": store or Store(STRONG),
        "index": index or Index(WORDS),
        "chat_model": model or Quoting(),
        "candidates": 100,
        "dense_weight": 0.5,
        "max_question_characters": 200,
        "expansion": Expansion(),
        "language_model": language_model,
        "makers": {"model": "m"},
    }
    return AnswerPipeline(**(values | changes))


def question(
    text: str = "When was the clock built?",
    limit: int = 6,
    seconds: float = 30.0,
    cost_usd: float | None = None,
    **more: Any,
) -> Question:
    allowance = Allowance(seconds, cost_usd)
    return Question(PUBLIC_WORKSPACE, text, Scope(), limit, allowance=allowance, **more)


async def run(made: AnswerPipeline, asked: Question) -> list[AnswerEvent]:
    return [event async for event in made.start(asked).events()]


async def answer(made: AnswerPipeline, asked: Question) -> Answer:
    last = (await run(made, asked))[-1]
    assert isinstance(last, Finished)
    return last.answer


def kinds(events: Sequence[AnswerEvent]) -> list[type]:
    return [type(event) for event in events]
