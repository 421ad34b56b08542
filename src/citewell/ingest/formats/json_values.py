"""JSON and JSON lines: each value with the path of keys to it, one record a paragraph."""

import json
from collections.abc import Iterator
from itertools import islice

from citewell.ingest.charset import decode
from citewell.ingest.draft import Draft
from citewell.ingest.normalise import one_line

_LONGEST_LINE = 400
_METADATA = {"author": "author", "date": "date", "created": "created", "created_at": "created",
             "modified": "modified", "updated_at": "modified", "language": "language"}  # fmt: skip


class _Object(list[tuple[str, object]]):
    """An object with its pairs as written: a key that comes twice keeps both values."""


_decoder = json.JSONDecoder(
    object_pairs_hook=_Object, parse_int=str, parse_float=str, parse_constant=str, strict=False
)


def read_json(data: bytes, draft: Draft) -> None:
    """Read JSON, or JSON lines; what is neither is read as plain lines, and a warning says so."""
    text, draft.encoding, warnings = decode(data)
    draft.warnings += warnings
    text = text.strip("\ufeff\0 \t\r\n")
    try:
        value = _decoder.decode(text)
    except ValueError:
        records = _records(text)
        if records is None:
            draft.warnings.append("The file is not valid JSON, so it was read as plain text.")
            draft.block(text)
            return
        value = records
    if isinstance(value, _Object):
        _take_metadata(value, draft)
    if isinstance(value, list) and not isinstance(value, _Object):
        _write_list(value, "", draft)  # pyright: ignore[reportUnknownArgumentType]
    else:
        _write(value, "", draft)


def _records(text: str) -> list[object] | None:
    """Return the values of a file with one on each line, or None if a line holds none."""
    try:
        return [_decoder.decode(line.strip()) for line in text.split("\n") if line.strip()]
    except ValueError:
        return None


def _take_metadata(value: _Object, draft: Draft) -> None:
    for key, item in value:
        if isinstance(item, str) and one_line(item):
            name = _METADATA.get(key.lower())
            if key.lower() in {"title", "name"} and not draft.title:
                draft.title = one_line(item)
            elif name:
                draft.metadata[name] = one_line(item)[:1000]


def _write(value: object, path: str, draft: Draft) -> None:
    """Write a value as one line if it is short, else each of its parts on its own."""
    line = _short_line(value, path)
    if line is not None:
        draft.block(line)
    elif isinstance(value, _Object):
        tight = False
        for key, item in value:
            inner = _short_line(item, _joined(path, key))
            if inner is None and isinstance(item, list):
                _write(item, _joined(path, key), draft)  # pyright: ignore[reportUnknownArgumentType]
                tight = False
            else:
                draft.block(inner if inner is not None else _leaf(_joined(path, key), item),
                            tight=tight)  # fmt: skip
                tight = True
    elif isinstance(value, list):
        _write_list(value, path, draft)  # pyright: ignore[reportUnknownArgumentType]
    else:
        draft.block(_leaf(path, value))


def _write_list(values: list[object], path: str, draft: Draft) -> None:
    if not any(isinstance(item, list) for item in values):
        draft.block(_leaf(path, ", ".join(filter(None, map(_shown, values)))))
        return
    for place, item in enumerate(values):
        _write(item, f"{path}[{place}]" if path else "", draft)


def _short_line(value: object, path: str) -> str | None:
    """Return the value on one line, or None where that would be too long to read."""
    parts: list[str] = []
    left = _LONGEST_LINE
    for part in islice(_leaves(value, path), _LONGEST_LINE):
        left -= len(part) + 2
        if left < 0 or "\n" in part:
            return None
        if part:
            parts.append(part)
    return "; ".join(parts)


def _leaves(value: object, path: str) -> Iterator[str]:
    """Yield each leaf as "path: value"; a list of plain values is one leaf."""
    if isinstance(value, _Object):
        for key, item in value:
            yield from _leaves(item, _joined(path, key))
    elif isinstance(value, list):
        items: list[object] = value  # pyright: ignore[reportUnknownVariableType]
        if any(isinstance(item, list) for item in items):
            for place, item in enumerate(items):
                yield from _leaves(item, f"{path}[{place}]")
        else:
            shown = [_shown(item) for item in items]
            yield _leaf(path, ", ".join(part for part in shown if part))
    else:
        yield _leaf(path, value)


def _leaf(path: str, value: object) -> str:
    shown = _shown(value)
    return f"{path}: {shown}" if path and shown else shown


def _shown(value: object) -> str:
    if isinstance(value, str):
        return value.strip()
    return {True: "true", False: "false"}.get(value, "") if isinstance(value, bool) else ""


def _joined(path: str, key: str) -> str:
    key = one_line(key)
    return f"{path}.{key}" if path else key
