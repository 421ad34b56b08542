"""What a PDF's objects tell beside the text layer: its dates, and what the text layer lacks.

They are looked through as bytes, those packed into object streams too; where they are encrypted,
nothing is found.
"""

import re
import zlib

from citewell.ingest.draft import Draft

_DATES = {
    "created": re.compile(
        rb"/CreationDate\s*\(D:([^)]{4,40})\)|<xmp:CreateDate>([^<]{4,40})<|"
        rb"xmp:CreateDate=[\"']([^\"']{4,40})"
    ),
    "modified": re.compile(
        rb"/ModDate\s*\(D:([^)]{4,40})\)|<xmp:ModifyDate>([^<]{4,40})<|"
        rb"xmp:ModifyDate=[\"']([^\"']{4,40})"
    ),
}
_PARTS = re.compile(
    r"^(\d{4})(\d\d)(\d\d)(?:(\d\d)(\d\d)(\d\d)?)?(?:Z|([+-])(\d\d)'?(\d\d)?'?)?(?:00'?(?:00'?)?)?$"
)


_STREAM = re.compile(rb"/Type\s*/ObjStm\b[^\0]{0,400}?stream\r?\n")
_MOST_UNPACKED_BYTES = 32 * 1024 * 1024
_LACKING = (
    (re.compile(rb"/Subtype\s*/Widget\b"), "form fields", "what was typed in is no page text"),
    (re.compile(rb"/Subtype\s*/FreeText\b"), "notes on pages", "they are no page text"),
    (re.compile(rb"/Type\s*/EmbeddedFile\b"), "attached files", "upload each as a file of its own"),
)


def read_objects(data: bytes, draft: Draft) -> None:
    """Take the dates over, and say what stands in the file, but not in its text layer."""
    objects = b"\n".join([data, *_unpacked(data)])
    draft.metadata.update(find_dates(objects))
    for pattern, what, why in _LACKING:
        draft.skip(what, why, len(pattern.findall(objects)))


def _unpacked(data: bytes) -> list[bytes]:
    """Return the object streams' contents, within a bound."""
    found: list[bytes] = []
    left = _MOST_UNPACKED_BYTES
    for start in _STREAM.finditer(data):
        try:
            content = zlib.decompressobj().decompress(memoryview(data)[start.end() :], left)
        except zlib.error:
            continue
        found.append(content)
        left -= len(content)
        if left <= 0:
            break
    return found


def find_dates(data: bytes) -> dict[str, str]:
    """Return ``created`` and ``modified`` in the form of ISO 8601, where they stand in the open.

    Holds:   a file that was changed has several of them; the last one counts.
    """
    found: dict[str, str] = {}
    for name, pattern in _DATES.items():
        for match in pattern.finditer(data):
            pdf_form = match[1]
            text = (pdf_form or match[2] or match[3]).decode("latin-1")
            date = _iso(text) if pdf_form else text.strip()
            if date:
                found[name] = date
    return found


def _iso(text: str) -> str:
    parts = _PARTS.match(text.strip())
    if parts is None:
        return ""
    year, month, day, hour, minute, second, sign, zone_hour, zone_minute = parts.groups()
    date = f"{year}-{month}-{day}"
    if hour is None:
        return date
    zone = f"{sign}{zone_hour}:{zone_minute or '00'}" if sign else "Z" if "Z" in text else ""
    return f"{date}T{hour}:{minute}:{second or '00'}{zone}"
