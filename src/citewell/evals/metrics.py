"""What is measured of one question: how well it was searched, and how well it was answered."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from citewell.domain import Candidate, Citation
from citewell.evals.datasets import EvalQuestion, Place

Value = TypeVar("Value")
RECALL_DEPTHS = (5, 10, 20, 100)
SHOWN = 10
"""Chunks that a reader would look through: nDCG, span recall and exactness count these."""
RETRIEVAL = ("ndcg_at_10", *(f"recall_at_{depth}" for depth in RECALL_DEPTHS), "mrr",
             "span_recall", "exactness")  # fmt: skip
ANSWERS = ("citation_precision", "citation_recall", "cited_span_recall", "citation_exactness",
           "answer_contains", "refusal_accuracy", "answered", "refused")  # fmt: skip
METRICS = (*RETRIEVAL, *ANSWERS)
SHARES = frozenset({"answer_contains", "refusal_accuracy", "answered", "refused"})
"""Of these each question has 0 or 1."""


@dataclass(frozen=True, slots=True)
class Found:
    """A piece of a document that was found or cited: where it lies, and its words."""

    document: str
    sections: frozenset[str]
    pages: range | None
    start: int
    end: int
    text: str


def of_candidate(chunk: Candidate) -> Found:
    """Return where a chunk lies."""
    named = {chunk.section_number, chunk.section_title, *chunk.section_path}
    page, breaks = chunk.page, len(chunk.page_breaks)
    pages = None if page is None else range(page, page + breaks + 1)
    return Found(chunk.document_name, _named(named), pages, chunk.start, chunk.end, chunk.text)


def of_citation(citation: Citation, sections: frozenset[str] = frozenset()) -> Found:
    """Return where a citation lies; its chunk knows of more ``sections`` around it."""
    page = citation.page
    pages = None if page is None else range(page, page + 1)
    named = _named({citation.section, citation.section_title}) | sections
    return Found(citation.document_name, named, pages, citation.start, citation.end, citation.quote)


def measure_search(question: EvalQuestion, found: Sequence[Found]) -> dict[str, float]:
    """Return the metrics of a ranking, best first; none of what is expected nowhere.

    Units:   shares from 0 to 1; ``mrr`` looks as deep as ``found`` goes.
    Source:  nDCG with linear gains, as trec_eval counts; Järvelin, Kekäläinen, TOIS 2002.
    """
    if not question.places:
        covered = cover(question, found[:SHOWN])
        return {} if covered is None else {"span_recall": covered}
    ranks = rank_places(question.places, found)
    grades = [place.grade for place in question.places]
    gained = sum(
        grade / math.log2(rank + 1)
        for rank, grade in zip(ranks, grades, strict=True)
        if rank is not None and rank <= SHOWN
    )
    ideal = sorted(grades, reverse=True)[:SHOWN]
    best = sum(grade / math.log2(rank + 1) for rank, grade in enumerate(ideal, 1))
    reached = [rank for rank in ranks if rank is not None]
    measured = {"ndcg_at_10": gained / best}
    for depth in RECALL_DEPTHS:
        measured[f"recall_at_{depth}"] = sum(r <= depth for r in reached) / len(ranks)
    measured["mrr"] = 1 / min(reached) if reached else 0.0
    covered = cover(question, found[:SHOWN])
    return measured if covered is None else {**measured, "span_recall": covered}


def measure_answer(
    question: EvalQuestion, answer: str, citations: Sequence[Found], *, refused: bool
) -> dict[str, float]:
    """Return the metrics of an answer; of a refusal there is nothing to be precise about."""
    measured = {"refusal_accuracy": float(refused is not question.answerable)}
    if not question.answerable:
        return {**measured, "refused": float(refused)}
    measured["answered"] = float(not refused)
    places = question.places
    if places:
        right = [any(is_at(place, each) for place in places) for each in citations]
        met = [any(is_at(place, each) for each in citations) for place in places]
        measured["citation_recall"] = sum(met) / len(met)
        if right:
            measured["citation_precision"] = sum(right) / len(right)
    covered = cover(question, citations)
    if covered is not None:
        measured["cited_span_recall"] = covered
    if question.phrases:
        text = fold(answer)
        measured["answer_contains"] = float(any(fold(each) in text for each in question.phrases))
    return measured


def rank_places(places: Sequence[Place], found: Sequence[Found]) -> list[int | None]:
    """Return the rank, from 1, at which each place was found; None where it was not.

    Chunks are counted, or documents where whole documents are expected; a chunk that shows only
    what a better one has shown takes no rank, one that shows several places takes as many.
    """
    by_document = all(place.is_document for place in places)
    ranks: list[int | None] = [None] * len(places)
    seen: set[str] = set()
    rank = 0
    for each in found:
        if by_document:
            if each.document in seen:
                continue
            seen.add(each.document)
        met = [at for at, place in enumerate(places) if is_at(place, each)]
        new = [at for at in met if ranks[at] is None]
        if met and not new:
            continue
        for at in new:
            rank += 1
            ranks[at] = rank
        rank += not new
    return ranks


def is_at(place: Place, found: Found) -> bool:
    """Say whether a piece lies at a place, or overlaps with it."""
    if not is_document(place.document, found.document):
        return False
    if place.section is not None and not _in_section(place.section, found.sections):
        return False
    if place.page is not None and place.page not in (found.pages or ()):
        return False
    if place.span is not None and not (found.start < place.span[1] and place.span[0] < found.end):
        return False
    if place.quote is None:
        return True
    quote, text = fold(place.quote), fold(found.text)
    return quote in text or text in quote


def is_document(expected: str, name: str) -> bool:
    """Say whether a name is the expected one, with or without the file's ending."""
    return name == expected or name.rpartition(".")[0] == expected


def cover(question: EvalQuestion, found: Sequence[Found]) -> float | None:
    """Return the share of the expected characters that pieces cover; None if no words are known.

    Phrases stand for the expected words where no place names its own.
    """
    parts = [_covered(place, found) for place in question.places if place.has_words]
    if not parts and question.answerable:
        names = [place.document for place in question.places]
        texts = [
            fold(each.text)
            for each in found
            if not names or any(is_document(name, each.document) for name in names)
        ]
        parts = [
            (len(phrase) * any(phrase in text for text in texts), len(phrase))
            for phrase in map(fold, question.phrases)
        ]
    total = sum(length for _, length in parts)
    return sum(count for count, _ in parts) / total if total else None


def _covered(place: Place, found: Sequence[Found]) -> tuple[int, int]:
    """Return how many of a place's characters are covered, and of how many."""
    pieces = [each for each in found if is_document(place.document, each.document)]
    if place.span is None:
        quote = fold(place.quote or "")
        whole = any(quote in fold(each.text) for each in pieces)
        return len(quote) * whole, len(quote)
    first, last = place.span
    reached, count = first, 0
    for each in sorted(pieces, key=lambda piece: piece.start):
        start, end = max(each.start, reached), min(each.end, last)
        if start < end:
            count, reached = count + end - start, end
    return count, last - first


def fold(text: str) -> str:
    """Return text as it is compared: in one case, every break a space."""
    return " ".join(text.split()).casefold()


def share_exact(found: Sequence[Found], texts: Sequence[str | None]) -> float | None:
    """Return the share of pieces whose words stand in their version's text at their place.

    Pieces whose version is gone count nothing.
    """
    known = [(each, text) for each, text in zip(found, texts, strict=True) if text is not None]
    if not known:
        return None
    return sum(text[each.start : each.end] == each.text for each, text in known) / len(known)


def in_order(measured: Mapping[str, Value]) -> dict[str, Value]:
    """Return what is told of metrics in the order in which they are told; jsonb has its own."""
    return {name: measured[name] for name in METRICS if name in measured}


def _named(names: set[str | None]) -> frozenset[str]:
    return frozenset(fold(name) for name in names if name)


def _in_section(expected: str, sections: frozenset[str]) -> bool:
    wanted = fold(expected)
    return wanted in sections or any(each.startswith(f"{wanted}.") for each in sections)
