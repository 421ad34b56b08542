"""Answer by quoting the sentences of the evidence that say most; no model writes anything.

Each sentence gets a score: its closeness in meaning to the question, the share of the question's
words that it holds, weighted by their rarity, and its passage's score. The best few are quoted
exactly; when even the best one says too little, nothing is, which means "cannot answer".

Measured: MiniLM, six chunks of ≤ 200 tokens. SQuAD2: the answer is quoted for 0.906 of 2,876
          questions, in 2.3 sentences. SQuAD2, SciFact, Anthropic's documents, chunking_evaluation,
          whole and as 10 to 30 chunks: 0.03 of 2,359 answerable questions are refused; 0.97 of
          1,620 from another set, 0.87 of 1,320 about a document that was taken out, 0.39 of 780
          about a passage that was, 0.04 of 800 that SQuAD2 made to look answerable. Weights are
          fitted on a half of SQuAD2 and SciFact, the least sufficiency with a look at all sets.
"""

import re
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import Stemmer  # pyright: ignore[reportMissingImports] - the wheel carries no types
from numpy.typing import NDArray

from citewell.domain import Candidate, DraftSentence, Quote, Usage
from citewell.domain.sentences import split_sentences, stands_alone
from citewell.ports import Embedder, WritingTask

MEANING, OWN_WORDS, KNOWN_WORDS, PASSAGE = 0.5, 0.25, 0.25, 0.15
"""Weights of a sentence's score: cosine, the question's words in the sentence, in it with its place
and the sentence before, the passage's fused score. A plateau: others changed little on SQuAD2."""

SUFFICIENT_MEANING, SUFFICIENT_WORDS = 0.6, 0.4
"""Weights of what decides whether the best sentence answers at all: of the pairs tried, the one
that refuses most questions without an answer at 3 to 5 % false refusals. Gradient boosting over 26
features of question, sentence and evidence was no better."""

MIN_SUFFICIENCY = 0.235
SUFFICIENCY_PER_IDF = 0.022
MAX_IDF = 10.0
"""The least sufficiency rises with the idf of the question's rarest word, that is with the
logarithm of the workspace's size: among more chunks one looks right by chance more easily. It was
fitted on 10 to 11,000 chunks and rises no further."""

MIN_SHARE = 0.7
"""A further sentence must reach this share of the best one's score: 2.3 sentences on average hold
SQuAD2's answer as often (0.919) as always three do (0.923)."""

MAX_UNITS = 12
"""Sentences embedded for one question, those with most of its words in the best passages: as many
answers are found as with all 30 to 45 of six chunks, in a third of the time (0.1 s, 2 cores)."""

MIN_NEW_CHARACTERS = 4
"""A shorter stem is mostly an article, a preposition or the like."""

SAME_WORDS, SAME_MEANING = 0.8, 0.95
"""From here on two sentences with the same numbers say the same thing."""

MAX_HEADING_CHARACTERS, MAX_LEAD_CHARACTERS = 80, 200
"""The most of heading and lead that is embedded with a sentence, to bound the time."""

MAX_GAP_CHARACTERS = 2  # a blank line at most between a sentence and the next one
_SENTENCE_ENDS = (".", "!", "…", ":", ";", "。", "！", "；", "：")
_WORD = re.compile(r"[^\W_]+")
_NUMBER = re.compile(r"\d+")
_LEANING = re.compile(
    r"\W*(it|its|he|his|him|she|her|they|their|them|this|that|these|those|such|here|there|both"
    r"|another|one|the (former|latter|same)|however|also|in addition|as a result|then)\b",
    re.IGNORECASE,
)
"""Openings of a sentence that is about what the sentence before it named."""

_CONTINUING = re.compile(
    r"\W*(because|therefore|thus|hence|so|then|next|finally|this|these|it|they|as a result"
    r"|for this reason|consequently|in this way|that is why|the reason)\b",
    re.IGNORECASE,
)
"""Openings of a sentence that goes on explaining."""

_ASKS_TO_EXPLAIN = re.compile(
    r"\W*(why|how(?! (many|much|long|old|far|often|big|large|tall|high|deep|fast)))\b",
    re.IGNORECASE,
)

Scores = NDArray[np.floating[Any]]


@dataclass(frozen=True, slots=True)
class _Unit:
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

    @property
    def embedded(self) -> str:
        """The text whose meaning counts: the sentence under its heading, led in where it leans."""
        heading = f"{self.heading[:MAX_HEADING_CHARACTERS]}: " if self.heading else ""
        lead = f"{self.lead[-MAX_LEAD_CHARACTERS:]} " if self.lead else ""
        return f"{heading}{lead}{self.text}"


class ExtractiveChatModel:
    """Quotes up to ``max_sentences`` sentences; yields none when the best one is not sufficient.

    Cost:   one embedding of the question and one call for at most ``MAX_UNITS`` sentences.
    Holds:  every quote is the exact text of a whole sentence; no sentence comes twice.
    """

    name = "extractive"

    def __init__(
        self,
        embedder: Embedder,
        max_sentences: int = 3,
        min_sufficiency: float = MIN_SUFFICIENCY,
        min_share: float = MIN_SHARE,
    ) -> None:
        self._embedder = embedder
        self._max_sentences = max_sentences
        self._min_sufficiency = min_sufficiency
        self._min_share = min_share

    async def write(self, task: WritingTask) -> AsyncGenerator[DraftSentence | Usage]:
        """Yield the best sentences in the documents' order, each quoting exactly itself.

        Raises:  ProviderError – the embedder failed.
        """
        question, evidence = task.question, task.evidence
        terms = _Terms(task.term_idf)
        units = _likeliest(_read_units(evidence, terms.stems), terms)
        if not units:
            return
        asked = await self._embedder.embed([question], "query")
        vectors = await self._embedder.embed([unit.embedded for unit in units], "document")
        meaning: Scores = vectors @ asked[0]
        known = terms.shares([unit.known_stems for unit in units], meaning)
        own = terms.shares([unit.stems for unit in units], meaning)
        passage = np.array([unit.passage for unit in units], np.float32)
        scores = MEANING * meaning + OWN_WORDS * own + KNOWN_WORDS * known + PASSAGE * passage
        best = int(np.argmax(scores))
        sufficiency = SUFFICIENT_MEANING * meaning[best] + SUFFICIENT_WORDS * known[best]
        if sufficiency < self._min_sufficiency + SUFFICIENCY_PER_IDF * terms.rarest:
            return
        chosen = self._choose(question, units, scores, vectors)
        for unit in _in_document_order(chosen, evidence):
            text = " ".join(unit.text.split())
            yield DraftSentence(text, (Quote(unit.index, unit.start, unit.end),))

    def _choose(
        self, question: str, units: Sequence[_Unit], scores: Scores, vectors: NDArray[np.float32]
    ) -> list[_Unit]:
        """Take the best sentences, as long as they are good and say something new."""
        ranking = [int(row) for row in np.argsort(-scores, kind="stable")]
        least = self._min_share * float(scores[ranking[0]])
        ranking = [row for row in ranking if scores[row] >= least]
        if _ASKS_TO_EXPLAIN.match(question):
            ranking = _with_continuation(ranking, units)
        chosen: list[int] = []
        for row in ranking:
            if len(chosen) == self._max_sentences:
                break
            closeness = vectors[chosen] @ vectors[row]
            if not any(
                _is_repetition(units[row], units[other], float(cosine))
                for other, cosine in zip(chosen, closeness, strict=True)
            ):
                chosen.append(row)
        return [units[row] for row in chosen]


class _Terms:
    """The question's words with their rarity, and the share of it that a text covers."""

    def __init__(self, term_idf: Mapping[str, float]) -> None:
        """Keep one idf per word; a compound ("state-of-the-art") counts by its parts."""
        self._idf: dict[str, float] = {}
        for term, idf in term_idf.items():
            parts = _WORD.findall(term)
            if len(parts) == 1:
                self._idf[parts[0]] = idf
            elif not any(part in term_idf for part in parts):
                self._idf.update({stem: idf / len(parts) for stem in _stems(term)})
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


def _stems(text: str) -> frozenset[str]:
    """Return the text's words as PostgreSQL's english configuration stems them."""
    stemmer = cast("Any", Stemmer).Stemmer("english")
    return frozenset(cast("list[str]", stemmer.stemWords(_WORD.findall(text.lower()))))


def _read_units(evidence: Sequence[Candidate], asked: frozenset[str]) -> Iterator[_Unit]:
    """Yield the sentences that may be quoted, with what leads in to them."""
    for index, source in enumerate(evidence):
        heading = source.section_title or source.document_title
        place = _stems(" ".join((source.document_title, *source.section_path, heading)))
        spans = split_sentences(source.text)
        headings = _headings(source)
        before = ""
        for start, end in spans:
            text = source.text[start:end]
            stems = _stems(text)
            heads = _is_heading(text, headings, stems - place - asked)
            if len(spans) == 1 or (stands_alone(text) and not heads):
                lead = before if _leans(text, before) else ""
                yield _Unit(
                    index=index,
                    start=source.start + start,
                    end=source.start + end,
                    text=text,
                    lead=lead,
                    heading=heading,
                    stems=stems,
                    known_stems=stems | place | _stems(before),
                    passage=source.score,
                )
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


def _likeliest(units: Iterator[_Unit], terms: _Terms) -> list[_Unit]:
    """Keep the ``MAX_UNITS`` likeliest sentences before their meaning is known, in order."""
    found = list(units)
    if len(found) <= MAX_UNITS:
        return found
    worth = [
        OWN_WORDS * terms.share(unit.stems)
        + KNOWN_WORDS * terms.share(unit.known_stems)
        + PASSAGE * unit.passage
        for unit in found
    ]
    rows = sorted(range(len(found)), key=lambda row: -worth[row])[:MAX_UNITS]
    return [found[row] for row in sorted(rows)]


def _with_continuation(ranking: list[int], units: Sequence[_Unit]) -> list[int]:
    """Move up the sentence after the best one when it goes on explaining."""
    best, following = ranking[0], ranking[0] + 1
    if following == len(units) or units[following].index != units[best].index:
        return ranking
    adjacent = units[following].start - units[best].end <= MAX_GAP_CHARACTERS
    if not (adjacent and _CONTINUING.match(units[following].text)):
        return ranking
    return [best, following, *(row for row in ranking[1:] if row != following)]


def _is_repetition(unit: _Unit, other: _Unit, cosine: float) -> bool:
    """Say whether two sentences tell the same: nearly the same words or meaning, same numbers."""
    if set(_NUMBER.findall(unit.text)) != set(_NUMBER.findall(other.text)):
        return False
    shared = len(unit.stems & other.stems)
    return cosine >= SAME_MEANING or shared >= SAME_WORDS * len(unit.stems | other.stems)


def _in_document_order(units: Sequence[_Unit], evidence: Sequence[Candidate]) -> list[_Unit]:
    """Order by version, as the evidence first names it, then by place in it."""
    versions = list(dict.fromkeys(source.version_id for source in evidence))
    return sorted(
        units, key=lambda unit: (versions.index(evidence[unit.index].version_id), unit.start)
    )
