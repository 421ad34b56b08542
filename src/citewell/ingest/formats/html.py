"""HTML and XHTML: a walk over the tree that writes what a reader sees, with its headings' anchors.

The walk keeps its own stack, so 20,000 nested elements need no recursion.
"""

import re

from selectolax.lexbor import LexborHTMLParser, LexborNode

from citewell.ingest.charset import declared_charset, decode
from citewell.ingest.draft import Draft
from citewell.ingest.formats.html_rules import BLOCKS, HEADINGS, dropped, linear_math, refuse_depth
from citewell.ingest.formats.html_tables import data_rows
from citewell.ingest.formats.xml_parts import whole_number
from citewell.ingest.normalise import one_line
from citewell.ingest.section import own_number

_SPACE = re.compile(r"[ \t\n\r\f]+")
_BREAK = "\x0b"
_BREAKS = re.compile(f" ?{_BREAK}[ {_BREAK}]*")
_SELF_CLOSED = re.compile(
    r"<(title|script|style|textarea|iframe|a|div|span|p|i|b|em|strong|td|th|li|h[1-6]|section|"
    r"sup|sub|code|pre)((?:\s[^<>]*)?)/>"
)
_POWER = re.compile(r"^[+\u2212-]?(?:\d{1,3}|[a-z]|[a-z][+\u2212-]\d)$")
_DEEPEST_INDENT = 8
_METADATA = {
    "author": "author", "dc.creator": "author", "dcterms.creator": "author",
    "description": "description", "keywords": "keywords", "date": "date", "dc.date": "date",
    "dcterms.created": "created", "article:published_time": "created",
    "dcterms.modified": "modified", "article:modified_time": "modified",
}  # fmt: skip


def read_html(data: bytes, draft: Draft, declared: str | None = None) -> None:
    """Read an HTML or XHTML file into the draft."""
    text, encoding, warnings = decode(data, declared_charset(data) or declared)
    draft.encoding = encoding
    draft.warnings += warnings
    write_html(text, draft)


def write_html(text: str, draft: Draft, page: str = "") -> None:
    """Write a page that is already decoded; ``page`` is its path where it is one of a book."""
    if "xmlns" in text[:2000] or text.lstrip("\ufeff \r\n").startswith("<?xml"):
        text = _SELF_CLOSED.sub(r"<\1\2></\1>", text)
    refuse_depth(text)
    tree = LexborHTMLParser(text)
    root = tree.root
    if root is None:
        return
    _read_head(tree, root, draft)
    _Walk(draft, f"{page}#" if page else "").run(root)


def _read_head(tree: LexborHTMLParser, root: LexborNode, draft: Draft) -> None:
    title = tree.css_first("head > title")
    if title is not None and not draft.title:
        draft.title = one_line(title.text(deep=True))
    for meta in tree.css("meta[content]"):
        values = meta.attributes
        name = (values.get("name") or values.get("property") or "").lower()
        content = one_line(values.get("content") or "")
        if name in _METADATA and content:
            draft.metadata.setdefault(_METADATA[name], content[:1000])
    language = root.attributes.get("lang")
    if language:
        draft.metadata.setdefault("language", language)


class _Walk:
    """One pass over the tree: inline text gathers until a block begins or ends."""

    def __init__(self, draft: Draft, page: str) -> None:
        self.draft = draft
        self.page = page
        self.pieces: list[str] = []
        self.has_words = False
        self.lists: list[int | None] = []
        self.prefix = ""
        self.tight = 0
        self.first_in_list = False
        self.preformatted = 0
        self.links: list[str] = []
        self.anchor: str | None = None

    def run(self, root: LexborNode) -> None:
        """Visit every element in the order of the page."""
        stack: list[tuple[LexborNode, str]] = []
        node: LexborNode | None = root
        while node is not None:
            tag = node.tag or ""
            child = node.first_child if self.enter(node, tag) else None
            if child is not None:
                stack.append((node, tag))
                node = child
                continue
            following = node.next if stack else None
            while following is None and stack:
                node, tag = stack.pop()
                self.leave(tag)
                following = node.next if stack else None
            node = following
        self.flush()

    def enter(self, node: LexborNode, tag: str) -> bool:
        """Take an element in; False means that what is inside needs no visit."""
        if tag == "-text":
            self.add(node.text_content or "")
            return False
        if tag.startswith("-"):
            return tag == "-document"
        reason = dropped(node, tag)
        if reason:
            if reason[0]:
                self.draft.skip(*reason)
            return False
        self.note_anchor(node, tag)
        if tag in HEADINGS:
            self.heading(node, HEADINGS[tag])
            return False
        if tag in BLOCKS:
            return self.enter_block(node, tag)
        return self.enter_inline(node, tag)

    def enter_block(self, node: LexborNode, tag: str) -> bool:
        """Begin a block: what was gathered before it is written first."""
        if self.preformatted:
            if self.pieces and not self.pieces[-1].endswith("\n"):
                self.pieces.append("\n")
        else:
            self.flush()
        if tag == "table" and not self.preformatted and self.table(node):
            return False
        if tag == "pre":
            self.preformatted += 1
        elif tag in {"ul", "ol", "menu", "dir"}:
            number = whole_number(node.attributes.get("start"), 1)
            self.first_in_list = not self.lists
            self.lists.append(number if tag == "ol" else None)
        elif tag == "li":
            self.begin_item(node)
        elif tag in {"dt", "dd"}:
            self.tight += tag == "dd"
        if node.first_child is None:
            self.leave(tag)
        return True

    def begin_item(self, node: LexborNode) -> None:
        """Set the mark of a list item before its text."""
        indent = "  " * min(len(self.lists) - 1, _DEEPEST_INDENT)
        number = self.lists[-1] if self.lists else None
        if number is None:
            self.prefix = f"{indent}- "
            return
        number = whole_number(node.attributes.get("value"), number)
        self.lists[-1] = number + 1
        self.prefix = f"{indent}{number}. "

    def enter_inline(self, node: LexborNode, tag: str) -> bool:
        """Take in an inline element."""
        if tag == "br":
            self.pieces.append("\n" if self.preformatted else _BREAK)
        elif tag == "wbr":
            pass
        elif tag == "img":
            self.image(node)
        elif tag == "math":
            edge = _BREAK if node.attributes.get("display") == "block" else ""
            formula = node.attributes.get("alttext") or linear_math(node).strip()
            self.pieces.append(f"{edge}{formula}{edge}")
            return False
        elif tag == "sup":
            return self.superscript(node)
        elif tag == "a" and node.first_child is not None:
            self.links.append(node.attributes.get("href") or "")
        elif tag in {"option", "datalist"}:
            return False
        return True

    def leave(self, tag: str) -> None:
        """End an element that was entered."""
        if tag == "a":
            self.links.pop()
        elif tag == "pre" and self.preformatted:
            self.flush()
            self.preformatted -= 1
        elif tag in BLOCKS and not self.preformatted:
            self.flush()
            if tag in {"ul", "ol", "menu", "dir"} and self.lists:
                self.lists.pop()
            elif tag == "li":
                self.prefix = ""
            elif tag == "dd":
                self.tight -= 1

    def add(self, text: str) -> None:
        """Gather inline text."""
        self.pieces.append(text)
        self.has_words = self.has_words or not text.isspace()

    def flush(self) -> None:
        """Write the gathered text as one block."""
        if not self.pieces:
            return
        text = "".join(self.pieces)
        self.pieces = []
        self.has_words = False
        if not self.preformatted:
            text = _SPACE.sub(" ", text).strip(" ")
            text = _BREAKS.sub("\n", text).strip("\n")
        if not text.strip():
            return
        tight = bool(self.lists or self.tight) and not self.first_in_list
        self.first_in_list = False
        prefix = "" if self.preformatted else self.prefix
        self.draft.block(prefix + text, tight=tight and not self.preformatted)
        self.prefix = ""
        self.anchor = None

    def heading(self, node: LexborNode, level: int) -> None:
        """Open a section with the heading's number, title and nearest anchor."""
        self.flush()
        line = self.inline_text(node)
        anchor = node.attributes.get("id") or _anchor_inside(node) or self.anchor
        anchor = self.page + anchor if anchor else self.page.removesuffix("#") or None
        number = None
        title = line
        first = node.first_child
        while first is not None and first.tag == "-text" and not (first.text_content or "").strip():
            first = first.next
        if first is not None and first.tag != "-text":
            label = self.inline_text(first)
            rest = line[len(label) :].strip() if line.startswith(label) else ""
            found = own_number(label)
            marked = "num" in (first.attributes.get("class") or "") or any(map(str.isdigit, label))
            if found and rest and marked:
                number, title = found, rest
                line = f"{label} {rest}"
        self.draft.heading(level, title, line=line, number=number, anchor=anchor)
        self.anchor = None

    def table(self, node: LexborNode) -> bool:
        """Write a table's rows; False if it holds the page's layout."""
        rows = data_rows(node, self.inline_text)
        if rows is None:
            return False
        caption = node.css_first("caption")
        if caption is not None:
            self.draft.block(self.inline_text(caption))
        for place, row in enumerate(rows):
            self.draft.block(row, tight=place > 0 or caption is not None)
        if rows:
            self.draft.tables += 1
            self.anchor = None
        return True

    def superscript(self, node: LexborNode) -> bool:
        """Leave out footnote marks, and write powers as x^2."""
        inside = node.css_first("a[href]")
        href = (inside.attributes.get("href") or "") if inside is not None else ""
        if href or (self.links and self.links[-1].startswith("#")):
            text = one_line(node.text(deep=True)).strip("[]")
            if "".join(self.pieces[-3:]).strip() or not text.isdigit():
                self.draft.skip("footnote marks", "they would break sentences")
            else:
                self.pieces.append(f"[{text}] ")
            return False
        text = one_line(node.text(deep=True))
        before = self.pieces[-1][-1:] if self.pieces else ""
        if _POWER.match(text) and (before.isalnum() or before in {")", "]"}):
            self.pieces.append(f"^{text}")
            return False
        return True

    def image(self, node: LexborNode) -> None:
        """Count an image; a formula's description stands for it."""
        self.draft.images += 1
        alternative = one_line(node.attributes.get("alt") or "")
        if alternative and "math" in (node.attributes.get("class") or ""):
            self.pieces.append(f" {alternative} ")

    def note_anchor(self, node: LexborNode, tag: str) -> None:
        """Remember the last named place before a heading."""
        attributes = node.attributes
        name = attributes.get("id") or (attributes.get("name") if tag == "a" else None)
        if name and not self.has_words:
            self.anchor = name

    def inline_text(self, node: LexborNode) -> str:
        """Return an element's text on one line."""
        kept, self.pieces = self.pieces, []
        links, self.links = self.links, []
        stack = [node.first_child]
        while stack:
            current = stack.pop()
            if current is None:
                continue
            stack.append(current.next)
            tag = current.tag or ""
            if tag == "-text":
                self.pieces.append(current.text_content or "")
            elif not tag.startswith("-") and not dropped(current, tag) and self.opens(current, tag):
                stack.append(current.first_child)
        text = one_line("".join(self.pieces).replace(_BREAK, " "))
        self.pieces, self.links = kept, links
        return text

    def opens(self, node: LexborNode, tag: str) -> bool:
        """Take an element into one line; blocks are parted by a space."""
        if tag in BLOCKS:
            follows = tag == "li" and bool("".join(self.pieces[-3:]).strip())
            self.pieces.append(", " if follows else " ")
            return True
        if tag == "a":
            return True
        return self.enter_inline(node, tag)


def _anchor_inside(node: LexborNode) -> str | None:
    for inside in node.css("[id], a[name]"):
        name = inside.attributes.get("id") or inside.attributes.get("name")
        if name:
            return name
    return None
