"""Keep a question inside its time and money: a stage that would not fit is left out, and said.

What a stage takes is foretold from what it took lately, in this process.
"""

from collections.abc import Mapping
from time import monotonic

from citewell.domain import Allowance, SkippedStage, Usage

FIRST_SECONDS: Mapping[str, float] = {
    "standalone": 1.0,
    "rewrite": 1.5,
    "rerank": 1.5,
    "grade": 2.0,
    "rephrase": 1.5,
    "generate": 3.0,
}
"""What a stage with a language model is thought to take before it was seen."""
FOLLOW = 0.2
"""How far one observation moves what is expected."""


class StageTimes:
    """What each stage took lately: an exponentially weighted mean of seconds and dollars."""

    def __init__(self) -> None:
        self._seconds: dict[str, float] = {}
        self._cost_usd: dict[str, float] = {}

    def note(self, stage: str, seconds: float, cost_usd: float | None) -> None:
        """Learn what a stage took."""
        for known, value in ((self._seconds, seconds), (self._cost_usd, cost_usd or 0.0)):
            before = known.get(stage, value)
            known[stage] = before + FOLLOW * (value - before)

    def expect(self, stage: str) -> tuple[float, float]:
        """Return the seconds and dollars that a stage may take."""
        seconds = self._seconds.get(stage, FIRST_SECONDS.get(stage, 0.0))
        return seconds, self._cost_usd.get(stage, 0.0)


class Budget:
    """What is left of one question's allowance."""

    def __init__(self, allowance: Allowance, times: StageTimes) -> None:
        self._ends = monotonic() + allowance.seconds
        self._cost_usd = allowance.cost_usd
        self._times = times
        self.spent = Usage()
        self.skipped: list[SkippedStage] = []

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
        seconds, cost = self._times.expect(stage)
        kept_seconds, kept_cost = self._times.expect(keep_for)
        if seconds + kept_seconds > self.seconds_left:
            self.skipped.append(SkippedStage(stage, "time"))
            return False
        if self._cost_usd is not None:
            spent = self.spent.cost_usd or 0.0
            if spent + cost + kept_cost > self._cost_usd:
                self.skipped.append(SkippedStage(stage, "money"))
                return False
        return True

    def fail(self, stage: str) -> None:
        """Note that an optional stage failed and was left out."""
        self.skipped.append(SkippedStage(stage, "failed"))
