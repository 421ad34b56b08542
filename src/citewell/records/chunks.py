"""Chunks, their vectors and terms: published in one transaction, loaded by id."""

import hashlib
import json
from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import Row
from sqlalchemy.ext.asyncio import AsyncConnection

from citewell.domain import (
    Candidate,
    Chunk,
    ChunkId,
    CollectionId,
    DocumentId,
    ParsedDocument,
    Section,
    VersionId,
    WorkspaceId,
)
from citewell.errors import LeaseLost
from citewell.ports import Vectors
from citewell.records.lexical import searchable
from citewell.records.statements import text

CHUNKER_VERSION = 1
"""Raised when the same text would be cut differently: it is part of every chunk's id."""


STALE_SHARE = 0.3
"""While documents come in, terms are counted anew when this share of the chunks is new."""


@dataclass(frozen=True, slots=True)
class Publication:
    """All that a version brings into the index.

    Shapes: ``vectors`` (len(chunks), dimension), row i belongs to chunk i.
    """

    document_id: DocumentId
    version_id: VersionId
    parsed: ParsedDocument
    chunks: Sequence[Chunk]
    vectors: Vectors
    model: str


def chunk_id(version_id: VersionId, ordinal: int) -> ChunkId:
    """Return a chunk's id: the same version cut the same way has the same ids."""
    name = f"{version_id}/{ordinal}/{CHUNKER_VERSION}".encode()
    return ChunkId(UUID(bytes=hashlib.sha256(name).digest()[:16], version=5))


async def publish(
    connection: AsyncConnection, workspace_id: WorkspaceId, publication: Publication
) -> CollectionId | None:
    """Replace a document's chunks by those of a version, and make it the active one.

    Returns the collection when so much changed that its terms should be counted anew.
    Holds:   the caller finished the job in this transaction, so only the lease's holder commits.
    Raises:  LeaseLost – the document was deleted meanwhile.
    """
    values: dict[str, object] = {
        "workspace": workspace_id,
        "document": publication.document_id,
        "version": publication.version_id,
    }
    document = (
        await connection.execute(
            text(
                "SELECT d.collection_id, d.chunk_count, a.number AS active, v.number"
                " FROM documents d"
                " JOIN versions v ON v.workspace_id = d.workspace_id AND v.id = :version"
                " LEFT JOIN versions a"
                " ON a.workspace_id = d.workspace_id AND a.id = d.active_version_id"
                " WHERE d.workspace_id = :workspace AND d.id = :document FOR UPDATE OF d"
            ),
            values,
        )
    ).one_or_none()
    if document is None:
        raise LeaseLost("The document was deleted while it was being read.")
    await _save_version(connection, values, publication)
    if document.active is not None and document.active > document.number:
        return None
    values["collection"] = document.collection_id
    if document.chunk_count:
        await connection.execute(
            text("DELETE FROM chunks WHERE workspace_id = :workspace AND document_id = :document"),
            values,
        )
    await _insert_chunks(connection, values, publication)
    values["count"] = len(publication.chunks)
    values["growth"] = len(publication.chunks) - document.chunk_count
    collection = (await connection.execute(text(ACTIVATE), values)).one()
    stale = collection.lexical_pending > collection.lexical_chunk_count * STALE_SHARE
    return document.collection_id if stale else None


ACTIVATE = """
WITH active AS (
    UPDATE documents SET active_version_id = :version, chunk_count = :count, updated_at = now()
    WHERE workspace_id = :workspace AND id = :document
)
UPDATE collections SET chunk_count = chunk_count + :growth,
    lexical_pending = lexical_pending + :count
WHERE workspace_id = :workspace AND id = :collection
RETURNING lexical_pending, lexical_chunk_count
"""


async def _save_version(
    connection: AsyncConnection, values: Mapping[str, object], publication: Publication
) -> None:
    parsed = publication.parsed
    report = asdict(parsed.report) | {
        "sections": sum(1 for section in parsed.sections if section.title),
        "chunks": len(publication.chunks),
    }
    await connection.execute(
        text(
            "UPDATE versions SET text = :text, title = :title, page_starts = :page_starts, "
            "metadata = CAST(:metadata AS jsonb), report = CAST(:report AS jsonb), "
            "media_type = :media_type, published_at = now() "
            "WHERE workspace_id = :workspace AND id = :version"
        ),
        {
            **values,
            "text": parsed.text,
            "title": parsed.title,
            "page_starts": list(parsed.page_starts),
            "metadata": json.dumps(parsed.metadata),
            "report": json.dumps(report),
            "media_type": parsed.report.media_type,
        },
    )
    if parsed.sections:
        await connection.execute(
            text(
                "INSERT INTO sections (workspace_id, version_id, ordinal, parent, level, number, "
                'cited_number, title, anchor, path, start, body_start, "end") '
                "VALUES (:workspace, :version, "
                ":ordinal, :parent, :level, :number, :cited_number, :title, :anchor, :path, "
                ":start, :body_start, :end)"
            ),
            [{**values, **row} for row in _section_values(parsed.sections)],
        )


def _section_values(sections: Sequence[Section]) -> list[dict[str, object]]:
    """Write sections as rows; one without a number is cited by its nearest numbered ancestor's."""
    cited: dict[int, str | None] = {}
    rows: list[dict[str, object]] = []
    for section in sections:
        above = None if section.parent is None else cited[section.parent]
        cited[section.ordinal] = section.number or above
        row = asdict(section) | {"path": list(section.path)}
        rows.append({**row, "cited_number": cited[section.ordinal]})
    return rows


INSERT_CHUNKS = """
WITH new AS (
    INSERT INTO chunks (workspace_id, id, collection_id, document_id, version_id, ordinal, start,
        "end", text, context, section, page, page_breaks, tokens)
    SELECT :workspace, id, :collection, :document, :version, ordinal, start, stop, body, context,
        section, page, CAST(breaks AS integer[]), tokens
    FROM unnest(CAST(:ids AS uuid[]), CAST(:ordinals AS integer[]), CAST(:starts AS integer[]),
        CAST(:ends AS integer[]), CAST(:texts AS text[]), CAST(:contexts AS text[]),
        CAST(:sections AS integer[]), CAST(:pages AS integer[]), CAST(:breaks AS text[]),
        CAST(:tokens AS integer[]))
        AS t (id, ordinal, start, stop, body, context, section, page, breaks, tokens)
), terms AS (
    INSERT INTO chunk_terms (workspace_id, chunk_id, collection_id, document_id, keys, bm25)
    SELECT :workspace, id, :collection, :document,
        citewell_term_keys(CAST(:collection AS uuid), words), citewell_bm25(words)
    FROM (SELECT id, to_tsvector('english', words) AS words
          FROM unnest(CAST(:ids AS uuid[]), CAST(:words AS text[])) AS t (id, words)) w
)
INSERT INTO vectors_384 (workspace_id, chunk_id, collection_id, document_id, model, embedding)
SELECT :workspace, id, :collection, :document, :model, CAST(vector AS halfvec(384))
FROM unnest(CAST(:ids AS uuid[]), CAST(:vectors AS text[])) AS t (id, vector)
"""

PUBLISH_BATCH = 500
"""Chunks in one statement: keeps parameters of very large documents within reason."""


async def _insert_chunks(
    connection: AsyncConnection, values: Mapping[str, object], publication: Publication
) -> None:
    for first in range(0, len(publication.chunks), PUBLISH_BATCH):
        batch = publication.chunks[first : first + PUBLISH_BATCH]
        vectors = publication.vectors[first : first + PUBLISH_BATCH]
        await connection.execute(
            text(INSERT_CHUNKS),
            {
                **values,
                "model": publication.model,
                "ids": [chunk_id(publication.version_id, chunk.ordinal) for chunk in batch],
                "ordinals": [chunk.ordinal for chunk in batch],
                "starts": [chunk.start for chunk in batch],
                "ends": [chunk.end for chunk in batch],
                "texts": [chunk.text for chunk in batch],
                "contexts": [chunk.context for chunk in batch],
                "words": [searchable(f"{chunk.context} {chunk.text}") for chunk in batch],
                "sections": [chunk.section for chunk in batch],
                "pages": [chunk.page for chunk in batch],
                "breaks": [
                    _breaks_inside(chunk, publication.parsed.page_starts) for chunk in batch
                ],
                "tokens": [chunk.tokens for chunk in batch],
                "vectors": [vector_literal(row) for row in vectors],
            },
        )


def _breaks_inside(chunk: Chunk, page_starts: Sequence[int]) -> str:
    """Write the offsets inside a chunk at which a page begins, as an array literal."""
    first, last = bisect_right(page_starts, chunk.start), bisect_left(page_starts, chunk.end)
    return "{" + ",".join(map(str, page_starts[first:last])) + "}"


def vector_literal(vector: Vectors) -> str:
    """Write a vector as pgvector reads it."""
    return "[" + ",".join([f"{value:.6g}" for value in vector.tolist()]) + "]"


SELECT_CHUNKS = """
SELECT c.id, c.document_id, d.name, v.title, c.version_id, c.ordinal, c.text, c.start, c.end,
       c.page, c.page_breaks, s.cited_number, s.title AS section_title, s.path, s.anchor,
       v.metadata || d.metadata
FROM chunks c
JOIN documents d ON d.workspace_id = c.workspace_id AND d.id = c.document_id
JOIN versions v ON v.workspace_id = c.workspace_id AND v.id = c.version_id
LEFT JOIN sections s ON s.workspace_id = c.workspace_id AND s.version_id = c.version_id
    AND s.ordinal = c.section
WHERE c.workspace_id = :workspace
"""


def _candidate(row: Row[Any]) -> Candidate:
    values = tuple(row)
    breaks, number, title, path, anchor, metadata = values[-6:]
    return Candidate(
        *values[:-6],
        page_breaks=tuple(breaks),
        section_number=number,
        section_title=title or None,
        section_path=tuple(path or ()),
        anchor=anchor,
        metadata=metadata,
    )


async def load_chunks(
    connection: AsyncConnection, workspace_id: WorkspaceId, chunk_ids: Sequence[ChunkId]
) -> dict[ChunkId, Candidate]:
    """Load chunks with the places they come from; ids that are gone are left out."""
    rows = await connection.execute(
        text(SELECT_CHUNKS + " AND c.id = ANY(CAST(:ids AS uuid[]))"),
        {"workspace": workspace_id, "ids": list(chunk_ids)},
    )
    candidates = [_candidate(row) for row in rows]
    return {candidate.chunk_id: candidate for candidate in candidates}


async def list_chunks(
    connection: AsyncConnection,
    workspace_id: WorkspaceId,
    document_id: DocumentId,
    after: int,
    limit: int,
) -> list[Candidate]:
    """List a document's chunks in order, from ordinal ``after`` + 1 on."""
    rows = await connection.execute(
        text(
            SELECT_CHUNKS + " AND c.document_id = :document AND c.ordinal > :after "
            "ORDER BY c.ordinal LIMIT :limit"
        ),
        {"workspace": workspace_id, "document": document_id, "after": after, "limit": limit},
    )
    return [_candidate(row) for row in rows]
