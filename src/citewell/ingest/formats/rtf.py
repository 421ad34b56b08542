"""RTF: running text in the charsets of its fonts, headings, tables, notes, properties.

Read here and not by a library, because the one at hand reads every font in one charset.
"""

import codecs
import re
from dataclasses import dataclass, replace

from citewell.errors import DocumentRejected
from citewell.ingest.draft import Draft
from citewell.ingest.formats import rtf_words as words
from citewell.ingest.formats.rtf_layout import Layout, whole
from citewell.ingest.normalise import one_line

_TOKEN = re.compile(
    rb"\\([a-zA-Z]{1,32})(-?\d{1,9})? ?|\\'([0-9a-fA-F]{2})|\\(.)|([{}])|([^\\{}\r\n\0]+)|.",
    re.DOTALL,
)
_DEEPEST = 5000


@dataclass(slots=True)
class _Group:
    """What holds inside of a pair of braces."""

    kind: str
    sink: list[str]
    font: int | None = None
    fallback_length: int = 1
    hidden: bool = False
    deleted: bool = False
    fresh: bool = True
    starred: bool = False


def read_rtf(data: bytes, draft: Draft) -> None:
    """Read an RTF document into the draft."""
    start = data.find(b"{\\rtf")
    reader = _Reader(draft)
    reader.run(data, max(start, 0))
    draft.title = draft.title or str(draft.metadata.get("title", ""))


class _Reader:
    def __init__(self, draft: Draft) -> None:
        self.draft = draft
        self.page = Layout(draft)
        self.group = _Group("body", self.page.pieces)
        self.stack: list[_Group] = []
        self.raw = bytearray()
        self.base = "cp1252"
        self.fonts: dict[int, str] = {}
        self.default_font: int | None = None
        self.number = 0
        self.left_to_skip = 0
        self.dates: dict[str, int] = {}

    def run(self, data: bytes, place: int) -> None:
        """Take one token after the other."""
        while place < len(data):
            found = _TOKEN.match(data, place)
            if found is None:
                break
            place = found.end()
            word, number, code, symbol, brace, text = found.groups()
            if word == b"bin":
                place += max(int(number or 0), 0)
            elif word is not None:
                self.word(word.decode("ascii"), int(number) if number is not None else None)
            elif text is not None or code is not None:
                self.text(text or bytes((int(code, 16),)))
            elif symbol is not None:
                self.symbol(symbol)
            elif brace is not None:
                self.brace(brace)
        if self.stack:
            self.draft.warnings.append("The file ends before its text does: it may be cut off.")
        while self.stack:
            self.brace(b"}")
        self.flush()
        self.page.end()

    def brace(self, brace: bytes) -> None:
        """Open or close a group."""
        self.flush()
        self.left_to_skip = 0
        if brace == b"{":
            if len(self.stack) >= _DEEPEST:
                raise DocumentRejected(
                    "corrupt",
                    "The file is nested deeper than any document needs. Save it anew in its own "
                    "program.",
                )
            self.stack.append(self.group)
            self.group = replace(self.group, fresh=True, starred=False)
        elif self.stack:
            closed, self.group = self.group, self.stack.pop()
            if closed.sink is not self.group.sink:
                self.close(closed)

    def close(self, closed: _Group) -> None:
        """Take over what a group of another kind has gathered."""
        text = whole(closed.sink)
        if closed.kind in words.PROPERTIES and one_line(text):
            self.draft.metadata[closed.kind] = one_line(text)[:1000]
        elif closed.kind in words.DATES and self.dates.get("yr"):
            day = "-".join(f"{self.dates.get(key, 1):02}" for key in ("yr", "mo", "dy"))
            time = ":".join(f"{self.dates.get(key, 0):02}" for key in ("hr", "min", "sec"))
            self.draft.metadata[closed.kind] = f"{day}T{time}"
        elif closed.kind in {"note", "box"}:
            self.page.waiting.append(text)
            if closed.kind == "note":
                self.draft.skip("footnote marks", "they would break sentences")
        elif closed.kind == "styles" and text.strip():
            self.page.styles[self.number] = one_line(text).rstrip(";")
        self.dates = {}

    def text(self, text: bytes) -> None:
        """Gather bytes of text; those that stand in for a Unicode character are left out."""
        if self.left_to_skip:
            cut = min(self.left_to_skip, len(text))
            self.left_to_skip -= cut
            text = text[cut:]
        self.group.fresh = False
        if text and self.group.kind != "skipped" and not (self.group.hidden or self.group.deleted):
            self.raw += text

    def flush(self) -> None:
        """Decode the gathered bytes in the charset of the font."""
        if self.raw:
            font = self.group.font if self.group.font is not None else self.default_font
            codec = self.fonts.get(font, self.base) if font is not None else self.base
            self.group.sink.append(bytes(self.raw).decode(codec, "replace"))
            self.raw.clear()

    def show(self, text: str) -> None:
        """Add characters that are known without a charset."""
        self.flush()
        if self.group.kind != "skipped" and not (self.group.hidden or self.group.deleted):
            self.group.sink.append(text)

    def symbol(self, symbol: bytes) -> None:
        """Take in a backslash with a sign behind it."""
        sign = symbol.decode("latin-1")
        if sign == "*":
            self.group.starred = self.group.fresh
        elif sign in words.ENDS:
            self.word("par", None)
        elif sign in words.SYMBOLS:
            self.show(words.SYMBOLS[sign])

    def word(self, word: str, number: int | None) -> None:
        """Take in a control word."""
        self.flush()
        if self.group.fresh and self.begins(word):
            return
        self.group.fresh = False
        if word == "u":
            self.show(chr((number or 0) % 0x10000))
            self.left_to_skip = self.group.fallback_length
        elif word in words.SYMBOLS:
            self.show(words.SYMBOLS[word])
        elif self.group.kind in {"fonts", "styles"}:
            self.entry(word, number)
        elif self.group.kind in words.DATES:
            self.dates[word] = max(min(number or 0, 9999), 0)
        elif not self.format(word, number):
            if self.group.kind == "body":
                self.page.word(word, number)
            elif word in words.ENDS:
                self.show("\n")

    def begins(self, word: str) -> bool:
        """Say whether the word tells what the group is that just began."""
        group = self.group
        if word in words.KINDS:
            kind = words.KINDS[word]
            if kind in words.PROPERTIES and not any(item.kind == "info" for item in self.stack):
                return False
            group.kind, group.sink, group.fresh = kind, [], False
            return True
        if word == "info":
            group.kind, group.sink = "info", []
            return True
        if group.kind == "styles" and self.stack and self.stack[-1].kind == "styles":
            group.sink = []
            self.number = 0
        if word in words.SKIPPED or (group.starred and word not in {"cs", "ts", "shpinst"}):
            told = words.TOLD.get(word, ())
            if told is None:
                self.draft.images += group.kind != "skipped"
            elif told and group.kind != "skipped":
                self.draft.skip(*told)
            group.kind, group.sink = "skipped", []
        return group.kind == "skipped"

    def entry(self, word: str, number: int | None) -> None:
        """Note a font's charset or a style's number."""
        if word == "f" and self.group.kind == "fonts":
            self.number = number or 0
        elif word == "fcharset" and number in words.CHARSETS:
            self.fonts[self.number] = words.CHARSETS[number]
        elif word in {"s", "cs", "ds", "ts"} and self.group.kind == "styles":
            self.number = (number or 0) if word == "s" else -1

    def format(self, word: str, number: int | None) -> bool:
        """Take in what changes how the following characters are read or shown."""
        group = self.group
        if word == "f":
            group.font = number
        elif word == "uc":
            group.fallback_length = max(min(number or 0, 16), 0)
        elif word == "v":
            group.hidden = number != 0
            if group.hidden and group.kind != "skipped":
                self.draft.skip("hidden text", "invisible to a reader")
        elif word == "deleted":
            group.deleted = number != 0
            self.draft.skip("deleted text", "tracked as deleted")
        elif word == "plain":
            group.font, group.hidden, group.deleted = None, False, False
        elif word == "deff":
            self.default_font = number
        elif word == "ansicpg" and _is_codec(f"cp{number}"):
            self.base = f"cp{number}" if number != 65001 else "utf-8"
        elif word in words.BASES:
            self.base = words.BASES[word]
        else:
            return False
        return True


def _is_codec(name: str) -> bool:
    try:
        codecs.lookup(name if name != "cp65001" else "utf-8")
    except LookupError:
        return False
    return True
