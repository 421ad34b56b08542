"""Word documents: paragraphs, headings with their automatic numbers, lists, tables, notes.

Read here and not by a library, because quotes must equal what Word shows: tabs, line breaks, the
numbers of headings and lists, and no deleted or hidden text.
"""

import re
from dataclasses import dataclass

from citewell.ingest.draft import Draft
from citewell.ingest.formats.numbering import Numbering, read_numbering
from citewell.ingest.formats.package import Package, flag
from citewell.ingest.formats.tables import table_lines
from citewell.ingest.formats.xml_parts import Element, attribute, child, local_name, whole_number
from citewell.ingest.section import own_number

_HEADING = re.compile(r"^heading\s*([1-9])$", re.IGNORECASE)
_MARKS = {"tab": "\t", "ptab": "\t", "cr": "\n", "noBreakHyphen": "-"}
_LEFT_OUT = {"del", "moveFrom", "Fallback", "instrText", "delText", "pPr", "rPr", "sdtPr"}
_NOTE_KINDS = {"footnoteReference": "footnotes", "endnoteReference": "endnotes"}


@dataclass(slots=True)
class _Style:
    name: str = ""
    based_on: str = ""
    outline: int | None = None
    number_id: str | None = None
    number_level: int | None = None


def read_docx(data: bytes, draft: Draft) -> None:
    """Read a Word document into the draft."""
    package = Package(data)
    main = package.main_part("word/document.xml")
    parts = {kind: path for _, kind, path in package.relations(main)}
    draft.metadata.update(package.properties())
    body = child(package.needed_xml(main), "body")
    kinds = [kind for _, kind, _ in package.relations(main)]
    draft.skip(
        "page headers and footers", "they repeat on each page",
        kinds.count("header") + kinds.count("footer"),
    )  # fmt: skip
    package.skip_unread("word", draft)
    reader = _Reader(draft, package, parts)
    if body is not None:
        reader.blocks(body)
    draft.title = draft.title or str(draft.metadata.get("title", ""))


class _Reader:
    def __init__(self, draft: Draft, package: Package, parts: dict[str, str]) -> None:
        self.draft = draft
        self.styles = _read_styles(package.xml(parts.get("styles", "word/styles.xml")))
        self.numbering: Numbering = read_numbering(
            package.xml(parts.get("numbering", "word/numbering.xml"))
        )
        self.notes = {
            kind: _read_notes(package.xml(parts.get(kind, f"word/{kind}.xml")))
            for kind in ("footnotes", "endnotes")
        }
        self.waiting_notes: list[Element] = []
        self.waiting_boxes: list[Element] = []
        self.in_list = False

    def blocks(self, parent: Element) -> None:
        """Read paragraphs and tables in their order."""
        for element in parent:
            name = local_name(element)
            if name == "p":
                self.paragraph(element)
            elif name == "tbl":
                self.table(element)
            elif name in {"sdt", "sdtContent", "smartTag", "customXml", "ins", "moveTo"}:
                self.blocks(element)

    def paragraph(self, element: Element) -> None:
        """Read one paragraph with what hangs on it: notes and text boxes."""
        properties = child(element, "pPr")
        style = self.style_of(properties)
        text = self.text_of(element)
        if style.name.lower().startswith("toc "):
            self.draft.skip("table of contents", "page furniture")
        elif text.strip():
            self.place(text, style, self.label_of(properties, style))
        boxes, self.waiting_boxes = self.waiting_boxes, []
        for box in boxes:
            self.blocks(box)
        notes, self.waiting_notes = self.waiting_notes, []
        for note in notes:
            self.in_list = False
            self.blocks(note)

    def place(self, text: str, style: _Style, label: str | None) -> None:
        """Write a paragraph as heading, title, list item or plain text."""
        found = _HEADING.match(style.name)
        level = int(found[1]) if found else style.outline + 1 if style.outline is not None else None
        if level is not None and level <= 9 and len(text) < 400:
            number = own_number(label) if label and label != "-" else None
            shown = f"{label} {text.strip()}" if label and label != "-" else text.strip()
            self.draft.heading(level, text if number else shown, line=shown, number=number)
            self.in_list = False
            return
        if style.name.lower() == "title" and not self.draft.title:
            self.draft.title = " ".join(text.split())
        if label:
            self.draft.block(f"{label} {text.strip()}", tight=self.in_list)
        else:
            self.draft.block(text)
        self.in_list = bool(label)

    def label_of(self, properties: Element | None, style: _Style) -> str | None:
        """Return the number or bullet that Word shows before the paragraph."""
        direct = child(properties, "numPr")
        number_id, level = style.number_id, style.number_level
        if direct is not None:
            identifier, depth = child(direct, "numId"), child(direct, "ilvl")
            number_id = attribute(identifier, "val") if identifier is not None else number_id
            if depth is not None:
                level = whole_number(attribute(depth, "val"), 0)
        if number_id is None or number_id == "0":
            return None
        return self.numbering.label(number_id, level or 0)

    def style_of(self, properties: Element | None) -> _Style:
        """Return the paragraph's style with what it inherits; direct settings win."""
        named = child(properties, "pStyle")
        identifier = (attribute(named, "val") or "") if named is not None else ""
        result = _Style(self.styles[identifier].name if identifier in self.styles else identifier)
        for _ in range(12):
            style = self.styles.get(identifier)
            if style is None:
                break
            if result.outline is None:
                result.outline = style.outline
            if result.number_id is None:
                result.number_id = style.number_id
            if result.number_level is None:
                result.number_level = style.number_level
            if not _HEADING.match(result.name) and _HEADING.match(style.name):
                result.name = style.name
            identifier = style.based_on
        outline = child(properties, "outlineLvl")
        if outline is not None:
            result.outline = whole_number(attribute(outline, "val"), 9)
        if result.outline is not None and result.outline >= 9:
            result.outline = None
        return result

    def text_of(self, element: Element) -> str:
        """Return what a paragraph shows, without deleted and hidden text."""
        pieces: list[str] = []
        stack = [iter(element)]
        while stack:
            inside = next(stack[-1], None)
            if inside is None:
                stack.pop()
                continue
            name = local_name(inside)
            if name in _LEFT_OUT:
                if name in {"del", "moveFrom"}:
                    self.draft.skip("deleted text", "tracked as deleted")
                continue
            if name == "r" and flag(child(inside, "rPr", "vanish")):
                self.draft.skip("hidden text", "invisible to a reader")
                continue
            if not self.take_mark(inside, name, pieces):
                stack.append(iter(inside))
        return "".join(pieces)

    def take_mark(self, inside: Element, name: str, pieces: list[str]) -> bool:
        """Take in an element that is text itself; False means to look inside of it."""
        if name == "t":
            pieces.append(inside.text or "")
        elif name in _MARKS:
            pieces.append(_MARKS[name])
        elif name == "br":
            pieces.append("\n")
        elif name == "txbxContent":
            self.waiting_boxes.append(inside)
        elif name in _NOTE_KINDS:
            note = self.notes[_NOTE_KINDS[name]].get(attribute(inside, "id") or "")
            if note is not None:
                self.waiting_notes.append(note)
                self.draft.skip("footnote marks", "they would break sentences")
        elif name == "blip":
            self.draft.images += 1
        else:
            return False
        return True

    def table(self, element: Element) -> None:
        """Write a table's rows; a table of one column is only a frame."""
        rows: list[list[str]] = []
        cells: list[Element] = []
        for row in _inside(element, "tr"):
            texts: list[str] = []
            for cell in _inside(row, "tc"):
                cells.append(cell)
                merged = child(cell, "tcPr", "vMerge")
                text = self.cell_text(cell)
                if merged is not None and attribute(merged, "val") != "restart" and rows:
                    text = rows[-1][len(texts)] if len(texts) < len(rows[-1]) else text
                span = child(cell, "tcPr", "gridSpan")
                width = whole_number(attribute(span, "val"), 1) if span is not None else 1
                texts += [text] * min(max(width, 1), 60)
            rows.append(texts)
        if max((len(row) for row in rows), default=0) < 2:
            for cell in cells:
                self.blocks(cell)
            return
        self.in_list = False
        for place, line in enumerate(table_lines(rows)):
            self.draft.block(line, tight=place > 0)
        self.draft.tables += 1

    def cell_text(self, cell: Element) -> str:
        """Return a cell's paragraphs on one line."""
        return " ".join(self.text_of(paragraph) for paragraph in cell.iter() if (
            local_name(paragraph) == "p"))  # fmt: skip


def _inside(element: Element, name: str) -> list[Element]:
    """Return children of that name, also those in content controls."""
    found: list[Element] = []
    for inside in element:
        kind = local_name(inside)
        if kind == name:
            found.append(inside)
        elif kind in {"sdt", "sdtContent", "customXml", "ins"}:
            found += _inside(inside, name)
    return found


def _read_styles(root: Element | None) -> dict[str, _Style]:
    styles: dict[str, _Style] = {}
    for element in root if root is not None else ():
        if local_name(element) != "style":
            continue
        values = {
            key: attribute(found, "val")
            for key, path in (
                ("name", ("name",)),
                ("based_on", ("basedOn",)),
                ("outline", ("pPr", "outlineLvl")),
                ("number_id", ("pPr", "numPr", "numId")),
                ("level", ("pPr", "numPr", "ilvl")),
            )
            if (found := child(element, *path)) is not None
        }
        outline, level = values.get("outline"), values.get("level")
        styles[attribute(element, "styleId") or ""] = _Style(
            values.get("name") or "",
            values.get("based_on") or "",
            whole_number(outline, 9) if outline else None,
            values.get("number_id"),
            whole_number(level, 0) if level else None,
        )
    return styles


def _read_notes(root: Element | None) -> dict[str, Element]:
    return {
        attribute(note, "id") or "": note
        for note in (root if root is not None else ())
        if attribute(note, "type") in {None, "normal"}
    }
