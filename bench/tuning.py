"""Measure the choices behind search: fusion, candidates, BM25's budget, how text is cut.

    .venv/bin/python -m bench.tuning --data ../shared/data --json tuning.json

One thing at a time is changed from the defaults. Each case is compared with the default on the same
questions, by a paired bootstrap. SciFact's train claims are used, never the test ones. ``--only``
names some of the groups, ``--sets`` some of the sets, ``--documents`` how many abstracts of SciFact
are cut anew for each way to cut (all that are judged, at least), and ``--cache`` a folder that
keeps vectors, so that the next run need not embed the same text again.
Prints JSON and a Markdown table.
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any, cast

import uvloop

from bench.span_metrics import measure_spans, within
from bench.tuning_cut import Cut
from bench.tuning_fusion import fuse_by
from bench.tuning_index import Bench, Beside, Indexed, Legs
from bench.tuning_sets import DOCS, HEADED, READERS, SCIFACT, SPANS, TuningSet, fewer
from citewell import embedded
from citewell.answer.expand import Expansion, expand
from citewell.answer.fuse import put_first
from citewell.domain import PUBLIC_WORKSPACE, Candidate, ChunkId
from citewell.evals.compare import bootstrap
from citewell.evals.datasets import EvalQuestion
from citewell.evals.metrics import measure_search, of_candidate
from citewell.ports import ChunkIndex
from citewell.records.lexical_lookup import LEAST
from citewell.records.schema import migrate
from citewell.records.session import Database
from citewell.settings import Settings
from citewell.wiring.embedders import open_embedder

PLAIN, UNDER_HEADINGS = (SCIFACT, DOCS, SPANS), (SCIFACT + HEADED, DOCS + HEADED, SPANS)
SHOWN = 5
"""Chunks whose spans are measured, as Chroma's report does."""
ROOM_CHARACTERS = 4_800
"""Text that evidence may have: about that of six chunks of the default size."""
METRICS = {
    "ndcg_at_10": "nDCG@10", "recall_at_100": "recall@100", "recall_5": "span recall@5",
    "precision_5": "precision@5", "iou_5": "IoU@5", "recall_room": "span recall in equal room",
    "iou_room": "IoU in equal room",
}  # fmt: skip


@dataclass(frozen=True)
class Case:
    """One way to cut, search and fuse; ``group`` is the choice that it is about."""

    group: str
    name: str
    cut: Cut
    sets: tuple[str, ...] = PLAIN
    budget: int | None = LEAST
    candidates: int = 100
    fusion: str = "convex"
    weight: float = 0.5
    neighbours: int = 0


def list_cases(settings: Settings) -> list[Case]:
    """Return the defaults, and what is measured against them."""
    found, cut = settings.retrieval, settings.chunk
    own = Cut(cut.size_tokens, cut.overlap_tokens)
    base = Case("default", "default", own, candidates=found.candidates, weight=found.dense_weight,
                neighbours=settings.answer.neighbours)  # fmt: skip
    ways = {"dense": "dense leg alone", "lexical": "lexical leg alone",
            "theoretical": "convex from the theoretical least", "atan": "convex, atan of BM25",
            "rrf60": "RRF, k = 60", "rrf10": "RRF, k = 10"}  # fmt: skip
    cases = [
        *(replace(base, group="budget", name=f"BM25 budget {each or 'unlimited'}", budget=each)
          for each in (60, 125, 250, 500, 1000, 2000, None)),
        *(replace(base, group="fusion", name=f"convex, w = {each}", weight=each)
          for each in (0.3, 0.4, 0.5, 0.6, 0.7, 0.8)),
        *(replace(base, group="fusion", name=name, fusion=way) for way, name in ways.items()),
        *(replace(base, group="candidates", name=f"{each} candidates", candidates=each)
          for each in (50, 100, 200)),
        *(replace(base, group="neighbours", name=f"{each} neighbours", neighbours=each,
                  sets=(SPANS,)) for each in (0, 1, 2)),
    ]  # fmt: skip
    # One of each choice is the default itself.
    named = {"group": base.group, "name": base.name, "sets": base.sets}
    others = [each for each in cases if replace(each, **named) != base]
    return [base, *others, *list_cuts(replace(base, group="chunks", sets=UNDER_HEADINGS))]


def list_cuts(base: Case) -> list[Case]:
    """Return other ways to cut text; those that make no difference on a set are left out there."""
    own = base.cut
    return [
        replace(base, name="default", sets=(SCIFACT + HEADED, DOCS + HEADED)),
        replace(base, name="prefix: none", cut=replace(own, prefix="none")),
        *(replace(base, name=f"{each} tokens", cut=replace(own, size_tokens=each))
          for each in (254, 128)),
        replace(base, name="128 tokens, 1 neighbour", cut=replace(own, size_tokens=128),
                neighbours=1, sets=(SPANS,)),
        replace(base, name="a sentence overlap", cut=replace(own, sentence=True)),
        replace(base, name="40 tokens overlap", cut=replace(own, overlap_tokens=40)),
        replace(base, name="20 tokens overlap", cut=replace(own, overlap_tokens=20), sets=(SPANS,)),
        replace(base, name="160 tokens", cut=replace(own, size_tokens=160), sets=(SPANS,)),
        replace(base, name="prefix: title", cut=replace(own, prefix="title"),
                sets=(DOCS + HEADED,)),
    ]  # fmt: skip


def rank(case: Case, indexed: Indexed, legs: Legs) -> list[Candidate]:
    """Fuse what the legs found, as ``answer/search.py`` does."""
    dense = dict(islice(legs.dense.items(), case.candidates))
    lexical = dict(islice(legs.lexical.scores.items(), case.candidates))
    found = set(legs.lexical.first & lexical.keys()) if case.fusion != "dense" else set[ChunkId]()
    fused = fuse_by(case.fusion, dense, lexical, case.weight)
    return [replace(indexed.chunks[each.chunk_id], score=each.score, scores=each.scores)
            for each in put_first(fused, found)]  # fmt: skip


async def join_neighbours(
    ranked: Sequence[Candidate], neighbours: int, beside: Beside
) -> list[Candidate]:
    """Join as many of the best chunks with their neighbours as fill the room, or a little more."""
    expansion = Expansion(neighbours=neighbours)
    index = cast("ChunkIndex", beside)  # what stands beside a chunk is all that is asked of it
    joined: Sequence[Candidate] = ()
    for limit in range(1, len(ranked) + 1):
        joined = await expand(PUBLIC_WORKSPACE, ranked, limit, 0.0, expansion, index)
        if sum(len(each.text) for each in joined) >= ROOM_CHARACTERS:
            break
    return list(joined)


async def measure_question(
    case: Case, question: EvalQuestion, ranked: Sequence[Candidate], beside: Beside
) -> dict[str, float]:
    """Return a ranking's metrics, and where spans are known those of the text that it brings."""
    found = [of_candidate(each) for each in ranked]
    figures = measure_search(question, found)
    if any(place.span for place in question.places):
        spans = measure_spans(question.places, found[:SHOWN])
        figures |= {f"{name}_{SHOWN}": value for name, value in spans.items()}
        joined = await join_neighbours(ranked, case.neighbours, beside)
        room = within([of_candidate(each) for each in joined], ROOM_CHARACTERS)
        spans = measure_spans(question.places, room)
        figures |= {f"{name}_room": value for name, value in spans.items()}
    return {name: figures[name] for name in METRICS if name in figures}


Rows = list[dict[str, float]]


def summarise(case: Case, found: TuningSet, rows: Rows, base: Rows, chunks: int) -> dict[str, Any]:
    """Return a case's means on a set, and the intervals of their differences to the default's."""
    line: dict[str, Any] = {
        "group": case.group, "case": case.name, "set": found.name,
        "questions": len(rows), "chunks": chunks,
    }  # fmt: skip
    for metric in rows[0]:
        changes = [row[metric] - old[metric] for row, old in zip(rows, base, strict=True)]
        low, high = bootstrap(changes)
        line[metric] = {
            "mean": statistics.mean(row[metric] for row in rows),
            "difference": statistics.mean(changes), "low": low, "high": high,
        }  # fmt: skip
    return line


async def measure_set(
    bench: Bench, found: TuningSet, cases: Sequence[Case]
) -> list[dict[str, Any]]:
    """Measure a set by all cases that are meant for it; each way to cut is indexed once."""
    lines: list[dict[str, Any]] = []
    base: Rows | None = None
    for cut in dict.fromkeys(case.cut for case in cases):
        started = time.perf_counter()
        indexed = await bench.index(found, cut)
        beside = Beside(indexed)
        asked: dict[int | None, list[Legs]] = {}
        for case in (case for case in cases if case.cut == cut):
            if case.budget not in asked:
                asked[case.budget] = await bench.ask(found, indexed, case.budget)
            rows = [
                await measure_question(case, question, rank(case, indexed, legs), beside)
                for question, legs in zip(found.questions, asked[case.budget], strict=True)
            ]
            base = base or rows
            lines.append(summarise(case, found, rows, base, len(indexed.ids)))
            print(row_of(lines[-1]), flush=True)
        print(f"({found.name}, {cut}: {time.perf_counter() - started:.0f} s)", flush=True)
    return lines


def row_of(line: dict[str, Any]) -> str:
    """Return a line of the table: means, and behind them the difference with its interval."""
    cells = [line["group"], line["case"], line["set"], f"{line['chunks']:,}"]
    for metric in METRICS:
        if metric not in line:
            cells.append("")
            continue
        each = line[metric]
        sure = "**" if each["low"] > 0 or each["high"] < 0 else ""
        cells.append(f"{each['mean']:.3f} {sure}{each['difference']:+.3f}{sure} "
                     f"[{each['low']:+.3f}, {each['high']:+.3f}]")  # fmt: skip
    return f"| {' | '.join(cells)} |"


async def measure(
    settings: Settings, sets: Sequence[TuningSet], cases: Sequence[Case], cache: Path | None
) -> list[dict[str, Any]]:
    """Measure all sets in one database that has nothing else in it."""
    assert settings.database_url is not None
    lines: list[dict[str, Any]] = []
    async with AsyncExitStack() as stack:
        embedder = open_embedder(settings, stack, worker=False)
        database = Database(settings.database_url.get_secret_value(), 2)
        stack.push_async_callback(database.close)
        await migrate(database.engine)
        bench = Bench(database, embedder, cache)
        for found in sets:
            own = [case for case in cases if found.name in case.sets]
            if own:
                lines += await measure_set(bench, found, own)
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--only", nargs="*", help="groups, as budget fusion candidates chunks")
    parser.add_argument("--sets", nargs="*", choices=READERS, default=list(READERS))
    parser.add_argument("--documents", type=int, default=None, help="abstracts that are cut anew")
    parser.add_argument("--cache", type=Path, default=None, help="a folder that keeps vectors")
    parser.add_argument("--json", type=Path, default=None, help="write the figures here as well")
    given = parser.parse_args()
    try:
        sets = [read(given.data) for name, read in READERS.items() if name in given.sets]
    except OSError as error:
        raise SystemExit(
            f"The sets are not in {given.data}. Name their folder by --data."
        ) from error
    sets = [
        fewer(each, given.documents) if each.name == SCIFACT + HEADED else each for each in sets
    ]
    settings = Settings()
    cases = list_cases(settings)
    if given.only:
        # The first of a set is what the others are compared with.
        cases = [each for each in cases if each.name == "default" or each.group in given.only]
    with tempfile.TemporaryDirectory(prefix="citewell-bench-") as folder:
        Path(folder).chmod(0o711)
        data = Path(folder) / "data"
        try:
            with embedded.start(settings.model_copy(update={"data": data})) as started:
                lines = uvloop.run(measure(started, sets, cases, given.cache))
        finally:
            embedded.remove_data(data)
    print(json.dumps(lines))
    if given.json is not None:
        given.json.write_text(json.dumps(lines, indent=1), encoding="utf-8")
    heads = ["choice", "case", "set", "chunks", *METRICS.values()]
    print(f"\n| {' | '.join(heads)} |\n|{'---|' * len(heads)}")
    for line in lines:
        print(row_of(line))


if __name__ == "__main__":
    main()
