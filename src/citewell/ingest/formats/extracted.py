"""Formats that the Kreuzberg library reads: spreadsheets, OpenDocument, RTF, old Office, others."""

import re
from typing import Any

from citewell.errors import DocumentRejected
from citewell.ingest.draft import Draft, title_from_name
from citewell.ingest.formats.locked import encrypted, wrong_password
from citewell.ingest.formats.package import Package
from citewell.ingest.formats.tables import table_lines
from citewell.ingest.formats.xml_parts import attribute, child

_METADATA = {"title": "title", "authors": "author", "subject": "subject", "created_at": "created",
             "modified_at": "modified", "language": "language", "keywords": "keywords"}  # fmt: skip
_NO_TITLE = re.compile(
    r"^(?:untitled|document\d*|title|slide \d+|powerpoint presentation|microsoft \w+ -.*|"
    r".*\.(?:docx?|pdf|txt|rtf|indd|qxd|tex|dvi|pptx?|xlsx?))$",
    re.IGNORECASE,
)
_ERRORS = {
    "#ERR: Div0": "#DIV/0!", "#ERR: NA": "#N/A", "#ERR: Name": "#NAME?", "#ERR: Null": "#NULL!",
    "#ERR: Num": "#NUM!", "#ERR: Ref": "#REF!", "#ERR: Value": "#VALUE!",
}  # fmt: skip
_CELL = re.compile(rb"<(?:\w+:)?(?:v|is|t|f)[\s>/]")
_ENCRYPTED_WORDS = ("password", "encrypted", "protected")


def extract(
    data: bytes, media_type: str, *, pages: bool = False, password: str | None = None
) -> Any:
    """Return Kreuzberg's result, without OCR, cache or network.

    Raises:  DocumentRejected – ``encrypted``, ``wrong_password``, ``unsupported``, ``archive_bomb``
             or ``corrupt``.
    """
    import kreuzberg  # noqa: PLC0415 - 40 ms and 25 MB that text files do not pay for

    config = kreuzberg.ExtractionConfig(
        use_cache=False,
        disable_ocr=True,  # pyright: ignore[reportCallIssue] - missing in its stub
        enable_quality_processing=False,
        include_document_structure=not pages,
        pages=kreuzberg.PageConfig(extract_pages=True) if pages else None,
        pdf_options=kreuzberg.PdfConfig(passwords=[password]) if password else None,
        content_filter=kreuzberg.ContentFilterConfig(
            include_headers=True, include_footers=True, strip_repeating_text=False
        )
        if pages
        else None,
        concurrency=kreuzberg.ConcurrencyConfig(max_threads=1),
    )
    try:
        return kreuzberg.extract_bytes_sync(data, media_type, config=config)
    except (kreuzberg.KreuzbergError, RuntimeError) as error:  # RuntimeError: a panic in its core
        raise _translated(str(error), with_password=bool(password)) from error


def _translated(message: str, *, with_password: bool) -> DocumentRejected:
    lowered = message.lower()
    if any(word in lowered for word in _ENCRYPTED_WORDS):
        return wrong_password() if with_password else encrypted()
    if "security limit" in lowered or "zip bomb" in lowered:
        return DocumentRejected(
            "archive_bomb", "The file unpacks to far more than its size, so it was not read."
        )
    if "unsupported" in lowered or "no extractor" in lowered:
        return DocumentRejected(
            "unsupported",
            "No parser reads this kind of file. Convert it to PDF, DOCX, HTML, Markdown or text.",
        )
    return DocumentRejected(
        "corrupt",
        "The file is damaged or cut off. Open it in its own program, save it anew and upload that.",
    )


def read_workbook(data: bytes, draft: Draft) -> None:
    """Read an Excel workbook, and say what of it holds no cells or is not shown."""
    read_extracted(data, draft)
    package = Package(data)
    main = package.main_part("xl/workbook.xml")
    parts = {identifier: path for identifier, _, path in package.relations(main)}
    for sheet in child(package.needed_xml(main), "sheets") or ():
        name = sheet.get("name", "")[:100]
        part = package.read(parts.get(attribute(sheet, "id") or "", "")) or b""
        if not _CELL.search(part):
            draft.skip(f"sheet {name}", "it holds no cells")
        elif sheet.get("state", "visible") != "visible":
            draft.warnings.append(f"The sheet {name} is hidden in the file; its cells were read.")
    draft.images += sum(name.startswith("xl/media/") for name in package.names)
    package.skip_unread("xl", draft)
    drawings = sum(name.startswith("xl/drawings/drawing") for name in package.names)
    draft.skip("sheets with drawings", "drawings are not read", drawings)


def read_extracted(data: bytes, draft: Draft) -> None:
    """Read a file by Kreuzberg's document structure, or its plain text where there is none."""
    result = extract(data, draft.media_type, password=draft.password)
    metadata: dict[str, Any] = dict(result.metadata)
    take_metadata(metadata, draft)
    structure: dict[str, Any] = result.document or {}
    nodes: list[dict[str, Any]] = structure.get("nodes") or []
    for node in nodes:
        if node.get("content_layer") in {"header", "footer"}:
            draft.skip("page headers and footers", "they repeat on each page")
            continue
        _write_node(node["content"], draft)
    if not draft.has_text:
        draft.block(result.content or "")
    draft.warnings += [str(warning.message) for warning in result.processing_warnings or ()]


def take_metadata(metadata: dict[str, Any], draft: Draft) -> None:
    """Take title, author and dates over."""
    for theirs, ours in _METADATA.items():
        value = metadata.get(theirs)
        if isinstance(value, list):
            value = ", ".join(str(item) for item in value)  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]
        if isinstance(value, str) and value.strip():
            draft.metadata[ours] = value.strip()[:1000]
    title = str(draft.metadata.get("title", ""))
    draft.title = title_from_name(draft.name) if not title or _NO_TITLE.match(title) else title


def _write_node(content: dict[str, Any], draft: Draft) -> None:
    kind = str(content.get("node_type"))
    if kind == "heading":
        draft.heading(int(content.get("level") or 1), str(content.get("text") or ""))
    elif kind == "table":
        _write_table(content.get("grid") or {}, draft)
    elif kind == "list_item":
        draft.block(f"- {content.get('text') or ''}", tight=True)
    elif kind == "image":
        draft.images += 1
    elif content.get("text") and kind != "group":
        draft.block(str(content["text"]))


def _write_table(grid: dict[str, Any], draft: Draft) -> None:
    rows: list[list[str]] = []
    cells: list[dict[str, Any]] = grid.get("cells") or []
    for cell in cells:
        row, column = int(cell["row"]), int(cell["col"])
        while len(rows) <= row:
            rows.append([])
        rows[row] += [""] * (column + 1 - len(rows[row]))
        rows[row][column] = _shown(str(cell["content"]))
    lines = table_lines(rows)
    draft.block("\n".join(lines))
    draft.tables += bool(lines)


def _shown(cell: str) -> str:
    """Write a spreadsheet's value as the program shows it: days without a time, plain errors."""
    if cell.endswith(" 00:00:00") and len(cell) == 19:
        return cell[:10]
    return _ERRORS.get(cell, cell)
