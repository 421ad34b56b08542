"""Filters as SQL: each condition is true or false for a document, or for a chunk of one.

Every value is a bound parameter. The SQL stands over ``d`` (documents), ``v`` (their active
versions) and, where it asks for sections, ``c`` (chunks).
"""

import json
from collections.abc import Sequence
from typing import Any

from citewell.domain import Condition, Filter, Group

COMPARED = {"gt": ">", "gte": ">=", "lt": "<", "lte": "<="}
JOINED = {"all": " AND ", "any": " OR ", "none": " OR "}
NAMED = {"document_id": ("d.id", "uuid"), "document_name": ("d.name", "text")}
DATED = {"created": "d.created_at", "updated": "d.updated_at"}
STORED = "(v.metadata || d.metadata)"
"""What was read from the file, and on top of it what was given with it."""

INSIDE = """
(c.version_id, c.section) IN (WITH RECURSIVE inside AS (
    SELECT s.version_id, s.ordinal FROM sections s WHERE s.workspace_id = :workspace AND (
        lower(s.number) = ANY(CAST(:{numbers} AS text[]))
        OR lower(s.number) LIKE ANY(CAST(:{below} AS text[]))
        OR lower(s.title) = ANY(CAST(:{titles} AS text[])))
    UNION
    SELECT s.version_id, s.ordinal FROM sections s JOIN inside i ON i.version_id = s.version_id
        AND i.ordinal = s.parent WHERE s.workspace_id = :workspace
) SELECT version_id, ordinal FROM inside)
"""
"""A section, what hangs below it, and what its number begins: some files have flat headings."""


class FilterSql:
    """Writes conditions and gathers the values that they are bound to."""

    def __init__(self) -> None:
        self.values: dict[str, object] = {}

    def write(self, wanted: Filter) -> str:
        """Return a filter as an expression that is never NULL."""
        if isinstance(wanted, Condition):
            return f"(({self._condition(wanted)}) IS TRUE)"
        return self._group(wanted)

    def metadata_is(self, key: str, choices: Sequence[Any]) -> str:
        """Return the condition that a field equals one of the choices, or holds it in its list."""
        forms = [json.dumps({key: form}) for choice in choices for form in (choice, [choice])]
        return f"{STORED} @> ANY(CAST(:{self._bind(forms)} AS jsonb[]))"

    def _group(self, group: Group) -> str:
        parts = [self.write(part) for part in group.parts]
        if not parts:
            return "false" if group.join == "any" else "true"
        joined = "(" + JOINED[group.join].join(parts) + ")"
        return f"(NOT {joined})" if group.join == "none" else joined

    def _condition(self, wanted: Condition) -> str:
        if wanted.about in NAMED:
            column, kind = NAMED[wanted.about]
            return f"{column} = ANY(CAST(:{self._bind(wanted.value)} AS {kind}[]))"
        if wanted.about in DATED:
            return self._moment(DATED[wanted.about], wanted)
        if wanted.about == "media_type":
            return self._media_type(wanted.value)
        return self._section(wanted.value) if wanted.about == "section" else self._metadata(wanted)

    def _metadata(self, wanted: Condition) -> str:
        key = wanted.field
        if wanted.operator == "in":
            return self.metadata_is(key, wanted.value)
        stored = f"{STORED} -> CAST(:{self._bind(key)} AS text)"
        if wanted.operator == "exists":
            return f"({stored}) IS NOT NULL" if wanted.value else f"({stored}) IS NULL"
        return (
            f"EXISTS (SELECT FROM citewell_items({stored}) AS item (value) "
            f"WHERE {self._item(wanted)})"
        )

    def _item(self, wanted: Condition) -> str:
        if wanted.operator == "contains":
            bound = self._bind(wanted.value)
            return (
                "jsonb_typeof(item.value) = 'string' AND "
                f"strpos(lower(item.value #>> '{{}}'), lower(CAST(:{bound} AS text))) > 0"
            )
        if isinstance(wanted.value, str):
            return self._moment("citewell_moment(item.value #>> '{}')", wanted)
        sign, bound = COMPARED[wanted.operator], self._bind(str(wanted.value))
        return f"citewell_number(item.value) {sign} CAST(:{bound} AS numeric)"

    def _moment(self, stored: str, wanted: Condition) -> str:
        bound = self._bind(wanted.value)
        return f"{stored} {COMPARED[wanted.operator]} citewell_moment(CAST(:{bound} AS text))"

    def _media_type(self, wanted: Sequence[str]) -> str:
        named = [each.lower() for each in wanted]
        families = [each.removesuffix("/*") for each in named if each.endswith("/*")]
        kind = "lower(v.media_type)"
        return (
            f"{kind} = ANY(CAST(:{self._bind(named)} AS text[])) "
            f"OR split_part({kind}, '/', 1) = ANY(CAST(:{self._bind(families)} AS text[]))"
        )

    def _section(self, wanted: Sequence[str]) -> str:
        titles = [each.lower() for each in wanted]
        numbers = [each.lstrip("§ ").rstrip(".") for each in titles]
        below = [_literal(each) + ".%" for each in numbers if each]
        return INSIDE.format(
            numbers=self._bind([each for each in numbers if each]),
            below=self._bind(below),
            titles=self._bind(titles),
        )

    def _bind(self, value: object) -> str:
        name = f"filter_{len(self.values)}"
        self.values[name] = list(value) if isinstance(value, list | tuple) else value  # pyright: ignore[reportUnknownArgumentType]
        return name


def _literal(text: str) -> str:
    return text.replace("\\", r"\\").replace("%", r"\%").replace("_", r"\_")
