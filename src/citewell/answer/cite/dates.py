"""Read a text's dates in several ways of writing, so that they compare."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from citewell.answer.cite.languages import words
from citewell.answer.cite.numbers import parse_digits
from citewell.answer.cite.tokens import Token

_MONTHS = (
    "january jan januar jänner janvier enero", "february feb februar février febrero",
    "march mar märz mars marzo", "april apr avril abril", "may mai mayo",
    "june jun juni juin junio", "july jul juli juillet julio", "august aug août agosto",
    "september sep sept septembre septiembre", "october oct okt oktober octobre octubre",
    "november nov novembre noviembre", "december dec dez dezember décembre diciembre",
)  # fmt: skip
MONTHS = {name: month for month, names in enumerate(_MONTHS, start=1) for name in names.split()}
WEEKDAYS = words(
    "monday tuesday wednesday thursday friday saturday sunday montag dienstag mittwoch"
    " donnerstag freitag samstag sonntag lundi mardi mercredi jeudi vendredi samedi dimanche"
    " lunes martes miércoles jueves viernes sábado domingo"
)
_AMBIGUOUS = frozenset({"may", "march", "mar", "mars", "sep", "dec", "jan", "mai"})
"""Words that are a month only beside a number."""

_FILLERS = frozenset({"of", "de", "del", "the", ",", "."})
_NUMERIC = re.compile(r"(\d{1,2})\.(\d{1,2})\.(\d{4})\Z")


@dataclass(frozen=True, slots=True)
class Date:
    """A date, as far as the text says it, and which tokens it is.

    ``swapped`` is the other reading of "05/06/1955".
    """

    year: int | None
    month: int | None
    day: int | None
    first: int
    last: int
    swapped: tuple[int, int] | None = None

    @property
    def span(self) -> tuple[int, int]:
        """Its first and its last token."""
        return self.first, self.last

    def readings(self) -> Iterator[tuple[int | None, int | None, int | None]]:
        """Yield year, month and day in each way that they can be read."""
        yield self.year, self.month, self.day
        if self.swapped:
            yield self.year, *self.swapped


def read_dates(tokens: Sequence[Token]) -> list[Date]:
    """Return the dates that name a month, in order; a bare year is a number."""
    found: list[Date] = []
    place = 0
    while place < len(tokens):
        date = _numeric(tokens, place) or _named(tokens, place, found[-1].last if found else -1)
        if date is None:
            place += 1
            continue
        found.append(date)
        place = date.last + 1
    return found


def _numeric(tokens: Sequence[Token], at: int) -> Date | None:
    """Read 1955-06-05, 05.06.1955 or 05/06/1955 at ``tokens[at]``."""
    if dotted := _NUMERIC.match(tokens[at].text):
        day, month, year = (int(part) for part in dotted.groups())
        return _checked(year, month, day, at, at)
    parts = _joined(tokens[at : at + 5])
    if parts is None:
        return None
    first, second, third = map(int, parts)
    if len(parts[0]) == 4:
        return _checked(first, second, third, at, at + 4)
    either = _checked(third, first, second, at, at + 4), _checked(third, second, first, at, at + 4)
    date = either[0] or either[1]
    if len(parts[2]) == 4 and date and all(either):
        return Date(third, first, second, at, at + 4, (second, first))
    return date if len(parts[2]) == 4 else None


def _joined(five: Sequence[Token]) -> list[str] | None:
    """Return three numbers that the same mark joins without a space."""
    if len(five) < 5 or [each.kind for each in five[::2]] != ["number"] * 3:
        return None
    mark = five[1].text
    if mark != five[3].text or mark not in {"-", "/"} or five[0].end != five[1].start:
        return None
    parts = [each.text for each in five[::2]]
    return parts if all(part.isdigit() for part in parts) else None


def _checked(year: int, month: int, day: int, first: int, last: int) -> Date | None:
    if 1 <= month <= 12 and 1 <= day <= 31:
        return Date(year, month, day, first, last)
    return None


def _named(tokens: Sequence[Token], at: int, taken: int) -> Date | None:
    """Read a date around the month's name at ``tokens[at]``."""
    name = tokens[at]
    month = MONTHS.get(name.folded) if name.kind == "word" else None
    if month is None:
        return None
    first = last = at
    day, place = _number_before(tokens, at, taken)
    if day is not None and day <= 31:
        first = place
    else:
        day = None
        after, place = _number_after(tokens, at)
        if after is not None and after <= 31:
            day, last = after, place
    year, place = _number_after(tokens, last)
    if year is not None and 32 <= year <= 2999:
        last = place
    else:
        year = None
    alone = day is None and year is None
    if alone and (name.folded in _AMBIGUOUS or not name.is_upper):
        return None
    return Date(year, month, day, first, last)


def _number_before(tokens: Sequence[Token], at: int, taken: int) -> tuple[int | None, int]:
    place = at - 1
    while place > taken and tokens[place].folded in _FILLERS and at - place < 3:
        place -= 1
    return (_whole(tokens[place]), place) if place > taken else (None, at)


def _number_after(tokens: Sequence[Token], at: int) -> tuple[int | None, int]:
    place = at + 1
    shortened = len(tokens[at].folded) <= 4 and tokens[at].kind == "word"
    fillers = _FILLERS if shortened else _FILLERS - {"."}
    while place < len(tokens) and tokens[place].folded in fillers and place - at < 3:
        place += 1
    return (_whole(tokens[place]), place) if place < len(tokens) else (None, at)


def _whole(token: Token) -> int | None:
    value = parse_digits(token.text, "english") if token.kind == "number" else None
    return int(value) if value is not None and value % 1 == 0 and "," not in token.text else None
