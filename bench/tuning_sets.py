"""Read the sets that search is tuned on, as documents that the chunker takes, and questions.

SciFact's train claims and anthropic-docs know which documents bear on a question, and each is read
twice: as plain text, and as a text under headings. chunking_evaluation knows the very characters.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bench.quality import plain_name, read_spans
from citewell.domain import ParsedDocument
from citewell.evals.datasets import EvalQuestion, Place
from citewell.ingest.load import load
from citewell.ingest.section import Heading, section

SCIFACT, DOCS, SPANS = "scifact", "anthropic-docs", "chunking_evaluation"
HEADED = " under headings"


@dataclass(frozen=True)
class TuningSet:
    """Documents by name, and questions with the places where their answers stand."""

    name: str
    documents: dict[str, ParsedDocument]
    questions: list[EvalQuestion]

    @property
    def has_spans(self) -> bool:
        """Whether the very characters are known that answer a question."""
        return any(place.span for question in self.questions for place in question.places)


def _rows(path: Path) -> list[dict[str, Any]]:
    with path.open(encoding="utf-8") as lines:
        return [json.loads(line) for line in lines if line.strip()]


def _judged(folder: Path, split: str) -> dict[str, list[tuple[str, int]]]:
    """Return which documents bear on each question, and how much."""
    found: dict[str, list[tuple[str, int]]] = {}
    lines = (folder / "qrels" / f"{split}.tsv").read_text(encoding="utf-8").splitlines()[1:]
    for query, document, grade in (line.split("\t") for line in lines):
        if int(grade) > 0:
            found.setdefault(query, []).append((document, int(grade)))
    return found


def _plain(folder: Path, split: str) -> TuningSet:
    """Read a BEIR folder as text files that are named by their ids, as the other benches do."""
    documents = {
        row["_id"]: load(
            f"{row['title']}\n\n{row['text']}".encode(), f"{plain_name(row['_id'])}.txt"
        )
        for row in _rows(folder / "corpus.jsonl")
    }
    judged = _judged(folder, split)
    questions = [
        EvalQuestion(row["_id"], row["text"],
                     places=tuple(Place(name, grade=grade) for name, grade in judged[row["_id"]]))
        for row in _rows(folder / "queries.jsonl") if row["_id"] in judged
    ]  # fmt: skip
    return TuningSet(folder.name, documents, questions)


def _under_headings(title: str, parts: Sequence[tuple[str, str]]) -> ParsedDocument:
    """Make a document of headings, each with the text below it, as Markdown would be read."""
    text = ""
    headings: list[Heading] = []
    for heading, body in parts:
        start = len(text)
        text += f"{heading}\n\n"
        headings.append(Heading(start, len(text), 2 if len(parts) > 1 else 1, heading))
        text += f"{body.strip()}\n\n"
    made = load(text.encode(), "made.txt")
    return replace(made, text=text, title=title, sections=section(text, headings))


def _scifact_headed(folder: Path) -> TuningSet:
    """Read each abstract as a document of one section: its title is its heading."""
    plain = _plain(folder, "train")
    documents = {
        row["_id"]: _under_headings(row["title"], [(row["title"], row["text"])])
        for row in _rows(folder / "corpus.jsonl")
    }
    return TuningSet(SCIFACT + HEADED, documents, plain.questions)


def _docs_headed(folder: Path) -> TuningSet:
    """Join the sections of each page into one document; questions ask for its sections."""
    pages: dict[str, list[tuple[str, str]]] = {}
    section_of: dict[str, tuple[str, str]] = {}
    for row in _rows(folder / "corpus.jsonl"):
        page = row["_id"].partition("#")[0]
        pages.setdefault(page, []).append((row["title"], row["text"].removeprefix(row["title"])))
        section_of[row["_id"]] = page, row["title"]
    documents = {
        page: _under_headings(page.rpartition("/")[2].replace("-", " ").capitalize(), parts)
        for page, parts in pages.items()
    }
    questions = [
        replace(each, places=tuple(
            Place(section_of[place.document][0], section=section_of[place.document][1],
                  grade=place.grade)
            for place in each.places
        ))
        for each in _plain(folder, "test").questions
    ]  # fmt: skip
    return TuningSet(DOCS + HEADED, documents, questions)


def _spans(data: Path) -> TuningSet:
    """Read chunking_evaluation as ``bench.quality`` does."""
    found = read_spans(data)
    documents = {name: load(text, name) for name, text in found.files.items()}
    return TuningSet(SPANS, documents, found.questions)


def fewer(found: TuningSet, documents: int | None) -> TuningSet:
    """Keep all documents that questions ask for, and the first of the others up to a number."""
    if documents is None:
        return found
    wanted = {place.document for question in found.questions for place in question.places}
    others = [name for name in found.documents if name not in wanted]
    kept = wanted.union(others[: max(0, documents - len(wanted))])
    own = {name: each for name, each in found.documents.items() if name in kept}
    return TuningSet(found.name, own, found.questions)


READERS: dict[str, Callable[[Path], TuningSet]] = {
    SPANS: _spans,
    SCIFACT: lambda data: _plain(data / "beir" / SCIFACT, "train"),
    DOCS: lambda data: _plain(data / "beir" / DOCS, "test"),
    DOCS + HEADED: lambda data: _docs_headed(data / "beir" / DOCS),
    SCIFACT + HEADED: lambda data: _scifact_headed(data / "beir" / SCIFACT),
}
"""Each set in each of its forms; they raise OSError where the files are not there."""
