"""Numbers and units of a claim must be in its source, and count the same there."""

from collections.abc import Iterator, Sequence
from itertools import combinations

from citewell.answer.cite.numbers import Number
from citewell.answer.cite.placing import Mention, are_swapped, is_exchanged, takes_place
from citewell.answer.cite.reading import Reading
from citewell.answer.cite.support import Support
from citewell.answer.cite.units import SPOKEN, UNITS

NUMBER, DATE, UNIT = "number_not_in_source", "date_not_in_source", "unit_not_in_source"

_ROMAN = (
    "", "i", "ii", "iii", "iv", "v", "vi", "vii", "viii", "ix", "x", "xi", "xii", "xiii", "xiv",
    "xv", "xvi", "xvii", "xviii", "xix", "xx", "xxi",
)  # fmt: skip


def check_numbers(claim: Reading, support: Support, dated: frozenset[int]) -> Iterator[str]:
    """Yield what is wrong with the numbers that are not in ``dated`` places, and with units."""
    numbers = [number for number in claim.numbers if number.first not in dated]
    for number in numbers:
        problem = _check(number, claim, support)
        if problem:
            yield problem
    for one, other in combinations(numbers, 2):
        mentions = _mentions(one, support.readings), _mentions(other, support.readings)
        if one.value != other.value and are_swapped(claim, one.span, other.span, *mentions):
            yield NUMBER
    yield from _check_spoken_units(claim, support)


def _check(number: Number, claim: Reading, support: Support) -> str | None:
    code = DATE if number.is_year and not number.soft else NUMBER
    here = _equal(number, support.readings)
    rivals = _rivals(number, claim, support)
    if not here and not _is_elsewhere(number, support):
        known = number.soft and not takes_place(claim, number.span, rivals)
        return None if known else code
    if not here:
        return code if rivals and not (number.soft or _is_in_place(number, support)) else None
    if number.unit and not any(_has_unit(number, *each) for each in here):
        return UNIT
    own = [Mention(reading, other.span) for reading, other in here]
    return code if is_exchanged(claim, number.span, own, rivals) else None


def _equal(number: Number, readings: Sequence[Reading]) -> list[tuple[Reading, Number]]:
    return [
        (reading, other)
        for reading in readings
        for other in reading.numbers
        if other.value == number.value
    ]


def _mentions(number: Number, readings: Sequence[Reading]) -> list[Mention]:
    return [Mention(reading, other.span) for reading, other in _equal(number, readings)]


def _is_elsewhere(number: Number, support: Support) -> bool:
    return bool(_equal(number, support.cited)) or _is_in_place(number, support)


def _is_in_place(number: Number, support: Support) -> bool:
    """Say whether the titles have the number, or the source has it in Roman letters."""
    small = 1 < number.value < len(_ROMAN) and number.value % 1 == 0
    if small and _ROMAN[int(number.value)] in support.folded:
        return True
    return any(_equal(number, [source.place]) for source in support.sources)


def _has_unit(number: Number, reading: Reading, other: Number) -> bool:
    """Say whether the other number has the unit, or none while its sentence names the unit."""
    if other.unit == number.unit:
        return True
    if other.unit is not None or number.unit is None:
        return False
    parts = number.unit.split("/")
    return all(any(UNITS.get(word) == part for word in reading.folded) for part in parts)


def _rivals(number: Number, claim: Reading, support: Support) -> list[Mention]:
    """Return the numbers of the bearing sentences that the claim leaves out."""
    own = {other.value for other in claim.numbers}
    return [
        Mention(reading, other.span)
        for reading in support.readings
        for other in reading.numbers
        if other.value not in own and other.soft <= number.soft
    ]


def _check_spoken_units(claim: Reading, support: Support) -> Iterator[str]:
    """Check units without a number, as in "several hours"."""
    measured = {number.last + 1 for number in claim.numbers if number.unit}
    known = {UNITS[word] for word in support.folded if word in UNITS}
    for place, token in enumerate(claim.tokens):
        if place in measured or token.folded not in SPOKEN or token.folded == "second":
            continue
        if UNITS[token.folded] in known:
            continue
        rivals = [
            Mention(reading, (at, at))
            for reading in support.readings
            for at, other in enumerate(reading.tokens)
            if other.folded in SPOKEN and other.folded not in claim.folded
        ]
        if takes_place(claim, (place, place), rivals):
            yield UNIT
