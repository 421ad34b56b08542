"""A version's rows: how its head, sections and chunks are written, staged or published."""

import hashlib
import json
from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import cache
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from citewell.domain import Chunk, ChunkId, DocumentHead, Section, VersionId, WorkspaceId
from citewell.ports import Vectors
from citewell.records.statements import columns, text
from citewell.records.vector_tables import vector_table
from citewell.records.words import identifier_terms, searchable

CHUNKER_VERSION = 1
"""Raised when the same text would be cut differently: it is part of every chunk's id."""


def chunk_id(version_id: VersionId, ordinal: int) -> ChunkId:
    """Return a chunk's id: the same version cut the same way has the same ids."""
    name = f"{version_id}/{ordinal}/{CHUNKER_VERSION}".encode()
    return ChunkId(UUID(bytes=hashlib.sha256(name).digest()[:16], version=5))


def vector_literal(vector: Vectors) -> str:
    """Write a vector as pgvector reads it, with six digits; a halfvec keeps three."""
    return _vector_form(len(vector)) % tuple(vector.tolist())


@cache
def _vector_form(dimension: int) -> str:
    """Return the form of a whole vector: one piece by piece would take twice as long."""
    return "[" + ",".join(["%.6g"] * dimension) + "]"


def version_values(head: DocumentHead) -> dict[str, object]:
    """Return the columns that a version gets from its file's head."""
    report = asdict(head.report) | {
        "sections": head.section_count,
        "chunks": head.chunk_count,
    }
    return {
        "title": head.title,
        "page_starts": "{" + ",".join(map(str, head.page_starts)) + "}",
        "metadata": json.dumps(head.metadata),
        "report": json.dumps(report),
        "media_type": head.report.media_type,
    }


def chunk_values(
    version_id: VersionId, chunk: Chunk, page_starts: Sequence[int]
) -> dict[str, object]:
    """Return a chunk's columns; the offsets inside it where a page begins as an array literal."""
    first, last = bisect_right(page_starts, chunk.start), bisect_left(page_starts, chunk.end)
    return {
        "id": chunk_id(version_id, chunk.ordinal),
        "ordinal": chunk.ordinal,
        "start": chunk.start,
        "end": chunk.end,
        "text": chunk.text,
        "context": chunk.context,
        "section": chunk.section,
        "page": chunk.page,
        "breaks": "{" + ",".join(map(str, page_starts[first:last])) + "}",
        "tokens": chunk.tokens,
    }


async def save_sections(
    connection: AsyncConnection,
    workspace_id: WorkspaceId,
    sections: Sequence[tuple[VersionId, Section]],
    cited: Mapping[int, str | None] | None = None,
) -> dict[int, str | None]:
    """Write sections; one without a number is cited by its nearest numbered ancestor's.

    ``cited`` holds the cited numbers of a single version's earlier sections; they are returned with
    those that came now.
    """
    numbers: dict[VersionId, dict[int, str | None]] = {}
    rows: list[dict[str, object]] = []
    for version, section in sections:
        known = numbers.setdefault(version, dict(cited or {}))
        above = None if section.parent is None else known[section.parent]
        known[section.ordinal] = section.number or above
        values: dict[str, object] = asdict(section)
        own = {"path": json.dumps(section.path), "version": version}
        rows.append(values | own | {"cited": known[section.ordinal]})
    if rows:
        await connection.execute(
            text(
                "INSERT INTO sections (workspace_id, version_id, ordinal, parent, level, number, "
                'cited_number, title, anchor, path, start, body_start, "end") '
                "SELECT :workspace, version, ordinal, parent, level, number, cited, title, anchor, "
                "ARRAY(SELECT jsonb_array_elements_text(CAST(path AS jsonb))), start, body, stop "
                "FROM unnest(CAST(:version AS uuid[]), CAST(:ordinal AS integer[]), "
                "CAST(:parent AS integer[]), CAST(:level AS integer[]), CAST(:number AS text[]), "
                "CAST(:cited AS text[]), CAST(:title AS text[]), CAST(:anchor AS text[]), "
                "CAST(:path AS text[]), CAST(:start AS integer[]), CAST(:body_start AS integer[]), "
                "CAST(:end AS integer[])) AS s (version, ordinal, parent, level, number, cited, "
                "title, anchor, path, start, body, stop)"
            ),
            {"workspace": workspace_id, **columns(rows)},
        )
    (last,) = list(numbers.values())[-1:] or [dict(cited or {})]
    return last


def terms_of(context: str, body: str) -> dict[str, str]:
    """Return a chunk's words and identifiers as ``citewell_terms`` reads them."""
    own = f"{context} {body}"
    return {"words": searchable(own), "identifiers": identifier_terms(own)}


INSERT_CHUNKS = """
WITH new AS (
    INSERT INTO chunks (workspace_id, id, collection_id, document_id, version_id, ordinal, start,
        "end", text, context, section, page, page_breaks, tokens)
    SELECT :workspace, id, collection, document, version, ordinal, start, stop, body, context,
        section, page, CAST(breaks AS integer[]), tokens
    FROM unnest(CAST(:id AS uuid[]), CAST(:collection AS uuid[]), CAST(:document AS uuid[]),
        CAST(:version AS uuid[]), CAST(:ordinal AS integer[]), CAST(:start AS integer[]),
        CAST(:end AS integer[]), CAST(:text AS text[]), CAST(:context AS text[]),
        CAST(:section AS integer[]), CAST(:page AS integer[]), CAST(:breaks AS text[]),
        CAST(:tokens AS integer[]))
        AS t (id, collection, document, version, ordinal, start, stop, body, context, section,
            page, breaks, tokens)
), terms AS (
    INSERT INTO chunk_terms (workspace_id, chunk_id, collection_id, document_id, keys, bm25)
    SELECT :workspace, id, collection, document,
        citewell_term_keys(collection, words), citewell_bm25(words)
    FROM (SELECT id, collection, document, citewell_terms(language, words, identifiers) AS words
          FROM unnest(CAST(:id AS uuid[]), CAST(:collection AS uuid[]), CAST(:document AS uuid[]),
              CAST(:language AS text[]), CAST(:words AS text[]), CAST(:identifiers AS text[]))
              AS t (id, collection, document, language, words, identifiers) OFFSET 0) w
)
INSERT INTO {table} (workspace_id, chunk_id, collection_id, document_id, model, embedding)
SELECT :workspace, id, collection, document, model, CAST(vector AS halfvec)
FROM unnest(CAST(:id AS uuid[]), CAST(:collection AS uuid[]), CAST(:document AS uuid[]),
    CAST(:model AS text[]), CAST(:vector AS text[])) AS t (id, collection, document, model, vector)
"""

INSERT_AT_ONCE = 500
"""Chunks in one statement: keeps parameters of very large documents within reason."""


async def insert_chunks(
    connection: AsyncConnection, workspace_id: WorkspaceId, rows: Sequence[Mapping[str, object]]
) -> None:
    """Write chunks: ``chunk_values``, ``terms_of``, their language and where they belong.

    Holds:   all vectors have the first one's dimension, which names their table.
    """
    for first in range(0, len(rows), INSERT_AT_ONCE):
        dimension = str(rows[first]["vector"]).count(",") + 1
        await connection.execute(
            text(INSERT_CHUNKS.format(table=vector_table(dimension))),
            {"workspace": workspace_id, **columns(rows[first : first + INSERT_AT_ONCE])},
        )
