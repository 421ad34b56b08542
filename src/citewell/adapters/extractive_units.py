"""What may be quoted: the sentences of the evidence, with what their place adds to them."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import Stemmer  # pyright: ignore[reportMissingImports] - the wheel carries no types
from numpy.typing import NDArray

from citewell.domain import Candidate
from citewell.domain.sentences import split_sentences, stands_alone

MAX_IDF = 10.0
"""The idf from which a word counts as no rarer, for thresholds that rise with it."""

MIN_NEW_CHARACTERS = 4
"""A shorter stem is mostly an article, a preposition or the like."""

MAX_HEADING_CHARACTERS, MAX_LEAD_CHARACTERS = 80, 200
"""The most of heading and lead that is embedded with a sentence, to bound the time."""

_SENTENCE_ENDS = (".", "!", "…", ":", ";", "。", "！", "；", "：")
_WORD = re.compile(r"[^\W_]+")
_LEANING = re.compile(
    r"\W*(it|its|he|his|him|she|her|they|their|them|this|that|these|those|such|here|there|both"
    r"|another|one|the (former|latter|same)|however|also|in addition|as a result|then)\b",
    re.IGNORECASE,
)
"""Openings of a sentence that is about what the sentence before it named."""

Scores = NDArray[np.floating[Any]]


@dataclass(frozen=True, slots=True)
class Unit:
    """A sentence of ``evidence[index]``: its canonical span, and what its place adds to it."""

    index: int
    start: int
    end: int
    text: str
    lead: str
    heading: str
    stems: frozenset[str]
    known_stems: frozenset[str]
    passage: float
    before: "Unit | None"
    """The sentence that this one leans on, where it may be quoted."""

    @property
    def embedded(self) -> str:
        """The text whose meaning counts: the sentence under its heading, led in where it leans."""
        heading = f"{self.heading[:MAX_HEADING_CHARACTERS]}: " if self.heading else ""
        lead = f"{self.lead[-MAX_LEAD_CHARACTERS:]} " if self.lead else ""
        return f"{heading}{lead}{self.text}"


class Terms:
    """The question's words with their rarity, and the share of it that a text covers."""

    def __init__(self, term_idf: Mapping[str, float]) -> None:
        """Keep one idf per word; a compound ("state-of-the-art") counts by its parts."""
        self._idf: dict[str, float] = {}
        for term, idf in term_idf.items():
            parts = _WORD.findall(term)
            if len(parts) == 1:
                self._idf[parts[0]] = idf
            elif not any(part in term_idf for part in parts):
                self._idf.update({stem: idf / len(parts) for stem in read_stems(term)})
        self.stems = frozenset(self._idf)
        self._total = sum(self._idf.values())
        self.rarest = min(max(self._idf.values(), default=0.0), MAX_IDF)

    def share(self, stems: frozenset[str]) -> float:
        """Return the idf-weighted share of the question's words among the stems: 0 … 1."""
        return sum(idf for stem, idf in self._idf.items() if stem in stems) / (self._total or 1.0)

    def shares(self, rows: Sequence[frozenset[str]], without_terms: Scores) -> Scores:
        """Return each row's share; ``without_terms`` where the question's words are not known."""
        if not self._total:
            return without_terms
        return np.array([self.share(stems) for stems in rows], np.float32)


def read_stems(text: str) -> frozenset[str]:
    """Return the text's words as PostgreSQL's english configuration stems them."""
    stemmer = cast("Any", Stemmer).Stemmer("english")
    return frozenset(cast("list[str]", stemmer.stemWords(_WORD.findall(text.lower()))))


def read_units(evidence: Sequence[Candidate], asked: frozenset[str]) -> Iterator[Unit]:
    """Yield the sentences that may be quoted, with what leads in to them."""
    for index, source in enumerate(evidence):
        heading = source.section_title or source.document_title
        place = read_stems(" ".join((source.document_title, *source.section_path, heading)))
        spans = split_sentences(source.text)
        headings = _headings(source)
        before = ""
        unit_before: Unit | None = None
        for start, end in spans:
            text = source.text[start:end]
            stems = read_stems(text)
            heads = _is_heading(text, headings, stems - place - asked)
            if len(spans) == 1 or (stands_alone(text) and not heads):
                leans = _leans(text, before)
                unit_before = Unit(
                    index=index,
                    start=source.start + start,
                    end=source.start + end,
                    text=text,
                    lead=before if leans else "",
                    heading=heading,
                    stems=stems,
                    known_stems=stems | place | read_stems(before),
                    passage=source.score,
                    before=unit_before if leans else None,
                )
                yield unit_before
            else:
                unit_before = None
            before = text


def _headings(source: Candidate) -> frozenset[tuple[str, ...]]:
    titles = {source.document_title, source.section_title or "", *source.section_path}
    numbered = {f"{source.section_number} {title}" for title in titles if source.section_number}
    return frozenset(tuple(_WORD.findall(title.lower())) for title in titles | numbered)


def _is_heading(text: str, headings: frozenset[tuple[str, ...]], new: frozenset[str]) -> bool:
    """Say whether the text is a heading of its place, or like one tells nothing ``new``."""
    if tuple(_WORD.findall(text.lower())) in headings:
        return True
    if text.rstrip("\"'”’»)]").endswith(_SENTENCE_ENDS):
        return False
    return not any(len(stem) >= MIN_NEW_CHARACTERS or stem.isdigit() for stem in new)


def _leans(text: str, before: str) -> bool:
    """Say whether the sentence is understood only with the one before it."""
    return before.endswith((":", "?", "：", "？")) or _LEANING.match(text) is not None
