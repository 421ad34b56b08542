"""Say whether a fact of a claim stands where its source has another one."""

from collections.abc import Sequence
from dataclasses import dataclass

from citewell.answer.cite.reading import Reading, Span, likeness

TAKEN_PLACE = 1.5
"""From this likeness of surroundings on, a fact stands where the source has another one."""

TAKEN_PLACE_OF_ABSENT = 1.0
"""The same for a fact that the bearing sentences do not have at all."""

_SWAPPED = 1.0
_JOINS = frozenset(("and", "or", "und", "oder", "et", "ou", "y", "o", "&", ",", "/", "-", "–"))


@dataclass(frozen=True, slots=True)
class Mention:
    """A fact where a sentence has it."""

    reading: Reading
    span: Span


def takes_place(
    claim: Reading, span: Span, rivals: Sequence[Mention], least: float = TAKEN_PLACE
) -> bool:
    """Say whether the claim has this fact where the source has one that the claim leaves out."""
    return any(_likeness(claim, span, rival) >= least for rival in rivals)


def is_exchanged(
    claim: Reading, span: Span, own: Sequence[Mention], rivals: Sequence[Mention]
) -> bool:
    """Say whether the fact stands rather in a rival's place than in any of its own.

    Alike on one side only is not enough where it stands in its own place as well: there the source
    may merely name a thing twice.
    """
    at_home = max((_likeness(claim, span, mention) for mention in own), default=0.0)
    for rival in rivals:
        before, after = likeness(claim, span, rival.reading, rival.span)
        both = bool(before and after) or not at_home
        if both and before + after >= TAKEN_PLACE and before + after > at_home:
            return True
    return False


def are_swapped(
    claim: Reading, one: Span, other: Span, ones: Sequence[Mention], others: Sequence[Mention]
) -> bool:
    """Say whether each of two facts of the claim stands where the source has the other one.

    Two that are joined, as in "A and B", say the same in either order.
    """
    if one[0] > other[0]:
        one, other, ones, others = other, one, others, ones
    between = claim.tokens[one[1] + 1 : other[0]]
    if all(token.folded in _JOINS or token.is_upper for token in between):
        return False
    home = max((_likeness(claim, one, each) for each in ones), default=0.0)
    other_home = max((_likeness(claim, other, each) for each in others), default=0.0)
    away = max((_likeness(claim, one, each) for each in others), default=0.0)
    other_away = max((_likeness(claim, other, each) for each in ones), default=0.0)
    return min(away, other_away) >= _SWAPPED and away > home and other_away > other_home


def _likeness(claim: Reading, span: Span, mention: Mention) -> float:
    return sum(likeness(claim, span, mention.reading, mention.span))
