"""Keep a question inside its time and money: a stage that would not fit is left out, and said.

What a stage takes is foretold from what it took lately, in this process; before that, from a guess
of its seconds and tokens.
"""

from collections.abc import Callable, Mapping
from time import monotonic

from citewell.domain import Allowance, Refusal, SkippedStage, Usage

FIRST_SECONDS: Mapping[str, float] = {
    "standalone": 1.0,
    "rewrite": 1.5,
    "rerank": 1.5,
    "grade": 2.0,
    "rephrase": 1.5,
    "generate": 3.0,
}
"""What a stage with a language model is thought to take before it was seen."""
FIRST_TOKENS: Mapping[str, tuple[int, int]] = {
    "standalone": (600, 60),
    "rewrite": (300, 150),
    "grade": (2000, 120),
    "rephrase": (300, 60),
    "generate": (2500, 300),
}
"""Tokens in and out of such a stage, to foretell its price. A reranker tells its own later."""
FOLLOW = 0.2
"""How far one observation moves what is expected."""
FORGET = 0.05
"""How far a stage that was left out for time moves back to its first guess, to be tried again."""
PATIENCE = 4.0
LEAST_PATIENCE_SECONDS = 2.0
"""An optional stage may take so many times what is expected, and so many seconds at least."""

OVER_BUDGET = Refusal(
    "over_budget",
    "Writing this answer would cost more than is allowed. Allow more money, or ask with a lower "
    "limit of evidence.",
)

Price = Callable[[int, int], float | None]
"""What so many tokens in and out cost in US dollars; None where no price is known."""


def no_price(_input_tokens: int, _output_tokens: int) -> float | None:
    """Know no price: there is no language model."""
    return None


class StageTimes:
    """What each stage took lately: an exponentially weighted mean of seconds and dollars."""

    def __init__(self) -> None:
        self._seconds: dict[str, float] = {}
        self._cost_usd: dict[str, float] = {}

    def note(self, stage: str, seconds: float, cost_usd: float | None) -> None:
        """Learn what a stage took."""
        _follow(self._seconds, stage, seconds)
        if cost_usd is not None:
            _follow(self._cost_usd, stage, cost_usd)

    def note_failure(self, stage: str, seconds: float) -> None:
        """Learn from a stage that failed late; one that failed at once says nothing of the time."""
        if seconds > self.expect_seconds(stage):
            _follow(self._seconds, stage, seconds)

    def note_left_out(self, stage: str) -> None:
        """Forget a little, so that a stage that was slow once is not left out for ever."""
        expected, first = self.expect_seconds(stage), FIRST_SECONDS.get(stage, 0.0)
        self._seconds[stage] = expected + FORGET * (first - expected)

    def expect_seconds(self, stage: str) -> float:
        """Return the seconds that a stage may take."""
        return self._seconds.get(stage, FIRST_SECONDS.get(stage, 0.0))

    def expect_cost(self, stage: str, price: Price) -> float:
        """Return the dollars that a stage may take; nothing where no price is known."""
        seen = self._cost_usd.get(stage)
        if seen is None and stage in FIRST_TOKENS:
            seen = price(*FIRST_TOKENS[stage])
        return seen or 0.0


def _follow(known: dict[str, float], stage: str, value: float) -> None:
    before = known.get(stage, value)
    known[stage] = before + FOLLOW * (value - before)


class Budget:
    """What is left of one question's allowance."""

    def __init__(self, allowance: Allowance, times: StageTimes, price: Price = no_price) -> None:
        self.allowance = allowance
        self.spent = Usage()
        self.skipped: list[SkippedStage] = []
        self._ends = monotonic() + allowance.seconds
        self._times = times
        self._price = price

    @property
    def seconds_left(self) -> float:
        """Seconds until the deadline; never negative."""
        return max(0.0, self._ends - monotonic())

    def spend(self, stage: str, seconds: float, usage: Usage) -> None:
        """Book what a stage took."""
        self.spent += usage
        self._times.note(stage, seconds, usage.cost_usd)

    def allows(self, stage: str, *, keep_for: str = "generate") -> bool:
        """Say whether an optional stage fits and leaves enough for what must come after it.

        A stage that does not fit is noted as skipped.
        """
        seconds = self._times.expect_seconds(stage) + self._times.expect_seconds(keep_for)
        if seconds > self.seconds_left:
            self._times.note_left_out(stage)
            self.skipped.append(SkippedStage(stage, "time"))
            return False
        cost = self._times.expect_cost(stage, self._price)
        if not self._affords(cost + self._times.expect_cost(keep_for, self._price)):
            self.skipped.append(SkippedStage(stage, "money"))
            return False
        return True

    def share_seconds(self, stage: str, *, keep_for: str = "generate") -> float:
        """Return how long an optional stage may take, so that one that hangs does not eat all."""
        patience = max(PATIENCE * self._times.expect_seconds(stage), LEAST_PATIENCE_SECONDS)
        left = self.seconds_left - self._times.expect_seconds(keep_for)
        return max(0.0, min(patience, left))

    def affords_writing(self, input_tokens: int) -> bool:
        """Say whether an answer from so much input can be paid; it is written whatever the time."""
        estimate = self._price(input_tokens, FIRST_TOKENS["generate"][1])
        seen = self._times.expect_cost("generate", self._price)
        return self._affords(seen if estimate is None else estimate)

    def fail(self, stage: str, seconds: float) -> None:
        """Note that an optional stage failed after so long, and was left out."""
        self.skipped.append(SkippedStage(stage, "failed"))
        self._times.note_failure(stage, seconds)

    def _affords(self, cost_usd: float) -> bool:
        if self.allowance.cost_usd is None:
            return True
        return (self.spent.cost_usd or 0.0) + cost_usd <= self.allowance.cost_usd
