"""OpenDocument text, spreadsheets and presentations, read from ``content.xml``.

Read here and not by a library, because none at hand reads slides, or keeps spaces, notes and boxes
where they stand.
"""

from citewell.errors import DocumentRejected
from citewell.ingest.draft import Draft
from citewell.ingest.formats.package import Package
from citewell.ingest.formats.tables import table_lines
from citewell.ingest.formats.xml_parts import Element, attribute, child, local_name, whole_number
from citewell.ingest.normalise import one_line

_LEFT_OUT = {
    "tracked-changes": ("deleted text", "tracked as deleted"),
    "annotation": ("comments", "not part of the text"),
    "table-of-content": ("table of contents", "page furniture"),
    "alphabetical-index": ("table of contents", "page furniture"),
    "object": ("embedded objects", "not read"),
    "object-ole": ("embedded objects", "not read"),
    "forms": ("form fields", "page furniture"),
    "date-time-decl": ("", ""),
    "sequence-decls": ("", ""),
    "desc": ("", ""),
    "title": ("", ""),
}
_MOST_SPACES = 1000
_MOST_REPEATED = 100
_WIDEST = 2000
_PROPERTIES = {"title": "title", "initial-creator": "author", "subject": "subject",
               "keyword": "keywords", "creation-date": "created", "date": "modified",
               "language": "language", "description": "description"}  # fmt: skip


def read_opendocument(data: bytes, draft: Draft) -> None:
    """Read a document, its slides as pages with sections, or its sheets as sections."""
    package = Package(data)
    if b"encryption-data" in (package.read("META-INF/manifest.xml") or b""):
        raise DocumentRejected(
            "encrypted",
            "The file is protected by a password, which cannot be used for this kind of file. "
            "Remove the password and try again.",
        )
    _read_properties(package.xml("meta.xml"), draft)
    root = package.needed_xml("content.xml")
    body = next(iter(child(root, "body") or ()), None)
    if body is None:
        return
    reader = _Reader(draft)
    kind = local_name(body)
    if kind == "spreadsheet":
        _read_sheets(body, reader)
    elif kind == "presentation":
        _read_slides(body, reader)
    else:
        reader.blocks(body)


def _read_properties(root: Element | None, draft: Draft) -> None:
    creator = ""
    for element in child(root, "meta") or ():
        text = one_line("".join(element.itertext()))
        name = _PROPERTIES.get(local_name(element))
        if local_name(element) == "creator":
            creator = text
        elif name and text:
            known = draft.metadata.get(name)
            draft.metadata[name] = f"{known}, {text}" if known and name == "keywords" else text
    if creator:
        draft.metadata.setdefault("author", creator)
    draft.title = str(draft.metadata.get("title", ""))


def _read_sheets(body: Element, reader: "_Reader") -> None:
    for sheet in body:
        if local_name(sheet) != "table":
            continue
        name = attribute(sheet, "name") or "Sheet"
        rows = reader.rows(sheet)
        if not any(map(any, rows)):
            reader.draft.skip(f"sheet {name[:100]}", "it is empty")
            continue
        reader.draft.heading(1, name)
        reader.table(rows)


def _read_slides(body: Element, reader: "_Reader") -> None:
    number = 0
    for slide in body:
        if local_name(slide) != "page":
            continue
        number += 1
        reader.draft.page()
        frames = [item for item in slide if local_name(item) not in {"notes", "forms"}]
        titles = [item for item in frames if attribute(item, "class") == "title"]
        title = one_line(" ".join(reader.plain(item) for item in titles[:1]))
        others = [item for item in frames if item not in titles[:1]]
        if title or any(reader.plain(item).strip() for item in others):
            reader.draft.heading(1, title or f"Slide {number}", anchor=f"slide-{number}")
        for item in others:
            reader.block(item)
        notes = child(slide, "notes")
        text = one_line(reader.plain(notes)) if notes is not None else ""
        if text:
            reader.draft.block(f"Notes: {text}")


class _Reader:
    def __init__(self, draft: Draft) -> None:
        self.draft = draft
        self.waiting: list[Element] = []
        self.in_list = False

    def blocks(self, parent: Element) -> None:
        """Read what is inside of an element, in its order."""
        for element in parent:
            self.block(element)

    def block(self, element: Element) -> None:
        """Read one element: a heading, a paragraph, a list, a table, or what holds such."""
        name = local_name(element)
        if name in _LEFT_OUT:
            self.draft.skip(*_LEFT_OUT[name]) if _LEFT_OUT[name][0] else None
        elif name in {"p", "h"}:
            self.paragraph(element, heading=name == "h")
        elif name == "list":
            self.items(element, 0)
        elif name == "table":
            self.table(self.rows(element))
        elif name == "image":
            self.draft.images += 1
        else:
            self.blocks(element)

    def paragraph(self, element: Element, *, heading: bool = False, prefix: str = "") -> None:
        """Write a paragraph, and behind it the notes and boxes that hang on it."""
        text = self.text_of(element)
        if heading and text.strip():
            level = whole_number(attribute(element, "outline-level"), 1)
            self.draft.heading(max(level, 1), one_line(text))
        elif text.strip():
            self.draft.block(prefix + text, tight=self.in_list)
        waiting, self.waiting = self.waiting, []
        inside, self.in_list = self.in_list, False
        for item in waiting:
            self.blocks(item)
        self.in_list = inside and not waiting

    def items(self, element: Element, depth: int) -> None:
        """Write a list's items, the inner lists indented."""
        for item in element:
            first = True
            for part in item:
                if local_name(part) == "list":
                    self.items(part, depth + 1)
                elif local_name(part) in {"p", "h"}:
                    mark = "- " if first else "  "
                    self.paragraph(part, prefix="  " * min(depth, 8) + mark)
                    self.in_list, first = True, False
                else:
                    self.block(part)
        self.in_list = depth > 0

    def rows(self, table: Element) -> list[list[str]]:
        """Return a table's cells; those that a spreadsheet only repeats at its edges are left."""
        rows: list[list[str]] = []
        for row in _inside(table, "table-row"):
            cells: list[str] = []
            for cell in row:
                if local_name(cell) not in {"table-cell", "covered-table-cell"}:
                    continue
                text = one_line(self.plain(cell))
                times = whole_number(attribute(cell, "number-columns-repeated"), 1)
                cells += [text] * min(times, _WIDEST - len(cells) if text else _MOST_REPEATED)
            while cells and not cells[-1]:
                cells.pop()
            times = whole_number(attribute(row, "number-rows-repeated"), 1)
            if times > _MOST_REPEATED and cells:
                self.draft.skip("repeated rows", "they are all the same", times - _MOST_REPEATED)
            rows += [cells] * min(times, _MOST_REPEATED if cells else 1)
        return rows

    def table(self, rows: list[list[str]]) -> None:
        """Write a table's rows with the names of their columns."""
        lines = table_lines(rows)
        for place, line in enumerate(lines):
            self.draft.block(line, tight=place > 0)
        self.draft.tables += bool(lines)
        self.in_list = False

    def plain(self, element: Element) -> str:
        """Return all text in an element, a line a paragraph, with that of its boxes."""
        kept, self.waiting = self.waiting, []
        lines = [self.text_of(part) for part in _paragraphs(element)]
        self.waiting = kept
        return "\n".join(line for line in lines if line.strip())

    def text_of(self, element: Element) -> str:
        """Return what a paragraph shows; notes and boxes wait for its end."""
        pieces: list[str] = [element.text or ""]
        stack = [(element, iter(element))]
        while stack:
            parent, inside = stack[-1]
            item = next(inside, None)
            if item is None:
                stack.pop()
                if stack:
                    pieces.append(parent.tail or "")
            elif self.take(item, pieces):
                pieces.append(item.text or "")
                stack.append((item, iter(item)))
            else:
                pieces.append(item.tail or "")
        return "".join(pieces)

    def take(self, item: Element, pieces: list[str]) -> bool:
        """Take in an element inside of a paragraph; True means to look inside of it."""
        name = local_name(item)
        if name in _LEFT_OUT:
            if _LEFT_OUT[name][0]:
                self.draft.skip(*_LEFT_OUT[name])
        elif name == "s":
            pieces.append(" " * min(whole_number(attribute(item, "c"), 1), _MOST_SPACES))
        elif name in {"tab", "line-break"}:
            pieces.append("\t" if name == "tab" else "\n")
        elif name == "note":
            self.draft.skip("footnote marks", "they would break sentences")
            body = child(item, "note-body")
            self.waiting += [body] if body is not None else []
        elif name in {"text-box", "table"}:
            self.waiting.append(item)
        elif name == "image":
            self.draft.images += 1
        else:
            return True
        return False


def _inside(element: Element, name: str) -> list[Element]:
    """Return the elements of that name, also those in groups, but not those of inner tables."""
    found: list[Element] = []
    for item in element:
        kind = local_name(item)
        if kind == name:
            found.append(item)
        elif kind in {"table-header-rows", "table-rows", "table-row-group"}:
            found += _inside(item, name)
    return found


def _paragraphs(element: Element) -> list[Element]:
    found: list[Element] = []
    stack = [element]
    while stack:
        item = stack.pop()
        name = local_name(item)
        if name in {"p", "h"}:
            found.append(item)
            boxes = [box for box in item.iter() if local_name(box) in {"text-box", "table"}]
            stack += reversed(boxes)
        elif name not in _LEFT_OUT:
            stack += reversed(item)
    return found
