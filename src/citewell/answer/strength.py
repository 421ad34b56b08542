"""How strongly a chunk speaks to a question, on one scale for every question and workspace.

strength(c) = 0.6 · cosine + 0.4 · BM25 / Σ idf of the question's words. The second part is about
the share of the question's words that the chunk holds, the rare ones counting more.
"""

from collections.abc import Mapping, Sequence

from citewell.domain import Candidate

MEANING, WORDS = 0.6, 0.4
"""The weights that guard.py uses for the best chunk."""


def strength_of(candidate: Candidate, term_idf: Mapping[str, float]) -> float:
    """Return a chunk's strength: 0 … 1, by meaning alone when no word of the question is known.

    A leg that did not find the chunk counts nothing.
    """
    meaning = max(candidate.scores.get("dense", 0.0), 0.0)
    total = sum(term_idf.values())
    if not total:
        return meaning
    return MEANING * meaning + WORDS * min(candidate.scores.get("lexical", 0.0) / total, 1.0)


def strengths_of(evidence: Sequence[Candidate], term_idf: Mapping[str, float]) -> list[float]:
    """Return each chunk's strength; a neighbour that was not found has that of its nearest."""
    strengths = [strength_of(source, term_idf) for source in evidence]
    found = [
        (source, strength)
        for source, strength in zip(evidence, strengths, strict=True)
        if source.scores
    ]
    for at, source in enumerate(evidence):
        beside = [
            (abs(other.ordinal - source.ordinal), -strength)
            for other, strength in found
            if other.version_id == source.version_id
        ]
        if not source.scores and beside:
            strengths[at] = -min(beside)[1]
    return strengths
