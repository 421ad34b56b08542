"""Filters: what a search looks among, said by what is known of documents and of their sections."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from citewell.domain.ids import Json

About = Literal[
    "metadata", "document_id", "document_name", "media_type", "section", "created", "updated"
]
Operator = Literal["in", "gt", "gte", "lt", "lte", "exists", "contains"]
Join = Literal["all", "any", "none"]

_ISO = re.compile(
    r"(?!0000)[0-9]{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12][0-9]|3[01])"
    r"(?:[T ](?:[01][0-9]|2[0-3]):[0-5][0-9](?::[0-5][0-9](?:\.[0-9]{1,6})?)?"
    r"(?:Z|[+-](?:0[0-9]|1[0-4])(?::?[0-5][0-9])?)?)?"
)


@dataclass(frozen=True, slots=True)
class Condition:
    """One thing that must hold; ``field`` names the field of ``metadata``.

    ``value`` is a list for ``in``, true or false for ``exists``, a text for ``contains``, else a
    number or a moment as ``is_moment`` knows it.
    """

    about: About
    operator: Operator
    value: Any
    field: str = ""


@dataclass(frozen=True, slots=True)
class Group:
    """Filters of which all, any or none must hold."""

    join: Join
    parts: tuple["Filter", ...]


Filter = Condition | Group


def is_moment(text: str) -> bool:
    """Say whether a text is a date or a moment in ISO 8601, such as 2024-05-31T12:00Z."""
    if not _ISO.fullmatch(text):
        return False
    try:
        datetime.fromisoformat(text[:10])
    except ValueError:
        return False
    return True


def leaves(wanted: Filter) -> Iterator[Condition]:
    """Yield the conditions that a filter is made of."""
    if isinstance(wanted, Condition):
        yield wanted
        return
    for part in wanted.parts:
        yield from leaves(part)


def filter_from_json(kept: Json) -> Filter:
    """Read a filter that was kept as the plain dictionary of its fields."""
    if "join" in kept:
        return Group(kept["join"], tuple(filter_from_json(part) for part in kept["parts"]))
    return Condition(kept["about"], kept["operator"], kept["value"], kept["field"])
