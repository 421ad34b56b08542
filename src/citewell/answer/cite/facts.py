"""Numbers, dates, units, names and codes of a claim: all that must be in its source."""

from collections.abc import Iterator, Sequence

from citewell.answer.cite.alignment import Change
from citewell.answer.cite.dates import MONTHS, WEEKDAYS, Date
from citewell.answer.cite.identities import NAME, PRONOUNS, check_names
from citewell.answer.cite.names import has_word, initials, read_codes
from citewell.answer.cite.placing import Mention, is_exchanged
from citewell.answer.cite.quantities import DATE, NUMBER, check_numbers
from citewell.answer.cite.reading import Line, Reading
from citewell.answer.cite.support import Support

_MOST_UNSURE = 3
"""Up to so many changed words, a capital at a sentence's beginning counts as a name's."""


def check_facts(claim: Reading, support: Support, in_place: Sequence[Change]) -> Iterator[str]:
    """Yield the codes of what the claim says otherwise than its source."""
    yield from _check_dates(claim, support)
    dated = {place for date in claim.dates for place in range(date.first, date.last + 1)}
    yield from check_numbers(claim, support, frozenset(dated))
    yield from check_names(claim, support)
    for change in in_place:
        yield from _check_change(change, claim)
    for code in read_codes(claim.tokens):
        if code.folded not in support.folded and not _is_written(code.folded, support):
            yield NUMBER if code.kind == "time" else NAME


def _is_written(code: str, support: Support) -> bool:
    return any(code in sentence.text.casefold() for sentence in support.cited)


def _check_dates(claim: Reading, support: Support) -> Iterator[str]:
    for date in claim.dates:
        if _is_wrong(date, claim, support):
            yield DATE
    for token in claim.tokens:
        day = token.folded.removesuffix("s")
        if day in WEEKDAYS and token.is_upper and support.folded.isdisjoint({day, f"{day}s"}):
            yield DATE


def _is_wrong(date: Date, claim: Reading, support: Support) -> bool:
    own = [
        Mention(reading, other.span)
        for reading in support.readings
        for other in reading.dates
        if _agrees(date, other, reading)
    ]
    if not own:
        elsewhere = any(
            _agrees(date, other, each) for each in support.cited for other in each.dates
        )
        dated = any(reading.dates for reading in support.readings)
        return not elsewhere or (dated and not _has_pronoun(support))
    said = {(each.year, each.month, each.day) for each in claim.dates}
    rivals = [
        Mention(reading, other.span)
        for reading in support.readings
        for other in reading.dates
        if (other.year, other.month, other.day) not in said and not _agrees(date, other, reading)
    ]
    return is_exchanged(claim, date.span, own, rivals)


def _has_pronoun(support: Support) -> bool:
    return any(not PRONOUNS.isdisjoint(reading.folded) for reading in support.readings)


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


def _check_change(change: Change, claim: Reading) -> Iterator[str]:
    """Yield what stands in the place of another fact of the source, word for word around it."""
    added, dropped = _facts_in(change.added, claim), _facts_in(change.dropped, change.reading)
    for code in (NUMBER, DATE, NAME):
        mine, theirs = added[code], dropped[code]
        if code == NAME and (mine & initials(change.dropped) or theirs & initials(change.added)):
            continue
        if mine and theirs and not any(has_word(each, theirs) for each in mine):
            yield code
    kinds = {code for code in added if added[code]}, {code for code in dropped if dropped[code]}
    foreign = not any(has_word(each, change.reading.folded) for each in added[NAME])
    if NAME in kinds[0] and foreign and kinds[1] and kinds[0].isdisjoint(kinds[1]):
        yield NAME


def _facts_in(line: Line, reading: Reading) -> dict[str, set[str]]:
    """Return the numbers, dates and names among these tokens of a sentence, to compare."""
    places = {id(token) for token in line}
    found: dict[str, set[str]] = {NUMBER: set(), DATE: set(), NAME: set()}
    for number in reading.numbers:
        if id(reading.tokens[number.first]) in places and not number.soft:
            found[DATE if number.is_year else NUMBER].add(str(number.value.normalize()))
    for name in reading.names:
        inside = {
            token.folded
            for token in reading.tokens[name.first : name.last + 1]
            if id(token) in places
        }
        if name.sure or len(line) <= _MOST_UNSURE:
            found[NAME] |= inside
    for token in line:
        if token.folded in MONTHS and token.is_upper:
            found[DATE].add(str(MONTHS[token.folded]))
    return found
