"""One question on its way: what was asked, and all that is known of it so far."""

from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass, field
from time import perf_counter
from typing import Protocol
from uuid import uuid4

from citewell.answer.budget import Budget
from citewell.domain import (
    Allowance,
    AnswerId,
    AnswerPolicy,
    AnswerSentence,
    Candidate,
    DraftSentence,
    DroppedSentence,
    Grade,
    Json,
    Message,
    Refusal,
    Scope,
    SessionId,
    Usage,
    WorkspaceId,
)
from citewell.ports import LanguageModel
from citewell.telemetry import Stopwatch

DEFAULT_ALLOWANCE = Allowance(seconds=60.0)
DEFAULT_POLICY = AnswerPolicy()


def new_answer_id() -> AnswerId:
    """Return a new answer's id."""
    return AnswerId(uuid4())


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked, where to look, by which rules, and what it may take.

    ``limit`` is on how many chunks the answer may rest; ``history`` what was said before.
    """

    workspace_id: WorkspaceId
    text: str
    scope: Scope
    limit: int
    mode: str = "standard"
    policy: AnswerPolicy = DEFAULT_POLICY
    allowance: Allowance = DEFAULT_ALLOWANCE
    history: tuple[Message, ...] = ()
    session_id: SessionId | None = None
    answer_id: AnswerId = field(default_factory=new_answer_id)


@dataclass(slots=True)
class QuestionPath:
    """What the stages found so far; each stage of the pipeline reads it and adds to it."""

    question: Question
    budget: Budget
    text: str
    """The question as it is searched and answered: standalone."""
    watch: Stopwatch = field(default_factory=Stopwatch)
    queries: tuple[str, ...] = ()
    found: int = 0
    """How many candidates the last search found."""
    evidence: tuple[Candidate, ...] = ()
    term_idf: dict[str, float] = field(default_factory=dict[str, float])
    sentences: list[AnswerSentence] = field(default_factory=list[AnswerSentence])
    dropped: list[DroppedSentence] = field(default_factory=list[DroppedSentence])
    refusal: Refusal | None = None
    strategy: str | None = None
    rephrased: str | None = None
    grades: tuple[Grade, ...] = ()
    confidence: float | None = None
    cannot_answer: bool | None = None
    reasoning: str | None = None
    manifest: Json = field(default_factory=dict[str, object])

    def spend(self, stage: str, started: float, usage: Usage) -> None:
        """Book a stage that began at ``started`` (``perf_counter``) and ends now."""
        seconds = perf_counter() - started
        self.watch.timings_ms[stage] = self.watch.timings_ms.get(stage, 0.0) + seconds * 1000
        self.budget.spend(stage, seconds, usage)


class Toolbox(Protocol):
    """What a mode may use of the pipeline."""

    @property
    def language_model(self) -> LanguageModel | None:
        """The configured language model; None when answers are quoted without one."""
        ...

    async def find(self, path: QuestionPath, queries: tuple[str, ...]) -> None:
        """Search for these queries anew; ``path`` holds the evidence afterwards."""
        ...


SelectStep = Callable[[QuestionPath, Toolbox], Awaitable[None]]
"""Changes the evidence after retrieval, or sets a refusal."""
WriteStep = Callable[[QuestionPath, LanguageModel], AsyncGenerator[DraftSentence | Usage]]
"""Writes the answer in place of the chat model; needs a language model."""


@dataclass(frozen=True, slots=True)
class Mode:
    """A way to answer: the steps that it puts in place of the standard ones.

    ``fill`` ends a structured answer when no language model wrote it, so that its fields are there.
    """

    name: str
    select: SelectStep | None = None
    write: WriteStep | None = None
    fill: Callable[[QuestionPath], None] | None = None
