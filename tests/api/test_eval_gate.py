"""The gate on the examples: open as things are, closed by harms, open for harmless changes.

``bench.gate_mutations`` does more of it, with more seeds.
"""

from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import pytest
from bench.gate_mutations import closes, measure
from bench.ingest_harms import INGEST_HARMS
from bench.search_harms import HARMS, slower

from api.conftest import EXAMPLE_FILES
from api.stage import Api
from citewell.cli.eval_files import TOLERANCE, judge, read_baseline_file
from citewell.domain import PUBLIC_WORKSPACE
from citewell.errors import InputError
from citewell.evals import compare
from citewell.evals.datasets import read_dataset

ROOT = Path(__file__).parents[2]
BASELINE = ROOT / "tests" / "evals" / "examples-baseline.json"
QUESTIONS = read_dataset(ROOT / "examples" / "questions.jsonl")
FEW = QUESTIONS[::3]


@pytest.fixture(scope="module")
async def before(library: Api) -> list[dict[str, Any]]:
    return await measure(library.services, PUBLIC_WORKSPACE, QUESTIONS)


def test_the_command_lines_tolerance_is_the_gates() -> None:
    assert TOLERANCE == compare.TOLERANCE


async def test_the_examples_are_no_worse_than_the_baseline(before: list[dict[str, Any]]) -> None:
    verdict = judge(read_baseline_file(BASELINE), before, TOLERANCE)
    assert verdict["worse"] == [], verdict["differences"]
    assert len(verdict["differences"]) == 16


def test_a_baseline_of_other_questions_is_refused(before: list[dict[str, Any]]) -> None:
    with pytest.raises(InputError, match="not in both"):
        judge(read_baseline_file(BASELINE), before[1:], TOLERANCE)
    with pytest.raises(InputError, match="cannot be read"):
        read_baseline_file(ROOT / "README.md")


@pytest.mark.parametrize("name", ["drop_leg", "truncated_text", "off_by_one", "shuffle_ids"])
async def test_harms_close_the_gate(library: Api, before: list[dict[str, Any]], name: str) -> None:
    pipeline = HARMS[name](library.services.answers, Random(f"{name}0"))
    after = await measure(library.services, PUBLIC_WORKSPACE, FEW, pipeline)
    ids = {each.id for each in FEW}
    assert closes([row for row in before if row["id"] in ids], after)


async def test_a_harm_at_ingest_closes_the_gate(fresh: Api, before: list[dict[str, Any]]) -> None:
    harmed = replace(fresh, ingest=INGEST_HARMS["moved_boundaries"](fresh.ingest, Random(0)))
    reply = await harmed.upload(
        *((name, (ROOT / "examples" / name).read_bytes()) for name in EXAMPLE_FILES)
    )
    assert reply.status_code == 202, reply.text
    assert await harmed.work() == len(EXAMPLE_FILES)
    after = await measure(harmed.services, PUBLIC_WORKSPACE, FEW)
    ids = {each.id for each in FEW}
    assert closes([row for row in before if row["id"] in ids], after)


async def test_other_times_and_another_order_leave_it_open(
    library: Api, before: list[dict[str, Any]]
) -> None:
    pipeline = slower(library.services.answers, Random(0))
    shuffled = Random(0).sample(QUESTIONS, len(QUESTIONS))
    after = await measure(library.services, PUBLIC_WORKSPACE, shuffled, pipeline)
    assert closes(before, after) == []
