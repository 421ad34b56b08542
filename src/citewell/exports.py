"""Write records to a file, as JSON lines or as CSV that no spreadsheet runs anything of."""

import csv
import io
import json
import re
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from citewell.domain import WorkspaceId
from citewell.ports import BlobStore
from citewell.records.export_rows import SOURCES, Wanted, place_of, read_rows
from citewell.records.exports import ExportFile, ExportFormat
from citewell.records.session import Database

BATCH_ROWS = 500
"""Rows that are read, and held in memory, at once; no connection is held while they are written."""
FORMULA = re.compile(r"'*\s*[=+\-@\t\r\n\uff1d\uff0b\uff0d\uff20]")
"""How a cell begins that a spreadsheet may run, or that looks as if it were escaped already."""


async def write_export(
    database: Database,
    blobs: BlobStore,
    workspace_id: WorkspaceId,
    wanted: Wanted,
    file_format: ExportFormat,
    told: Callable[[int], None],
) -> ExportFile:
    """Read the rows batch by batch, and store them as one file; ``told`` hears how many there are.

    Holds:   the memory that it takes does not grow with the number of rows.
    Raises:  Unavailable, InsufficientStorage – nothing is stored then.
    """
    count, place = 0, place_of(workspace_id, wanted)

    async def parts() -> AsyncGenerator[bytes]:
        nonlocal count
        columns = tuple(SOURCES[wanted.kind].fields)
        yield csv_lines([columns]) if file_format == "csv" else b""
        after, more = None, True
        while more:
            async with database.transaction(place) as connection:
                batch = await read_rows(connection, place, wanted, after, BATCH_ROWS)
            count += len(batch.rows)
            told(count)
            yield encode(batch.rows, columns, file_format)
            after, more = batch.next_key, batch.next_key is not None

    sha256, size_bytes = await blobs.add_parts(parts())
    return ExportFile(sha256, size_bytes, count)


def encode(
    rows: Sequence[Mapping[str, Any]], columns: Sequence[str], file_format: ExportFormat
) -> bytes:
    """Return rows as lines of a file, in UTF-8."""
    if file_format == "csv":
        return csv_lines([row[name] for name in columns] for row in rows)
    return b"".join(_compact(row).encode() + b"\n" for row in rows)


def csv_lines(rows: Iterable[Sequence[Any]]) -> bytes:
    """Return rows as CSV (RFC 4180): every cell of text that may be a formula begins with ``'``.

    Lists and objects are JSON in their cell, what is absent is an empty one.
    Holds:   to take one ``'`` away from each cell that ``FORMULA`` matches gives back the text.
    """
    written = io.StringIO()
    csv.writer(written).writerows([_cell(value) for value in row] for row in rows)
    return written.getvalue().encode()


def _cell(value: Any) -> Any:
    if value is None:
        return ""
    if isinstance(value, bool | list | dict):
        return _compact(value)
    if isinstance(value, int | float):
        return value
    plain = _plain(value)
    return f"'{plain}" if FORMULA.match(plain) else plain


def _compact(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=_plain)


def _plain(value: Any) -> str:
    """Return a value as text: an id or a time in its usual form."""
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, str | UUID):
        return str(value)
    raise TypeError(f"no form for {type(value).__name__} in an export")
