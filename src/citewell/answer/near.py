"""Leave out what is too far away from the question in meaning."""

from collections.abc import Mapping, Sequence
from typing import Protocol, TypeVar


class Scored(Protocol):
    """Something that was found, with its scores by leg."""

    @property
    def scores(self) -> Mapping[str, float]:
        """Return the leg's own scores, where it found it."""
        ...


ScoredT = TypeVar("ScoredT", bound=Scored)


def near(found: Sequence[ScoredT], min_similarity: float) -> list[ScoredT]:
    """Return what is at least as close as ``min_similarity``; 0 lets everything pass.

    The dense leg did not return a chunk whose cosine is unknown, so it lies below every known one.
    """
    if min_similarity <= 0:
        return list(found)
    known = [each.scores["dense"] for each in found if "dense" in each.scores]
    unknown = min(known, default=1.0)
    return [each for each in found if each.scores.get("dense", unknown) >= min_similarity]
