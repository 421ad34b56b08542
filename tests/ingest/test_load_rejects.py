"""Files that cannot be read end with a code and a sentence, before any parser is hurt."""

import io
import zipfile

import pytest
from hostile_files import stored
from office_files import docx, odf, paragraph, pdf, relations, zipped

from citewell.errors import DocumentRejected, Unprocessable, UnsupportedMedia
from citewell.ingest.detect import DOCX, EPUB, HTML, PDF, TEXT, sniff
from citewell.ingest.load import load

BOMB = '<!DOCTYPE a [<!ENTITY x "ha"><!ENTITY y "&x;&x;">]>'
OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"


def traversal() -> bytes:
    return zipped({"_rels/.rels": relations(), "word/document.xml": "<a/>", "../../out.txt": "x"})


def big_docx() -> bytes:
    body = "<w:p><w:r><w:t>" + "a" * 40_000_000 + "</w:t></w:r></w:p>"
    return docx(body)


def locked_zip() -> bytes:
    data = bytearray(docx(paragraph("x")))
    place = data.index(b"PK\x01\x02")
    while place != -1:
        data[place + 8] |= 1
        place = data.find(b"PK\x01\x02", place + 1)
    return bytes(data)


@pytest.mark.parametrize(
    ("data", "name", "code"),
    [
        (b"", "a.txt", "empty_file"),
        (b" \n\t ", "a.txt", "no_text"),
        (b"<html><body><script>x</script></body></html>", "a.html", "no_text"),
        (b"just text", "a.pdf", "type_mismatch"),
        (b"just text", "a.xlsx", "type_mismatch"),
        (b"<!doctype html><html><body>404</body></html>", "a.docx", "type_mismatch"),
        (b"%PDF-1.7\nbroken", "a.pdf", "corrupt"),
        (docx(paragraph("x"))[:200], "a.docx", "corrupt"),
        (docx("<w:p>").replace(b"PK\x05\x06", b"PK\x05\x07"), "a.docx", "corrupt"),
        (zipped({"word/document.xml": "<open>", "_rels/.rels": relations()}), "a.docx", "corrupt"),
        (traversal(), "a.docx", "corrupt"),
        (stored({"word/document.xml": b"x" * 99}, directory_size=9), "a.docx", "corrupt"),
        (zipped({"a.txt": "x"}), "a.zip", "unsupported"),
        (bytes(range(256)) * 4, "a.bin", "unsupported"),
        (OLE + b"\0" * 600 + "EncryptedPackage".encode("utf-16-le"), "a.docx", "encrypted"),
        (locked_zip(), "a.docx", "encrypted"),
        (big_docx(), "a.docx", "archive_bomb"),
        (zipped({"word/document.xml": BOMB + "<a>&y;</a>", "_rels/.rels": relations()}), "a.docx",
         "entity_expansion"),
        (f"{BOMB}<a>&y;</a>".encode(), "a.xml", "entity_expansion"),
        (pdf([[], []]), "scan.pdf", "no_text_layer"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)  # fmt: skip
def test_rejected(data: bytes, name: str, code: str) -> None:
    with pytest.raises(DocumentRejected) as caught:
        load(data, name)
    assert caught.value.reason == code
    assert caught.value.message.endswith(".")


def test_too_much_text() -> None:
    with pytest.raises(DocumentRejected) as caught:
        load(b"word " * 100, "a.txt", max_text_characters=100)
    assert caught.value.reason == "too_much_text"


def test_a_page_without_text_is_said() -> None:
    parsed = load(pdf([["Some text here."], [], ["More text here."]]), "a.pdf")
    assert parsed.report.pages == 3
    assert parsed.report.pages_without_text == (2,)
    assert "page 2" in parsed.report.warnings[0]


def test_many_entries_are_a_bomb() -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for number in range(20_001):
            archive.writestr(str(number), b"")
    with pytest.raises(DocumentRejected, match="entries"):
        load(buffer.getvalue(), "a.docx")


@pytest.mark.parametrize(
    ("head", "name", "kind"),
    [
        (b"%PDF-1.7", "a.txt", PDF),
        (docx(paragraph("x")), "a.doc", DOCX),
        (b"hello", "a.unknown", TEXT),
        (b"<!DOCTYPE html><p>x", "noname", HTML),
        ("schön".encode("utf-16-le") * 10, "a.txt", TEXT),
        ("größer als".encode("latin-1"), "a.log", TEXT),
        (zipped({"mimetype": "application/epub+zip", "META-INF/container.xml": ""}), "b", EPUB),
    ],
)
def test_sniff(head: bytes, name: str, kind: str) -> None:
    assert sniff(head[:8192], name) == kind


@pytest.mark.parametrize(
    "head",
    [
        b"\x89PNG\r\n\x1a\n\0\0\0",
        b"\xff\xd8\xff\xe0\0\x10JFIF",
        b"\x7fELF\x02\x01\x01\0\0",
        b"MZ\x90\0\x03\0",
        b"PK\x03\x04" + b"\0" * 26 + b"holiday.jpg" + b"\0" * 100,
        bytes(range(256)),
    ],
)
def test_sniff_refuses(head: bytes) -> None:
    with pytest.raises(UnsupportedMedia):
        sniff(head, "a.dat")


def test_sniff_empty() -> None:
    with pytest.raises(Unprocessable) as caught:
        sniff(b"", "a.txt")
    assert caught.value.reason == "empty_file"


def test_an_image_is_told_that_ocr_is_off() -> None:
    with pytest.raises(UnsupportedMedia, match="OCR is not enabled"):
        sniff(b"\x89PNG\r\n\x1a\n\0", "scan.png")


def test_what_a_file_says_of_itself_stays_short() -> None:
    """Lists of documents and of results repeat each document's properties."""
    core = "<c xmlns:d='x'><d:subject>" + "word " * 400_000 + "</d:subject></c>"
    with_core = io.BytesIO(docx(paragraph("Text.")))
    with zipfile.ZipFile(with_core, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("docProps/core.xml", core)
    read = load(with_core.getvalue(), "a.docx")
    assert len(read.metadata["subject"]) == 1000


def test_a_report_names_a_bounded_number_of_things() -> None:
    parts = b"".join(b"--B\nContent-Type: x/%d\n\nz\n" % number for number in range(5000))
    head = b"From: a\nSubject: s\nContent-Type: multipart/mixed; boundary=B\n\n"
    report = load(head + b"--B\n\nhello\n" + parts + b"--B--\n", "a.eml").report
    assert len(report.skipped) == 1001
    assert sum(item["count"] for item in report.skipped) == 5000


def test_a_file_of_very_many_pages_is_refused() -> None:
    pages = "<draw:page/>" * 100_001
    with pytest.raises(DocumentRejected, match="100,000 pages") as raised:
        load(odf("presentation", pages), "a.odp")
    assert raised.value.reason == "too_much_text"
