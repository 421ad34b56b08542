"""A claim must have its source's sense: neither a denial, an opposite nor a stronger word."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from citewell.answer.cite.alignment import Change
from citewell.answer.cite.cues import (
    DENYING,
    FOR_ALL,
    FOR_ALL_CLAIMED,
    HEDGED,
    HEDGING,
    LIMITING,
)
from citewell.answer.cite.denial import REACH, denials, denies_otherwise, moves_denial
from citewell.answer.cite.opposites import poles_of
from citewell.answer.cite.reading import Reading, likeness
from citewell.answer.cite.strength import is_stronger
from citewell.answer.cite.tokens import Token

NEGATION, POLARITY = "negation_differs", "polarity_differs"

_MOST_HEDGED = 3
_BESIDE = 4
"""Opposites that share a word within so many on either side speak of the same."""

_OPPOSITE_HERE, _OPPOSITE_THERE = 0.5, 1.0
"""The likeness of surroundings from which on a word stands for its opposite; more where the source
has the word itself as well."""


def check_polarity(
    claim: Reading, readings: Sequence[Reading], in_place: Sequence[Change]
) -> Iterator[str]:
    """Yield the codes of where the claim's sense differs from that of the bearing sentences."""
    if not readings:
        return
    if denies_otherwise(claim, readings) or moves_denial(in_place):
        yield NEGATION
    turned = any(_changes_sense(change, claim.tokenizer.language) for change in in_place)
    if turned or _says_opposite(claim, readings) or is_stronger(claim, readings):
        yield POLARITY


def _changes_sense(change: Change, language: str | None) -> bool:
    """Say whether a word gave its place to its opposite, or to one that claims more."""
    dropped = {token.folded for token in change.dropped}
    added = {token.folded for token in change.added}
    if added & FOR_ALL_CLAIMED and not dropped & FOR_ALL and not added & HEDGED:
        return True
    if dropped & HEDGED and not added & HEDGING and len(dropped) <= _MOST_HEDGED:
        return True
    if added & LIMITING and not dropped & LIMITING and "just" not in dropped:
        return True
    theirs = {place for token in change.dropped for place in _poles(token, language)}
    mine = {place for token in change.added for place in _poles(token, language)}
    if not any((axis, 1 - pole) in theirs for axis, pole in mine - theirs):
        return False
    return (not added & DENYING) is (not dropped & DENYING)


@dataclass(frozen=True, slots=True)
class _Word:
    """A word where a sentence has it."""

    reading: Reading
    place: int

    @property
    def token(self) -> Token:
        return self.reading.tokens[self.place]


def _says_opposite(claim: Reading, readings: Sequence[Reading]) -> bool:
    """Say whether a word of the claim stands where the source has its opposite."""
    language = claim.tokenizer.language
    own = {form for token in claim.tokens for form in (token.folded, token.stem)}
    polar = [
        _Word(reading, place)
        for reading in readings
        for place, token in enumerate(reading.tokens)
        if _poles(token, language) and token.folded not in own and token.stem not in own
    ]
    for place, token in enumerate(claim.tokens):
        turned = {(axis, 1 - pole) for axis, pole in _poles(token, language)}
        for other in polar:
            if turned.isdisjoint(_poles(other.token, language)):
                continue
            word = _Word(claim, place)
            if _stands_for(word, other, readings) and not _is_denied_once(word, other):
                return True
    return False


def _poles(token: Token, language: str | None) -> frozenset[tuple[int, int]]:
    poles = poles_of(language)
    return poles.get(token.folded) or poles.get(token.stem) or frozenset()


def _stands_for(word: _Word, other: _Word, readings: Sequence[Reading]) -> bool:
    """Say whether the claim's word stands where the source has the other one."""
    like = _likeness(word, other)
    at_home = [
        _likeness(word, _Word(reading, place))
        for reading in readings
        for place, token in enumerate(reading.tokens)
        if token.folded == word.token.folded or token.stem == word.token.stem
    ]
    if at_home:
        return like >= _OPPOSITE_THERE and like > max(at_home)
    if like >= _OPPOSITE_HERE:
        return True
    around = word.reading.heavy_around((word.place, word.place), _BESIDE)
    return not around.isdisjoint(other.reading.heavy_around((other.place, other.place), _BESIDE))


def _likeness(one: _Word, other: _Word) -> float:
    mine, theirs = (one.place, one.place), (other.place, other.place)
    return sum(likeness(one.reading, mine, other.reading, theirs))


def _is_denied_once(word: _Word, other: _Word) -> bool:
    """Say whether just one of two opposites is denied: "not open" is "closed"."""
    one = any(word.token.stem in denied for denied in denials(word.reading, DENYING, REACH))
    two = any(other.token.stem in denied for denied in denials(other.reading, DENYING, REACH))
    return one is not two
