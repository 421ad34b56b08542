"""Rows of cells into lines that can be read, found and quoted each on its own."""

import re
from collections.abc import Sequence

from citewell.ingest.normalise import one_line

_NUMERIC = re.compile(r"^[\s\d.,:/%+()$€£¥-]*\d[\s\d.,:/%+()$€£¥-]*$")
_HEADER_WITHIN = 8


def table_lines(rows: Sequence[Sequence[str]], *, has_header: bool | None = None) -> list[str]:
    """Write each row as "header: value; header: value", or with " | " where there is no header.

    ``has_header`` says whether the first full row names the columns; None looks at the cells.
    Holds:   one line a row; rows above the header (a caption) stay lines of their own.
    """
    cells = [[one_line(cell) for cell in row] for row in rows]
    cells = [row for row in cells if any(row)]
    if not cells:
        return []
    at = _header_row(cells) if has_header is None else 0 if has_header else None
    if at is None or at + 1 >= len(cells):
        return [_plain(row) for row in cells]
    lines = [_plain(row) for row in cells[:at]]
    header = cells[at]
    names = set(header) - {""}
    for row in cells[at + 1 :]:
        repeats = len(names & set(row)) * 2 > len(names)
        lines.append(_plain(row) if repeats else _paired(header, row))
    return lines


def _plain(row: Sequence[str]) -> str:
    """Join the cells; a cell that is spread over merged columns is written once."""
    kept = [
        cell for place, cell in enumerate(row) if cell and not (place and row[place - 1] == cell)
    ]
    return " | ".join(kept)


def _paired(header: Sequence[str], row: Sequence[str]) -> str:
    if sum(map(bool, row)) == 1 and len(header) > 2 and row[0]:
        return row[0]  # a heading inside the table
    parts: list[str] = []
    for place, cell in enumerate(row):
        if not cell or (place and cell == row[place - 1] and place < len(header)
                        and header[place] == header[place - 1]):  # fmt: skip
            continue
        name = header[place] if place < len(header) else ""
        parts.append(f"{name.rstrip(':')}: {cell}" if name else cell)
    return "; ".join(parts)


def _header_row(cells: Sequence[Sequence[str]]) -> int | None:
    """Find the row that names the columns: the first that is full, wordy and without repeats."""
    width = max(sum(map(bool, row)) for row in cells)
    for at, row in enumerate(cells[:_HEADER_WITHIN]):
        filled = [cell for cell in row if cell]
        if len(filled) < 2 or len(filled) < width * 0.6:
            continue
        figures = sum(len(cell) < 60 and bool(_NUMERIC.match(cell)) for cell in filled)
        if figures or any(len(cell) > 120 for cell in filled):
            return None
        return at if len(set(filled)) == len(filled) and at + 1 < len(cells) else None
    return None
