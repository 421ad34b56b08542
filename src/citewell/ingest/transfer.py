"""A file that was read and cut, as JSON messages of bounded size and back.

A small file is one message. A large one is as many as it needs: the text, the sections and the
chunks are each spread over them in their order; the head comes with the first.
"""

import json
import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import fields
from itertools import zip_longest
from typing import Any, BinaryIO

from citewell.domain import (
    Chunk,
    DocumentHead,
    Json,
    ParsedDocument,
    ParsedPart,
    ParseReport,
    Section,
)

PART_CHUNKS = 512
PART_SECTIONS = 2000
PART_CHARACTERS = 500_000
_LENGTH = struct.Struct(">Q")
LENGTH_BYTES = _LENGTH.size
_REPORT_FIELDS = tuple(field.name for field in fields(ParseReport))


def to_messages(
    document: ParsedDocument, chunks: Sequence[Chunk], report: ParseReport
) -> Iterator[Json]:
    """Yield a document's parts as plain JSON values, the head in the first.

    Holds:   a part has at most 512 chunks, 2,000 sections and 500,000 characters of each kind,
             or a single section or chunk that is larger.
    """
    text, sections = document.text, document.sections
    starts = range(0, len(text), PART_CHARACTERS)
    parts = list(
        zip_longest(
            [slice(start, start + PART_CHARACTERS) for start in starts],
            _slices(map(_section_characters, sections), PART_SECTIONS),
            _slices((len(chunk.text) + len(chunk.context) for chunk in chunks), PART_CHUNKS),
            fillvalue=slice(0),
        )
    )
    head: Json = {
        "head": {
            "title": document.title,
            "page_starts": document.page_starts,
            "metadata": document.metadata,
            "report": {name: getattr(report, name) for name in _REPORT_FIELDS},
            "section_count": len(sections),
            "chunk_count": len(chunks),
        }
    }
    for number, (characters, headings, cut) in enumerate(parts, 1):
        yield head | {
            "text": text[characters],
            "sections": [_section_row(section) for section in sections[headings]],
            "chunks": [_chunk_row(chunk) for chunk in chunks[cut]],
            "last": number == len(parts),
        }
        head = {}


def to_part(message: Mapping[str, Any], head: DocumentHead | None) -> ParsedPart:
    """Return the part that a message carries; ``head`` is the first part's, None for that one."""
    return ParsedPart(
        head=head or _head(message["head"]),
        text=message["text"],
        sections=tuple(
            Section(ordinal, parent, level, number, title, anchor, tuple(path), start, body, end)
            for ordinal, parent, level, number, title, anchor, path, start, body, end in message[
                "sections"
            ]
        ),
        chunks=tuple([Chunk(*row) for row in message["chunks"]]),
        last=message["last"],
    )


def pack(message: Json) -> bytes:
    """Return a message with its length in front."""
    body = json.dumps(message, ensure_ascii=False, separators=(",", ":")).encode()
    return _LENGTH.pack(len(body)) + body


def unpack_length(head: bytes) -> int:
    """Return how many bytes follow."""
    return int(_LENGTH.unpack(head)[0])


def read_message(stream: BinaryIO) -> Json | None:
    """Read one message, or None at the end of the stream."""
    head = stream.read(LENGTH_BYTES)
    if len(head) < LENGTH_BYTES:
        return None
    return dict(json.loads(stream.read(unpack_length(head))))


def _slices(sizes: Iterable[int], most: int) -> list[slice]:
    """Group items, given their characters, into parts of bounded number and length."""
    slices: list[slice] = []
    first = index = characters = 0
    for index, size in enumerate(sizes):
        characters += size
        if index > first and (index - first == most or characters > PART_CHARACTERS):
            slices.append(slice(first, index))
            first, characters = index, size
    return [*slices, slice(first, index + 1)]


def _section_characters(section: Section) -> int:
    return sum(map(len, section.path)) + len(section.title) + len(section.anchor or "")


def _section_row(section: Section) -> list[Any]:
    return [
        section.ordinal, section.parent, section.level, section.number, section.title,
        section.anchor, section.path, section.start, section.body_start, section.end,
    ]  # fmt: skip


def _chunk_row(chunk: Chunk) -> list[Any]:
    return [
        chunk.ordinal, chunk.start, chunk.end, chunk.text, chunk.context, chunk.section,
        chunk.page, chunk.tokens,
    ]  # fmt: skip


def _head(values: Mapping[str, Any]) -> DocumentHead:
    report = dict(values["report"])
    for name in ("pages_without_text", "pages_by_ocr", "skipped", "warnings"):
        report[name] = tuple(report[name])
    return DocumentHead(
        title=values["title"],
        page_starts=tuple(values["page_starts"]),
        metadata=dict(values["metadata"]),
        report=ParseReport(**report),
        section_count=values["section_count"],
        chunk_count=values["chunk_count"],
    )
