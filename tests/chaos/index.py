"""The index as anybody can read it over HTTP, and what two of them differ in."""

import hashlib
from collections import Counter
from dataclasses import dataclass
from typing import Any

from chaos.client import Client

Span = tuple[int, int, int, str, str | None, int | None]
"""A chunk: ordinal, start, end, sha256 of its text, section, page."""


@dataclass(frozen=True, slots=True)
class IndexedDocument:
    """What a document became."""

    status: str
    version: int | None
    text_sha256: str | None
    chunks: tuple[Span, ...]


@dataclass(frozen=True, slots=True)
class Index:
    """All documents of a collection by name, and the names that stand there twice."""

    documents: dict[str, IndexedDocument]
    doubled: list[str]


def sha256(text: str) -> str:
    """Return a text's hash."""
    return hashlib.sha256(text.encode()).hexdigest()


def read_index(client: Client, collection: str) -> Index:
    """Read a whole collection."""
    rows = client.pages("/documents", "documents", collection=collection)
    counts = Counter(row["name"] for row in rows)
    return Index(
        {row["name"]: _read_document(client, row) for row in rows},
        [name for name, count in counts.items() if count > 1],
    )


def _read_document(client: Client, row: dict[str, Any]) -> IndexedDocument:
    path = f"/documents/{row['document_id']}"
    reply = client.ask("GET", path + "/text", {200, 404})
    text = None if reply.status_code == 404 else sha256(reply.text)
    chunks: list[Span] = []
    after = -1
    while after is not None:
        page = client.get(path + "/chunks", limit=200, after=after).json()
        chunks += [
            (
                chunk["ordinal"],
                chunk["start"],
                chunk["end"],
                sha256(chunk["text"]),
                chunk["section"],
                chunk["page"],
            )
            for chunk in page["chunks"]
        ]
        after = page["next_after"]
    return IndexedDocument(row["status"], row["version"], text, tuple(chunks))


@dataclass(frozen=True, slots=True)
class Difference:
    """What is missing or other than expected, what is there twice, what should not be there."""

    lost: list[str]
    doubled: list[str]
    orphans: list[str]


def compare(expected: Index, found: Index) -> Difference:
    """Say what a faulted run's index lacks or has too much of, beside a clean run's."""
    lost: list[str] = []
    doubled = list(found.doubled)
    for name, document in expected.documents.items():
        other = found.documents.get(name)
        if other is None:
            lost.append(f"{name} is missing")
            continue
        if Counter(chunk[0] for chunk in other.chunks).most_common(1)[0:1] and any(
            count > 1 for count in Counter(chunk[0] for chunk in other.chunks).values()
        ):
            doubled.append(f"{name} has a chunk twice")
        if other != document:
            lost.append(f"{name} differs: {_describe(document)} became {_describe(other)}")
    orphans = [f"{name} is left" for name in found.documents.keys() - expected.documents.keys()]
    return Difference(lost, doubled, orphans)


def _describe(document: IndexedDocument) -> str:
    text = (document.text_sha256 or "no text")[:8]
    return f"{document.status}, version {document.version}, {text}, {len(document.chunks)} chunks"
