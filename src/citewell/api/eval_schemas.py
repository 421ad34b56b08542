"""The wire's shapes of evaluations."""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from pydantic import Field

from citewell.api.deps import CleanJson, CleanText, CollectionName
from citewell.api.schemas import Request, Wire
from citewell.evals.compare import TOLERANCE, Verdict
from citewell.evals.datasets import MOST_QUESTIONS
from citewell.records.evals import EvalStatus

MOST_GUARD_QUESTIONS = 200
"""A change of the policy waits for these to be answered twice."""


class NewEval(Request):
    """A dataset to be evaluated: its lines are the questions."""

    questions: list[CleanJson] = Field(min_length=1, max_length=MOST_QUESTIONS)
    name: Annotated[CleanText, Field(max_length=200)] = ""
    collection: CollectionName | None = None
    retrieval_only: bool = False


class Mean(Wire):
    """A mean with its 95 % confidence interval."""

    mean: float
    low: float
    high: float
    count: int


class Figures(Wire):
    """What a run came to; times in milliseconds, ``p50`` and ``p95``."""

    metrics: dict[str, Mean] = Field(default_factory=dict[str, Mean])
    search_ms: dict[str, float] = Field(default_factory=dict[str, float])
    answer_ms: dict[str, float] = Field(default_factory=dict[str, float])
    cost_usd: float | None = None
    tokens: int = 0
    failed: int = 0


class Eval(Wire):
    """A run of an evaluation; its figures are there when it has succeeded."""

    eval_id: UUID
    name: str
    status: EvalStatus
    share: float
    reason: str | None
    message: str | None
    dataset_sha256: str
    question_count: int
    collection: str | None
    retrieval_only: bool
    settings_sha256: str | None
    settings: dict[str, Any]
    figures: Figures
    created_by: str
    created_at: datetime
    finished_at: datetime | None


class EvalPage(Wire):
    """A page of runs."""

    evals: list[Eval]
    next_cursor: str | None


class EvalQuestion(Wire):
    """One question of a run: what was expected, and what came of it."""

    ordinal: int
    expected: dict[str, Any]
    result: dict[str, Any] | None


class QuestionPage(Wire):
    """A page of a run's questions, in their order."""

    questions: list[EvalQuestion]
    next_cursor: str | None


class Difference(Wire):
    """How a metric's mean changed over the questions that both runs have."""

    metric: str
    before: float
    after: float
    difference: float
    low: float
    high: float
    count: int
    verdict: Verdict


class Diff(Wire):
    """How run ``b`` compares with run ``a``; ``settings_changed`` names what differs in them."""

    a: UUID
    b: UUID
    same_dataset: bool
    shared: int
    settings_changed: list[str]
    differences: list[Difference]


class Trend(Wire):
    """The last runs of one dataset that ended, oldest first."""

    dataset_sha256: str | None
    evals: list[Eval]


class NewGuard(Request):
    """A dataset that changes of the policy are tried on, and how much worse a mean may become."""

    questions: list[CleanJson] = Field(min_length=1, max_length=MOST_GUARD_QUESTIONS)
    collection: CollectionName | None = None
    tolerance: float = Field(TOLERANCE, ge=0, le=1)


class Guard(Wire):
    """The guard of a workspace."""

    dataset_sha256: str
    question_count: int
    collection: str | None
    tolerance: float
    created_by: str
    created_at: datetime
