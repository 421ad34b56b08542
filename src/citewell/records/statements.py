"""SQL statements, parsed for their parameters once and not at each call."""

from functools import lru_cache

import sqlalchemy
from sqlalchemy import TextClause


@lru_cache(maxsize=1024)
def text(statement: str) -> TextClause:
    """Return a statement with ``:name`` parameters; the same one for the same text."""
    return sqlalchemy.text(statement)
