"""The reading order of a page's lines: columns from left to right, rows from top to bottom."""

from dataclasses import dataclass
from itertools import pairwise
from statistics import median

_LEAST_COLUMN_LINES = 4
_LEAST_COLUMN_CHARACTERS = 18
_MOST_SPANNING_SHARE = 0.25
_CELL_GAP = "  "


@dataclass(frozen=True, slots=True)
class Line:
    """A line of text with its place on the page, in pixels from the top left."""

    text: str
    confidence: float
    left: float
    top: float
    right: float
    bottom: float

    @property
    def height(self) -> float:
        """How high the line is."""
        return self.bottom - self.top

    @property
    def stands(self) -> bool:
        """Whether it is turned by 90°: higher than wide, and more than a letter or two."""
        return self.height > 1.5 * (self.right - self.left) and len(self.text) > 2

    @property
    def middle(self) -> float:
        """Where its middle is, from the top."""
        return (self.top + self.bottom) / 2


def page_text(lines: list[Line]) -> str:
    """Return the page's text: a line each, and an empty line between paragraphs.

    The cells of a row are on one line, with two spaces between them. Lines that stand upright in a
    margin come last.
    """
    upright = [line for line in lines if not line.stands]
    blocks = [*_blocks(upright), *([line] for line in lines if line.stands)]
    return "\n\n".join("\n".join(_spaced(block)) for block in blocks if block)


def _blocks(lines: list[Line]) -> list[list[Line]]:
    """Part the lines into columns, each read to its end before the next."""
    gutter = _gutter(lines)
    if gutter is None:
        return [lines]
    blocks: list[list[Line]] = []
    left: list[Line] = []
    right: list[Line] = []
    across: list[Line] = []
    for line in sorted(lines, key=lambda each: each.middle):
        if line.left < gutter < line.right:
            if left or right:
                blocks += [across, *_blocks(left), *_blocks(right)]
                left, right, across = [], [], []
            across.append(line)
        else:
            (left if line.right <= gutter else right).append(line)
    return [*blocks, across, *_blocks(left), *_blocks(right)]


def _gutter(lines: list[Line]) -> float | None:
    """Return where two columns of running text part, or None; a table's columns are no such."""
    if len(lines) < 2 * _LEAST_COLUMN_LINES:
        return None
    start, end = min(line.left for line in lines), max(line.right for line in lines)
    step = max(median(line.height for line in lines) / 3, 1.0)
    places = [start + step * number for number in range(1, int((end - start) / step))]
    inner = [place for place in places if 0.2 < (place - start) / (end - start) < 0.8]
    if not inner:
        return None
    crossing = {place: sum(line.left < place < line.right for line in lines) for place in inner}
    least = min(crossing.values())
    gutter = _widest_run([place for place in inner if crossing[place] == least], step)
    if least > len(lines) * _MOST_SPANNING_SHARE:
        return None
    left = [line for line in lines if line.right <= gutter]
    right = [line for line in lines if line.left >= gutter]
    return gutter if _is_column(left) and _is_column(right) and _beside(left, right) else None


def _widest_run(places: list[float], step: float) -> float:
    """Return the middle of the longest run of neighbouring places."""
    runs: list[list[float]] = [[places[0]]]
    for before, place in pairwise(places):
        if place - before > 1.5 * step:
            runs.append([])
        runs[-1].append(place)
    longest = max(runs, key=len)
    return longest[len(longest) // 2]


def _is_column(lines: list[Line]) -> bool:
    """Say whether lines are running text: many, and longer than a table's cells."""
    return (
        len(lines) >= _LEAST_COLUMN_LINES
        and median(len(line.text) for line in lines) >= _LEAST_COLUMN_CHARACTERS
    )


def _beside(left: list[Line], right: list[Line]) -> bool:
    """Say whether two columns share at least half of the shorter one's height."""
    tops = [min(line.top for line in lines) for lines in (left, right)]
    bottoms = [max(line.bottom for line in lines) for lines in (left, right)]
    shared = min(bottoms) - max(tops)
    return shared >= min(bottoms[0] - tops[0], bottoms[1] - tops[1]) / 2


def _spaced(lines: list[Line]) -> list[str]:
    """Return a block's rows, with an empty one where a new paragraph or a table's row begins."""
    rows = _rows(lines)
    steps = [after[0].middle - before[0].middle for before, after in pairwise(rows)]
    height = median(line.height for line in lines)
    usual = median(step for step in steps if step < 3 * height) if _any(steps, 3 * height) else 0.0
    texts: list[str] = []
    cells_before = False
    for number, row in enumerate(rows):
        text, cells = _row_text(row)
        wider = number > 0 and steps[number - 1] > 1.35 * max(usual, height)
        if texts and (wider or cells or cells_before):
            texts.append("")
        texts.append(text)
        cells_before = cells
    return texts


def _any(steps: list[float], most: float) -> bool:
    return any(step < most for step in steps)


def _rows(lines: list[Line]) -> list[list[Line]]:
    """Put the lines that stand on one height together, each row from left to right."""
    rows: list[list[Line]] = []
    for line in sorted(lines, key=lambda each: each.middle):
        last = rows[-1][0] if rows else None
        if last and abs(line.middle - last.middle) < 0.5 * min(line.height, last.height):
            rows[-1].append(line)
        else:
            rows.append([line])
    return [sorted(row, key=lambda each: each.left) for row in rows]


def _row_text(row: list[Line]) -> tuple[str, bool]:
    """Join a row's pieces and say whether they are cells, with wide gaps between them."""
    text, cells = row[0].text, False
    for before, piece in pairwise(row):
        wide = piece.left - before.right > 1.5 * before.height
        cells = cells or wide
        text += (_CELL_GAP if wide else " ") + piece.text
    return text, cells
