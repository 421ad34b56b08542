"""Fuse the legs' rankings by a convex combination of their normalised scores.

score(c) = w · norm(dense(c)) + (1 − w) · norm(lexical(c)), where norm maps a leg's scores to 0 … 1
between its worst and its best result, and a chunk that a leg did not find counts 0 there.

Source: Bruch, Gai, Ingber, An Analysis of Fusion Functions for Hybrid Retrieval, TOIS 2023.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from citewell.domain import ChunkId


@dataclass(frozen=True, slots=True)
class Fused:
    """A chunk's fused score, and the legs' own scores where they found it."""

    chunk_id: ChunkId
    score: float
    scores: Mapping[str, float]


def fuse(
    dense: Mapping[ChunkId, float], lexical: Mapping[ChunkId, float], dense_weight: float
) -> list[Fused]:
    """Merge two legs of ≤ N chunks into ≤ 2N unique ones, best first; ties by chunk id.

    Units:   scores in 0 … 1; they compare only within one call.
    """
    norm_dense, norm_lexical = normalise(dense), normalise(lexical)
    dense_weight = counted_weight(dense, lexical, dense_weight)
    fused = [
        Fused(
            chunk_id,
            dense_weight * norm_dense.get(chunk_id, 0.0)
            + (1 - dense_weight) * norm_lexical.get(chunk_id, 0.0),
            {
                leg: scores[chunk_id]
                for leg, scores in (("dense", dense), ("lexical", lexical))
                if chunk_id in scores
            },
        )
        for chunk_id in norm_dense.keys() | norm_lexical.keys()
    ]
    return sorted(fused, key=lambda item: (-item.score, item.chunk_id))


def join(rankings: Sequence[Sequence[Fused]]) -> list[Fused]:
    """Merge the rankings of several queries by the mean of their scores; one stays as it is.

    Shapes:  Q rankings of ≤ N chunks → ≤ Q·N unique ones, best first; ties by chunk id.
    """
    if len(rankings) == 1:
        return list(rankings[0])
    best: dict[ChunkId, Fused] = {}
    total: dict[ChunkId, float] = {}
    for ranking in rankings:
        for item in ranking:
            total[item.chunk_id] = total.get(item.chunk_id, 0.0) + item.score / len(rankings)
            if item.chunk_id not in best or best[item.chunk_id].score < item.score:
                best[item.chunk_id] = item
    joined = [Fused(key, total[key], item.scores) for key, item in best.items()]
    return sorted(joined, key=lambda item: (-item.score, item.chunk_id))


def counted_weight(
    dense: Mapping[ChunkId, float], lexical: Mapping[ChunkId, float], dense_weight: float
) -> float:
    """Return what the dense leg counts: where one leg found nothing, the other counts alone."""
    if dense and lexical:
        return dense_weight
    return 1.0 if dense else 0.0


def normalise(scores: Mapping[ChunkId, float]) -> dict[ChunkId, float]:
    """Map a leg's scores to 0 … 1, its worst and its best result; equal ones are all 1."""
    if not scores:
        return {}
    lowest, highest = min(scores.values()), max(scores.values())
    if highest == lowest:
        return dict.fromkeys(scores, 1.0)
    return {key: (value - lowest) / (highest - lowest) for key, value in scores.items()}
