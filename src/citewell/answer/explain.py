"""Say why each result of a search was found, and what its score is made of."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from citewell.answer.fuse import counted_weight, normalise
from citewell.answer.search import SearchResult
from citewell.domain import Candidate, ChunkId, LegResult

NAMED_WORDS = 5
"""Words that a sentence names; the others are counted."""


@dataclass(frozen=True, slots=True)
class LegShare:
    """What one leg gave to a result: ``weight · normalised`` is its part of the fused score.

    ``score`` and ``rank`` are None where the leg did not find the chunk; ranks count from 1.
    """

    score: float | None
    rank: int | None
    found: int
    normalised: float
    weight: float


@dataclass(frozen=True, slots=True)
class MatchedTerm:
    """A stem of the question that the chunk holds, or its title or section, and how rare it is."""

    term: str
    idf: float


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why a chunk was found; ``rerank`` is None where no reranker judged it."""

    dense: LegShare
    lexical: LegShare
    fused: float
    rerank: float | None
    terms: tuple[MatchedTerm, ...]
    why: str


def explain(found: SearchResult, words: Mapping[ChunkId, Sequence[str]]) -> list[Explanation]:
    """Explain each result of a search for one query, in its order.

    Shapes:  ``words`` the question's stems that each chunk holds; a missing chunk holds none.
    """
    (legs,) = found.legs
    weight = counted_weight(legs.dense.scores, legs.lexical.scores, found.wanted.dense_weight)
    dense, lexical = _shares(legs.dense, weight), _shares(legs.lexical, 1 - weight)
    explained: list[Explanation] = []
    for each in found.candidates:
        held = sorted(
            (MatchedTerm(term, found.term_idf[term]) for term in words.get(each.chunk_id, ())),
            key=lambda term: (-term.idf, term.term),
        )
        shares = dense.of(each.chunk_id), lexical.of(each.chunk_id)
        why = _sentence(each, *shares, [term.term for term in held])
        rerank = each.scores.get("rerank")
        explained.append(Explanation(*shares, each.score, rerank, tuple(held), why))
    return explained


@dataclass(frozen=True, slots=True)
class _Leg:
    scores: Mapping[ChunkId, float]
    normalised: Mapping[ChunkId, float]
    ranks: Mapping[ChunkId, int]
    weight: float

    def of(self, chunk_id: ChunkId) -> LegShare:
        return LegShare(
            self.scores.get(chunk_id),
            self.ranks.get(chunk_id),
            len(self.scores),
            self.normalised.get(chunk_id, 0.0),
            self.weight,
        )


def _shares(leg: LegResult, weight: float) -> _Leg:
    ranks = {chunk_id: place for place, chunk_id in enumerate(leg.scores, 1)}
    return _Leg(leg.scores, normalise(leg.scores), ranks, weight)


def _sentence(each: Candidate, dense: LegShare, lexical: LegShare, words: Sequence[str]) -> str:
    parts: list[str] = []
    if dense.rank is not None:
        parts.append(
            f"its meaning is number {dense.rank} of the {dense.found} closest "
            f"(cosine {dense.score:.2f})"
        )
    if lexical.rank is not None:
        parts.append(
            f"its words are number {lexical.rank} of the {lexical.found} best{_named(words)}"
        )
    if dense.rank is None:
        parts.append("its meaning is not among the closest")
    elif lexical.rank is None:
        parts.append("its words are not among the best" + _named(words))
    if "rerank" in each.scores:
        parts.append(f"the reranker gave it {each.scores['rerank']:.2f}")
    said = ", and ".join(parts)
    return said[:1].upper() + said[1:] + "."


def _named(words: Sequence[str]) -> str:
    if not words:
        return ""
    shown = ", ".join(words[:NAMED_WORDS])
    more = len(words) - NAMED_WORDS
    return f" ({shown} and {more} more)" if more > 0 else f" ({shown})"
