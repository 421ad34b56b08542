"""Statements that only read, straight over psycopg: a fifth of what SQLAlchemy takes for each.

A search is a handful of statements of a millisecond; the way there must not cost more than they do.
"""

import re
from collections import namedtuple
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

import psycopg
from psycopg.rows import tuple_row
from sqlalchemy import TextClause
from sqlalchemy.ext.asyncio import AsyncConnection

_PARAMETER = re.compile(r"(?<![:\w]):([a-z_]\w*)", re.IGNORECASE)


@lru_cache(maxsize=1024)
def _pyformat(statement: str) -> bytes:
    """Write ``:name`` parameters as psycopg reads them."""
    return _PARAMETER.sub(r"%(\1)s", statement.replace("%", "%%")).encode()


@lru_cache(maxsize=1024)
def _row_class(names: tuple[bytes | None, ...]) -> Any:
    fields: list[str] = [(name or b"").decode() for name in names]
    return namedtuple("Row", fields, rename=True)  # pyright: ignore[reportUntypedNamedTuple]


def _named_rows(cursor: "psycopg.AsyncCursor[Any]") -> Callable[[Sequence[Any]], Any]:
    """Make rows whose columns have names; those of the same name are told by their place."""
    result = cursor.pgresult
    names = () if result is None else tuple(map(result.fname, range(result.nfields)))
    return _row_class(names)._make


class Rows:
    """What a statement returned; columns by place and by name."""

    def __init__(self, rows: Sequence[Any]) -> None:
        self._rows = rows

    def __iter__(self) -> Iterator[Any]:
        return iter(self._rows)

    def all(self) -> Sequence[Any]:
        """Return all rows."""
        return self._rows


class Reading:
    """One transaction that only reads; statements are prepared once a connection."""

    def __init__(self, connection: "psycopg.AsyncConnection[Any]") -> None:
        self._connection = connection

    async def execute(self, statement: TextClause, values: Mapping[str, Any]) -> Rows:
        """Run a statement and return its rows."""
        cursor = self._connection.cursor(row_factory=_named_rows)
        await cursor.execute(_pyformat(statement.text), values)
        return Rows(await cursor.fetchall())

    async def tuples(
        self, statement: TextClause, values: Mapping[str, Any]
    ) -> list[tuple[Any, ...]]:
        """Run a statement and return its rows, whose columns have no names: the fastest way."""
        cursor = self._connection.cursor(row_factory=tuple_row)
        await cursor.execute(_pyformat(statement.text), values)
        return await cursor.fetchall()

    async def scalars(self, statement: TextClause, values: Mapping[str, Any]) -> Sequence[Any]:
        """Return the first column of all rows."""
        return [row[0] for row in await self.execute(statement, values)]

    async def scalar(self, statement: TextClause, values: Mapping[str, Any]) -> Any:
        """Return the first column of the first row; None when there is no row."""
        rows = (await self.execute(statement, values)).all()
        return rows[0][0] if rows else None


Reader = AsyncConnection | Reading
"""What functions that only read take: a transaction of either kind."""


async def read_tuples(
    reader: Reader, statement: TextClause, values: Mapping[str, Any]
) -> Sequence[Any]:
    """Run a statement in a transaction of either kind and return its rows, column by place."""
    if isinstance(reader, Reading):
        return await reader.tuples(statement, values)
    return (await reader.execute(statement, values)).all()
