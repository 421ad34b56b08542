"""Small Office, EPUB and PDF files made in memory for the tests."""

import io
import zipfile

W = 'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"'
P = (
    'xmlns:p="http://schemas.openxmlformats.org/presentationml/2006/main" '
    'xmlns:a="http://schemas.openxmlformats.org/drawingml/2006/main" '
    'xmlns:r="http://schemas.openxmlformats.org/officeDocument/2006/relationships"'
)
RELATIONS = "http://schemas.openxmlformats.org/package/2006/relationships"
OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"


def zipped(parts: dict[str, str | bytes]) -> bytes:
    """Return a zip file of these parts, in this order."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def relations(*targets: tuple[str, str, str]) -> str:
    """Return a relationships part: id, last word of the type, target."""
    inner = "".join(
        f'<Relationship Id="{identifier}" Type="{OFFICE}/{kind}" Target="{target}"/>'
        for identifier, kind, target in targets
    )
    return f'<Relationships xmlns="{RELATIONS}">{inner}</Relationships>'


def docx(body: str, **parts: str) -> bytes:
    """Return a Word document with this body; ``styles`` and ``numbering`` are optional parts."""
    members: dict[str, str | bytes] = {
        "[Content_Types].xml": "<Types/>",
        "_rels/.rels": relations(("r1", "officeDocument", "word/document.xml")),
        "word/document.xml": f"<w:document {W}><w:body>{body}</w:body></w:document>",
    }
    for name, content in parts.items():
        members[f"word/{name}.xml"] = f"<w:{name} {W}>{content}</w:{name}>"
    return zipped(members)


def paragraph(text: str, style: str = "", extra: str = "") -> str:
    """Return a Word paragraph."""
    named = f'<w:pStyle w:val="{style}"/>' if style else ""
    return f"<w:p><w:pPr>{named}{extra}</w:pPr><w:r><w:t>{text}</w:t></w:r></w:p>"


HEADING_STYLES = "".join(
    f'<w:style w:styleId="H{level}"><w:name w:val="heading {level}"/><w:pPr><w:numPr>'
    f'<w:ilvl w:val="{level - 1}"/><w:numId w:val="7"/></w:numPr></w:pPr></w:style>'
    for level in (1, 2, 3)
)
HEADING_NUMBERS = (
    '<w:abstractNum w:abstractNumId="3">'
    + "".join(
        f'<w:lvl w:ilvl="{level}"><w:start w:val="1"/><w:numFmt w:val="decimal"/>'
        f'<w:lvlText w:val="{".".join(f"%{place + 1}" for place in range(level + 1))}"/></w:lvl>'
        for level in range(3)
    )
    + '</w:abstractNum><w:num w:numId="7"><w:abstractNumId w:val="3"/></w:num>'
)


def pptx(slides: list[str]) -> bytes:
    """Return a presentation whose slides hold these shapes."""
    ids = "".join(f'<p:sldId id="{n + 256}" r:id="s{n}"/>' for n in range(len(slides)))
    members: dict[str, str | bytes] = {
        "[Content_Types].xml": "<Types/>",
        "_rels/.rels": relations(("r1", "officeDocument", "ppt/presentation.xml")),
        "ppt/presentation.xml": (
            f"<p:presentation {P}><p:sldIdLst>{ids}</p:sldIdLst></p:presentation>"
        ),
        "ppt/_rels/presentation.xml.rels": relations(
            *((f"s{n}", "slide", f"slides/slide{n}.xml") for n in range(len(slides)))
        ),
    }
    for number, shapes in enumerate(slides):
        members[f"ppt/slides/slide{number}.xml"] = (
            f"<p:sld {P}><p:cSld><p:spTree>{shapes}</p:spTree></p:cSld></p:sld>"
        )
    return zipped(members)


def shape(text: str, kind: str = "") -> str:
    """Return a shape with one paragraph; ``kind`` is its placeholder."""
    holder = f'<p:nvSpPr><p:nvPr><p:ph type="{kind}"/></p:nvPr></p:nvSpPr>' if kind else ""
    return f"<p:sp>{holder}<p:txBody><a:p><a:r><a:t>{text}</a:t></a:r></a:p></p:txBody></p:sp>"


def epub(pages: dict[str, str]) -> bytes:
    """Return a book with these XHTML pages."""
    items = "".join(
        f'<item id="i{n}" href="{name}" media-type="application/xhtml+xml"/>'
        for n, name in enumerate(pages)
    )
    spine = "".join(f'<itemref idref="i{n}"/>' for n in range(len(pages)))
    members: dict[str, str | bytes] = {
        "mimetype": "application/epub+zip",
        "META-INF/container.xml": '<container><rootfiles><rootfile full-path="OPS/book.opf"/>'
        "</rootfiles></container>",
        "OPS/book.opf": '<package xmlns:dc="http://purl.org/dc/elements/1.1/"><metadata>'
        "<dc:title>A Book</dc:title><dc:creator>Ann Author</dc:creator></metadata>"
        f"<manifest>{items}</manifest><spine>{spine}</spine></package>",
    }
    members |= {f"OPS/{name}": page for name, page in pages.items()}
    return zipped(members)


def pdf(pages: list[list[str]]) -> bytes:
    """Return a PDF with these lines of text on its pages; a page without lines has no text."""
    objects = [b"<< /Type /Catalog /Pages 2 0 R >>", b""]
    kids: list[str] = []
    for lines in pages:
        escaped = (
            line.replace("\\", r"\\").replace("(", r"\(").replace(")", r"\)") for line in lines
        )
        shown = " ".join(f"({line}) Tj T*" for line in escaped)
        stream = f"BT /F1 10 Tf 12 TL 50 780 Td {shown} ET".encode("latin-1")
        number = len(objects) + 1
        kids.append(f"{number} 0 R")
        objects += [
            f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 800] /Contents {number + 1} 0 R "
            f"/Resources << /Font << /F1 << /Type /Font /Subtype /Type1 /BaseFont /Helvetica >> "
            f">> >> >>".encode(),
            b"<< /Length %d >>\nstream\n%s\nendstream" % (len(stream), stream),
        ]
    objects[1] = f"<< /Type /Pages /Kids [{' '.join(kids)}] /Count {len(pages)} >>".encode()
    body = b"%PDF-1.4\n"
    places: list[int] = []
    for number, content in enumerate(objects, start=1):
        places.append(len(body))
        body += b"%d 0 obj\n%s\nendobj\n" % (number, content)
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    return body + (
        b"xref\n0 %d\n0000000000 65535 f \n%strailer\n<< /Size %d /Root 1 0 R >>\n"
        b"startxref\n%d\n%%%%EOF\n" % (len(objects) + 1, table, len(objects) + 1, len(body))
    )


S = (
    'xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main" '
    'xmlns:r="http://schemas.openxmlformats.org/officeDocument/2006/relationships"'
)
CONTENT_TYPES = (
    '<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types">'
    '<Default Extension="rels" '
    'ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
    '<Default Extension="xml" ContentType="application/xml"/><Override '
    'PartName="/xl/workbook.xml" ContentType="application/vnd.openxmlformats-officedocument.'
    'spreadsheetml.sheet.main+xml"/></Types>'
)
CORE = (
    '<cp:coreProperties xmlns:cp="http://schemas.openxmlformats.org/package/2006/metadata/'
    'core-properties" xmlns:dc="http://purl.org/dc/elements/1.1/" '
    'xmlns:dcterms="http://purl.org/dc/terms/"><dc:title>A Title</dc:title>'
    "<dc:creator>Ann Author</dc:creator><dcterms:created>2024-01-02T03:04:05Z</dcterms:created>"
    "<dcterms:modified>2024-02-03T04:05:06Z</dcterms:modified></cp:coreProperties>"
)


def xlsx(sheets: dict[str, str], *, styles: str = "", prolog: str = "") -> bytes:
    """Return a workbook whose sheets hold these rows; a name that begins with - is hidden."""
    entries = "".join(
        f'<sheet name="{name.lstrip("-")}" sheetId="{n}" r:id="s{n}"'
        f"{' state=' + chr(34) + 'hidden' + chr(34) if name.startswith('-') else ''}/>"
        for n, name in enumerate(sheets, start=1)
    )
    numbers = range(1, len(sheets) + 1)
    targets = [(f"s{n}", "worksheet", f"worksheets/sheet{n}.xml") for n in numbers]
    members: dict[str, str | bytes] = {
        "[Content_Types].xml": CONTENT_TYPES,
        "_rels/.rels": relations(("r1", "officeDocument", "xl/workbook.xml")),
        "docProps/core.xml": CORE,
        "xl/workbook.xml": f"{prolog}<workbook {S}><sheets>{entries}</sheets></workbook>",
        "xl/_rels/workbook.xml.rels": relations(*targets, ("st", "styles", "styles.xml")),
        "xl/styles.xml": f"<styleSheet {S}>{styles}</styleSheet>",
    }
    for number, rows in enumerate(sheets.values(), start=1):
        members[f"xl/worksheets/sheet{number}.xml"] = (
            f"<worksheet {S}><sheetData>{rows}</sheetData></worksheet>"
        )
    return zipped(members)


ODF_NAMES = " ".join(
    f'xmlns:{name}="urn:oasis:names:tc:opendocument:xmlns:{place}:1.0"'
    for name, place in (
        ("office", "office"), ("text", "text"), ("table", "table"), ("draw", "drawing"),
        ("presentation", "presentation"), ("meta", "meta"),
    )
)  # fmt: skip


def odf(kind: str, body: str, *, prolog: str = "", encrypted: bool = False) -> bytes:
    """Return an OpenDocument file: text, spreadsheet or presentation."""
    manifest = "<manifest:encryption-data/>" if encrypted else ""
    return zipped({
        "mimetype": f"application/vnd.oasis.opendocument.{kind}",
        "META-INF/manifest.xml": '<m:manifest xmlns:m="urn:oasis:names:tc:opendocument:xmlns:'
        f'manifest:1.0" xmlns:manifest="x">{manifest}</m:manifest>',
        "content.xml": f"{prolog}<office:document-content {ODF_NAMES}><office:body>"
        f"<office:{kind}>{body}</office:{kind}></office:body></office:document-content>",
        "meta.xml": f'<office:document-meta {ODF_NAMES} xmlns:dc="http://purl.org/dc/elements/1.1/">'
        "<office:meta><dc:title>A Title</dc:title><meta:initial-creator>Ann Author"
        "</meta:initial-creator><meta:creation-date>2023-05-06T07:08:09</meta:creation-date>"
        "<dc:date>2023-06-07T08:09:10</dc:date></office:meta></office:document-meta>",
    })  # fmt: skip
