"""Read the question sets that the extractive model is measured on, and cut smaller ones from them.

BEIR folders: ``squad2-dev-a`` (questions with their answers' words, some made to have none),
``anthropic-docs`` and ``scifact`` (questions or claims with the documents that bear on them); and
the project's ``examples``.
"""

import json
import random
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SQUAD, ANTHROPIC, SCIFACT, EXAMPLES = "squad2-dev-a", "anthropic-docs", "scifact", "examples"
BEIR_SETS = (SQUAD, ANTHROPIC, SCIFACT)
SMALL_DOCUMENTS = 20
FEW_ARTICLES = 3


@dataclass(frozen=True)
class Asked:
    """A question; where they are known, words that answer it, and the documents that do."""

    text: str
    answers: tuple[str, ...] = ()
    sources: frozenset[str] = frozenset()


@dataclass(frozen=True)
class QuestionSet:
    """Documents by name, questions that they answer, and questions that they seem to answer."""

    name: str
    documents: dict[str, bytes]
    answerable: list[Asked]
    adversarial: list[Asked]


def read_set(folder: Path) -> QuestionSet:
    """Read a BEIR folder; its documents are named by their place in it, as text files."""
    corpus, queries = _read_lines(folder / "corpus.jsonl"), _read_lines(folder / "queries.jsonl")
    names = {item["_id"]: f"{number:05}.txt" for number, item in enumerate(corpus)}
    documents = {
        names[item["_id"]]: f"{item.get('title', '')}\n\n{item['text']}".encode() for item in corpus
    }
    sources: dict[str, set[str]] = {}
    for path in sorted((folder / "qrels").glob("*.tsv")):
        for line in path.read_text(encoding="utf-8").splitlines()[1:]:
            query, document, grade = line.split("\t")
            if int(grade) > 0:
                sources.setdefault(query, set()).add(names[document])
    answerable: list[Asked] = []
    adversarial: list[Asked] = []
    for item in queries:
        known = item.get("metadata", {})
        asked = Asked(
            item["text"],
            tuple(known.get("answers", ())),
            frozenset(sources.get(item["_id"], ())),
        )
        (answerable if known.get("answerable", True) else adversarial).append(asked)
    return QuestionSet(folder.name, documents, answerable, adversarial)


def read_examples(folder: Path) -> QuestionSet:
    """Read the project's own examples: six documents, questions with and without an answer."""
    documents = {
        path.name: path.read_bytes()
        for path in sorted(folder.iterdir())
        if path.suffix != ".jsonl" and path.name != "README.md"
    }
    answerable: list[Asked] = []
    adversarial: list[Asked] = []
    for item in _read_lines(folder / "questions.jsonl"):
        sources = frozenset({item["document"]} if item["document"] else ())
        asked = Asked(item["question"], tuple(item.get("phrases") or ()), sources)
        (answerable if item["answerable"] else adversarial).append(asked)
    return QuestionSet(EXAMPLES, documents, answerable, adversarial)


def cut(whole: QuestionSet, name: str, kept: Iterable[str]) -> QuestionSet:
    """Keep some documents, and the questions that only these answer."""
    names = set(kept)
    documents = {key: text for key, text in whole.documents.items() if key in names}
    answerable = [each for each in whole.answerable if each.sources and each.sources <= names]
    return QuestionSet(name, documents, answerable, [])


def small(whole: QuestionSet, seed: int) -> QuestionSet:
    """Keep the documents of questions drawn by the seed until they are ``SMALL_DOCUMENTS``."""
    kept: set[str] = set()
    for asked in sample(whole.answerable, len(whole.answerable) - 1, seed):
        if len(kept) >= SMALL_DOCUMENTS:
            break
        kept |= asked.sources
    return cut(whole, f"{whole.name}.small{seed}", kept)


def few_articles(whole: QuestionSet, seed: int) -> QuestionSet:
    """Keep the documents of ``FEW_ARTICLES`` titles, so that the other titles are absent."""
    titles: dict[str, list[str]] = {}
    for name, text in whole.documents.items():
        titles.setdefault(text.split(b"\n", 1)[0].decode(), []).append(name)
    chosen = random.Random(seed).sample(sorted(titles), FEW_ARTICLES)
    kept = [name for title in chosen for name in titles[title]]
    return cut(whole, f"{whole.name}.articles{seed}", kept)


def sample(asked: list[Asked], number: int, seed: int) -> list[Asked]:
    """Return so many of the questions, drawn by the seed."""
    if number >= len(asked):
        return list(asked)
    return random.Random(seed).sample(asked, number)


def _read_lines(path: Path) -> list[dict[str, Any]]:
    with path.open(encoding="utf-8") as file:
        return [json.loads(line) for line in file if line.strip()]
