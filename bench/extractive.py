"""Measure the extractive model through the whole system: what it quotes and what it refuses.

    python -m bench.extractive --beir ../shared/data/beir [--quick] [--data FOLDER] [--json FILE]

Starts Citewell on its own PostgreSQL, takes every set in as a collection, and asks through the
pipeline, in process. Each index is asked its own questions, questions of other sets, and the ones
that only seem to have an answer. ``--data`` keeps the installation, so that the next run only asks.
Prints a table in Markdown; figures are shares of the questions asked, but for the milliseconds.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import httpx
import uvloop

from bench.question_sets import (
    BEIR_SETS,
    Asked,
    QuestionSet,
    few_articles,
    read_examples,
    read_set,
    sample,
    small,
)
from bench.scifact import percentile, running_citewell, wait_until_done
from citewell import embedded
from citewell.answer.path import Question
from citewell.domain import PUBLIC_WORKSPACE, Answer, CollectionId, Finished, Scope
from citewell.settings import Settings
from citewell.wiring import Services, open_services

BATCH_FILES = 100
OWN, OTHER, NEAR, ADVERSARIAL = "own", "of other sets", "of other articles", "made to seem so"
HEADINGS = ("index", "questions", "asked", "refused", "by guard", "answer", "source",
            "sentences", "generate p50", "whole p50")  # fmt: skip


@dataclass(frozen=True)
class Trial:
    """Questions of one kind for one index."""

    index: QuestionSet
    kind: str
    asked: list[Asked]


@dataclass(frozen=True)
class Outcome:
    """What became of one question; ``None`` where the set does not tell what is right."""

    refused: bool
    stopped_by_guard: bool
    answer_quoted: bool | None
    source_quoted: bool | None
    sentences: int
    generate_ms: float | None
    total_ms: float


def make_trials(beir: Path, examples: Path, number: int, seed: int) -> list[Trial]:
    """Choose the indexes and what to ask each of them."""
    sets = [read_set(beir / name) for name in BEIR_SETS]
    squad = sets[0]
    indexes = [*sets, read_examples(examples), few_articles(squad, seed)]
    indexes += [small(each, seed) for each in sets]
    few = number // 3
    trials: list[Trial] = []
    for index in indexes:
        own = sample(index.answerable, number if index is squad else few, seed)
        others = [
            Asked(each.text)
            for other in (*sets, indexes[3])
            if index.name.split(".")[0] != other.name
            for each in sample(other.answerable, few // 2, seed)
        ]
        trials += [Trial(index, OWN, own), Trial(index, OTHER, others)]
        if index.adversarial:
            trials.append(Trial(index, ADVERSARIAL, sample(index.adversarial, few, seed)))
    present = set(indexes[4].documents)
    absent = [Asked(each.text) for each in squad.answerable if not each.sources <= present]
    trials.append(Trial(indexes[4], NEAR, sample(absent, few, seed)))
    return trials


def take_in(client: httpx.Client, index: QuestionSet) -> None:
    """Upload an index's documents into the collection of its name, unless it is there already."""
    known = {each["name"]: each for each in client.get("/collections").json()["collections"]}
    if known.get(index.name, {}).get("document_count") == len(index.documents):
        return
    if index.name not in known:
        client.post("/collections", json={"name": index.name}).raise_for_status()
    items = list(index.documents.items())
    for first in range(0, len(items), BATCH_FILES):
        files = [("files", item) for item in items[first : first + BATCH_FILES]]
        client.post(
            "/documents/upload", files=files, data={"collection": index.name}
        ).raise_for_status()
    wait_until_done(client)


def fill(url: str, trials: Sequence[Trial]) -> dict[str, tuple[CollectionId, int]]:
    """Take all indexes in; return each one's collection and its number of chunks."""
    with httpx.Client(base_url=url, timeout=300) as client:
        for index in {trial.index.name: trial.index for trial in trials}.values():
            started = time.perf_counter()
            take_in(client, index)
            print(f"{index.name}: {time.perf_counter() - started:.0f} s", file=sys.stderr)
        found = client.get("/collections").json()["collections"]
    return {each["name"]: (CollectionId(each["id"]), each["chunk_count"]) for each in found}


async def ask(services: Services, collection: CollectionId, asked: Asked) -> Outcome:
    """Ask one question as the API would, and judge the answer."""
    question = Question(
        PUBLIC_WORKSPACE,
        asked.text,
        Scope(collection_id=collection),
        services.settings.answer.max_evidence,
    )
    started = time.perf_counter()
    answer: Answer | None = None
    async for event in services.answers.start(question).events():
        if isinstance(event, Finished):
            answer = event.answer
    assert answer is not None, "the pipeline ends with Finished"
    total = (time.perf_counter() - started) * 1000
    quoted = _even(" ".join(citation.quote for citation in answer.citations))
    names = {citation.document_name for citation in answer.citations}
    return Outcome(
        refused=answer.refused,
        stopped_by_guard="generate" not in answer.timings_ms,
        answer_quoted=any(_even(each) in quoted for each in asked.answers)
        if asked.answers
        else None,
        source_quoted=bool(names & asked.sources) if asked.sources else None,
        sentences=len(answer.sentences),
        generate_ms=answer.timings_ms.get("generate"),
        total_ms=total,
    )


async def ask_all(
    settings: Settings, trials: Sequence[Trial], collections: dict[str, tuple[CollectionId, int]]
) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = []
    async with open_services(settings) as services:
        for trial in trials:
            collection, chunks = collections[trial.index.name]
            outcomes = [await ask(services, collection, each) for each in trial.asked]
            rows.append({"index": trial.index.name, "chunks": chunks, "kind": trial.kind})
            rows[-1] |= summarise(outcomes)
            print(show(rows[-1:]).splitlines()[-1], file=sys.stderr, flush=True)
    return rows


def summarise(outcomes: Sequence[Outcome]) -> dict[str, object]:
    """Return the shares of a trial's outcomes; milliseconds are of the questions that got there."""
    found: dict[str, list[float]] = {}
    for outcome in outcomes:
        for name, value in asdict(outcome).items():
            if value is not None and (name != "sentences" or not outcome.refused):
                found.setdefault(name, []).append(float(value))
    shares = ("refused", "stopped_by_guard", "answer_quoted", "source_quoted", "sentences")
    row: dict[str, object] = {"asked": len(outcomes)}
    row |= {name: statistics.mean(found[name]) for name in shares if name in found}
    for name in ("generate_ms", "total_ms"):
        if name in found:
            row[f"{name}_p50"] = statistics.median(found[name])
            row[f"{name}_p95"] = percentile(found[name], 0.95)
    return row


def show(rows: Sequence[dict[str, object]]) -> str:
    """Write the figures as a table in Markdown."""
    lines = ["| " + " | ".join(HEADINGS) + " |", "|---" * len(HEADINGS) + "|"]
    keys = ("refused", "stopped_by_guard", "answer_quoted", "source_quoted")
    for row in rows:
        cells = [f"{row['index']} ({row['chunks']:,} chunks)", row["kind"], row["asked"]]
        cells += [f"{row[key]:.3f}" if key in row else "" for key in keys]
        cells.append(f"{row['sentences']:.2f}" if "sentences" in row else "")
        cells += [
            f"{row[key]:.0f} ms" if key in row else ""
            for key in ("generate_ms_p50", "total_ms_p50")
        ]
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join(lines)


def _even(text: str) -> str:
    return " ".join(text.split()).casefold()


def run(trials: Sequence[Trial], data: Path) -> list[dict[str, object]]:
    settings = Settings.load(data=data)
    with running_citewell(data) as (url, _), embedded.attach(settings) as ready:
        return uvloop.run(ask_all(ready, trials, fill(url, trials)))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--beir", type=Path, default=Path("../shared/data/beir"))
    parser.add_argument("--examples", type=Path, default=Path("examples"))
    parser.add_argument(
        "--number", type=int, default=900, help="questions of SQuAD2's own; fewer of others"
    )
    parser.add_argument("--quick", action="store_true", help="30 questions; a look, no measurement")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--data", type=Path, help="keep the installation here for the next run")
    parser.add_argument("--json", type=Path, help="write the figures here too")
    options = parser.parse_args()
    for name in BEIR_SETS:
        if not (options.beir / name / "corpus.jsonl").is_file():
            raise SystemExit(
                f"There is no set {name} in {options.beir}. Name its place with --beir."
            )
    number = 30 if options.quick else options.number
    trials = make_trials(options.beir, options.examples, number, options.seed)
    data = options.data or Path(tempfile.mkdtemp(prefix="citewell-bench-"))
    try:
        rows = run(trials, data)
    finally:
        if options.data is None:
            embedded.remove_data(data)
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1), encoding="utf-8")
    print(show(rows))


if __name__ == "__main__":
    main()
