"""PDF: the text layer page by page, without running heads, with wrapped lines joined."""

import re
from collections import Counter

from citewell.errors import DocumentRejected
from citewell.ingest.draft import Draft
from citewell.ingest.formats.extracted import extract, take_metadata
from citewell.ingest.formats.hyphens import mend_cut_words, words_of
from citewell.ingest.formats.outline import find_headings
from citewell.ingest.formats.wrapped import join_page, sentence_goes_on
from citewell.ingest.normalise import clean, spell_ligatures

_PAGE_OF = re.compile(r"^page\s+\d{1,4}\s+(?:of|/)\s+\d{1,4}$", re.IGNORECASE)
_DIGITS = re.compile(r"\d+")
_PAGE_NUMBER = re.compile(
    r"^(?:page\s+)?[-–—]?\s*(?:\d{1,4}|[ivxlc]{1,6})\s*[-–—]?(?:\s*(?:of|/)\s*\d{1,4})?$",
    re.IGNORECASE,
)
_EDGE_LINES = 3
_SHORT_LINE = 80


def read_pdf(data: bytes, draft: Draft) -> None:
    """Read a PDF's text layer.

    Raises:  DocumentRejected – ``no_text_layer``: every page is an image; ``encrypted``;
             ``corrupt``.
    """
    result = extract(data, draft.media_type, pages=True)
    take_metadata(dict(result.metadata), draft)
    texts = [str(page["content"]).replace("\r\n", "\n") for page in result.pages or ()]
    words = words_of(texts)
    pages = [_lines(mend_cut_words(text, words), draft) for text in texts]
    if not any(pages):
        raise DocumentRejected(
            "no_text_layer",
            f"The PDF has {len(pages)} {'page' if len(pages) == 1 else 'pages'}, but no text "
            "layer: they are images. OCR is not enabled on this server; run OCR on the file "
            "first and upload the result.",
        )
    filled = [bool(lines) for lines in pages]
    _drop_running_lines(pages, draft)
    headings = find_headings(pages)
    previous = ""
    for number, lines in enumerate(pages):
        draft.page(blank_is_empty=not filled[number])
        previous = _write_page(lines, headings.get(number, {}), previous, draft)
    draft.end_page()


def _lines(text: str, draft: Draft) -> list[str]:
    cleaned = spell_ligatures(clean(text, draft.skipped))
    return cleaned.strip("\n").split("\n") if cleaned.strip() else []


def _write_page(lines: list[str], headings: dict[int, int], previous: str, draft: Draft) -> str:
    """Write a page's paragraphs and return its last one, if a sentence may go on after it."""
    start = 0
    for place in sorted(headings):
        previous = _write_lines(lines[start:place], previous, draft)
        draft.heading(headings[place], lines[place])
        previous = ""
        start = place + 1
    return _write_lines(lines[start:], previous, draft)


def _write_lines(lines: list[str], previous: str, draft: Draft) -> str:
    """Write paragraphs; a sentence that the page break cut in two is joined again."""
    apart = True
    last = previous
    for paragraph in join_page(lines):
        if not paragraph.strip():
            apart = True
            continue
        if previous and sentence_goes_on(previous, paragraph):
            draft.continue_block(paragraph, "" if previous[-1] >= "\u2e80" else " ")
        else:
            draft.block(paragraph, tight=not apart and len(paragraph) < _SHORT_LINE)
        apart = len(paragraph) >= _SHORT_LINE
        previous = ""
        last = paragraph
    return last


def _drop_running_lines(pages: list[list[str]], draft: Draft) -> None:
    """Take out page numbers and the heads and feet that come back on most pages."""
    if len(pages) < 3:
        _drop_page_numbers(pages, draft)
        return
    edges: Counter[str] = Counter()
    for lines in pages:
        edge = _edge(lines)
        edges.update({_shape(line) for line in (*lines[:edge], *lines[-edge:])})
    often = max(3, len(pages) * 0.4)
    running = {shape for shape, count in edges.items() if shape and count >= often}
    for lines in pages:
        edge = _edge(lines)
        for _ in range(edge):
            if lines and _shape(lines[0]) in running:
                del lines[0]
            if lines and _shape(lines[-1]) in running:
                del lines[-1]
    draft.skip("page heads and feet", "they repeat on each page", len(running))
    _drop_page_numbers(pages, draft)


def _drop_page_numbers(pages: list[list[str]], draft: Draft) -> None:
    for lines in pages:
        kept = [line for line in lines if not _PAGE_OF.match(line.strip())]
        draft.skip("page numbers", "page furniture", len(lines) - len(kept))
        lines[:] = kept
    numbered = [
        lines for lines in pages if len(lines) > 1 and _PAGE_NUMBER.match(lines[-1].strip())
    ]
    if len(pages) == 1 or len(numbered) * 2 < len(pages):
        return
    for lines in numbered:
        del lines[-1]
    draft.skip("page numbers", "page furniture", len(numbered))


def _edge(lines: list[str]) -> int:
    """Return how many lines at a page's top and bottom may be heads and feet."""
    return min(_EDGE_LINES, max(1, len(lines) // 5))


def _shape(line: str) -> str:
    """Return the line with its numbers made equal, so that "Page 3 of 9" repeats."""
    return _DIGITS.sub("#", " ".join(line.split()))
