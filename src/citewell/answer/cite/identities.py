"""Names of a claim must be in its source or in its titles, and be those that the source means."""

from collections.abc import Iterator, Sequence
from itertools import combinations

from citewell.answer.cite.languages import words
from citewell.answer.cite.names import Name, has_word, initials, is_acronym_of
from citewell.answer.cite.placing import (
    TAKEN_PLACE_OF_ABSENT,
    Mention,
    are_swapped,
    is_exchanged,
    takes_place,
)
from citewell.answer.cite.reading import Reading, Span
from citewell.answer.cite.support import Support

NAME = "name_not_in_source"

_REACH_OF_PRONOUN = 3
"""So many sentences before a pronoun may have the name that it stands for."""

PRONOUNS = words(
    "he she it they him her them his its their this these those who which that such er sie es"
    " ihn ihm ihr ihre sein seine dieser diese dieses il elle ils elles son sa ses leur ce"
    " cette él ella ellos ellas su sus este esta"
)


def check_names(claim: Reading, support: Support) -> Iterator[str]:
    """Yield the code for each name that is not there, or stands where another one does."""
    rivals = _rivals(claim, support)
    for name in claim.names:
        if _is_wrong(name, claim, support, rivals):
            yield NAME
    for one, other in combinations(claim.names, 2):
        if not set(one.words).isdisjoint(other.words):
            continue
        mentions = _mentions(one, support.readings), _mentions(other, support.readings)
        if are_swapped(claim, one.span, other.span, *mentions):
            yield NAME


def _is_wrong(name: Name, claim: Reading, support: Support, rivals: Sequence[Mention]) -> bool:
    words = name.words
    if not all(has_word(word, support.folded) for word in words):
        unknown = name.sure and not is_acronym_of(name, support.folded)
        return unknown or takes_place(claim, name.span, rivals, TAKEN_PLACE_OF_ABSENT)
    own = _mentions(name, support.readings)
    if own:
        return is_exchanged(claim, name.span, own, rivals)
    if all(has_word(word, support.place) for word in words):
        return takes_place(claim, name.span, rivals)
    if any(words[0] in initials(reading.tokens) for reading in support.readings):
        return False
    return takes_place(claim, name.span, rivals, TAKEN_PLACE_OF_ABSENT) or (
        bool(rivals) and (name.sure or _is_named(words, support)) and not _is_meant(words, support)
    )


def _mentions(name: Name, readings: Sequence[Reading]) -> list[Mention]:
    return [Mention(each, span) for each in readings for span in _places(name.words, each)]


def _places(words: Sequence[str], reading: Reading) -> Iterator[Span]:
    """Yield where the sentence has the name, or the first or last of its words."""
    for place, token in enumerate(reading.tokens):
        if token.kind == "word" and has_word(words[-1], {token.folded}):
            first = place
            while first > 0 and reading.tokens[first - 1].folded in words:
                first -= 1
            yield first, place
        elif token.folded == words[0]:
            yield place, place


def _rivals(claim: Reading, support: Support) -> list[Mention]:
    """Return the names of the bearing sentences of which the claim has no word."""
    return [
        Mention(reading, other.span)
        for reading in support.readings
        for other in reading.names
        if not any(has_word(word, claim.folded) for word in other.words)
    ]


def _is_named(words: Sequence[str], support: Support) -> bool:
    """Say whether the source writes these words as a name for sure."""
    return any(
        name.sure and not set(words).isdisjoint(name.words)
        for reading in support.cited
        for name in reading.names
    )


def _is_meant(words: Sequence[str], support: Support) -> bool:
    """Say whether a bearing sentence may mean this name by a pronoun: it stands shortly before."""
    for borne in support.borne:
        if PRONOUNS.isdisjoint(borne.reading.folded):
            continue
        before = borne.source.sentences[max(0, borne.number - _REACH_OF_PRONOUN) : borne.number]
        if any(has_word(words[-1], reading.folded) for reading in before):
            return True
    return False
