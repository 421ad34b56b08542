"""Find out what a file is: by its content first, by its name only among kinds of text."""

import io
import re
import zipfile
from pathlib import PurePosixPath

from citewell.errors import DocumentRejected, Unprocessable, UnsupportedMedia
from citewell.ingest.charset import looks_like_text
from citewell.ingest.ocr import how_to_enable

HEAD_BYTES = 8192

PDF = "application/pdf"
DOCX = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"
PPTX = "application/vnd.openxmlformats-officedocument.presentationml.presentation"
XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
XLSB = "application/vnd.ms-excel.sheet.binary.macroenabled.12"
ODT = "application/vnd.oasis.opendocument.text"
ODS = "application/vnd.oasis.opendocument.spreadsheet"
ODP = "application/vnd.oasis.opendocument.presentation"
EPUB = "application/epub+zip"
RTF = "application/rtf"
DOC = "application/msword"
PPT = "application/vnd.ms-powerpoint"
XLS = "application/vnd.ms-excel"
MSG = "application/vnd.ms-outlook"
EML = "message/rfc822"
HTML = "text/html"
XML = "application/xml"
MARKDOWN = "text/markdown"
CSV = "text/csv"
TSV = "text/tab-separated-values"
JSON = "application/json"
TEXT = "text/plain"
ZIP = "application/zip"
OLE = "application/x-ole-storage"
PNG = "image/png"
JPEG = "image/jpeg"
TIFF = "image/tiff"
WEBP = "image/webp"
BMP = "image/bmp"

_TEXT_EXTENSIONS = {
    ".html": HTML, ".htm": HTML, ".xhtml": HTML, ".xml": XML, ".md": MARKDOWN,
    ".markdown": MARKDOWN, ".mkd": MARKDOWN, ".csv": CSV, ".tsv": TSV, ".tab": TSV,
    ".json": JSON, ".jsonl": JSON, ".ndjson": JSON, ".geojson": JSON, ".eml": EML, ".txt": TEXT,
}  # fmt: skip
_BINARY_EXTENSIONS = {
    ".pdf": PDF, ".docx": DOCX, ".docm": DOCX, ".dotx": DOCX, ".pptx": PPTX, ".pptm": PPTX,
    ".ppsx": PPTX, ".xlsx": XLSX, ".xlsm": XLSX, ".xltx": XLSX, ".xlsb": XLSB, ".odt": ODT,
    ".ods": ODS, ".odp": ODP, ".epub": EPUB, ".rtf": RTF, ".doc": DOC, ".ppt": PPT, ".xls": XLS,
    ".msg": MSG,
}  # fmt: skip
_OLE_START = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_OLE_STREAMS = (
    ("WordDocument", DOC),
    ("PowerPoint Document", PPT),
    ("Workbook", XLS),
    ("__properties_version1.0", MSG),
)
_OLE_KINDS = {".doc": DOC, ".dot": DOC, ".ppt": PPT, ".pps": PPT, ".xls": XLS, ".msg": MSG}
_MEDIA_TYPES = {*_TEXT_EXTENSIONS.values(), *_BINARY_EXTENSIONS.values()}
_IMAGES = (b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"II*\x00", b"MM\x00*", b"BM")
_READABLE_IMAGES = {b"\x89PNG": PNG, b"\xff\xd8\xff": JPEG, b"II*\x00": TIFF, b"MM\x00*": TIFF,
                    b"RIFF": WEBP, b"BM": BMP}  # fmt: skip
_PROGRAMS = (b"\x7fELF", b"MZ", b"\xcf\xfa\xed\xfe", b"\xca\xfe\xba\xbe", b"\x00asm", b"!<arch>")
_HEADER_LINE = re.compile(
    rb"\A(?:From |(?:From|To|Cc|Date|Subject|Received|Return-Path|Message-ID|MIME-Version|"
    rb"Delivered-To|X-[\w-]+|Content-Type|DKIM-Signature|ARC-[\w-]+|Reply-To): ?)",
    re.IGNORECASE,
)
_MARKUP = re.compile(rb"<(?:!doctype\s+html|html[\s>]|head[\s>]|body[\s>])", re.IGNORECASE)
_PAGE = re.compile(rb"[\xef\xbb\xbf\xfe\xff\s]*<(?:!doctype\s+html|html[\s>])", re.IGNORECASE)
_NEVER_MARKUP = frozenset((TEXT, CSV, TSV, JSON, EML))
_JSON_START = re.compile(rb"[\xef\xbb\xbf\xfe\xff\s]*(?:\{\s*\"|\[\s*[\[{\"\d])")
_CONVERT = "Convert it to PDF, DOCX, HTML, Markdown or text and upload that."


def sniff(head: bytes, name: str, *, ocr: bool = False) -> str:
    """Return the media type that the first bytes (up to 8192) and the name point to.

    ``ocr`` says whether images can be read.
    Raises:  Unprocessable – ``empty_file``. UnsupportedMedia – no parser reads such a file.
    """
    if not head:
        raise Unprocessable(
            "The file is empty. Check that it was saved and upload it again.", code="empty_file"
        )
    if _is_image(head):
        return _image_kind(head, ocr)
    _refuse_programs(head)
    return _document_kind(head, PurePosixPath(name.replace("\\", "/")).suffix.lower())


def _document_kind(head: bytes, extension: str) -> str:
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n")
    if start[:5] == b"%PDF-" or b"%PDF-" in head[:1024]:
        return PDF
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return _zip_kind(head, extension)
    if head.startswith(_OLE_START):
        return _OLE_KINDS.get(extension, OLE)
    if start.startswith(b"{\\rtf"):
        return RTF
    if not looks_like_text(head):
        if extension == ".pdf":
            return PDF  # a damaged head; the parser has the last word
        raise UnsupportedMedia(f"The content of this file is of no known kind. {_CONVERT}")
    return _text_kind(head, start, extension)


def detect(data: bytes, name: str, members: list[str] | None, *, ocr: bool = False) -> str:
    """Return the media type of a whole file; ``members`` are the names in a zip file.

    Raises:  DocumentRejected – ``empty_file``, ``unsupported`` or ``type_mismatch``.
    """
    extension = PurePosixPath(name.replace("\\", "/")).suffix.lower()
    try:
        kind = sniff(data[:HEAD_BYTES], name, ocr=ocr)
    except Unprocessable as error:
        raise DocumentRejected("empty_file", error.message) from error
    except UnsupportedMedia as error:
        raise DocumentRejected("unsupported", error.message) from error
    if members is not None:
        return _kind_of_members(data, members)
    if is_ole(data):
        return _kind_of_streams(data, kind)
    promised = _BINARY_EXTENSIONS.get(extension)
    if promised and kind in _TEXT_EXTENSIONS.values() and kind not in {HTML, XML}:
        raise DocumentRejected(
            "type_mismatch",
            f"The file is named {extension}, but it holds plain text. Give it the right extension, "
            "or upload the file that you meant.",
        )
    if promised and kind in {HTML, XML} and extension not in {".xls", ".doc"}:
        raise DocumentRejected(
            "type_mismatch",
            f"The file is named {extension}, but it holds HTML or XML: perhaps a saved error page. "
            "Upload the file that you meant.",
        )
    return kind


def is_zip(data: bytes) -> bool:
    """Say whether the bytes begin as a zip file does."""
    return data.startswith((b"PK\x03\x04", b"PK\x05\x06"))


def is_ole(data: bytes) -> bool:
    """Say whether the bytes begin as an OLE file does: old Office, Outlook, or encrypted Office."""
    return data.startswith(_OLE_START)


def _kind_of_streams(data: bytes, kind: str) -> str:
    """Tell what an OLE file holds by the names of its streams."""
    for stream, found in _OLE_STREAMS:
        if stream.encode("utf-16-le") in data:
            return found
    if kind == OLE:
        raise DocumentRejected("unsupported", f"No parser reads this kind of file. {_CONVERT}")
    return kind


def _is_image(head: bytes) -> bool:
    image = head.startswith(_IMAGES[:5]) or (head.startswith(b"BM") and 0 in head[:30])
    return image or (head.startswith(b"RIFF") and head[8:12] == b"WEBP") or head[4:12] in {
        b"ftypheic", b"ftypheix", b"ftypavif", b"ftypmif1"
    }  # fmt: skip


def _image_kind(head: bytes, ocr: bool) -> str:
    if not ocr:
        raise UnsupportedMedia(f"This is an image. {how_to_enable()}")
    for start, kind in _READABLE_IMAGES.items():
        if head.startswith(start):
            return kind
    raise UnsupportedMedia("OCR does not read this kind of image. Save it as PNG or JPEG.")


def _refuse_programs(head: bytes) -> None:
    if head.startswith(_PROGRAMS) and (0 in head or head.startswith(b"!<arch>")):
        raise UnsupportedMedia(f"This is a program, not a document. {_CONVERT}")


def _zip_kind(head: bytes, extension: str) -> str:
    """Judge a zip file by the members that its first bytes name."""
    if b"mimetypeapplication/epub+zip" in head or b"META-INF/container.xml" in head:
        return EPUB
    for kind in (ODT, ODS, ODP):
        if b"mimetype" + kind.encode() in head:
            return kind
    for folder, kind in ((b"word/", DOCX), (b"ppt/", PPTX), (b"xl/", XLSX)):
        if folder in head and (b"[Content_Types].xml" in head or b"_rels/" in head):
            return kind
    promised = _BINARY_EXTENSIONS.get(extension)
    if promised or b"[Content_Types].xml" in head or b"_rels/.rels" in head or len(head) < 64:
        return promised if promised and promised not in {PDF, RTF} else ZIP
    raise UnsupportedMedia(
        "This is an archive, not a document. Unpack it and upload the documents inside."
    )


def _kind_of_members(data: bytes, members: list[str]) -> str:
    names = set(members)
    if "mimetype" in names:
        with zipfile.ZipFile(io.BytesIO(data)) as archive, archive.open("mimetype") as file:
            told = file.read(200).strip().decode("ascii", "replace").removesuffix("-template")
        if told in {EPUB, ODT, ODS, ODP}:
            return told
    if "META-INF/container.xml" in names:
        return EPUB
    if "xl/workbook.bin" in names:
        return XLSB
    for folder, kind in (("word/", DOCX), ("ppt/", PPTX), ("xl/", XLSX)):
        if any(name.startswith(folder) for name in names):
            return kind
    if "content.xml" in names:
        return ODT
    raise DocumentRejected(
        "unsupported",
        "This is an archive, not a document. Unpack it and upload the documents inside.",
    )


def _text_kind(head: bytes, start: bytes, extension: str) -> str:
    """Choose among the kinds of text: a page of HTML is one by any name, then the name decides."""
    known = _TEXT_EXTENSIONS.get(extension)
    sample = head.replace(b"\x00", b"") if 0 in head else head
    if known in _NEVER_MARKUP and _PAGE.match(sample):
        return HTML
    if known == HTML and start.startswith(b"From: ") and b"multipart/related" in head:
        return EML
    if known:
        return known
    return _nameless_kind(sample, extension)


def _nameless_kind(sample: bytes, extension: str) -> str:
    """Judge text by its first bytes alone, where its name says nothing."""
    if _MARKUP.search(sample[:2048]):
        return HTML
    if sample.lstrip(b"\xef\xbb\xbf\xfe\xff \t\r\n").startswith(b"<?xml"):
        return HTML if b"http://www.w3.org/1999/xhtml" in sample else XML
    if _HEADER_LINE.match(sample) and b"\nSubject:" in sample:
        return EML
    if not extension and _JSON_START.match(sample):
        return JSON
    return TEXT
