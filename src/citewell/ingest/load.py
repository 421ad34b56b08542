"""Read a file's bytes into canonical text with sections, pages and a report."""

from collections.abc import Callable
from importlib import import_module

from citewell.domain import ParsedDocument
from citewell.errors import DocumentRejected
from citewell.ingest import detect as kinds
from citewell.ingest.archive import guard_archive
from citewell.ingest.draft import Draft

_READERS = {
    kinds.HTML: ("html", "read_html"),
    kinds.XML: ("xml", "read_xml"),
    kinds.MARKDOWN: ("markdown", "read_markdown"),
    kinds.CSV: ("text", "read_table"),
    kinds.TSV: ("text", "read_table"),
    kinds.JSON: ("text", "read_lines"),
    kinds.TEXT: ("text", "read_text"),
    kinds.EML: ("mail", "read_mail"),
    kinds.DOCX: ("docx", "read_docx"),
    kinds.PPTX: ("pptx", "read_pptx"),
    kinds.EPUB: ("epub", "read_epub"),
    kinds.PDF: ("pdf", "read_pdf"),
}
_OTHERS = ("extracted", "read_extracted")
_ENCRYPTED_STREAM = "EncryptedPackage".encode("utf-16-le")
_OLE_STREAMS = (
    ("WordDocument", kinds.DOC),
    ("PowerPoint Document", kinds.PPT),
    ("Workbook", kinds.XLS),
    ("__properties_version1.0", kinds.MSG),
)
_SOURCE_EXTENSIONS = frozenset((
    ".py", ".js", ".ts", ".java", ".c", ".h", ".cpp", ".go", ".rs", ".rb", ".sh", ".sql", ".css",
    ".yaml", ".yml", ".toml", ".ini", ".log", ".tex", ".json", ".jsonl",
))  # fmt: skip


def load(
    data: bytes, name: str, media_type: str | None = None, max_text_characters: int = 20_000_000
) -> ParsedDocument:
    """Read a file of any supported kind.

    The kind is decided by the content; the name matters only among kinds of text, and
    ``media_type`` (what the sender claimed) only where neither says anything.
    Holds:   offsets of sections and pages are those of the returned text, in code points.
    Raises:  DocumentRejected – with the code ``empty_file``, ``no_text``, ``no_text_layer``,
             ``encrypted``, ``corrupt``, ``type_mismatch``, ``unsupported``, ``archive_bomb``,
             ``too_much_text`` or ``entity_expansion``.
    """
    members = guard_archive(data) if kinds.is_zip(data) else None
    kind = kinds.detect(data, name, members)
    if kind == kinds.OLE or data.startswith(b"\xd0\xcf\x11\xe0"):
        kind = _ole_kind(data, kind)
    if kind == kinds.TEXT and media_type in {kinds.MARKDOWN, kinds.HTML, kinds.CSV, kinds.JSON}:
        kind = media_type
    draft = Draft(kind, name, max_text_characters)
    read = _reader(kind, name)
    try:
        read(data, draft)
    except RecursionError as error:
        raise DocumentRejected(
            "corrupt",
            "The file is nested deeper than any document needs. Save it anew in its own program.",
        ) from error
    return draft.finish()


def preload() -> None:
    """Import the readers of text and HTML before the first file comes."""
    for module in ("html", "text", "markdown"):
        import_module(f"citewell.ingest.formats.{module}")


def _reader(kind: str, name: str) -> Callable[[bytes, Draft], None]:
    """Import only the reader that is needed: text never pays for the PDF library."""
    module, function = _READERS.get(kind, _OTHERS)
    extension = name[name.rfind(".") :].lower() if "." in name else ""
    if kind == kinds.TEXT and extension in _SOURCE_EXTENSIONS:
        function = "read_lines"
    return getattr(import_module(f"citewell.ingest.formats.{module}"), function)


def _ole_kind(data: bytes, kind: str) -> str:
    """Tell what an OLE file holds; modern Office files with a password are wrapped in one."""
    if _ENCRYPTED_STREAM in data:
        raise DocumentRejected(
            "encrypted", "The file is protected by a password. Remove the password and try again."
        )
    for stream, found in _OLE_STREAMS:
        if stream.encode("utf-16-le") in data:
            return found
    if kind == kinds.OLE:
        raise DocumentRejected(
            "unsupported",
            "No parser reads this kind of file. Convert it to PDF, DOCX, HTML, Markdown or text.",
        )
    return kind
