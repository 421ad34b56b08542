"""Read conditions: comparisons of metadata, dates, sections, media types, and what joins them."""

from collections.abc import Sequence
from typing import Any, cast
from uuid import UUID

from citewell.domain import Condition, Filter, Group, is_moment
from citewell.domain.filters import About, Join, Operator
from citewell.errors import Unprocessable

MOST_CHOICES = 1000
MOST_FIELDS = 50
DEEPEST_FILTERS = 4
LONGEST_PART = 1000
SHOWN = 60
"""Characters of a field's name that a message repeats."""

JOINS: dict[str, Join] = {"all": "all", "any": "any", "not": "none"}
LISTS: dict[str, About] = {
    "document_id": "document_id",
    "document_name": "document_name",
    "media_type": "media_type",
    "section": "section",
}
DATES: dict[str, About] = {"created": "created", "updated": "updated"}
COMPARING: dict[str, Operator] = {"gt": "gt", "gte": "gte", "lt": "lt", "lte": "lte"}
OPERATORS = frozenset({"eq", "ne", "in", "nin", "exists", "contains", *COMPARING})
TOO_MANY = "There are too many filters: at most 50 fields and 1000 values."


def is_comparison(wanted: Any) -> bool:
    """Say whether a field's filter is an object of operators, and not a value that it must equal.

    An object in which an operator stands beside something else counts too: it is a mistake.
    """
    return isinstance(wanted, dict) and not OPERATORS.isdisjoint(wanted)  # pyright: ignore[reportUnknownArgumentType]


class ConditionReader:
    """Reads the filters of one request, and counts them.

    Raises:  Unprocessable – a filter is not understood, or there are too many of them.
    """

    def __init__(self) -> None:
        self._fields = 0
        self._values = 0

    def count(self, values: int) -> None:
        """Count one more field and the values that it is compared with."""
        self._fields += 1
        self._values += values
        if self._fields > MOST_FIELDS or self._fields + self._values > MOST_CHOICES:
            raise Unprocessable(TOO_MANY)

    def read(self, given: Any, path: str, depth: int = 0) -> list[Filter]:
        """Return an object's filters, all of which must hold."""
        if not isinstance(given, dict):
            raise Unprocessable(f"The field {path} must be an object of filters.")
        if depth > DEEPEST_FILTERS:
            raise Unprocessable(
                f"The field {path} is nested too deep: at most {DEEPEST_FILTERS} levels."
            )
        rest = dict(cast("dict[str, Any]", given))
        found: list[Filter] = []
        for name in (*LISTS, *DATES, *JOINS):
            value = rest.pop(name, None)
            place = f"{path}.{name}"
            if value is None:
                continue
            if name in LISTS:
                found.append(self._list(value, place, LISTS[name]))
            elif name in DATES:
                found += self._dates(value, place, DATES[name])
            else:
                found.append(self._group(value, place, JOINS[name], depth))
        metadata: Any = rest.pop("metadata", {})
        if not isinstance(metadata, dict):
            raise Unprocessable(
                f"The field {path}.metadata must be an object of fields and values."
            )
        fields = {**rest, **cast("dict[str, Any]", metadata)}
        for key, wanted in fields.items():
            found += self._field(key, wanted, f"{path}.{_shown(key)}")
        return found

    def _group(self, given: Any, path: str, join: Join, depth: int) -> Group:
        if join == "none":
            parts: list[Any] = [given]
        elif isinstance(given, list) and given:
            parts = cast("list[Any]", given)
        else:
            raise Unprocessable(f"The field {path} must be a list of objects, with one at least.")
        if len(parts) > MOST_FIELDS:
            raise Unprocessable(TOO_MANY)
        places = [path] if join == "none" else [f"{path}[{n}]" for n in range(len(parts))]
        return Group(
            join,
            tuple(
                Group("all", tuple(self.read(part, place, depth + 1)))
                for part, place in zip(parts, places, strict=True)
            ),
        )

    def _list(self, given: Any, path: str, about: About) -> Condition:
        choices = texts_of(_numbered(given) if about == "section" else given, path)
        self.count(len(choices))
        if about == "document_id":
            choices = [str(each) for each in ids_of(choices, path)]
        elif about == "section" and not all(each.strip() for each in choices):
            raise Unprocessable(f"The field {path} must name a section: its number or its title.")
        elif about == "section":
            choices = [" ".join(each.split()) for each in choices]
        return Condition(about, "in", choices)

    def _dates(self, given: Any, path: str, about: About) -> list[Filter]:
        if not isinstance(given, dict) or not given or not COMPARING.keys() >= set(given):  # pyright: ignore[reportUnknownArgumentType]
            raise Unprocessable(
                f"The field {path} must be an object of gt, gte, lt and lte with dates."
            )
        found: list[Filter] = []
        for name, value in cast("dict[str, Any]", given).items():
            self.count(1)
            if not (isinstance(value, str) and is_moment(value)):
                raise Unprocessable(f"The field {path}.{name} must be a date, such as 2024-05-31.")
            found.append(Condition(about, COMPARING[name], value))
        return found

    def _field(self, key: str, wanted: Any, path: str) -> list[Filter]:
        if not is_comparison(wanted):
            choices = cast("list[Any]", wanted) if isinstance(wanted, list) else [wanted]
            self.count(len(choices))
            return [Condition("metadata", "in", choices, key)]
        operators = cast("dict[str, Any]", wanted)
        unknown = sorted(operators.keys() - OPERATORS)
        if unknown:
            raise Unprocessable(
                f"The field {path} has no operator {_shown(unknown[0])!r}. There are "
                f"{', '.join(sorted(OPERATORS))}; an object as a value is written "
                '{"eq": {…}}.'
            )
        return [self._operator(key, name, value, path) for name, value in operators.items()]

    def _operator(self, key: str, name: str, value: Any, path: str) -> Filter:
        path = f"{path}.{name}"
        self.count(len(cast("list[Any]", value)) if isinstance(value, list) else 1)
        if name in {"eq", "ne"}:
            return _equal(key, [value], unless=name == "ne")
        if name in {"in", "nin"}:
            if not isinstance(value, list):
                raise Unprocessable(f"The field {path} must be a list of values.")
            return _equal(key, cast("list[Any]", value), unless=name == "nin")
        if name == "exists":
            if not isinstance(value, bool):
                raise Unprocessable(f"The field {path} must be true or false.")
            return Condition("metadata", "exists", value, key)
        if name == "contains":
            if not isinstance(value, str) or not 0 < len(value) <= LONGEST_PART:
                raise Unprocessable(
                    f"The field {path} must be a text of 1 to {LONGEST_PART} characters."
                )
            return Condition("metadata", "contains", value, key)
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not number and not (isinstance(value, str) and is_moment(value)):
            raise Unprocessable(f"The field {path} must be a number, or a date such as 2024-05-31.")
        return Condition("metadata", COMPARING[name], value, key)


def texts_of(value: Any, path: str) -> list[str]:
    """Read one text or a list of texts.

    Raises:  Unprocessable – it is something else, or has too many.
    """
    choices: list[Any] = value if isinstance(value, list) else [value]  # pyright: ignore[reportUnknownVariableType]
    if len(choices) > MOST_CHOICES or not all(isinstance(item, str) for item in choices):
        raise Unprocessable(f"The field {path} must be a text or a list of at most 1000 texts.")
    return choices


def ids_of(choices: Sequence[str], path: str) -> list[UUID]:
    """Read ids.

    Raises:  Unprocessable – one of them is none.
    """
    try:
        return [UUID(value) for value in choices]
    except ValueError as error:
        raise Unprocessable(f"The field {path} must hold ids of documents.") from error


def _numbered(given: Any) -> Any:
    """Let a section's number be written without quotes."""
    if isinstance(given, list):
        return [_numbered(each) for each in cast("list[Any]", given)]
    return str(given) if isinstance(given, int | float) and not isinstance(given, bool) else given


def _equal(key: str, choices: list[Any], *, unless: bool) -> Filter:
    wanted = Condition("metadata", "in", choices, key)
    return Group("none", (wanted,)) if unless else wanted


def _shown(key: str) -> str:
    return key if len(key) <= SHOWN else key[:SHOWN] + "…"
