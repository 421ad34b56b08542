"""PDF: the text layer page by page, without running heads, with wrapped lines joined."""

import re
from collections import Counter
from importlib import import_module

from citewell.errors import DocumentRejected
from citewell.ingest.draft import Draft
from citewell.ingest.formats.extracted import extract, take_metadata
from citewell.ingest.formats.hyphens import mend_cut_words, words_of
from citewell.ingest.formats.outline import find_headings
from citewell.ingest.formats.pdf_objects import read_objects
from citewell.ingest.formats.right_to_left import mend_word_order
from citewell.ingest.formats.wrapped import join_page, sentence_goes_on
from citewell.ingest.normalise import clean, spell_ligatures
from citewell.ingest.ocr import MOST_STAMP_CHARACTERS, how_to_enable

_PAGE_OF = re.compile(r"^page\s+\d{1,4}\s+(?:of|/)\s+\d{1,4}$", re.IGNORECASE)
_DIGITS = re.compile(r"\d+")
_PAGE_NUMBER = re.compile(
    r"^(?:page\s+)?[-–—]?\s*(?:\d{1,4}|[ivxlc]{1,6})\s*[-–—]?(?:\s*(?:of|/)\s*\d{1,4})?$",
    re.IGNORECASE,
)
_EDGE_LINES = 3
_SHORT_LINE = 80


def read_pdf(data: bytes, draft: Draft) -> None:
    """Read a PDF's text layer, and by OCR, where that is enabled, the pages without one.

    Raises:  DocumentRejected – ``no_text_layer``: every page is an image; ``no_text``: OCR found
             nothing in them; ``encrypted``; ``wrong_password``; ``corrupt``.
    """
    result = extract(data, draft.media_type, pages=True, password=draft.password)
    draft.counts_objects = False  # a text layer knows no tables, and images are not opened
    take_metadata(dict(result.metadata), draft)
    read_objects(data, draft)
    texts = [
        mend_word_order(str(page["content"]).replace("\r\n", "\n")) for page in result.pages or ()
    ]
    if draft.ocr is not None and any(len(text.strip()) <= MOST_STAMP_CHARACTERS for text in texts):
        texts = import_module("citewell.ingest.formats.ocr").read_scans(data, texts, draft)
    if not write_pages(texts, draft):
        raise _no_text(len(texts), draft)


def write_pages(texts: list[str], draft: Draft) -> bool:
    """Write the pages, each as its lines, and say whether they held any text."""
    words = words_of(texts)
    pages = [_lines(mend_cut_words(text, words), draft) for text in texts]
    if not any(pages):
        return False
    filled = [bool(lines) for lines in pages]
    _drop_running_lines(pages, draft)
    headings = find_headings(pages)
    previous = ""
    for number, lines in enumerate(pages):
        draft.page(blank_is_empty=not filled[number])
        previous = _write_page(lines, headings.get(number, {}), previous, draft)
    draft.end_page()
    return True


def _no_text(pages: int, draft: Draft) -> DocumentRejected:
    count = f"{pages} {'page' if pages == 1 else 'pages'}"
    if draft.ocr is not None:
        return DocumentRejected(
            "no_text",
            f"The PDF has {count}, but no text layer, and OCR found nothing in them that it can "
            "read. It knows Latin, Chinese and Japanese letters.",
        )
    return DocumentRejected(
        "no_text_layer",
        f"The PDF has {count}, but no text layer: they are images. {how_to_enable()}",
    )


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
