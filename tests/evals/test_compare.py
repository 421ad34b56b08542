"""Intervals and comparisons: what they cover, and when the gate closes."""

from random import Random

import numpy as np
import pytest

from citewell.evals.compare import (
    bootstrap,
    compare,
    list_worse,
    percentiles,
    summarise,
    wilson,
)


def rows(values: list[float], metric: str = "mrr") -> dict[tuple[str, str], dict[str, float]]:
    return {(str(n), "?"): {metric: value} for n, value in enumerate(values)}


def test_wilson_is_the_published_interval() -> None:
    assert wilson(0.8, 10) == pytest.approx((0.4902, 0.9433), abs=1e-4)
    assert wilson(0.0, 20)[0] == 0.0
    assert wilson(1.0, 20) == (pytest.approx(0.8389, abs=1e-4), 1.0)


def test_intervals_hold_the_true_mean_about_as_often_as_they_say() -> None:
    random = np.random.default_rng(11)
    held = 0
    for _ in range(200):
        low, high = bootstrap(random.beta(4, 2, 60).tolist())
        held += low <= 4 / 6 <= high
    assert 0.90 <= held / 200 <= 0.99


def test_the_order_of_questions_does_not_matter() -> None:
    values = [Random(1).random() for _ in range(50)]
    assert bootstrap(values) == bootstrap(sorted(values)) == bootstrap(values)


def test_a_mean_is_over_the_questions_that_have_the_metric() -> None:
    found = summarise([{"mrr": 1.0}, {"mrr": 0.5}, {"answered": 1.0}])
    assert (found["mrr"].mean, found["mrr"].count) == (0.75, 2)
    assert found["answered"].low < 1.0 == found["answered"].high
    assert "refused" not in found


def test_what_is_surely_better_or_worse_is_said() -> None:
    random = Random(5)
    before = [random.random() * 0.5 for _ in range(80)]
    (better,) = compare(rows(before), rows([v + 0.2 + random.random() * 0.1 for v in before]))
    (worse,) = compare(rows(before), rows([v - 0.05 * random.random() for v in before]))
    (same,) = compare(rows(before), rows([v + random.gauss(0, 0.05) for v in before]))
    assert (better.verdict, worse.verdict, same.verdict) == ("better", "worse", "no difference")
    assert better.low <= better.difference <= better.high
    assert compare(rows(before), rows(before))[0].difference == 0


def test_only_shared_questions_and_metrics_are_compared() -> None:
    before, after = rows([1.0, 1.0, 0.0]), rows([1.0, 0.0])
    after["2", "another text"] = {"mrr": 1.0}
    (found,) = compare(before, after)
    assert (found.count, found.before, found.after) == (2, 1.0, 0.5)
    assert compare(before, rows([1.0], "span_recall")) == []


def test_the_gate_closes_beyond_the_tolerance_only() -> None:
    before = rows([1.0] * 100)
    just = compare(before, rows([1.0] * 99 + [0.0]))
    assert list_worse(just, 0.01) == []
    assert [each.metric for each in list_worse(just, 0.009)] == ["mrr"]
    assert list_worse(compare(rows([0.0]), rows([1.0])), 0.0) == []


def test_percentiles() -> None:
    assert percentiles([]) == {}
    assert percentiles([float(n) for n in range(101)]) == {"p50": 50.0, "p95": 95.0}
