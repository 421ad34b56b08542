"""SQL statements, parsed for their parameters once and not at each call."""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import sqlalchemy
from sqlalchemy import TextClause


@lru_cache(maxsize=1024)
def text(statement: str) -> TextClause:
    """Return a statement with ``:name`` parameters; the same one for the same text."""
    return sqlalchemy.text(statement)


def columns(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """Turn rows into columns, as ``unnest`` takes them."""
    return {name: [row[name] for row in rows] for name in rows[0]} if rows else {}
