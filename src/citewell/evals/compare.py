"""Means with their intervals, and what became better or worse between two runs."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from citewell.evals.metrics import METRICS, SHARES

SEED = 20_260
RESAMPLES = 2_000
Z = 1.959964
"""Of a normal distribution 95 % lie within so many deviations."""
ROUNDED = 6
TOLERANCE = 0.02
"""How much worse a mean may become before the gate closes, if nothing else is said.

Of 35 questions, the answer of one may change places with its neighbour: a chunk's BM25 weights rest
on the mean length of those that were there when it was indexed, so on the order of uploads.
"""

Verdict = Literal["better", "worse", "no difference"]
Rows = Mapping[tuple[str, str], Mapping[str, float]]
"""Each question's metrics, by its id and its text."""


@dataclass(frozen=True, slots=True)
class Mean:
    """A mean with its 95 % confidence interval, over ``count`` questions."""

    mean: float
    low: float
    high: float
    count: int


@dataclass(frozen=True, slots=True)
class Difference:
    """How a metric's mean changed over the questions that both runs have."""

    metric: str
    before: float
    after: float
    difference: float
    low: float
    high: float
    count: int
    verdict: Verdict


def summarise(rows: Sequence[Mapping[str, float]]) -> dict[str, Mean]:
    """Return each metric's mean over the rows that have it."""
    found: dict[str, Mean] = {}
    for name in METRICS:
        values = [row[name] for row in rows if name in row]
        if not values:
            continue
        mean = sum(values) / len(values)
        low, high = wilson(mean, len(values)) if name in SHARES else bootstrap(values)
        found[name] = Mean(rounded(mean), rounded(low), rounded(high), len(values))
    return found


def wilson(share: float, count: int) -> tuple[float, float]:
    """Return the 95 % interval of a share.

    Source:  Wilson, JASA 1927.
    """
    middle = (share + Z * Z / (2 * count)) / (1 + Z * Z / count)
    spread = math.sqrt(share * (1 - share) / count + Z * Z / (4 * count * count))
    width = Z / (1 + Z * Z / count) * spread
    return max(0.0, middle - width), min(1.0, middle + width)


def bootstrap(values: Sequence[float]) -> tuple[float, float]:
    """Return the 95 % interval of a mean, from resamples with a fixed seed.

    Holds:   the same values in another order have the same interval.
    Source:  Efron, Annals of Statistics 1979; the percentile interval.
    """
    data = np.sort(np.asarray(values, dtype=np.float64))
    random = np.random.default_rng(SEED)
    step = max(1, 2_000_000 // len(data))
    means = np.concatenate(
        [
            data[random.integers(0, len(data), (min(step, RESAMPLES - done), len(data)))].mean(1)
            for done in range(0, RESAMPLES, step)
        ]
    )
    low, high = np.percentile(means, [2.5, 97.5])
    return float(low), float(high)


def compare(before: Rows, after: Rows) -> list[Difference]:
    """Return the differences in the metrics that both runs have of the same questions.

    ``verdict`` is better or worse where the 95 % interval of the paired difference leaves out 0.
    """
    found: list[Difference] = []
    shared = [key for key in before if key in after]
    for name in METRICS:
        pairs = [
            (before[key][name], after[key][name])
            for key in shared
            if name in before[key] and name in after[key]
        ]
        if not pairs:
            continue
        changes = [b - a for a, b in pairs]
        low, high = bootstrap(changes)
        verdict: Verdict = "better" if low > 0 else "worse" if high < 0 else "no difference"
        old, new = (sum(each) / len(pairs) for each in zip(*pairs, strict=True))
        found.append(
            Difference(
                metric=name,
                before=rounded(old),
                after=rounded(new),
                difference=rounded(new - old),
                low=rounded(low),
                high=rounded(high),
                count=len(pairs),
                verdict=verdict,
            )
        )
    return found


def list_worse(differences: Sequence[Difference], tolerance: float) -> list[Difference]:
    """Return the metrics whose mean fell by more than is allowed.

    Not only those that are surely worse: the same settings on the same documents give the same
    figures, and a small dataset would hide a fault behind a wide interval.
    """
    return [each for each in differences if each.difference < -tolerance - 10**-ROUNDED]


def rounded(value: float) -> float:
    """Return a figure as it is stored and compared."""
    return round(value, ROUNDED)


def percentiles(values: Sequence[float]) -> dict[str, float]:
    """Return the median and the 95th percentile; nothing of no values."""
    if not values:
        return {}
    p50, p95 = np.percentile(np.asarray(values, dtype=np.float64), [50, 95])
    return {"p50": round(float(p50), 3), "p95": round(float(p95), 3)}
