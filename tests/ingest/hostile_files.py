"""Files that were made to hurt a parser, each with the ends that are right for it."""

import io
import struct
import zipfile
import zlib
from collections.abc import Callable

from office_files import docx, epub, odf, paragraph, pdf, pptx, relations, shape, xlsx, zipped

MEBIBYTE = 1024 * 1024
LAUGHS = "".join(f'<!ENTITY l{n + 1} "{f"&l{n};" * 10}">' for n in range(1, 10))
DOCTYPE = f'<!DOCTYPE a [<!ENTITY l1 "ha">{LAUGHS}]>'
DEPTH = 100_000


def stored(members: dict[str, bytes], *, directory_size: int | None = None) -> bytes:
    """Return a zip file; its directory may give a size (and checksum) that is not the real one."""
    body, directory = b"", b""
    for name, content in members.items():
        packer = zlib.compressobj(9, zlib.DEFLATED, -15)
        packed = packer.compress(content) + packer.flush()
        size = len(content) if directory_size is None else min(directory_size, len(content))
        sizes = struct.pack("<III", zlib.crc32(content[:size]), len(packed), size)
        start = len(body)
        head = struct.pack("<HHHHH", 20, 0, 8, 0, 0) + sizes + struct.pack("<HH", len(name), 0)
        body += b"PK\x03\x04" + head + name.encode() + packed
        directory += (
            b"PK\x01\x02" + struct.pack("<H", 20) + head + bytes(10) + struct.pack("<I", start)
            + name.encode()
        )  # fmt: skip
    count = len(members)
    end = struct.pack("<HHHHIIH", 0, 0, count, count, len(directory), len(body), 0)
    return body + directory + b"PK\x05\x06" + end


def lying_directory() -> bytes:
    """A Word file whose directory says 100 bytes where 60 MiB are."""
    body = b"<a>" + b" " * (60 * MEBIBYTE) + b"</a>"
    parts = {"_rels/.rels": relations().encode(), "word/document.xml": body}
    return stored(parts, directory_size=100)


def overlapping_members() -> bytes:
    """A zip file whose 2,000 members are all the same packed mebibyte."""
    archive = bytearray(zipped({"word/document.xml": b"a" * MEBIBYTE}))
    place = archive.index(b"PK\x01\x02")
    end = archive.index(b"PK\x05\x06")
    entry = bytes(archive[place:end])
    count = 2000
    tail = struct.pack("<HHHHIIH", 0, 0, count, count, len(entry) * count, place, 0)
    return bytes(archive[:place]) + entry * count + b"PK\x05\x06" + tail


def nested_zips(depth: int = 30) -> bytes:
    """A zip in a zip in a zip."""
    inner = b"the end"
    for level in range(depth):
        inner = zipped({f"{level}.zip": inner})
    return inner


def many_entries() -> bytes:
    """A Word file with 25,000 empty members beside its text."""
    buffer = io.BytesIO(docx(paragraph("x")))
    with zipfile.ZipFile(buffer, "a") as archive:
        for number in range(25_000):
            archive.writestr(f"word/{number}.xml", b"")
    return buffer.getvalue()


def word_part(content: str | bytes) -> bytes:
    """A Word file with this as its whole main part."""
    return zipped({
        "[Content_Types].xml": "<Types/>",
        "_rels/.rels": relations(("r1", "officeDocument", "word/document.xml")),
        "word/document.xml": content,
    })  # fmt: skip


def raw_pdf(*objects: bytes) -> bytes:
    """A PDF of these objects, the first of them its catalog, with a right table of places."""
    body, places = b"%PDF-1.7\n", b""
    for number, content in enumerate(objects, start=1):
        places += b"%010d 00000 n \n" % len(body)
        body += b"%d 0 obj\n%s\nendobj\n" % (number, content)
    size = len(objects) + 1
    return body + b"xref\n0 %d\n0000000000 65535 f \n%strailer\n<< /Size %d /Root 1 0 R >>\n" % (
        size, places, size
    ) + b"startxref\n%d\n%%%%EOF\n" % len(body)  # fmt: skip


CATALOG = b"<< /Type /Catalog /Pages 2 0 R >>"
PAGES = b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>"
FONT = b"/Resources << /Font << /F1 << /Type /Font /Subtype /Type1 /BaseFont /Helvetica >> >> >>"
PAGE = b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 600 800] /Contents 4 0 R " + FONT + b" >>"


def stream(content: bytes, rounds: int = 1) -> bytes:
    """A PDF stream that was packed this many times."""
    for _ in range(rounds):
        content = zlib.compress(content, 9)
    filters = b" ".join([b"/FlateDecode"] * rounds)
    return b"<< /Length %d /Filter [%s] >>\nstream\n%s\nendstream" % (
        len(content), filters, content
    )  # fmt: skip


def page_tree_loop() -> bytes:
    return raw_pdf(CATALOG, b"<< /Type /Pages /Kids [2 0 R 2 0 R] /Count 99999999 >>")


def object_loop() -> bytes:
    return raw_pdf(CATALOG, PAGES, PAGE, b"5 0 R", b"4 0 R")


def deep_pdf() -> bytes:
    return raw_pdf(CATALOG, PAGES, PAGE, b"[" * DEPTH + b"]" * DEPTH)


def pdf_bomb(rounds: int) -> bytes:
    text = b"BT /F1 9 Tf 9 9 Td " + b"(" + b"word " * 2000 + b") Tj T* ET\n"
    return raw_pdf(CATALOG, PAGES, PAGE, stream(text * 20_000, rounds))


def far_cell() -> bytes:
    """A workbook whose second cell stands at the furthest corner of the sheet."""
    return xlsx({"Far": '<row r="1"><c r="A1"><v>1</v></c></row>'
                        '<row r="1048576"><c r="XFD1048576"><v>2</v></c></row>'})  # fmt: skip


def repeated_cells() -> bytes:
    """A spreadsheet of OpenDocument that repeats a cell a thousand billion times."""
    cell = '<table:table-cell table:number-columns-repeated="999999"><text:p>x</text:p>'
    row = f'<table:table-row table:number-rows-repeated="999999">{cell}</table:table-cell>'
    return odf("spreadsheet", f'<table:table table:name="S">{row}</table:table-row></table:table>')


def nested_mail(depth: int) -> bytes:
    lines = ["Subject: deep", "From: a@example.org"]
    for level in range(depth):
        lines += [f'Content-Type: multipart/mixed; boundary="b{level}"', "", f"--b{level}"]
    return "\n".join([*lines, "Content-Type: text/plain", "", "the end"]).encode()


def zipped_mail() -> bytes:
    """A message whose attachments are bombs."""
    import base64

    bomb = base64.encodebytes(docx(paragraph("a" * 40_000_000))).decode()
    lines = (
        "--b",
        'Content-Disposition: attachment; filename="a.docx"',
        "Content-Transfer-Encoding: base64",
        "",
        bomb,
        "",
    )
    part = "\n".join(lines)
    head = 'Subject: bombs\nContent-Type: multipart/mixed; boundary="b"\n\n'
    return (head + "--b\n\nRead them.\n" + part * 20 + "--b--\n").encode()


def broken(data: bytes, share: float) -> bytes:
    return data[: int(len(data) * share)]


LONG = ("word " * MEBIBYTE).encode()
UNBROKEN = b"a" * (5 * MEBIBYTE)
SVG = '<?xml version="1.0"?>{}<svg xmlns="http://www.w3.org/2000/svg"><text>&l9;</text></svg>'
TEXT_OR_CORRUPT = ("text", "corrupt")
NATIVE_MEMORY = ("text", "no_text_layer", "too_much_text", "parser_memory", "parser_crashed")
"""The PDF library ends its process when memory is refused to it; the sandbox may not see why."""

HOSTILE: dict[str, tuple[str, Callable[[], bytes], tuple[str, ...]]] = {
    "bomb": ("a.docx", lambda: docx(paragraph("a" * 150 * MEBIBYTE)), ("archive_bomb",)),
    "many small bombs": (
        "a.pptx", lambda: pptx([shape("a" * 8 * MEBIBYTE)] * 70), ("archive_bomb",)),
    "lying directory": ("a.docx", lying_directory, ("archive_bomb", "corrupt")),
    "overlapping members": ("a.docx", overlapping_members, ("archive_bomb", "corrupt")),
    "zips in zips": ("a.zip", nested_zips, ("unsupported",)),
    "zips in zips, named as a book": ("a.epub", nested_zips, ("unsupported",)),
    "25,000 members": ("a.docx", many_entries, ("archive_bomb",)),
    "laughs in Word": (
        "a.docx", lambda: word_part(f"{DOCTYPE}<a>&l9;</a>"), ("entity_expansion",)),
    "laughs in XML": ("a.xml", f"{DOCTYPE}<a>&l9;</a>".encode, ("entity_expansion",)),
    "laughs in UTF-16": (
        "a.xml", lambda: f"{DOCTYPE}<a>&l9;</a>".encode("utf-16"), ("entity_expansion",)),
    "laughs in SVG": ("a.svg", lambda: SVG.format(DOCTYPE).encode(), ("entity_expansion",)),
    "laughs in OpenDocument": (
        "a.odt", lambda: odf("text", "<text:p>&l9;</text:p>", prolog=DOCTYPE),
        ("entity_expansion",)),
    "laughs in a workbook": (
        "a.xlsx", lambda: xlsx({"S": "<row/>"}, prolog=DOCTYPE),
        ("entity_expansion", "corrupt", "no_text")),
    "outer file in XML": (
        "a.xml", lambda: b'<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><a>&x;</a>',
        ("entity_expansion",)),
    "page tree in a loop": ("a.pdf", page_tree_loop, ("corrupt", "no_text_layer", "no_text")),
    "objects in a loop": ("a.pdf", object_loop, ("corrupt", "no_text_layer", "no_text")),
    "PDF arrays 100,000 deep": ("a.pdf", deep_pdf, ("corrupt", "no_text_layer", "no_text")),
    "PDF stream bomb": (
        "a.pdf", lambda: pdf_bomb(1),
        NATIVE_MEMORY),
    "PDF stream bomb, packed twice": (
        "a.pdf", lambda: pdf_bomb(2),
        NATIVE_MEMORY),
    "HTML 100,000 deep": ("a.html", lambda: b"<div>" * DEPTH + b"deep", ("corrupt",)),
    "HTML 20,000 deep": ("a.html", lambda: b"<div>" * 20_000 + b"deep", ("text",)),
    "HTML lists 100,000 deep": ("a.html", lambda: b"<ul><li>" * DEPTH + b"deep", ("corrupt",)),
    "HTML tables 5,000 deep": (
        "a.html", lambda: b"<table><tr><td>" * 5000 + b"deep", TEXT_OR_CORRUPT),
    "MathML 100,000 deep": (
        "a.html", lambda: b"<p>x<math>" + b"<mrow>" * DEPTH + b"<mi>deep</mi>", TEXT_OR_CORRUPT),
    "JSON 100,000 deep": (
        "a.json", lambda: b"[" * DEPTH + b"]" * DEPTH, ("corrupt", "no_text")),
    "JSON objects 900 deep": (
        "a.json", lambda: b'{"a":' * 900 + b"1" + b"}" * 900, TEXT_OR_CORRUPT),
    "XML 100,000 deep": (
        "a.xml", lambda: b"<a>" * DEPTH + b"deep" + b"</a>" * DEPTH, TEXT_OR_CORRUPT),
    "Word 20,000 deep": (
        "a.docx", lambda: docx("<w:sdt>" * 20_000 + paragraph("deep") + "</w:sdt>" * 20_000),
        TEXT_OR_CORRUPT),
    "OpenDocument 20,000 deep": (
        "a.odt", lambda: odf("text", "<text:section>" * 20_000 + "<text:p>deep</text:p>"
                             + "</text:section>" * 20_000), TEXT_OR_CORRUPT),
    "RTF 100,000 deep": (
        "a.rtf", lambda: b"{\\rtf1 " + b"{" * DEPTH + b"deep" + b"}" * DEPTH, ("corrupt",)),
    "mail 2,000 deep": ("a.eml", lambda: nested_mail(2000), TEXT_OR_CORRUPT),
    "mail with bombs": ("a.eml", zipped_mail, ("text",)),
    "a line of 5 MB": ("a.txt", lambda: LONG, ("text",)),
    "a line of 5 MB in Markdown": ("a.md", lambda: LONG, ("text",)),
    "a line of 5 MB in HTML": ("a.html", lambda: b"<p>" + LONG, ("text",)),
    "a line of 5 MB in a table": ("a.csv", lambda: b"a,b\n" + LONG + b",1\n", ("text",)),
    "a cell of 12 MB that never ends": (
        "a.csv", lambda: b'a,b\n"' + b"x" * (12 * MEBIBYTE), ("text",)),
    "a line of 5 MB in mail": ("a.eml", lambda: b"Subject: x\n\n" + LONG, ("text",)),
    "a line of 5 MB in JSON": ("a.json", lambda: b'{"a": "' + LONG + b'"}', ("text",)),
    "a line of 5 MB in RTF": ("a.rtf", lambda: b"{\\rtf1 " + LONG + b"}", ("text",)),
    "a word of 5 MB": ("a.txt", lambda: UNBROKEN, ("text",)),
    "a word of 5 MB in Markdown": ("a.md", lambda: b"# " + UNBROKEN, ("text",)),
    "a word of 5 MB in Word": ("a.docx", lambda: docx(paragraph("ab" * MEBIBYTE)), ("text",)),
    "a header of 5 MB": ("a.eml", lambda: b"Subject: " + UNBROKEN + b"\n\nbody", ("text",)),
    "a megabyte of open brackets": (
        "a.md", lambda: b"![[*_`(<\\" * (MEBIBYTE // 8), ("text",)),
    "a megabyte of tags that never close": ("a.html", lambda: b"<p x=<" * 200_000, ("no_text",)),
    "2,000,000 empty lines": ("a.md", lambda: b"#\n\n" * 700_000 + b"end", ("text",)),
    "1,000,000 cells": ("a.csv", lambda: b"," * 1_000_000 + b"\nx\n", ("text",)),
    "NULs": ("a.txt", lambda: b"\0" * MEBIBYTE, ("no_text", "unsupported")),
    "NULs between letters": ("a.txt", lambda: b"a\0b\0\0c " * 1000, ("text", "unsupported")),
    "half characters in JSON": ("a.json", lambda: b'{"a": "x\\ud800y\\udfff"}', ("text",)),
    "a number of 1,000,000 digits": (
        "a.json", lambda: b'{"a": ' + b"9" * 1_000_000 + b"}", ("text",)),
    "far cell": ("a.xlsx", far_cell, ("text", "parser_memory", "corrupt")),
    "a cell that repeats": ("a.ods", repeated_cells, ("text", "too_much_text")),
    "wide span in Word": (
        "a.docx", lambda: docx(
            '<w:tbl><w:tr><w:tc><w:tcPr><w:gridSpan w:val="999999"/></w:tcPr>'
            + paragraph("x") + "</w:tc><w:tc>" + paragraph("y") + "</w:tc></w:tr></w:tbl>"),
        ("text",)),
    "wide span in HTML": (
        "a.html", lambda: b"<table>" + b"<tr><td colspan=9999 rowspan=9999>x</td><td>y</td></tr>"
        * 100 + b"</table>", ("text",)),
    "a chapter that is its own list": (
        "a.epub", lambda: epub({"book.opf": "<html><p>x</p></html>"}),
        ("text", "corrupt", "no_text")),
    "a charset that is none": (
        "a.html", lambda: b"<meta charset=undefined><p>caf\xe9 \x81\xfe\xff x", ("text",)),
    "RTF with binary to the end": (
        "a.rtf", lambda: b"{\\rtf1 a \\bin999999999 b}", ("text",)),
}  # fmt: skip


def whole_files() -> dict[str, bytes]:
    """One small good file of every format."""
    page = "<html xmlns='x'><body><h1 id='k'>One</h1><p>Text of one.</p></body></html>"
    return {
        "a.docx": docx(paragraph("Some text in a paragraph.")),
        "a.pptx": pptx([shape("Title", "title") + shape("Some text on a slide.")]),
        "a.xlsx": xlsx({"S": '<row r="1"><c r="A1"><v>1</v></c></row>'}),
        "a.odt": odf("text", "<text:h>One</text:h><text:p>Some text.</text:p>"),
        "a.epub": epub({"one.xhtml": page}),
        "a.pdf": pdf([["Some text on a page.", "And another line."], ["More text."]]),
        "a.rtf": b"{\\rtf1\\ansi{\\fonttbl{\\f0 Arial;}}\\pard Some text in here.\\par}",
        "a.html": b"<!doctype html><html><body><h1>One</h1><p>Some text.</p></body></html>",
        "a.json": b'{"title": "One", "items": [{"name": "Ann"}, {"name": "Bob"}]}',
        "a.xml": b"<?xml version='1.0'?><a><title>One</title><p>Some text.</p></a>",
        "a.eml": b"From: a@example.org\nSubject: One\n\nSome text in a mail.\n",
    }
