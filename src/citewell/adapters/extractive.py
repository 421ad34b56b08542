"""Answer by quoting the sentences of the evidence that say most; no model writes anything.

Each sentence gets a score: its closeness in meaning to the question, the share of the question's
words that it holds, weighted by their rarity, and its passage's score. The best few are quoted
exactly; when even the best one says too little, nothing is, which means "cannot answer".

Measured: in the running system, by bench/extractive.py (docs/decisions/0012). The answer is quoted
          for 0.908 of 900 questions of SQuAD2, in 2.7 sentences. On eight indexes of 25 to 11,821
          chunks 0.030 of 1,826 answerable questions are refused, and 0.981 of 2,495 from other
          sets; 0.07 of 300 that SQuAD2 made to look answerable.
"""

import re
from collections.abc import AsyncGenerator, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from citewell.adapters.extractive_units import Scores, Terms, Unit, read_units
from citewell.domain import Candidate, DraftSentence, Quote, Usage
from citewell.ports import Embedder, WritingTask

MEANING, OWN_WORDS, KNOWN_WORDS, PASSAGE = 0.5, 0.25, 0.25, 0.25
"""Weights of a sentence's score: cosine, the question's words in the sentence, in it with its place
and the sentence before, the passage's fused score. A plateau: others changed little on SQuAD2."""

SUFFICIENT_MEANING, SUFFICIENT_WORDS, SUFFICIENT_PASSAGE = 0.4, 0.3, 0.3
"""Weights of what decides whether the best sentence answers at all: its cosine, its share of the
question's words, the cosine of the nearest passage. The passage's lets one threshold fit claims
and questions better. Logistic models over 24 features were no better."""

MIN_SUFFICIENCY = 0.315
SUFFICIENCY_PER_IDF = 0.015
"""The least sufficiency rises with the idf of the question's rarest word, that is with the
logarithm of the workspace's size: among more chunks one looks right by chance more easily. It was
fitted on 25 to 11,800 chunks and rises no further."""

MIN_SHARE = 0.6
"""A further sentence must reach this share of the best one's score: 2.7 sentences on average hold
SQuAD2's answer as often as 2.9 do at a share of 0.5."""

MAX_UNITS = 12
"""Sentences embedded for one question, those with most of its words in the best passages: as many
answers are found as with all 30 to 45 of six chunks, in a third of the time (0.1 s, 2 cores)."""

SAME_WORDS, SAME_MEANING = 0.8, 0.95
"""From here on two sentences with the same numbers say the same thing."""

MAX_GAP_CHARACTERS = 2  # a blank line at most between a sentence and the next one
_NUMBER = re.compile(r"\d+")
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
        terms = Terms(task.term_idf)
        units = _likeliest(read_units(evidence, terms.stems), terms)
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
        sufficiency = (
            SUFFICIENT_MEANING * meaning[best]
            + SUFFICIENT_WORDS * known[best]
            + SUFFICIENT_PASSAGE * _nearest_passage(evidence, float(meaning[best]))
        )
        if sufficiency < self._min_sufficiency + SUFFICIENCY_PER_IDF * terms.rarest:
            return
        chosen = self._choose(question, units, scores, vectors)
        for unit in _in_document_order(chosen, evidence):
            text = " ".join(unit.text.split())
            yield DraftSentence(text, (Quote(unit.index, unit.start, unit.end),))

    def _choose(
        self, question: str, units: Sequence[Unit], scores: Scores, vectors: NDArray[np.float32]
    ) -> list[Unit]:
        """Take the best sentences, as long as they are good and say something new.

        The one that the best sentence leans on comes with it: it says who "he" is, and is often
        the answer itself.
        """
        ranking = [int(row) for row in np.argsort(-scores, kind="stable")]
        least = self._min_share * float(scores[ranking[0]])
        ranking = [row for row in ranking if scores[row] >= least]
        if _ASKS_TO_EXPLAIN.match(question):
            ranking = _with_continuation(ranking, units)
        best = units[ranking[0]]
        leads = [best.before] if best.before and self._max_sentences > 1 else []
        chosen: list[int] = []
        for row in ranking:
            if len(chosen) + len(leads) == self._max_sentences:
                break
            if chosen and any(_is_repetition(units[row], lead, 0.0) for lead in leads):
                continue
            closeness = vectors[chosen] @ vectors[row]
            if not any(
                _is_repetition(units[row], units[other], float(cosine))
                for other, cosine in zip(chosen, closeness, strict=True)
            ):
                chosen.append(row)
        return leads + [units[row] for row in chosen]


def _nearest_passage(evidence: Sequence[Candidate], otherwise: float) -> float:
    """Return the highest cosine of a passage; ``otherwise`` where only words were searched."""
    known = [source.scores["dense"] for source in evidence if "dense" in source.scores]
    return max(known, default=otherwise)


def _likeliest(units: Iterator[Unit], terms: Terms) -> list[Unit]:
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


def _with_continuation(ranking: list[int], units: Sequence[Unit]) -> list[int]:
    """Move up the sentence after the best one when it goes on explaining."""
    best, following = ranking[0], ranking[0] + 1
    if following == len(units) or units[following].index != units[best].index:
        return ranking
    adjacent = units[following].start - units[best].end <= MAX_GAP_CHARACTERS
    if not (adjacent and _CONTINUING.match(units[following].text)):
        return ranking
    return [best, following, *(row for row in ranking[1:] if row != following)]


def _is_repetition(unit: Unit, other: Unit, cosine: float) -> bool:
    """Say whether two sentences tell the same: nearly the same words or meaning, same numbers."""
    if set(_NUMBER.findall(unit.text)) != set(_NUMBER.findall(other.text)):
        return False
    shared = len(unit.stems & other.stems)
    return cosine >= SAME_MEANING or shared >= SAME_WORDS * len(unit.stems | other.stems)


def _in_document_order(units: Sequence[Unit], evidence: Sequence[Candidate]) -> list[Unit]:
    """Order by version, as the evidence first names it, then by place in it."""
    versions = list(dict.fromkeys(source.version_id for source in evidence))
    return sorted(
        units, key=lambda unit: (versions.index(evidence[unit.index].version_id), unit.start)
    )
