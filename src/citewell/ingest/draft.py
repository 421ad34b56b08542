"""A document while it is read: blocks in, canonical text with exact offsets out."""

from pathlib import PurePosixPath

from citewell.domain import Json, ParsedDocument, ParseReport
from citewell.errors import DocumentRejected
from citewell.ingest.normalise import Skipped, clean, one_line
from citewell.ingest.section import Heading, section


class Draft:
    """Collects a document's headings, blocks and pages in reading order.

    Holds:   every block is cleaned before it is placed, so offsets are those of the final text.
    """

    def __init__(self, media_type: str, name: str, limit_characters: int) -> None:
        self.media_type = media_type
        self.name = name
        self.limit_characters = limit_characters
        self.title = ""
        self.encoding: str | None = None
        self.metadata: Json = {}
        self.tables = 0
        self.images = 0
        self.has_pages = False
        self.warnings: list[str] = []
        self.skipped: Skipped = Skipped()
        self._pieces: list[str] = []
        self._length = 0
        self._headings: list[Heading] = []
        self._page_starts: list[int] = []
        self._pages_without_text: list[int] = []
        self._page_waits = False
        self._page_counts = True
        self._open_heading = False

    def heading(
        self,
        level: int,
        title: str,
        *,
        line: str | None = None,
        number: str | None = None,
        anchor: str | None = None,
    ) -> None:
        """Open a section; ``line`` is what the text shows, where that is not the title."""
        shown = clean(line if line is not None else title, self.skipped).strip()
        if not shown:
            return
        start = self._place(shown, "\n\n")
        self._headings.append(
            Heading(
                start, self._length, level, one_line(clean(title, self.skipped)), number, anchor
            )
        )
        self._open_heading = True

    def block(self, text: str, *, tight: bool = False) -> None:
        """Add a paragraph, list item, row or listing; ``tight`` sets it on the next line."""
        cleaned = clean(text, self.skipped).strip("\n")
        if not cleaned or cleaned.isspace():
            return
        start = self._place(cleaned, "\n" if tight and not self._open_heading else "\n\n")
        if self._open_heading:
            last = self._headings[-1]
            self._headings[-1] = Heading(
                last.start, start, last.level, last.title, last.number, last.anchor
            )
            self._open_heading = False

    def continue_block(self, text: str, joint: str) -> None:
        """Add text to the block before, as when a sentence runs on to the next page."""
        cleaned = clean(text, self.skipped).strip("\n")
        if cleaned:
            self._place(cleaned, joint)

    def page(self, *, blank_is_empty: bool = True) -> None:
        """Start the next page; one that held nothing but furniture is no page without text."""
        self.has_pages = True
        self.end_page()
        self._page_starts.append(self._length)
        self._page_waits = True
        self._page_counts = blank_is_empty

    def end_page(self) -> None:
        """Note the page as one without text if nothing was added since it began."""
        if self._page_waits and self._page_counts:
            self._pages_without_text.append(len(self._page_starts))
        self._page_waits = False

    def skip(self, what: str, why: str, count: int = 1) -> None:
        """Count something that was left out of the text."""
        if count:
            self.skipped[(what, why)] += count

    @property
    def has_text(self) -> bool:
        """Whether any text was placed."""
        return self._length > 0

    def finish(self) -> ParsedDocument:
        """Return the document.

        Raises:  DocumentRejected – ``no_text``: there is nothing to search in.
        """
        self.end_page()
        if not self._length:
            raise DocumentRejected(
                "no_text", "The file holds no text. Check that it is the file that you meant."
            )
        if self._pages_without_text:
            self.warnings.append(_without_text(self._pages_without_text, len(self._page_starts)))
        text = "".join(self._pieces)
        sections = section(text, self._headings)
        first = next((item.title for item in sections if item.title), "")
        title = one_line(clean(self.title, self.skipped)) or first or title_from_name(self.name)
        report = ParseReport(
            media_type=self.media_type,
            encoding=self.encoding,
            pages=len(self._page_starts) if self.has_pages else None,
            pages_without_text=tuple(self._pages_without_text),
            characters=len(text),
            tables=self.tables,
            images=self.images,
            skipped=tuple(
                {"what": what, "count": count, "why": why}
                for (what, why), count in self.skipped.items()
            ),
            warnings=tuple(self.warnings),
        )
        starts = tuple(self._page_starts) if self.has_pages else ()
        return ParsedDocument(text, title[:500], sections, starts, self.metadata, report)

    def _place(self, text: str, gap: str) -> int:
        """Append text after the gap and return where it starts."""
        if self._length:
            self._pieces.append(gap)
            self._length += len(gap)
        start = self._length
        self._pieces.append(text)
        self._length += len(text)
        if self._page_waits:
            self._page_starts[-1] = start
            self._page_waits = False
        if self._length > self.limit_characters:
            raise DocumentRejected(
                "too_much_text",
                f"The file holds more than {self.limit_characters:,} characters of text. "
                "Split it into smaller files.",
            )
        return start


def _without_text(pages: list[int], total: int) -> str:
    named = ", ".join(str(page) for page in pages[:20]) + (", …" if len(pages) > 20 else "")
    return (
        f"{len(pages)} of {total} pages hold no text (page {named}): they are empty or images. OCR "
        "is not enabled on this server."
    )


def title_from_name(name: str) -> str:
    """Return the file's name without folder and extension."""
    path = PurePosixPath(name.replace("\\", "/"))
    return path.stem or path.name or "Untitled"
