"""E-mail: the header's main lines, the body, and each attached document as a section."""

import email
from email.errors import MessageError
from email.header import decode_header, make_header
from email.message import Message
from email.utils import parsedate_to_datetime
from typing import TypeGuard, cast

from citewell.errors import DocumentRejected
from citewell.ingest.charset import decode
from citewell.ingest.draft import Draft
from citewell.ingest.formats.html import read_html
from citewell.ingest.formats.wrapped import join_wrapped
from citewell.ingest.normalise import clean, one_line

_SHOWN = ("Subject", "From", "To", "Cc", "Date")
_DEEPEST = 8
_LONGEST_HEADER = 10_000
_MOST_ATTACHMENTS = 100


def read_mail(data: bytes, draft: Draft) -> None:
    """Read a message (RFC 5322, MIME) into the draft."""
    message = email.message_from_bytes(data)
    draft.title = _header(message, "Subject")
    attachments: list[Message] = []
    _write_message(message, draft, attachments, 0)
    for part in attachments[:_MOST_ATTACHMENTS]:
        _read_attachment(part, draft)
    for part in attachments[_MOST_ATTACHMENTS:]:
        draft.skip(f"attachment {_file_name(part)}", "only the first 100 are read")


def _write_message(message: Message, draft: Draft, attachments: list[Message], depth: int) -> None:
    values = {name: _header(message, name) for name in _SHOWN}
    draft.block("\n".join(f"{name}: {value}" for name, value in values.items() if value))
    if depth == 0:
        for name, key in (
            ("From", "author"),
            ("To", "to"),
            ("Subject", "subject"),
        ):
            if values[name]:
                draft.metadata[key] = values[name][:1000]
        sent = _moment(values["Date"])
        if sent:
            draft.metadata["sent"] = sent
    _write_part(message, draft, attachments, depth)


def _moment(date: str) -> str:
    """Return a header's date in the form of ISO 8601, or nothing where it is no date."""
    try:
        return parsedate_to_datetime(date).isoformat()
    except (ValueError, TypeError, OverflowError, IndexError):
        return ""


def _write_part(part: Message, draft: Draft, attachments: list[Message], depth: int) -> None:
    if depth > _DEEPEST:
        draft.warnings.append("The message is nested too deep; its inner parts were not read.")
        return
    kind = part.get_content_type()
    if part.is_multipart():
        inner = [item for item in cast("list[object]", part.get_payload()) if _is_message(item)]
        if kind == "multipart/alternative":
            inner = _best_alternative(inner)
        for item in inner:
            if kind == "message/rfc822":
                _write_message(item, draft, attachments, depth + 1)
            else:
                _write_part(item, draft, attachments, depth + 1)
    elif part.get_content_disposition() == "attachment" or part.get_filename():
        attachments.append(part)
    elif kind.startswith("text/"):
        _write_text(part, kind, draft)
    else:
        draft.skip(f"part of type {kind[:100]}", "not text")


def _read_attachment(part: Message, draft: Draft) -> None:
    """Read an attachment as a section, or name it with the reason why it was not read.

    Raises:  DocumentRejected – ``too_much_text``: the message has no room for it.
    """
    name = _file_name(part)
    body = part.get_payload(decode=True)
    if draft.read_inside is None or not isinstance(body, bytes):
        draft.skip(f"attachment {name}", "upload it as a file of its own")
        return
    try:
        inner = draft.read_inside(body, name, part.get_content_type(), draft.room_characters)
    except DocumentRejected as error:
        if error.reason == "too_much_text":
            raise
        draft.skip(f"attachment {name}", error.message)
        return
    draft.include(inner, 1, name)


def _file_name(part: Message) -> str:
    return _decoded(part.get_filename() or "unnamed")[:200]


def _is_message(item: object) -> TypeGuard[Message]:
    return isinstance(item, Message)


def _best_alternative(parts: list[Message]) -> list[Message]:
    """Choose the plain text if it says something, else the last that can be read."""
    for part in parts:
        body = part.get_payload(decode=True)
        if part.get_content_type() == "text/plain" and isinstance(body, bytes) and body.strip():
            return [part]
    readable = [part for part in parts if part.get_content_maintype() in {"text", "multipart"}]
    return readable[-1:]


def _write_text(part: Message, kind: str, draft: Draft) -> None:
    body = part.get_payload(decode=True)
    if not isinstance(body, bytes) or not body:
        return
    declared = part.get_content_charset()
    if kind == "text/html":
        title = draft.title
        read_html(body, draft, declared)
        draft.title = title or draft.title
        return
    text, draft.encoding, warnings = decode(body, declared)
    draft.warnings += warnings
    draft.block(join_wrapped(clean(text, draft.skipped)))


def _header(message: Message, name: str) -> str:
    """Return a header with its encoded words decoded; a broken one as it is written."""
    raw = next((value for key, value in message.raw_items() if key.lower() == name.lower()), "")
    return _decoded(raw)


def _decoded(raw: str) -> str:
    value, _, _ = decode(raw[:_LONGEST_HEADER].encode("utf-8", "surrogateescape"))
    try:
        return one_line(str(make_header(decode_header(value))))
    except (MessageError, LookupError, UnicodeError, ValueError):
        return one_line(value)
