"""Files that no program should trust: poison made by hand, and mutations of good files."""

import io
import random
import zipfile

from chaos.workload import examples, pdf_file
from ingest.office_files import docx, paragraph, pdf, zipped

TOKENS = (
    b"\x00", b"\xff\xfe", b"%PDF-1.7", b"endstream", b"/FlateDecode", b"stream\n", b"<!DOCTYPE x [",
    b"<![CDATA[", b"]]>", b"&#x0;", b"PK\x03\x04", b"PK\x05\x06", b"\xed\xa0\x80", b"../../../",
    b"99999999999999999999", b"-1", b"<script>", b"<table>" * 40, b"</w:p>", b"\r", b"\x1a",
)  # fmt: skip
ENDINGS = [".txt", ".html", ".pdf", ".docx", ".csv", ".md", ".eml", ".epub", ".pptx", ".xlsx", ""]
ENTITIES = (
    '<?xml version="1.0"?><!DOCTYPE w [<!ENTITY a "clock ">'
    + "".join(f'<!ENTITY {chr(98 + n)} "{f"&{chr(97 + n)};" * 12}">' for n in range(9))
    + "]><w:document>&j;</w:document>"
)
LONGEST_TEXT_BYTES = 3000
INFLATED_BYTES = 24 * 1024 * 1024


def poison(count: int, draw: random.Random) -> dict[str, bytes]:
    """Return so many files that cannot be read well, each of another make or another content."""
    makes = [
        lambda: ("broken.pdf", b"%PDF-1.4\n" + draw.randbytes(400)),
        lambda: ("cut.pdf", pdf_file(draw.randrange(90))[: draw.randrange(200, 900)]),
        lambda: ("cut.docx", docx(paragraph("A clock."))[: draw.randrange(60, 300)]),
        lambda: (
            "entities.docx",
            zipped({"word/document.xml": ENTITIES + " " * draw.randrange(9)}),
        ),
        lambda: ("bomb.docx", _bomb(draw)),
        lambda: ("deep.html", b"<div>" * draw.randrange(20_000, 60_000) + b"A clock."),
        lambda: ("empty.docx", docx(" " * draw.randrange(99))),
        lambda: ("noise.docx", b"PK\x03\x04" + draw.randbytes(900)),
        lambda: ("noise.html", b"<html>" + draw.randbytes(900)),
        lambda: ("white.txt", b" \n" * draw.randrange(9, 999)),
        lambda: ("noise.csv", draw.randbytes(700)),
        lambda: ("image.pdf", pdf_without_text(draw.randrange(1, 9))),
    ]
    made: dict[str, bytes] = {}
    for number in range(count):
        name, content = makes[number % len(makes)]()
        made[f"poison-{number}-{name}"] = content
    return made


def _bomb(draw: random.Random) -> bytes:
    body = bytes([draw.randrange(97, 122)]) * INFLATED_BYTES
    return zipped({"[Content_Types].xml": "<Types/>", "word/document.xml": body})


def pdf_without_text(pages: int) -> bytes:
    """Return a PDF as a scanner makes it: pages, and no text."""
    return pdf([[] for _ in range(pages)])


def mutated(count: int, seed: int) -> "Mutations":
    """Return so many mutations of the examples."""
    return Mutations(count, random.Random(seed))


class Mutations:
    """Yields mutated examples: a name and its bytes."""

    def __init__(self, count: int, draw: random.Random) -> None:
        self._left = count
        self._draw = draw
        self._seeds = list(examples().items())

    def take(self, most: int) -> dict[str, bytes]:
        """Return up to so many files; none at the end."""
        taken: dict[str, bytes] = {}
        while self._left and len(taken) < most:
            self._left -= 1
            name, content = self._draw.choice(self._seeds)
            taken[self._rename(name)] = self._mutate(name, content)
        return taken

    def _rename(self, name: str) -> str:
        stem, _, ending = name.rpartition(".")
        if self._draw.random() < 0.15:
            ending = self._draw.choice(ENDINGS).removeprefix(".")
        odd = self._draw.choice(["", "", "", "é", "\u202e", "📄", "%2e%2e", "'", "\x01"])
        return f"{stem}{odd}-{self._left}.{ending}"

    def _mutate(self, name: str, content: bytes) -> bytes:
        draw = self._draw
        if name.endswith(".docx") and draw.random() < 0.6:
            return self._mutate_part(content)
        if not name.endswith((".pdf", ".docx")):  # the whole of it would only be more of the same
            start = draw.randrange(max(1, len(content) - LONGEST_TEXT_BYTES))
            content = content[start : start + LONGEST_TEXT_BYTES]
        return self._mutate_bytes(content)

    def _mutate_part(self, content: bytes) -> bytes:
        """Mutate one part of a zip file, so that the parser behind the unpacking is reached."""
        draw, buffer = self._draw, io.BytesIO()
        with zipfile.ZipFile(io.BytesIO(content)) as old:
            parts = {name: old.read(name) for name in old.namelist()}
        body = [name for name in parts if name.endswith("document.xml")] or list(parts)
        chosen = draw.choice([*parts, *body * len(parts)])
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as new:
            for name, part in parts.items():
                new.writestr(name, self._mutate_bytes(part) if name == chosen else part)
        return buffer.getvalue()

    def _mutate_bytes(self, content: bytes) -> bytes:
        draw, changed = self._draw, bytearray(content)
        for _ in range(draw.choice([1, 1, 2, 5, 20])):
            place = draw.randrange(len(changed) + 1)
            end = min(len(changed), place + draw.randrange(1, 200))
            match draw.randrange(6):
                case 0 if place < len(changed):
                    changed[place] ^= 1 << draw.randrange(8)
                case 1:
                    changed[place:place] = draw.choice(TOKENS)
                case 2:
                    del changed[place:end]
                case 3:
                    changed[place:place] = changed[place:end] * draw.randrange(1, 4)
                case 4 if draw.random() < 0.2:
                    del changed[place:]
                case _:
                    changed[place:end] = draw.randbytes(end - place)
        return bytes(changed)
