"""Numbers, dates, units and names of a claim must be in its source, and be said of the same."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from citewell.answer.cite.alignment import changes
from citewell.answer.cite.dates import MONTHS, WEEKDAYS, Date
from citewell.answer.cite.names import Name, has_word, is_acronym_of, read_codes
from citewell.answer.cite.numbers import Number
from citewell.answer.cite.reading import Line, Reading, Span, likeness
from citewell.answer.cite.support import Support
from citewell.answer.cite.units import SPOKEN, UNITS

NUMBER, DATE = "number_not_in_source", "date_not_in_source"
UNIT, NAME = "unit_not_in_source", "name_not_in_source"

TAKEN_PLACE = 1.5
"""From this likeness of surroundings on, a fact stands where the source has another one."""

TAKEN_PLACE_OF_ABSENT = 1.0
"""The same for a fact that the bearing sentences do not have at all."""

_ROMAN = [
    "i",
    "ii",
    "iii",
    "iv",
    "v",
    "vi",
    "vii",
    "viii",
    "ix",
    "x",
    "xi",
    "xii",
    "xiii",
    "xiv",
    "xv",
    "xvi",
    "xvii",
    "xviii",
    "xix",
    "xx",
    "xxi",
]
_MOST_UNSURE = 3
"""Up to so many changed words, a capital at a sentence's beginning counts as a name's."""

_REACH_OF_PRONOUN = 3
_PRONOUNS = frozenset(
    [
        "he",
        "she",
        "it",
        "they",
        "him",
        "her",
        "them",
        "his",
        "its",
        "their",
        "this",
        "these",
        "those",
        "who",
        "which",
        "that",
        "such",
        "er",
        "sie",
        "es",
        "ihn",
        "ihm",
        "ihr",
        "ihre",
        "sein",
        "seine",
        "dieser",
        "diese",
        "dieses",
        "il",
        "elle",
        "ils",
        "elles",
        "son",
        "sa",
        "ses",
        "leur",
        "ce",
        "cette",
        "él",
        "ella",
        "ellos",
        "ellas",
        "su",
        "sus",
        "este",
        "esta",
    ]
)


@dataclass(frozen=True, slots=True)
class _Rival:
    """A fact of a bearing sentence that the claim does not have."""

    reading: Reading
    span: Span


def check_facts(claim: Reading, support: Support) -> Iterator[str]:
    """Yield the codes of what the claim says otherwise than its source."""
    yield from _check_dates(claim, support)
    dated = {place for date in claim.dates for place in range(date.first, date.last + 1)}
    for number in claim.numbers:
        if number.first not in dated:
            yield from _check_number(number, claim, support)
    yield from _check_spoken_units(claim, support)
    for name in claim.names:
        yield from _check_name(name, claim, support)
    yield from _check_changes(claim, support)
    for code in read_codes(claim.tokens):
        if code.folded not in support.folded and not _is_written(code.text, support):
            yield NUMBER if code.kind == "time" else NAME


def _is_written(code: str, support: Support) -> bool:
    return any(code.casefold() in sentence.text.casefold() for sentence in support.cited)


# Numbers and units


def _check_number(number: Number, claim: Reading, support: Support) -> Iterator[str]:
    code = DATE if number.is_year and not number.soft else NUMBER
    here = _equal_numbers(number, support.readings)
    cited = here or _equal_numbers(number, support.cited)
    if not cited and not _in_titles(number, support):
        if not number.soft or _takes_place(claim, _span(number), _rivals(number, claim, support)):
            yield code
        return
    if not here and not number.soft and not _in_titles(number, support):
        if _rivals(number, claim, support):
            yield code
        return
    if number.unit and here and not any(_same_unit(number, *each) for each in here):
        yield UNIT
        return
    if _is_exchanged(claim, _span(number), here, _rivals(number, claim, support)):
        yield code


def _span(fact: Number | Name | Date) -> Span:
    return fact.first, fact.last


def _equal_numbers(number: Number, readings: Sequence[Reading]) -> list[tuple[Reading, Number]]:
    return [
        (reading, other)
        for reading in readings
        for other in reading.numbers
        if other.value == number.value
    ]


def _in_titles(number: Number, support: Support) -> bool:
    """Say whether the titles have the number, or the source has it in Roman letters."""
    if 1 < number.value <= len(_ROMAN) and number.value % 1 == 0:
        if _ROMAN[int(number.value) - 1] in support.folded:
            return True
    return any(
        other.value == number.value for source in support.sources for other in source.place.numbers
    )


def _same_unit(number: Number, reading: Reading, other: Number) -> bool:
    """Say whether the other number has the unit, or none while its sentence names the unit."""
    if other.unit == number.unit:
        return True
    if other.unit is not None or number.unit is None:
        return False
    parts = number.unit.split("/")
    return all(any(UNITS.get(word) == part for word in reading.folded) for part in parts)


def _rivals(number: Number, claim: Reading, support: Support) -> list[_Rival]:
    """Return the numbers of the bearing sentences that the claim leaves out."""
    own = {other.value for other in claim.numbers}
    return [
        _Rival(reading, _span(other))
        for reading in support.readings
        for other in reading.numbers
        if other.value not in own and other.soft <= number.soft
    ]


def _check_spoken_units(claim: Reading, support: Support) -> Iterator[str]:
    """Check units without a number, as in "several hours"."""
    measured = {number.last + 1 for number in claim.numbers if number.unit}
    for place, token in enumerate(claim.tokens):
        if place in measured or token.folded not in SPOKEN or token.folded == "second":
            continue
        unit = UNITS[token.folded]
        if any(UNITS.get(word) == unit for word in support.folded):
            continue
        rivals = [
            _Rival(reading, (at, at))
            for reading in support.readings
            for at, other in enumerate(reading.tokens)
            if other.folded in SPOKEN and other.folded not in claim.folded
        ]
        if _takes_place(claim, (place, place), rivals):
            yield UNIT


# Dates


def _check_dates(claim: Reading, support: Support) -> Iterator[str]:
    for date in claim.dates:
        here = [
            (reading, other)
            for reading in support.readings
            for other in reading.dates
            if _agrees(date, other, reading)
        ]
        elsewhere = any(
            _agrees(date, other, reading) for reading in support.cited for other in reading.dates
        )
        dated = any(reading.dates for reading in support.readings)
        if not here and (not elsewhere or (dated and not _has_pronoun(support))):
            yield DATE
            continue
        own = {(each.year, each.month, each.day) for each in claim.dates}
        rivals = [
            _Rival(reading, _span(other))
            for reading in support.readings
            for other in reading.dates
            if (other.year, other.month, other.day) not in own and not _agrees(date, other, reading)
        ]
        if _is_exchanged(claim, _span(date), here, rivals):
            yield DATE
    for token in claim.tokens:
        if token.folded in WEEKDAYS and token.folded not in support.folded:
            yield DATE


def _agrees(claimed: Date, other: Date, reading: Reading) -> bool:
    """Say whether the source's date has all that the claimed one says."""
    return any(_says(one, two, reading) for one in claimed.readings() for two in other.readings())


def _says(claimed: tuple[int | None, ...], other: tuple[int | None, ...], reading: Reading) -> bool:
    for own, said in zip(claimed, other, strict=True):
        if own is None or own == said:
            continue
        if said is not None or not any(number.value == own for number in reading.numbers):
            return False
    return True


# Names


def _check_name(name: Name, claim: Reading, support: Support) -> Iterator[str]:
    words = name.words
    unknown = [word for word in words if not has_word(word, support.folded)]
    if unknown and is_acronym_of(name, support.folded):
        return
    rivals = list(_rival_names(claim, support))
    if unknown:
        if name.sure or _takes_place(claim, _span(name), rivals, TAKEN_PLACE_OF_ABSENT):
            yield NAME
        return
    here = [(reading, other) for reading in support.readings for other in _mentions(words, reading)]
    if here:
        if _is_exchanged(claim, _span(name), here, rivals):
            yield NAME
        return
    if all(has_word(word, support.place) for word in words):
        if _takes_place(claim, _span(name), rivals):
            yield NAME
        return
    if _takes_place(claim, _span(name), rivals, TAKEN_PLACE_OF_ABSENT) or (
        rivals and (name.sure or _is_named(words, support)) and not _is_meant(words, support)
    ):
        yield NAME


def _mentions(words: Sequence[str], reading: Reading) -> Iterator[Span]:
    """Yield where the sentence has the name, or the last of its words."""
    for place, token in enumerate(reading.tokens):
        if token.kind == "word" and has_word(words[-1], {token.folded}):
            first = place
            while first > 0 and reading.tokens[first - 1].folded in words:
                first -= 1
            yield first, place
        elif token.folded == words[0]:
            yield place, place


def _rival_names(claim: Reading, support: Support) -> Iterator[_Rival]:
    """Yield the names of the bearing sentences of which the claim has no word."""
    for reading in support.readings:
        for other in reading.names:
            if not any(has_word(word, claim.folded) for word in other.words):
                yield _Rival(reading, _span(other))


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
        if _PRONOUNS.isdisjoint(borne.reading.folded):
            continue
        before = borne.source.sentences[max(0, borne.number - _REACH_OF_PRONOUN) : borne.number]
        if any(has_word(words[-1], reading.folded) for reading in before):
            return True
    return False


def _has_pronoun(support: Support) -> bool:
    return any(not _PRONOUNS.isdisjoint(reading.folded) for reading in support.readings)


# Who stands where


def _takes_place(
    claim: Reading, span: Span, rivals: Sequence[_Rival], least: float = TAKEN_PLACE
) -> bool:
    """Say whether the claim has this fact where the source has one that the claim leaves out."""
    return any(sum(likeness(claim, span, rival.reading, rival.span)) >= least for rival in rivals)


def _is_exchanged(
    claim: Reading,
    span: Span,
    here: Sequence[tuple[Reading, Span | Number | Date]],
    rivals: Sequence[_Rival],
) -> bool:
    """Say whether the fact stands rather in a rival's place than in any of its own.

    Alike on one side only is not enough where it stands in its own place as well: there the source
    may merely name a thing twice.
    """
    own = max(
        (
            sum(likeness(claim, span, reading, each if isinstance(each, tuple) else _span(each)))
            for reading, each in here
        ),
        default=0.0,
    )
    for rival in rivals:
        before, after = likeness(claim, span, rival.reading, rival.span)
        both = bool(before and after)
        if before + after >= TAKEN_PLACE and (both or not own) and before + after > own:
            return True
    return False


def _check_changes(claim: Reading, support: Support) -> Iterator[str]:
    """Yield what stands in the place of another fact of the source, word for word around it."""
    for change in changes(claim, support.readings):
        added, dropped = _facts_in(change.added, claim), _facts_in(change.dropped, change.reading)
        for code in (NUMBER, DATE, NAME):
            mine, theirs = added[code], dropped[code]
            if mine and theirs and not any(has_word(each, theirs) for each in mine):
                yield code


def _facts_in(line: Line, reading: Reading) -> dict[str, set[str]]:
    """Return the numbers, years and names among these tokens of a sentence, to compare."""
    places = {id(token) for token in line}
    found: dict[str, set[str]] = {NUMBER: set(), DATE: set(), NAME: set()}
    for number in reading.numbers:
        if id(reading.tokens[number.first]) in places:
            found[DATE if number.is_year else NUMBER].add(str(number.value.normalize()))
    for name in reading.names:
        inside = [
            word
            for place, word in enumerate(name.words, start=name.first)
            if place <= name.last and id(reading.tokens[place]) in places
        ]
        if inside and (name.sure or len(line) <= _MOST_UNSURE):
            found[NAME].update(inside)
    for token in line:
        if token.folded in MONTHS and token.is_upper:
            found[DATE].add(str(MONTHS[token.folded]))
    return found
