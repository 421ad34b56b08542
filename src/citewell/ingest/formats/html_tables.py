"""An HTML table's rows: spans spread out, headers told from values."""

from collections.abc import Callable, Iterator

from selectolax.lexbor import LexborNode

from citewell.ingest.formats.tables import table_lines
from citewell.ingest.formats.xml_parts import whole_number

_LONGEST_CELL = 2000
_WIDEST_SPAN = 50
_TALLEST_SPAN = 500

Row = list[tuple[str, bool]]


def data_rows(table: LexborNode, inline_text: Callable[[LexborNode], str]) -> list[str] | None:
    """Return the table's lines, or None where it only lays out the page."""
    role = table.attributes.get("role")
    if role in {"presentation", "none"} or table.css_first(
        "td table, td pre, th table, h1, h2, h3, h4"
    ):
        return None
    rows = _spread(table, inline_text)
    if not rows or max(len(row) for row in rows) < 2:
        return None
    if any(len(text) > _LONGEST_CELL for row in rows for text, _ in row):
        return None
    headers = 0
    while headers < len(rows) and all(is_header for _, is_header in rows[headers]):
        headers += 1
    if 0 < headers < len(rows) and len(rows[headers - 1]) > 1:
        return _with_header(rows, headers)
    if not headers and all(len(row) == 2 and row[0][1] and not row[1][1] for row in rows):
        return [f"{name.rstrip(':')}: {value}" for (name, _), (value, _) in rows if value]
    return _plain_or_pairs(rows)


def _with_header(rows: list[Row], headers: int) -> list[str]:
    width = max(len(row) for row in rows)
    names: list[str] = []
    captions: list[str] = []
    for row in rows[:headers]:
        texts = {text for text, _ in row}
        if len(texts) == 1 and width > 1:
            captions.extend(texts)
    for place in range(width):
        parts: list[str] = []
        for row in rows[:headers]:
            text = row[place][0] if place < len(row) else ""
            if text and text not in parts and text not in captions:
                parts.append(text)
        names.append(" ".join(parts))
    body = [[text for text, _ in row] for row in rows[headers:]]
    return captions + table_lines([names, *body], has_header=any(names))


def _plain_or_pairs(rows: list[Row]) -> list[str]:
    lines: list[str] = []
    for row in rows:
        if len(row) == 2 and row[0][1] and not row[1][1] and row[1][0]:
            lines.append(f"{row[0][0].rstrip(':')}: {row[1][0]}")
        else:
            lines += table_lines([[text for text, _ in row]], has_header=False)
    return lines


def _spread(table: LexborNode, inline_text: Callable[[LexborNode], str]) -> list[Row]:
    """Return every row with merged cells repeated in each column and row that they cover."""
    rows: list[Row] = []
    hanging: dict[int, tuple[str, bool, int]] = {}
    for row_node in _rows(table):
        row: Row = []
        for cell in _children(row_node, {"td", "th"}):
            _take_hanging(hanging, row)
            value = (inline_text(cell), cell.tag == "th")
            down = _span(cell, "rowspan", _TALLEST_SPAN)
            for _ in range(_span(cell, "colspan", _WIDEST_SPAN)):
                if down > 1:
                    hanging[len(row)] = (*value, down - 1)
                row.append(value)
        _take_hanging(hanging, row)
        if any(text for text, _ in row):
            rows.append(row)
    return rows


def _take_hanging(hanging: dict[int, tuple[str, bool, int]], row: Row) -> None:
    while len(row) in hanging:
        text, is_header, left = hanging.pop(len(row))
        if left > 1:
            hanging[len(row)] = (text, is_header, left - 1)
        row.append((text, is_header))


def _span(cell: LexborNode, name: str, most: int) -> int:
    return min(max(whole_number(cell.attributes.get(name), 1), 1), most)


def _rows(table: LexborNode) -> Iterator[LexborNode]:
    for child in _children(table, {"thead", "tbody", "tfoot", "tr"}):
        if child.tag == "tr":
            yield child
        else:
            yield from _children(child, {"tr"})


def _children(node: LexborNode, tags: set[str]) -> Iterator[LexborNode]:
    child = node.first_child
    while child is not None:
        if child.tag in tags:
            yield child
        child = child.next
