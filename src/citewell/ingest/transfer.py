"""A parsed document as JSON and back, and the frames that carry it between two processes."""

import json
import struct
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, BinaryIO

from citewell.domain import Json, ParsedDocument, ParseReport, Section

_LENGTH = struct.Struct(">Q")
LENGTH_BYTES = _LENGTH.size


def document_to_json(document: ParsedDocument) -> Json:
    """Return a document as plain JSON values."""
    return {
        "text": document.text,
        "title": document.title,
        "sections": [
            [
                section.parent, section.level, section.number, section.title, section.anchor,
                section.path, section.start, section.body_start, section.end,
            ]
            for section in document.sections
        ],
        "page_starts": document.page_starts,
        "metadata": document.metadata,
        "report": asdict(document.report),
    }  # fmt: skip


def document_from_json(values: Mapping[str, Any]) -> ParsedDocument:
    """Return the document that ``document_to_json`` wrote."""
    sections = tuple(
        Section(ordinal, parent, level, number, title, anchor, tuple(path), start, body, end)
        for ordinal, (parent, level, number, title, anchor, path, start, body, end) in enumerate(
            values["sections"]
        )
    )
    report = dict(values["report"])
    for name in ("pages_without_text", "skipped", "warnings"):
        report[name] = tuple(report[name])
    return ParsedDocument(
        text=values["text"],
        title=values["title"],
        sections=sections,
        page_starts=tuple(values["page_starts"]),
        metadata=dict(values["metadata"]),
        report=ParseReport(**report),
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
