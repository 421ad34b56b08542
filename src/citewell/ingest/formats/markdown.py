"""Markdown: the text as it is written, with its headings, tables and front matter."""

import re

from citewell.domain import Json
from citewell.ingest.draft import Draft
from citewell.ingest.formats.tables import table_lines
from citewell.ingest.formats.text import decoded
from citewell.ingest.normalise import one_line

_FRONT_MATTER = re.compile(r"\A---[ \t]*\n(.*?)\n(?:---|\.\.\.)[ \t]*(?:\n|\Z)", re.DOTALL)
_FENCE = re.compile(r"^ {0,3}(`{3,}|~{3,})")
_ATX = re.compile(r"^ {0,3}(#{1,6})(?:[ \t]+(.*?))?(?:[ \t]+#+)?[ \t]*$")
_SETEXT = re.compile(r"^ {0,3}(=+|-{2,})[ \t]*$")
_PARAGRAPH_BREAKER = re.compile(r"^(?: {0,3}(?:[-*+>|#]|\d+[.)])| {4}|\t)")
_ENDS_BLOCK = re.compile(r" {2}$|\\$|^ {0,3}\||^ {4}|^\t| \| |^ {0,3}(?:[-*_] *){3,}$")
_ID = re.compile(r"[ \t]*\{#([\w.:-]+)[^}]*\}[ \t]*$")
_INLINE = (
    (re.compile(r"!?\[([^\]]*)\]\([^)]*\)"), r"\1"),
    (re.compile(r"`+([^`]*)`+"), r"\1"),
    (re.compile(r"(\*\*|__)(?=\S)(.+?)(?<=\S)\1"), r"\2"),
    (re.compile(r"(?<!\w)([*_])(?=\S)(.+?)(?<=\S)\1(?!\w)"), r"\2"),
    (re.compile(r"\\([!-/:-@\[-`{-~])"), r"\1"),
    (re.compile(r"<[^>]+>"), ""),
)
_DELIMITER = re.compile(r"^ {0,3}(?=.*\|)\|?[ \t]*:?-+:?[ \t]*(?:\|[ \t]*:?-+:?[ \t]*)*\|?[ \t]*$")
_BARS = re.compile(r"(?<!\\)\|")
_LONGEST_HEADING = 1000
_KEY = re.compile(r"^([A-Za-z_][\w .-]*?)\s*:(?:\s+(.*)|)$")


def read_markdown(data: bytes, draft: Draft) -> None:
    """Read Markdown; ATX and setext headings outside of code open sections."""
    text = decoded(data, draft)
    found = _FRONT_MATTER.match(text)
    if found:
        draft.metadata.update(front_matter(found[1]))
        draft.title = str(draft.metadata.get("title", ""))
        text = text[found.end() :]
    _Reader(draft).run(text.split("\n"))


class _Reader:
    def __init__(self, draft: Draft) -> None:
        self.draft = draft
        self.gathered: list[str] = []
        self.fence = ""
        self.anchors: dict[str, int] = {}
        self.open = False
        self.joined = False

    def run(self, lines: list[str]) -> None:
        table_end = 0
        for place, line in enumerate(lines):
            if place < table_end:
                continue
            if not self.fence and "|" in line and _is_delimiter(lines, place + 1, line):
                table_end = self._table(lines, place)
                continue
            if self._in_code(line):
                self._keep(line, joinable=False)
                continue
            if len(line) > _LONGEST_HEADING:
                self._keep(line)
                continue
            atx = _ATX.match(line)
            if atx and atx[2]:
                self._flush()
                self._heading(len(atx[1]), atx[2], line)
                continue
            setext = _SETEXT.match(line)
            if setext and self._can_be_title(place):
                title = self.gathered.pop()
                self._flush()
                self._heading(1 if setext[1][0] == "=" else 2, title.strip(), f"{title}\n{line}")
                continue
            self._keep(line)
        self._flush()

    def _keep(self, line: str, *, joinable: bool = True) -> None:
        """Gather a line; a soft break inside a paragraph or list item becomes a space."""
        if joinable and self.open and line.strip() and not _PARAGRAPH_BREAKER.match(line.lstrip()):
            self.gathered[-1] = f"{self.gathered[-1]} {line.strip()}"
            self.joined = True
        else:
            self.gathered.append(line)
            self.joined = False
        self.open = joinable and bool(line.strip()) and not _ENDS_BLOCK.search(line)

    def _table(self, lines: list[str], start: int) -> int:
        """Write the rows of a table with the names of their columns; return where it ends."""
        self._flush()
        end = start + 2
        while end < len(lines) and "|" in lines[end] and not _FENCE.match(lines[end]):
            end += 1
        rows = [_cells(lines[start]), *map(_cells, lines[start + 2 : end])]
        for place, line in enumerate(table_lines(rows, has_header=True)):
            self.draft.block(line, tight=place > 0)
        self.draft.tables += 1
        return end

    def _in_code(self, line: str) -> bool:
        fence = _FENCE.match(line)
        if self.fence:
            if fence and fence[1].startswith(self.fence) and not line.strip().strip(self.fence[0]):
                self.fence = ""
            return True
        if fence:
            self.fence = fence[1]
            return True
        return False

    def _can_be_title(self, place: int) -> bool:
        if not place or self.joined or not self.gathered or not self.gathered[-1].strip():
            return False
        alone = len(self.gathered) < 2 or not self.gathered[-2].strip()
        return alone and not _PARAGRAPH_BREAKER.match(self.gathered[-1])

    def _heading(self, level: int, title: str, line: str) -> None:
        marked = _ID.search(title)
        if marked:
            title = title[: marked.start()]
        for pattern, replacement in _INLINE:
            title = pattern.sub(replacement, title)
        title = one_line(title)
        anchor = marked[1] if marked else self._slug(title)
        self.draft.heading(level, title, line=line, anchor=anchor)

    def _slug(self, title: str) -> str | None:
        """Return the anchor that GitHub and most Markdown sites give the heading."""
        slug = re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-")
        if not slug:
            return None
        count = self.anchors.get(slug, 0)
        self.anchors[slug] = count + 1
        return f"{slug}-{count}" if count else slug

    def _flush(self) -> None:
        self.draft.block("\n".join(self.gathered))
        self.gathered = []
        self.open = False


def _is_delimiter(lines: list[str], place: int, header: str) -> bool:
    """Say whether a line of dashes parts a table's header, the line above, from its rows."""
    if place >= len(lines) or len(lines[place]) > _LONGEST_HEADING:
        return False
    return bool(_DELIMITER.match(lines[place])) and len(_cells(lines[place])) == len(_cells(header))


def _cells(line: str) -> list[str]:
    bare = line.strip().removeprefix("|")
    if bare.endswith("|") and not bare.endswith("\\|"):
        bare = bare[:-1]
    return [cell.strip().replace("\\|", "|") for cell in _BARS.split(bare)]


def front_matter(text: str) -> Json:
    """Read the simple part of YAML: scalars, quoted scalars, lists, folded blocks; no nesting."""
    values: Json = {}
    key = ""
    for line in text.split("\n"):
        stripped = line.strip()
        found = _KEY.match(line)
        if found:
            key, value = found[1], (found[2] or "").strip()
            if value.startswith("[") and value.endswith("]"):
                values[key] = [_scalar(part) for part in value[1:-1].split(",") if part.strip()]
            else:
                values[key] = "" if value in {"|", ">", "|-", ">-"} else _scalar(value)
        elif key and stripped.startswith("- "):
            items = values[key]
            if not isinstance(items, list):
                values[key] = items = []
            items.append(_scalar(stripped[2:]))  # pyright: ignore[reportUnknownMemberType]
        elif key and stripped and line[:1].isspace() and isinstance(values[key], str):
            values[key] = f"{values[key]} {stripped}".strip()
    return {name: value for name, value in values.items() if value not in ("", [])}


def _scalar(value: str) -> str:
    value = value.strip()
    if len(value) >= 2 and value[0] == value[-1] and value[0] in "\"'":
        return value[1:-1]
    return value
