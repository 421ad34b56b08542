"""The order of a question's path, its refusals and its last event; partners are tiny ports."""

import pytest

from answer.parts import (
    IDS,
    STRONG,
    TEXTS,
    WORDS,
    Index,
    Quoting,
    Store,
    answer,
    kinds,
    pipeline,
    question,
    run,
)
from citewell.answer.path import Question
from citewell.answer.pipeline import AnswerPipeline
from citewell.domain import (
    PUBLIC_WORKSPACE,
    AnswerPolicy,
    AnswerSentence,
    DraftSentence,
    EvidenceFound,
    Finished,
    LegResult,
    Quote,
    Refusal,
    Scope,
    Started,
    WorkspaceId,
)
from citewell.errors import ProviderError, Unavailable, Unprocessable
from citewell.ports import Vectors


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
            question(), "unsupported_answer", [EvidenceFound],
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
    assert [len(task.evidence) for task in model.asked] == [2]
    assert store.asked[0][2] == 100, "each leg returns its candidates, not the limit"
    found = await made.search(PUBLIC_WORKSPACE, "clock", Scope(), 2)
    assert [item.chunk_id for item in found.candidates] == [IDS[0], IDS[1]]
    assert found.candidates[0].scores == {"dense": 0.9, "lexical": 2.0}
    assert found.candidates[0].score == pytest.approx(1.0)
    assert found.term_idf == {"clock": 2.0}


async def test_chunks_that_are_gone_meanwhile_are_left_out() -> None:
    made = pipeline(index=Index(WORDS, gone=IDS[:1]))
    found = await made.search(PUBLIC_WORKSPACE, "clock", Scope(), 6)
    assert [item.chunk_id for item in found.candidates] == [IDS[1], IDS[2]]


async def test_a_model_that_fails_midway_is_an_error_not_an_answer() -> None:
    began = pipeline(model=Quoting(fails=True)).start(question())
    events = began.events()
    for expected in (Started, EvidenceFound, AnswerSentence, AnswerSentence, AnswerSentence):
        assert isinstance(await anext(events), expected)
    with pytest.raises(ProviderError):
        await anext(events)
    with pytest.raises(StopAsyncIteration):
        await anext(events)
    partial = began.result()
    assert [sentence.text for sentence in partial.sentences] == [
        f"{text} [{n}]" for n, text in enumerate(TEXTS, 1)
    ]
    assert partial.refused is False
    assert partial.manifest["evidence"], "what broke off can be replayed too"


async def test_a_store_that_is_away_is_an_error() -> None:
    class Away(Store):
        async def search(
            self, workspace_id: WorkspaceId, vector: Vectors, scope: Scope, limit: int
        ) -> LegResult:
            raise Unavailable

    with pytest.raises(Unavailable):
        await run(pipeline(Away({})), question())


async def test_a_reader_who_leaves_ends_the_models_work() -> None:
    model = Quoting()
    events = pipeline(model=model).start(question()).events()
    for _ in range(3):
        await anext(events)
    assert model.closed is False
    await events.aclose()
    assert model.closed is True


async def test_under_refuse_nothing_is_shown_or_kept_before_all_has_checked() -> None:
    good = DraftSentence(TEXTS[0], (Quote(0, 0, len(TEXTS[0])),))
    bad = DraftSentence("The clock was built in 1657.", (Quote(0, 0, len(TEXTS[0])),))
    policy = AnswerPolicy(citations="refuse")
    made = pipeline(model=Quoting([good, bad, good]))
    assert kinds(await run(made, question(policy=policy))) == [
        Started, EvidenceFound, Refusal, Finished
    ]  # fmt: skip
    assert (await answer(made, question(policy=policy))).sentences == ()
    whole = await answer(pipeline(model=Quoting([good])), question(policy=policy))
    assert whole.answer == f"{TEXTS[0]} [1]"

    began = pipeline(model=Quoting([good], fails=True)).start(question(policy=policy))
    events = began.events()
    for expected in (Started, EvidenceFound):
        assert isinstance(await anext(events), expected)
    with pytest.raises(ProviderError):
        await anext(events)
    assert began.result().sentences == (), "a part of it has not been checked as a whole"


async def test_an_unknown_mode_is_refused_before_anything_runs() -> None:
    with pytest.raises(Unprocessable, match="no mode 'deep'"):
        pipeline().start(question(mode="deep"))


async def test_several_queries_are_searched_and_the_first_ones_words_count() -> None:
    class Telling(Index):
        async def search_lexical(self, question: str, scope: Scope, limit: int) -> LegResult:
            self.queries.append(question)
            return LegResult(WORDS, {question: 1.0})

    index = Telling(WORDS)
    queries = ("first", "second", "third", "fourth", "fifth")
    found = await pipeline(index=index).search_all(PUBLIC_WORKSPACE, queries, Scope(), 3)
    assert index.queries == list(queries)
    assert found.term_idf == {"first": 1.0}
    assert found.candidates[0].chunk_id == IDS[0]


async def test_one_of_several_queries_that_fails_fails_them_all() -> None:
    class Away(Index):
        async def search_lexical(self, question: str, scope: Scope, limit: int) -> LegResult:
            if question == "second":
                raise Unavailable
            return await super().search_lexical(question, scope, limit)

    index = Away(WORDS)
    with pytest.raises(Unavailable):
        await pipeline(index=index).search_all(
            PUBLIC_WORKSPACE, ("first", "second", "third"), Scope(), 3
        )
    assert index.queries == ["first"]
