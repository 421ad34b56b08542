"""The paragraphs, headings, tables and notes that RTF's running text is parted into."""

import re

from citewell.ingest.draft import Draft
from citewell.ingest.formats.rtf_words import ENDS
from citewell.ingest.formats.tables import table_lines
from citewell.ingest.normalise import one_line

_HEADING = re.compile(r"^heading\s*([1-9])\b", re.IGNORECASE)
_LONGEST_HEADING = 400


def whole(pieces: list[str]) -> str:
    """Join the pieces, and the halves of characters that RTF writes as two numbers."""
    return "".join(pieces).encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


class Layout:
    """Gathers the running text and writes it, a paragraph or a table at a time, into the draft."""

    def __init__(self, draft: Draft) -> None:
        self.draft = draft
        self.pieces: list[str] = []
        self.styles: dict[int, str] = {}
        self.waiting: list[str] = []
        self.table_notes: list[str] = []
        self.cells: list[str] = []
        self.rows: list[list[str]] = []
        self.in_table = False
        self.style = 0
        self.outline: int | None = None

    def word(self, word: str, number: int | None) -> None:
        """Take in a control word of paragraphs, rows and cells."""
        if word in ENDS:
            if self.in_table:
                self.pieces.append("\n")
            else:
                self.end_paragraph()
        elif word == "pard":
            self.in_table, self.style, self.outline = False, 0, None
        elif word == "intbl":
            self.in_table = True
        elif word in {"cell", "nestcell"}:
            self.cells.append(self.taken())
        elif word in {"row", "nestrow"}:
            self.end_row()
        elif word == "s":
            self.style = number or 0
        elif word == "outlinelevel":
            self.outline = number

    def end(self) -> None:
        """Write what is left at the end of the file."""
        self.end_paragraph()
        self.end_table()

    def taken(self) -> str:
        """Return the gathered text of a paragraph or cell and begin anew."""
        text = whole(self.pieces)
        self.pieces.clear()
        return text

    def end_paragraph(self) -> None:
        """Write the gathered paragraph, and behind it the notes and boxes that hang on it."""
        text = self.taken()
        if text.strip():
            self.end_table()
            level = self.level()
            if level is not None and len(text) < _LONGEST_HEADING:
                self.draft.heading(level, one_line(text))
            else:
                self.draft.block(text)
        if not self.cells and not self.rows:
            for note in self.waiting:
                self.draft.block(note)
            self.waiting.clear()

    def level(self) -> int | None:
        """Return which heading the paragraph is, by its outline or by its style."""
        if self.outline is not None and 0 <= self.outline < 9:
            return self.outline + 1
        found = _HEADING.match(self.styles.get(self.style, ""))
        return int(found[1]) if found else None

    def end_table(self) -> None:
        """Write the gathered rows with the names of their columns."""
        if self.cells:
            self.end_row()
        lines = table_lines(self.rows)
        self.rows = []
        for place, line in enumerate(lines):
            self.draft.block(line, tight=place > 0)
        self.draft.tables += bool(lines)
        notes, self.table_notes = self.table_notes, []
        for text in notes:
            self.draft.block(text)

    def end_row(self) -> None:
        """End a row; its notes wait for the end of the table."""
        self.rows.append(self.cells)
        self.cells = []
        self.table_notes += self.waiting
        self.waiting.clear()
