"""Plain text, JSON and separated values."""

import csv
import io
import re
from collections import Counter

from citewell.ingest.charset import decode
from citewell.ingest.draft import Draft
from citewell.ingest.formats.tables import table_lines
from citewell.ingest.formats.wrapped import join_wrapped
from citewell.ingest.normalise import clean

_DELIMITERS = ",;\t|"
_SNIFFED_LINES = 50
_FIELD_LIMIT = 10_000_000


def decoded(data: bytes, draft: Draft) -> str:
    """Return the file's clean text and note its encoding."""
    text, draft.encoding, warnings = decode(data)
    draft.warnings += warnings
    return clean(text, draft.skipped)


def read_text(data: bytes, draft: Draft) -> None:
    """Read plain text; paragraphs wrapped at a fixed column become one line each."""
    draft.block(join_wrapped(decoded(data, draft)))


def read_lines(data: bytes, draft: Draft) -> None:
    """Read text whose line breaks have a meaning: JSON, source code."""
    draft.block(decoded(data, draft))


def read_table(data: bytes, draft: Draft) -> None:
    """Read separated values: each row becomes a line that names its columns."""
    text = decoded(data, draft)
    delimiter = _delimiter(text)
    rows = _rows(text, delimiter)
    lines = table_lines(rows)
    if len(lines) == len(rows) - 1 and len({len(row) for row in rows if row}) > 1:
        draft.warnings.append("The rows have different numbers of cells.")
    draft.block("\n".join(lines))
    draft.tables = int(bool(lines))


def _rows(text: str, delimiter: str) -> list[list[str]]:
    csv.field_size_limit(_FIELD_LIMIT)
    try:
        return list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter))
    except csv.Error:
        return [line.split(delimiter) for line in text.split("\n")]


def _delimiter(text: str) -> str:
    """Choose the delimiter that parts most rows into the same number of cells."""
    first = re.match(r"sep=(.)\n", text)
    if first:
        return first[1]
    end = 0
    for _ in range(_SNIFFED_LINES):
        end = text.find("\n", end) + 1
        if not end:
            break
    sample = text[: end or len(text)]
    best, best_score = ",", 0.0
    for delimiter in _DELIMITERS:
        widths = Counter(len(row) for row in _rows(sample, delimiter) if row)
        wide = {width: count for width, count in widths.items() if width > 1}
        if not wide:
            continue
        width, count = max(wide.items(), key=lambda item: (item[1], item[0]))
        score = count / widths.total() + min(width, 20) / 100
        if score > best_score:
            best, best_score = delimiter, score
    return best
