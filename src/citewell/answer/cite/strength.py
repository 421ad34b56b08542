"""A claim may limit no more, hold for no more, and be no surer than its source."""

from collections.abc import Sequence

from citewell.answer.cite.cues import (
    COMPARED,
    DENYING,
    EXCEPTING,
    EXCEPTING_CLAIMED,
    FEWER,
    FOR_ALL,
    FOR_ALL_CLAIMED,
    FOR_SOME,
    HEDGED,
    HEDGING,
    LIMITING,
    LIMITING_SURELY,
    MORE,
    THAN,
)
from citewell.answer.cite.denial import governed
from citewell.answer.cite.reading import Reading

_EACH = FOR_ALL_CLAIMED | {"each", "any"}


def is_stronger(claim: Reading, readings: Sequence[Reading]) -> bool:
    """Say whether the claim says more than its source: of how many, how surely, or how much."""
    said = {word for reading in readings for word in reading.folded}
    return (
        _is_limited_otherwise(claim, readings, said)
        or _holds_for_more(claim, said)
        or _loses_hedge(claim, readings)
        or _compares_otherwise(claim, readings)
    )


def _is_limited_otherwise(claim: Reading, readings: Sequence[Reading], said: set[str]) -> bool:
    denies = not DENYING.isdisjoint(said)
    limits = not LIMITING.isdisjoint(claim.folded)
    if limits and LIMITING.isdisjoint(said) and "just" not in said and not denies:
        return True
    if not EXCEPTING_CLAIMED.isdisjoint(claim.folded):
        return EXCEPTING.isdisjoint(said) and not denies and "if" not in said
    if not limits and _keeps_what_is_limited(claim, readings):
        return True
    holds_for_all = not _EACH.isdisjoint(claim.folded)
    return holds_for_all and "except" in said and EXCEPTING.isdisjoint(claim.folded)


def _keeps_what_is_limited(claim: Reading, readings: Sequence[Reading]) -> bool:
    """Say whether the claim lost an "only" and kept the words on both of its sides."""
    for reading in readings:
        for place, token in enumerate(reading.tokens):
            if token.folded not in LIMITING_SURELY:
                continue
            if place and reading.tokens[place - 1].folded in {"not", "the", "an"}:
                continue
            beside = reading.heavy_around((place, place), 2)
            if beside and beside <= claim.stems and "just" not in claim.folded:
                return True
    return False


def _holds_for_more(claim: Reading, said: set[str]) -> bool:
    """Say whether the claim holds for all where the source says some, or nothing about it."""
    claimed = claim.folded & FOR_ALL_CLAIMED
    if claimed and FOR_ALL.isdisjoint(said):
        return True
    return bool(claimed - said and (said & FOR_SOME) - claim.folded)


def _loses_hedge(claim: Reading, readings: Sequence[Reading]) -> bool:
    """Say whether "may cause" became "causes"."""
    if not HEDGING.isdisjoint(claim.folded):
        return False
    for reading in readings:
        for place, token in enumerate(reading.tokens):
            if token.folded not in HEDGED or token.text == "May":
                continue
            following = governed(reading, place, 1)
            if following and following[0] in claim.stems:
                return True
    return False


def _compares_otherwise(claim: Reading, readings: Sequence[Reading]) -> bool:
    """Say whether "more than 5" became "less than 5"."""
    for number in claim.numbers:
        mine = _direction(claim, number.first)
        if not mine:
            continue
        theirs = [
            _direction(reading, other.first)
            for reading in readings
            for other in reading.numbers
            if other.value == number.value
        ]
        if theirs and all(direction != mine for direction in theirs):
            return True
    return False


def _direction(reading: Reading, place: int) -> int:
    """Return 1 for "more than" before the number, -1 for "less than", 0 for neither."""
    before = [token.folded for token in reading.tokens[max(0, place - 3) : place]]
    denied = -1 if "no" in before or "not" in before else 1
    for at, word in enumerate(before):
        if word in COMPARED and THAN.isdisjoint(before[at:]):
            continue
        if word in {"least", "most"} and before[at - 1 : at] != ["at"]:
            continue
        if word in MORE:
            return denied
        if word in FEWER:
            return -denied
    return 0
