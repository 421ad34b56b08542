"""Ways to fuse two rankings: the product's own, and those that it is compared with."""

import math
from collections.abc import Mapping

from citewell.answer.fuse import Fused, fuse
from citewell.domain import ChunkId

Scores = Mapping[ChunkId, float]


def fuse_by(way: str, dense: Scores, lexical: Scores, weight: float) -> list[Fused]:
    """Merge two legs, best first; ``way`` is one of those below.

    Raises:  ValueError – there is no such way.
    """
    match way:
        case "convex":
            return fuse(dense, lexical, weight)
        case "dense":
            return fuse(dense, {}, weight)
        case "lexical":
            return fuse({}, lexical, weight)
        case "theoretical":
            return _sum(_from_least(dense, -1.0), _from_least(lexical, 0.0), weight)
        case "atan":
            cosines = {key: (1 + score) / 2 for key, score in dense.items()}
            bounded = {key: math.atan(score) * 2 / math.pi for key, score in lexical.items()}
            return _sum(cosines, bounded, weight)
        case "rrf10" | "rrf60":
            k = int(way.removeprefix("rrf"))
            return _sum(_of_ranks(dense, k), _of_ranks(lexical, k), 0.5)
        case _:
            raise ValueError(f"There is no fusion {way!r}.")


def _from_least(scores: Scores, least: float) -> dict[ChunkId, float]:
    """Map scores to 0 … 1 between the least that there can be and the best that there is.

    Source:  TM2C2 in Bruch, Gai, Ingber, TOIS 2023.
    """
    highest = max(scores.values(), default=1.0)
    return {key: (score - least) / max(highest - least, 1e-9) for key, score in scores.items()}


def _of_ranks(scores: Scores, k: int) -> dict[ChunkId, float]:
    """Return 1/(k + rank), from a mapping in the order of its ranks.

    Source:  Cormack, Clarke, Büttcher, SIGIR 2009.
    """
    return {key: 1 / (k + rank) for rank, key in enumerate(scores, 1)}


def _sum(dense: Scores, lexical: Scores, weight: float) -> list[Fused]:
    total = {key: weight * score for key, score in dense.items()}
    for key, score in lexical.items():
        total[key] = total.get(key, 0.0) + (1 - weight) * score
    ranked = sorted(total.items(), key=lambda item: (-item[1], item[0]))
    return [Fused(key, score, {}) for key, score in ranked]
