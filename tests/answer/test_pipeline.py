"""The order of a question's path, its refusals and its last event; partners are tiny ports."""

from collections.abc import AsyncIterator, Mapping, Sequence
from uuid import UUID

import numpy as np
import pytest

from citewell.answer.pipeline import AnswerPipeline, Question
from citewell.domain import (
    PUBLIC_WORKSPACE,
    AnswerEvent,
    AnswerSentence,
    Candidate,
    ChunkId,
    DocumentId,
    DraftSentence,
    EvidenceFound,
    Finished,
    LegResult,
    Quote,
    Refusal,
    Scope,
    Started,
    VersionId,
    WorkspaceId,
)
from citewell.errors import ProviderError, Unavailable
from citewell.ports import Purpose, Vectors

TEXTS = ["The pendulum clock was built in 1656.", "The sea is deep.", "A sundial needs the sun."]
IDS = [ChunkId(UUID(int=n + 1)) for n in range(len(TEXTS))]


def candidate(number: int) -> Candidate:
    return Candidate(
        IDS[number], DocumentId(UUID(int=9)), "a.txt", "A", VersionId(UUID(int=8)), number,
        TEXTS[number], 100 * number, 100 * number + len(TEXTS[number]), None, None, None, (), None,
        {},
    )  # fmt: skip


class OneVector:
    name = "one"
    dimension = 2
    window_tokens = 256

    async def embed(self, texts: Sequence[str], purpose: Purpose) -> Vectors:
        return np.ones((len(texts), 2), np.float32)

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        return [len(text.split()) for text in texts]


class Store:
    def __init__(self, scores: dict[ChunkId, float]) -> None:
        self.scores = scores
        self.asked: list[tuple[WorkspaceId, Scope, int]] = []

    async def search(
        self, workspace_id: WorkspaceId, vector: Vectors, scope: Scope, limit: int
    ) -> LegResult:
        self.asked.append((workspace_id, scope, limit))
        return LegResult(self.scores)


class Index:
    def __init__(self, scores: dict[ChunkId, float], gone: Sequence[ChunkId] = ()) -> None:
        self.scores = scores
        self.gone = gone

    async def search_lexical(
        self, workspace_id: WorkspaceId, question: str, scope: Scope, limit: int
    ) -> LegResult:
        return LegResult(self.scores, {"clock": 2.0})

    async def load(
        self, workspace_id: WorkspaceId, chunk_ids: Sequence[ChunkId]
    ) -> Mapping[ChunkId, Candidate]:
        return {id_: candidate(IDS.index(id_)) for id_ in chunk_ids if id_ not in self.gone}


class Quoting:
    """Quotes each source whole, or what it is told; may fail in the middle."""

    name = "quoting"

    def __init__(self, drafts: Sequence[DraftSentence] | None = None, fails: bool = False) -> None:
        self.drafts = drafts
        self.fails = fails
        self.asked: list[Sequence[Candidate]] = []

    async def answer(
        self, question: str, evidence: Sequence[Candidate], term_idf: Mapping[str, float]
    ) -> AsyncIterator[DraftSentence]:
        self.asked.append(evidence)
        whole = [
            DraftSentence(source.text, (Quote(n, source.start, source.end),))
            for n, source in enumerate(evidence)
        ]
        for draft in whole if self.drafts is None else self.drafts:
            yield draft
        if self.fails:
            raise ProviderError


STRONG = {IDS[0]: 0.9, IDS[1]: 0.7}
WORDS = {IDS[0]: 2.0, IDS[2]: 1.0}


def pipeline(
    store: Store | None = None, index: Index | None = None, model: Quoting | None = None
) -> AnswerPipeline:
    return AnswerPipeline(
        embedder=OneVector(),
        store=store or Store(STRONG),
        index=index or Index(WORDS),
        chat_model=model or Quoting(),
        candidates=100,
        dense_weight=0.5,
        max_question_characters=200,
    )


def question(text: str = "When was the clock built?", limit: int = 6) -> Question:
    return Question(PUBLIC_WORKSPACE, text, Scope(), limit)


async def run(made: AnswerPipeline, asked: Question) -> list[AnswerEvent]:
    return [event async for event in made.answer(asked)]


def kinds(events: Sequence[AnswerEvent]) -> list[type]:
    return [type(event) for event in events]


async def test_the_order_of_an_answer() -> None:
    events = await run(pipeline(), question())
    assert kinds(events) == [Started, EvidenceFound, *[AnswerSentence] * 3, Finished]
    started, evidence, *sentences, finished = events
    assert isinstance(started, Started)
    assert isinstance(evidence, EvidenceFound)
    assert isinstance(finished, Finished)
    answer = finished.answer
    assert answer.answer_id == started.answer_id
    assert (answer.model, answer.mode, answer.refused) == ("quoting", "standard", False)
    assert answer.sources == evidence.sources
    texts = [item.text for item in sentences if isinstance(item, AnswerSentence)]
    assert answer.answer == " ".join(texts)
    assert answer.sources[0].chunk_id == IDS[0]
    assert [citation.marker for citation in answer.citations] == ["[1]", "[2]", "[3]"]
    assert (answer.reason, answer.message) == (None, None)
    assert answer.question == "When was the clock built?"


async def test_every_stage_is_timed() -> None:
    finished = (await run(pipeline(), question()))[-1]
    assert isinstance(finished, Finished)
    timings = finished.answer.timings_ms
    assert set(timings) >= {"embed", "dense", "lexical", "fuse", "load", "generate", "total"}
    assert all(0 <= value <= timings["total"] + 0.002 for value in timings.values())


@pytest.mark.parametrize(
    ("made", "asked", "reason", "between"),
    [
        (pipeline(), question(""), "empty_question", []),
        (pipeline(), question(" ?!… "), "empty_question", []),
        (pipeline(), question("x" * 201), "question_too_long", []),
        (pipeline(Store({}), Index({})), question(), "nothing_retrieved", []),
        (pipeline(index=Index(WORDS, gone=IDS)), question(), "nothing_retrieved", []),
        (pipeline(Store({IDS[1]: 0.01}), Index({})), question(), "weak_evidence", []),
        (pipeline(model=Quoting([])), question(), "weak_evidence", [EvidenceFound]),
        (
            pipeline(model=Quoting([DraftSentence("Not in the source.", (Quote(0, 0, 5),))])),
            question(), "weak_evidence", [EvidenceFound],
        ),
        (
            pipeline(model=Quoting([DraftSentence("  ", (Quote(0, 0, 5),))])),
            question(), "weak_evidence", [EvidenceFound],
        ),
    ],
)  # fmt: skip
async def test_refusals_say_why_and_still_finish(
    made: AnswerPipeline, asked: Question, reason: str, between: list[type]
) -> None:
    events = await run(made, asked)
    assert kinds(events) == [Started, *between, Refusal, Finished]
    refusal, finished = events[-2:]
    assert isinstance(refusal, Refusal)
    assert isinstance(finished, Finished)
    assert refusal.reason == finished.answer.reason == reason
    assert refusal.message == finished.answer.message
    assert finished.answer.refused
    assert (finished.answer.answer, finished.answer.citations) == ("", ())
    assert finished.answer.timings_ms["total"] >= 0


async def test_an_empty_question_costs_no_search() -> None:
    store, model = Store(STRONG), Quoting()
    await run(pipeline(store, model=model), question("…"))
    assert (store.asked, model.asked) == ([], [])


async def test_only_checked_sentences_come_through() -> None:
    good = DraftSentence(TEXTS[0], (Quote(0, 0, len(TEXTS[0])),))
    bad = DraftSentence("The clock was built in 1657.", (Quote(0, 0, len(TEXTS[0])),))
    events = await run(pipeline(model=Quoting([bad, good, bad])), question())
    assert kinds(events) == [Started, EvidenceFound, AnswerSentence, Finished]


async def test_the_limit_is_the_models_evidence() -> None:
    store, model = Store(STRONG), Quoting()
    made = pipeline(store, model=model)
    await run(made, question(limit=2))
    assert [len(evidence) for evidence in model.asked] == [2]
    assert store.asked[0][2] == 100, "each leg returns its candidates, not the limit"
    found = await made.search(question(limit=2))
    assert [item.chunk_id for item in found.candidates] == [IDS[0], IDS[1]]
    assert found.candidates[0].scores == {"dense": 0.9, "lexical": 2.0}
    assert found.candidates[0].score == pytest.approx(1.0)
    assert found.term_idf == {"clock": 2.0}


async def test_chunks_that_are_gone_meanwhile_are_left_out() -> None:
    found = await pipeline(index=Index(WORDS, gone=IDS[:1])).search(question())
    assert [item.chunk_id for item in found.candidates] == [IDS[1], IDS[2]]


async def test_a_model_that_fails_midway_is_an_error_not_an_answer() -> None:
    events = pipeline(model=Quoting(fails=True)).answer(question())
    for expected in (Started, EvidenceFound, AnswerSentence, AnswerSentence, AnswerSentence):
        assert isinstance(await anext(events), expected)
    with pytest.raises(ProviderError):
        await anext(events)
    with pytest.raises(StopAsyncIteration):
        await anext(events)


async def test_a_store_that_is_away_is_an_error() -> None:
    class Away(Store):
        async def search(
            self, workspace_id: WorkspaceId, vector: Vectors, scope: Scope, limit: int
        ) -> LegResult:
            raise Unavailable

    with pytest.raises(Unavailable):
        await run(pipeline(Away({})), question())
