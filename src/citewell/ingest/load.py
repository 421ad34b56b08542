"""Read a file's bytes into canonical text with sections, pages and a report."""

from collections.abc import Callable
from functools import partial
from importlib import import_module

from citewell.domain import ParsedDocument
from citewell.errors import DocumentRejected
from citewell.ingest import detect as kinds
from citewell.ingest.archive import guard_archive
from citewell.ingest.draft import Draft
from citewell.ingest.ocr import OcrAllowance

_READERS = {
    kinds.HTML: ("html", "read_html"),
    kinds.XML: ("xml", "read_xml"),
    kinds.MARKDOWN: ("markdown", "read_markdown"),
    kinds.CSV: ("text", "read_table"),
    kinds.TSV: ("text", "read_table"),
    kinds.JSON: ("json_values", "read_json"),
    kinds.TEXT: ("text", "read_text"),
    kinds.EML: ("mail", "read_mail"),
    kinds.DOCX: ("docx", "read_docx"),
    kinds.PPTX: ("pptx", "read_pptx"),
    kinds.EPUB: ("epub", "read_epub"),
    kinds.XLSX: ("extracted", "read_workbook"),
    kinds.ODT: ("opendocument", "read_opendocument"),
    kinds.ODS: ("opendocument", "read_opendocument"),
    kinds.ODP: ("opendocument", "read_opendocument"),
    kinds.RTF: ("rtf", "read_rtf"),
    kinds.PDF: ("pdf", "read_pdf"),
    **dict.fromkeys(
        (kinds.PNG, kinds.JPEG, kinds.TIFF, kinds.WEBP, kinds.BMP), ("images", "read_image")
    ),
}
_OTHERS = ("extracted", "read_extracted")
_SOURCE_EXTENSIONS = frozenset((
    ".py", ".js", ".ts", ".java", ".c", ".h", ".cpp", ".go", ".rs", ".rb", ".sh", ".sql", ".css",
    ".yaml", ".yml", ".toml", ".ini", ".log", ".tex",
))  # fmt: skip
_CLAIMS = frozenset((kinds.MARKDOWN, kinds.HTML, kinds.CSV, kinds.TSV, kinds.JSON, kinds.EML))


def load(
    data: bytes,
    name: str,
    media_type: str | None = None,
    max_text_characters: int = 20_000_000,
    password: str | None = None,
    ocr: OcrAllowance | None = None,
) -> ParsedDocument:
    """Read a file of any supported kind.

    The kind is decided by the content; the name matters only among kinds of text, and
    ``media_type`` (what the sender claimed) only where neither says anything. ``password`` opens
    an encrypted PDF or Office file; other files do not need it and leave it unused. Without an
    allowance for ``ocr``, images are not read.
    Holds:   offsets of sections and pages are those of the returned text, in code points. Files
             inside of an e-mail are read one level deep, under the same limits.
    Raises:  DocumentRejected – with the code ``empty_file``, ``no_text``, ``no_text_layer``,
             ``encrypted``, ``wrong_password``, ``corrupt``, ``type_mismatch``, ``unsupported``,
             ``archive_bomb``, ``too_much_text`` or ``entity_expansion``; by OCR also
             ``parser_timeout`` and ``parser_memory``.
    """
    inside = partial(_load_inside, password=password, ocr=ocr)
    return _load(data, Draft("", name, max_text_characters, inside, ocr), media_type, password)


def preload() -> None:
    """Import the readers of text and HTML before the first file comes."""
    for module in ("html", "text", "markdown"):
        import_module(f"citewell.ingest.formats.{module}")


def _load_inside(
    data: bytes,
    name: str,
    media_type: str | None,
    max_text_characters: int,
    password: str | None = None,
    ocr: OcrAllowance | None = None,
) -> ParsedDocument:
    draft = Draft("", name, max_text_characters, ocr=ocr)
    return _load(data, draft, media_type, password)


def _load(
    data: bytes, draft: Draft, media_type: str | None, password: str | None
) -> ParsedDocument:
    if kinds.is_ole(data):
        data = _unlocked(data, password)
    members = guard_archive(data) if kinds.is_zip(data) else None
    kind = kinds.detect(data, draft.name, members, ocr=draft.ocr is not None)
    if kind == kinds.TEXT and media_type in _CLAIMS:
        kind = media_type
    draft.media_type, draft.password = kind, password
    try:
        _reader(kind, draft.name)(data, draft)
    except RecursionError as error:
        raise DocumentRejected(
            "corrupt",
            "The file is nested deeper than any document needs. Save it anew in its own program.",
        ) from error
    return draft.finish()


def _reader(kind: str, name: str) -> Callable[[bytes, Draft], None]:
    """Import only the reader that is needed: text never pays for the PDF library."""
    module, function = _READERS.get(kind, _OTHERS)
    extension = name[name.rfind(".") :].lower() if "." in name else ""
    if kind == kinds.TEXT and extension in _SOURCE_EXTENSIONS:
        function = "read_lines"
    return getattr(import_module(f"citewell.ingest.formats.{module}"), function)


def _unlocked(data: bytes, password: str | None) -> bytes:
    """Return what an OLE file holds behind its password, or the file itself if it has none."""
    return import_module("citewell.ingest.formats.locked").unlock(data, password)
