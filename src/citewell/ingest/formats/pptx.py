"""PowerPoint presentations: a page and a section for each slide, with tables and notes."""

from citewell.ingest.draft import Draft
from citewell.ingest.formats.package import Package
from citewell.ingest.formats.tables import table_lines
from citewell.ingest.formats.xml_parts import Element, attribute, child, local_name

_FURNITURE = frozenset(("sldNum", "dt", "ftr", "hdr"))
_TITLES = frozenset(("title", "ctrTitle"))


def read_pptx(data: bytes, draft: Draft) -> None:
    """Read a presentation into the draft; the slides' order is that of the show."""
    package = Package(data)
    main = package.main_part("ppt/presentation.xml")
    draft.metadata.update(package.properties())
    draft.title = str(draft.metadata.get("title", ""))
    if draft.title.lower() in {"powerpoint presentation", "presentation"}:
        draft.title = ""
    targets = {identifier: path for identifier, _, path in package.relations(main)}
    slides = child(package.needed_xml(main), "sldIdLst")
    order = [
        targets[identifier]
        for slide in (slides if slides is not None else ())
        if (identifier := _relation_id(slide)) in targets
    ]
    for number, path in enumerate(order, start=1):
        root = package.xml(path)
        draft.page()
        if root is not None:
            if root.get("show") == "0":
                draft.warnings.append(f"Slide {number} is hidden in the file; it was read.")
            _read_slide(root, number, draft, _Diagrams(package, path))
            _read_notes(package, path, draft)
    package.skip_unread("ppt", draft, but="diagrams")


def _relation_id(slide: Element) -> str:
    return next((value for key, value in slide.items() if key.endswith("}id")), "")


class _Diagrams:
    """The diagrams (SmartArt) of a slide, whose words stand in parts of their own."""

    def __init__(self, package: Package, slide: str) -> None:
        self.package = package
        self.targets = {identifier: path for identifier, _, path in package.relations(slide)}

    def text(self, frame: Element) -> str:
        """Return a diagram's words, a line an item; nothing where the frame holds none."""
        link = next((item for item in frame.iter() if local_name(item) == "relIds"), None)
        target = self.targets.get(attribute(link, "dm") or "") if link is not None else None
        root = self.package.xml(target) if target else None
        return _text(root) if root is not None else ""


def _read_slide(root: Element, number: int, draft: Draft, diagrams: _Diagrams) -> None:
    shapes = [shape for shape in _shapes(root) if _place(shape) not in _FURNITURE]
    titles = [shape for shape in shapes if _place(shape) in _TITLES and _text(shape)]
    title = " ".join(" ".join(_text(shape) for shape in titles[:1]).split())
    frames = [
        shape
        for shape in shapes
        if shape not in titles[:1] and (_holds_text(shape) or diagrams.text(shape))
    ]
    draft.images += sum(local_name(element) == "blip" for element in root.iter())
    if not title and not frames:
        return
    draft.heading(1, title or f"Slide {number}", anchor=f"slide-{number}")
    for shape in frames:
        table = next((item for item in shape.iter() if local_name(item) == "tbl"), None)
        if table is not None:
            _read_table(table, draft)
        else:
            draft.block(_text(shape) or diagrams.text(shape))


def _read_table(table: Element, draft: Draft) -> None:
    rows: list[list[str]] = []
    for row in table:
        if local_name(row) != "tr":
            continue
        texts: list[str] = []
        for cell in row:
            if local_name(cell) != "tc":
                continue
            if attribute(cell, "hMerge") in {"1", "true"} and texts:
                texts.append(texts[-1])
            elif attribute(cell, "vMerge") in {"1", "true"} and rows:
                texts.append(rows[-1][len(texts)] if len(texts) < len(rows[-1]) else "")
            else:
                texts.append(_text(cell))
        rows.append(texts)
    for place, line in enumerate(table_lines(rows)):
        draft.block(line, tight=place > 0)
    draft.tables += 1


def _read_notes(package: Package, slide: str, draft: Draft) -> None:
    for _, kind, path in package.relations(slide):
        root = package.xml(path) if kind == "notesSlide" else None
        for shape in _shapes(root) if root is not None else ():
            text = _text(shape)
            if text and _place(shape) == "body":
                draft.block(f"Notes: {text}")


def _shapes(root: Element) -> list[Element]:
    """Return the shapes of a slide, those in groups included, in their order."""
    return [shape for shape in root.iter() if local_name(shape) in {"sp", "graphicFrame", "cxnSp"}]


def _place(shape: Element) -> str:
    """Return which placeholder of the layout the shape fills."""
    for wrapper in shape:
        holder = child(wrapper, "nvPr", "ph")
        if holder is not None:
            return holder.get("type", "body")
    return ""


def _holds_text(shape: Element) -> bool:
    return any(local_name(item) == "t" and (item.text or "").strip() for item in shape.iter())


def _text(shape: Element) -> str:
    """Return the paragraphs of a shape or cell, one per line."""
    lines: list[str] = []
    for paragraph in shape.iter():
        if local_name(paragraph) != "p":
            continue
        pieces: list[str] = []
        for item in paragraph.iter():
            name = local_name(item)
            if name == "t":
                pieces.append(item.text or "")
            elif name == "br":
                pieces.append("\n")
            elif name == "tab":
                pieces.append("\t")
        line = "".join(pieces)
        if line.strip():
            lines.append(line.strip())
    return "\n".join(lines)
