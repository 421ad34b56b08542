"""Fuse the legs' rankings by a convex combination of their normalised scores.

score(c) = w · norm(dense(c)) + (1 − w) · norm(lexical(c)), where norm maps a leg's scores to 0 … 1
between its worst and its best result, and a chunk that a leg did not find counts 0 there.

Source: Bruch, Gai, Ingber, An Analysis of Fusion Functions for Hybrid Retrieval, TOIS 2023.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

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
    dense_weight = counted_weight(dense, lexical, dense_weight)
    fused: dict[ChunkId, tuple[float, dict[str, float]]] = {}
    lowest, scale = _scale(dense, dense_weight)
    for chunk_id, score in dense.items():
        fused[chunk_id] = ((score - lowest) * scale, {"dense": score})
    lowest, scale = _scale(lexical, 1 - dense_weight)
    for chunk_id, score in lexical.items():
        known, scores = fused.get(chunk_id) or (0.0, {})
        scores["lexical"] = score
        fused[chunk_id] = (known + (score - lowest) * scale, scores)
    ranked = sorted(fused.items(), key=_place)
    return [Fused(chunk_id, score, scores) for chunk_id, (score, scores) in ranked]


def _place(item: tuple[ChunkId, tuple[float, dict[str, float]]]) -> tuple[float, ChunkId]:
    return -item[1][0], item[0]


def _scale(scores: Mapping[ChunkId, float], weight: float) -> tuple[float, float]:
    """Return what to take from each score and what to multiply the rest by, for 0 … ``weight``.

    All count as the best where they are equal.
    """
    lowest, highest = min(scores.values(), default=0.0), max(scores.values(), default=1.0)
    if highest == lowest:
        return lowest - 1, weight
    return lowest, weight / (highest - lowest)


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


def put_first(ranking: Sequence[Fused], first: Collection[ChunkId]) -> list[Fused]:
    """Rank the chunks of ``first`` before all others; scores stay within 0 … 1, best first.

    Where one of them was found, each score is halved, and theirs lie above 0.5.
    """
    if not first or not any(item.chunk_id in first for item in ranking):
        return list(ranking)
    moved = [
        replace(item, score=item.score / 2 + (0.5 if item.chunk_id in first else 0.0))
        for item in ranking
    ]
    return sorted(moved, key=lambda item: (item.chunk_id not in first, -item.score, item.chunk_id))


def counted_weight(
    dense: Mapping[ChunkId, float], lexical: Mapping[ChunkId, float], dense_weight: float
) -> float:
    """Return what the dense leg counts: where one leg found nothing, the other counts alone."""
    if dense and lexical:
        return dense_weight
    return 1.0 if dense else 0.0


def normalise(scores: Mapping[ChunkId, float]) -> dict[ChunkId, float]:
    """Map a leg's scores to 0 … 1, its worst and its best result; equal ones are all 1."""
    lowest, scale = _scale(scores, 1.0)
    return {key: (value - lowest) * scale for key, value in scores.items()}
