"""A document while it is read: blocks in, canonical text with exact offsets out."""

from collections.abc import Callable
from pathlib import PurePosixPath

from citewell.domain import Json, ParsedDocument, ParseReport
from citewell.domain.languages import detect_language
from citewell.errors import DocumentRejected
from citewell.ingest.normalise import Skipped, clean, one_line
from citewell.ingest.ocr import OcrAllowance, how_to_enable
from citewell.ingest.section import Heading, section

MOST_PAGES = 100_000
MOST_VALUE_CHARACTERS = 1000
"""Of one of a document's properties: lists of documents and of results repeat them all."""
MOST_KINDS_SKIPPED = 1000
MOST_WARNINGS = 200
_OTHERS_SKIPPED = ("other parts", "there are too many kinds to name them all")


class Draft:
    """Collects a document's headings, blocks and pages in reading order.

    ``read_inside`` reads a file that is held in this one, such as an attachment, where that is
    allowed: bytes, name and declared type in, a document of its own out.
    Holds:   every block is cleaned before it is placed, so offsets are those of the final text.
    """

    def __init__(
        self,
        media_type: str,
        name: str,
        limit_characters: int,
        read_inside: Callable[[bytes, str, str | None, int], ParsedDocument] | None = None,
        ocr: OcrAllowance | None = None,
    ) -> None:
        self.media_type = media_type
        self.name = name
        self.limit_characters = limit_characters
        self.read_inside = read_inside
        self.password: str | None = None
        self.ocr = ocr
        self.title = ""
        self.encoding: str | None = None
        self.metadata: Json = {}
        self.tables = 0
        self.images = 0
        self.counts_objects = True
        self.has_pages = False
        self.pages_by_ocr: list[Json] = []
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
        """Start the next page; one that held nothing but furniture is no page without text.

        Raises:  DocumentRejected – ``too_much_text``: there are too many.
        """
        if len(self._page_starts) == MOST_PAGES:
            raise DocumentRejected(
                "too_much_text",
                f"The file has more than {MOST_PAGES:,} pages. Split it into smaller files.",
            )
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

    def include(self, inner: ParsedDocument, level: int, heading: str) -> None:
        """Add a document that was read from inside of this one as a section with its subsections.

        Holds:   the pages of the inner document are not pages of this one.
        """
        self.heading(level, heading)
        for part in inner.sections:
            if part.title:
                line = inner.text[part.start : part.body_start].strip()
                self.heading(level + max(part.level, 1), part.title, line=line, number=part.number)
            for block in inner.text[part.body_start : part.end].split("\n\n"):
                self.block(block)
        self.tables += inner.report.tables or 0
        self.images += inner.report.images or 0
        for item in inner.report.skipped:
            self.skip(f"{heading}: {item['what']}", item["why"], item["count"])
        self.warnings += [f"{heading}: {warning}" for warning in inner.report.warnings]

    @property
    def room_characters(self) -> int:
        """How many more characters the text may have."""
        return max(self.limit_characters - self._length, 1)

    def skip(self, what: str, why: str, count: int = 1) -> None:
        """Count something that was left out of the text; what comes too late is not named."""
        if count:
            known = (what, why) in self.skipped or len(self.skipped) < MOST_KINDS_SKIPPED
            self.skipped[(what, why) if known else _OTHERS_SKIPPED] += count

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
        if self.pages_by_ocr:
            self.warnings.append(_by_ocr(self.pages_by_ocr, len(self._page_starts)))
        if self._pages_without_text:
            self.warnings.append(
                _without_text(self._pages_without_text, len(self._page_starts), self.ocr)
            )
        text = "".join(self._pieces)
        sections = section(text, self._headings)
        first = next((item.title for item in sections if item.title), "")
        title = one_line(clean(self.title, self.skipped)) or first or title_from_name(self.name)
        report = ParseReport(
            media_type=self.media_type,
            encoding=self.encoding,
            pages=len(self._page_starts) if self.has_pages else None,
            pages_without_text=tuple(self._pages_without_text),
            pages_by_ocr=tuple(self.pages_by_ocr),
            characters=len(text),
            language=detect_language(text),
            tables=self.tables if self.counts_objects else None,
            images=self.images if self.counts_objects else None,
            skipped=tuple(
                {"what": what, "count": count, "why": why}
                for (what, why), count in self.skipped.items()
            ),
            warnings=tuple(
                warning[:MOST_VALUE_CHARACTERS] for warning in self.warnings[-MOST_WARNINGS:]
            ),
        )
        starts = tuple(self._page_starts) if self.has_pages else ()
        metadata = {
            key: value[:MOST_VALUE_CHARACTERS] if isinstance(value, str) else value
            for key, value in self.metadata.items()
        }
        return ParsedDocument(text, title[:500], sections, starts, metadata, report)

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


def _without_text(pages: list[int], total: int, ocr: OcrAllowance | None) -> str:
    found = f"{len(pages)} of {total} pages hold no text (page {_named(pages)})"
    if ocr is not None:
        return f"{found}: they are empty, or OCR found none."
    return f"{found}: they are empty or images. {how_to_enable()}"


def _by_ocr(pages: list[Json], total: int) -> str:
    worst = min(pages, key=lambda each: each["confidence"])
    return (
        f"{len(pages)} of {total} pages were read by OCR (page "
        f"{_named([each['page'] for each in pages])}), so letters may be wrong; it was least sure "
        f"on page {worst['page']}, with {int(worst['confidence'] * 100)} %."
    )


def _named(pages: list[int]) -> str:
    return ", ".join(str(page) for page in pages[:20]) + (", …" if len(pages) > 20 else "")


def title_from_name(name: str) -> str:
    """Return the file's name without folder and extension."""
    path = PurePosixPath(name.replace("\\", "/"))
    return path.stem or path.name or "Untitled"
