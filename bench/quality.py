"""Measure search and answers on public sets, through the public API, and print a table.

    make quality ARGS="--shared ../shared/data --sets scifact examples"

A set whose files are not there is left out; the examples always are. Each set is a collection of
its own in one running Citewell, and is evaluated by ``POST /evals`` as anyone could.
"""

import argparse
import ast
import csv
import json
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import httpx

from bench.scifact import BATCH_FILES, read_beir, running_citewell, wait_until_done
from bench.span_metrics import map_offsets
from citewell import embedded
from citewell.domain import Json
from citewell.evals.datasets import EvalQuestion, Place, read_dataset
from citewell.ingest.load import load

EXAMPLES = Path(__file__).parents[1] / "examples"
METRICS = ("ndcg_at_10", "recall_at_20", "recall_at_100", "span_recall", "citation_precision",
           "citation_recall", "answer_contains", "refusal_accuracy")  # fmt: skip
SQUAD_QUESTIONS = 300
"""Of the thousands, every n-th, so that answerable and unanswerable ones are both there."""


@dataclass(frozen=True)
class QuestionSet:
    """Files to index, and what is asked of them."""

    files: Mapping[str, bytes]
    questions: list[EvalQuestion]
    retrieval_only: bool = False


def read_examples(_: Path) -> QuestionSet:
    files = {path.name: path.read_bytes() for path in sorted(EXAMPLES.iterdir())
             if path.name not in {"questions.jsonl", "README.md"}}  # fmt: skip
    return QuestionSet(files, read_dataset(EXAMPLES / "questions.jsonl"))


def _beir(folder: Path, questions: list[EvalQuestion]) -> QuestionSet:
    documents = read_beir(folder).documents
    files = {f"{plain_name(name)}.txt": text.encode() for name, text in documents.items()}
    return QuestionSet(files, questions, retrieval_only=True)


def plain_name(name: str) -> str:
    """Return a document's name as a file may be called."""
    return "".join(each if each.isalnum() or each in "._-#" else "_" for each in name)


def read_scifact(shared: Path) -> QuestionSet:
    folder = shared / "beir" / "scifact"
    return _beir(folder, read_dataset(folder))


def read_anthropic(shared: Path) -> QuestionSet:
    folder = shared / "beir" / "anthropic-docs"
    questions = [
        EvalQuestion(each.id, each.text, places=tuple(Place(plain_name(p.document), grade=p.grade)
                                                      for p in each.places))
        for each in read_dataset(folder)
    ]  # fmt: skip
    return _beir(folder, questions)


def read_squad(shared: Path) -> QuestionSet:
    """Read questions with and without an answer; phrases are the answers that people gave."""
    folder = shared / "beir" / "squad2-dev-a"
    found: list[EvalQuestion] = []
    for line in (folder / "queries.jsonl").open(encoding="utf-8"):
        query = json.loads(line)
        about = query["metadata"]
        if about["answerable"]:
            place = Place(plain_name(about["paragraph"]))
            phrases = tuple(dict.fromkeys(about["answers"]))
            found.append(EvalQuestion(query["_id"], query["text"], True, (place,), phrases))
        else:
            found.append(EvalQuestion(query["_id"], query["text"], answerable=False))
    made = _beir(folder, found[:: max(1, len(found) // SQUAD_QUESTIONS)])
    return QuestionSet(made.files, made.questions)


def read_spans(shared: Path) -> QuestionSet:
    """Read chunking_evaluation: questions with the passages that answer them, as spans.

    The spans are those of the canonical text, which has less white space than the files.
    """
    folder = shared / "chunking_evaluation"
    files = {f"{path.stem}.txt": path.read_bytes() for path in (folder / "corpora").glob("*.md")}
    offsets = {name: map_offsets(raw.decode(), load(raw, name).text) for name, raw in files.items()}
    found: list[EvalQuestion] = []
    with (folder / "questions_df.csv").open(encoding="utf-8", newline="") as lines:
        for number, row in enumerate(csv.DictReader(lines)):
            try:
                references = json.loads(row["references"])
            except ValueError:
                references = ast.literal_eval(row["references"])
            name = f"{row['corpus_id']}.txt"
            at = offsets[name]
            places = tuple(
                Place(name, span=(at[each["start_index"]], at[each["end_index"]]))
                for each in references
            )
            found.append(EvalQuestion(str(number), row["question"], places=places))
    return QuestionSet(files, found, retrieval_only=True)


SETS: dict[str, Callable[[Path], QuestionSet]] = {
    "examples": read_examples,
    "scifact": read_scifact,
    "anthropic-docs": read_anthropic,
    "squad2": read_squad,
    "chunking_evaluation": read_spans,
}


def index(client: httpx.Client, collection: str, files: Mapping[str, bytes]) -> None:
    client.post("/collections", json={"name": collection}).raise_for_status()
    items = list(files.items())
    for first in range(0, len(items), BATCH_FILES):
        batch = [("files", item) for item in items[first : first + BATCH_FILES]]
        client.post(
            "/documents/upload", files=batch, data={"collection": collection}
        ).raise_for_status()
    wait_until_done(client)


def evaluate(client: httpx.Client, name: str, chosen: QuestionSet) -> Json:
    body = {
        "name": name,
        "collection": name,
        "retrieval_only": chosen.retrieval_only,
        "questions": [each.to_json() for each in chosen.questions],
    }
    reply = client.post("/evals", json=body)
    reply.raise_for_status()
    path = reply.headers["location"]
    while (run := client.get(path).json())["status"] in {"pending", "running"}:
        time.sleep(0.5)
    if run["status"] != "succeeded":
        raise SystemExit(f"{name} could not be evaluated: {run['message']}")
    return run


def row_of(run: Json) -> str:
    """Return a run's line of the table: each mean with half the width of its interval."""
    means = run["figures"]["metrics"]
    cells = [
        f"{means[name]['mean']:.3f} ± {(means[name]['high'] - means[name]['low']) / 2:.3f}"
        if name in means
        else ""
        for name in METRICS
    ]
    times = run["figures"]["search_ms"]
    return " | ".join(
        ["", run["name"], str(run["question_count"]), *cells,
         f"{times['p50']:.1f} / {times['p95']:.1f}", ""]
    ).strip()  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shared", type=Path, default=Path("../shared/data"))
    parser.add_argument("--sets", nargs="*", choices=SETS, default=list(SETS))
    arguments = parser.parse_args()
    chosen: dict[str, QuestionSet] = {}
    for name in arguments.sets:
        try:
            chosen[name] = SETS[name](arguments.shared)
        except OSError:
            print(f"{name}: its files are not in {arguments.shared}; left out")
    data = Path(tempfile.mkdtemp(prefix="citewell-bench-"))
    runs: list[Json] = []
    try:
        with (
            running_citewell(data) as (url, _),
            httpx.Client(base_url=url, timeout=600) as client,
        ):
            for name, each in chosen.items():
                index(client, name, each.files)
                runs.append(evaluate(client, name, each))
    finally:
        embedded.remove_data(data)
    print(json.dumps({run["name"]: run["figures"] for run in runs}))
    heads = ["set", "questions", *METRICS, "search p50 / p95 ms"]
    print(f"\n| {' | '.join(heads)} |\n|{'---|' * len(heads)}")
    for run in runs:
        print(row_of(run))


if __name__ == "__main__":
    main()
