"""Time and money: what does not fit is left out and said; nothing outlives the deadline."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from time import monotonic

import pytest

from answer.parts import STRONG, Quoting, Store, answer, pipeline, question
from answer.scripted_model import Hang, ScriptedModel
from citewell.answer.budget import (
    FIRST_SECONDS,
    FIRST_TOKENS,
    LEAST_PATIENCE_SECONDS,
    Budget,
    StageTimes,
)
from citewell.answer.optional import attempt
from citewell.answer.path import QuestionPath
from citewell.answer.writer import GroundedWriter
from citewell.domain import (
    Allowance,
    DraftSentence,
    LegResult,
    Quote,
    Scope,
    SkippedStage,
    Usage,
    WorkspaceId,
)
from citewell.errors import ProviderError
from citewell.ports import Vectors, WritingTask


def price(input_tokens: int, output_tokens: int) -> float:
    return (input_tokens + 4 * output_tokens) / 1_000_000


def test_a_stage_that_does_not_fit_is_left_out_and_said() -> None:
    budget = Budget(Allowance(3.5), StageTimes())
    assert budget.allows("grade") is False
    assert budget.skipped == [SkippedStage("grade", "time")]
    assert Budget(Allowance(60), StageTimes()).allows("grade") is True


def test_what_stages_took_is_what_they_are_thought_to_take() -> None:
    times = StageTimes()
    assert times.expect_seconds("grade") == FIRST_SECONDS["grade"]
    for _ in range(30):
        times.note("grade", 10.0, 0.01)
    assert times.expect_seconds("grade") == pytest.approx(10.0)
    assert times.expect_cost("grade", price) == pytest.approx(0.01)
    assert Budget(Allowance(12), times).allows("grade") is False


def test_a_stage_that_was_slow_once_is_tried_again_some_day() -> None:
    times = StageTimes()
    times.note("grade", 100.0, None)
    tries = 1
    while not Budget(Allowance(30), times).allows("grade"):
        tries += 1
    assert 5 < tries < 100


def test_failures_teach_only_when_they_were_slow() -> None:
    times = StageTimes()
    times.note_failure("grade", 0.01)
    assert times.expect_seconds("grade") == FIRST_SECONDS["grade"]
    times.note_failure("grade", 12.0)
    assert times.expect_seconds("grade") > FIRST_SECONDS["grade"]


def test_prices_are_known_before_anything_was_seen() -> None:
    grade, generate = (price(*FIRST_TOKENS[stage]) for stage in ("grade", "generate"))
    exact = Budget(Allowance(60, grade + generate), StageTimes(), price)
    assert exact.allows("grade") is True
    less = Budget(Allowance(60, grade + generate * 0.99), StageTimes(), price)
    assert less.allows("grade") is False
    assert less.skipped == [SkippedStage("grade", "money")]
    assert less.affords_writing(100) is True
    assert less.affords_writing(1_000_000) is False
    spent = Budget(Allowance(60, grade + generate), StageTimes(), price)
    spent.spend("rewrite", 0.1, Usage(0, 0, generate))
    assert spent.allows("grade") is False


def test_without_a_price_or_a_limit_money_is_no_matter() -> None:
    assert Budget(Allowance(60, 0.0), StageTimes()).allows("grade") is True
    assert Budget(Allowance(60, 0.0), StageTimes()).affords_writing(10**9) is True
    assert Budget(Allowance(60), StageTimes(), price).affords_writing(10**12) is True


def test_an_optional_stage_never_takes_what_writing_needs() -> None:
    times = StageTimes()
    assert Budget(Allowance(3600), times).share_seconds("grade") == pytest.approx(8.0, abs=0.1)
    left = Budget(Allowance(6), times).share_seconds("grade")
    assert left == pytest.approx(6 - FIRST_SECONDS["generate"], abs=0.1)
    assert Budget(Allowance(1), times).share_seconds("grade") == 0.0
    times.note("rerank", 0.01, None)
    assert Budget(Allowance(60), times).share_seconds("rerank") == LEAST_PATIENCE_SECONDS


@pytest.mark.parametrize("fault", ["error", "hang"])
async def test_an_optional_stage_that_fails_is_only_said(fault: str) -> None:
    times = StageTimes()
    for _ in range(60):
        times.note("generate", 0.0, None)
        times.note("grade", 0.0, None)
    asked = question(seconds=0.4)
    path = QuestionPath(asked, Budget(asked.allowance, times), asked.text)

    async def work(seconds: float) -> tuple[str, Usage]:
        assert 0 < seconds <= 0.4
        if fault == "error":
            raise ProviderError
        await asyncio.Event().wait()
        raise AssertionError("it waits for ever")

    began = monotonic()
    assert await attempt(path, "grade", work) is None
    assert monotonic() - began < 1.4
    assert path.budget.skipped == [SkippedStage("grade", "failed")]
    assert "grade" in path.watch.timings_ms


async def test_another_time_out_than_ours_is_not_swallowed() -> None:
    asked = question()
    path = QuestionPath(asked, Budget(asked.allowance, StageTimes()), asked.text)

    async def work(seconds: float) -> tuple[str, Usage]:
        raise TimeoutError("a bug")

    with pytest.raises(TimeoutError, match="a bug"):
        await attempt(path, "grade", work)


class HangsAfter:
    """Writes some sentences, then never ends."""

    name = "hangs"

    def __init__(self, drafts: Sequence[DraftSentence]) -> None:
        self.drafts = drafts
        self.closed = False

    async def write(self, task: WritingTask) -> AsyncGenerator[DraftSentence | Usage]:
        assert 0 < task.deadline_seconds <= 0.5
        try:
            for draft in self.drafts:
                yield draft
            await asyncio.Event().wait()
        finally:
            self.closed = True


async def test_a_chat_model_that_hangs_ends_with_the_deadline_and_leaves_what_it_wrote() -> None:
    text = "The pendulum clock was built in 1656."
    model = HangsAfter([DraftSentence(text, (Quote(0, 0, len(text)),))])
    began = pipeline(model=model).start(question(seconds=0.5))
    started = monotonic()
    with pytest.raises(ProviderError, match=r"0\.5 seconds") as caught:
        _ = [event async for event in began.events()]
    assert monotonic() - started < 1.5
    assert caught.value.reason == "provider_timeout"
    assert model.closed
    assert began.result().answer == f"{text} [1]"


async def test_a_language_model_that_hangs_while_writing_ends_with_the_deadline() -> None:
    model = ScriptedModel(Hang())
    made = pipeline(model=GroundedWriter(model), language_model=model)
    started = monotonic()
    with pytest.raises(ProviderError):
        await answer(made, question(seconds=0.4))
    assert monotonic() - started < 1.4
    assert model.closed == 1


async def test_a_search_that_hangs_ends_with_the_deadline() -> None:
    class Hanging(Store):
        async def search(
            self, workspace_id: WorkspaceId, vector: Vectors, scope: Scope, limit: int
        ) -> LegResult:
            await asyncio.Event().wait()
            raise AssertionError("it waits for ever")

    started = monotonic()
    with pytest.raises(ProviderError):
        await answer(pipeline(Hanging(STRONG)), question(seconds=0.3))
    assert monotonic() - started < 1.3


async def test_an_answer_that_would_cost_too_much_is_refused_before_it_is_written() -> None:
    model = ScriptedModel("The pendulum clock was built in 1656. [1]", price=1e-3)
    made = pipeline(model=GroundedWriter(model), language_model=model)
    given = await answer(made, question(cost_usd=0.01))
    assert (given.refused, given.reason) == (True, "over_budget")
    assert model.calls == []
    assert given.usage.cost_usd is None


async def test_money_that_is_short_skips_the_grading_and_still_writes() -> None:
    model = ScriptedModel("CANNOT_ANSWER", price=1e-6)
    made = pipeline(model=GroundedWriter(model), language_model=model)
    given = await answer(made, question(mode="crag", cost_usd=0.003))
    assert model.asked == ["stream"]
    assert given.findings.skipped == (SkippedStage("grade", "money"),)
    assert given.findings.grades, "the strength of the chunks judges instead"
    assert given.usage.cost_usd == pytest.approx(0.001)


async def test_time_that_is_short_skips_the_grading_and_still_answers() -> None:
    model = ScriptedModel("CANNOT_ANSWER")
    made = pipeline(model=Quoting(), language_model=model)
    given = await answer(made, question(mode="crag", seconds=4.0))
    assert model.calls == []
    assert given.findings.skipped == (SkippedStage("grade", "time"),)
    assert given.refused is False
