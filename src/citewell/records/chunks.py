"""Chunks as they are in the index: loaded by id, listed in order, their vectors used again."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from sqlalchemy.ext.asyncio import AsyncConnection

from citewell.domain import Candidate, Chunk, ChunkId, DocumentId, WorkspaceId
from citewell.ports import Vectors
from citewell.records.reading import Reader
from citewell.records.statements import text
from citewell.records.vector_tables import vector_table

_SELECT = """
SELECT c.id, c.document_id, d.name, v.title, c.version_id, c.ordinal, c.text, c.start, c.end,
       c.page, c.page_breaks, s.cited_number, s.title AS section_title, s.path, s.anchor,
       v.metadata || d.metadata{more}
FROM chunks c{beside}
JOIN documents d ON d.workspace_id = c.workspace_id AND d.id = c.document_id
JOIN versions v ON v.workspace_id = c.workspace_id AND v.id = c.version_id
LEFT JOIN sections s ON s.workspace_id = c.workspace_id AND s.version_id = c.version_id
    AND s.ordinal = c.section
WHERE c.workspace_id = :workspace
"""
SELECT_CHUNKS = _SELECT.format(more="", beside="")
SELECT_NEIGHBOURS = _SELECT.format(
    more=", o.id AS centre",
    beside="""
JOIN chunks o ON o.workspace_id = c.workspace_id AND o.version_id = c.version_id
    AND o.section IS NOT DISTINCT FROM c.section AND o.id <> c.id
    AND c.ordinal BETWEEN o.ordinal - :reach AND o.ordinal + :reach""",
)


def _candidate(row: Sequence[Any]) -> Candidate:
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
    connection: Reader, workspace_id: WorkspaceId, chunk_ids: Sequence[ChunkId]
) -> dict[ChunkId, Candidate]:
    """Load chunks with the places they come from; ids that are gone are left out."""
    rows = await connection.execute(
        text(SELECT_CHUNKS + " AND c.id = ANY(CAST(:ids AS uuid[]))"),
        {"workspace": workspace_id, "ids": list(chunk_ids)},
    )
    candidates = [_candidate(row) for row in rows]
    return {candidate.chunk_id: candidate for candidate in candidates}


async def load_neighbours(
    connection: AsyncConnection,
    workspace_id: WorkspaceId,
    chunk_ids: Sequence[ChunkId],
    reach: int,
) -> dict[ChunkId, list[Candidate]]:
    """Load up to ``reach`` chunks on each side of each, of its version and section, in order."""
    rows = await connection.execute(
        text(SELECT_NEIGHBOURS + " AND o.id = ANY(CAST(:ids AS uuid[])) ORDER BY c.ordinal, c.id"),
        {"workspace": workspace_id, "ids": list(chunk_ids), "reach": reach},
    )
    beside: dict[ChunkId, list[Candidate]] = {}
    for *values, centre in rows:
        beside.setdefault(ChunkId(centre), []).append(_candidate(values))
    return beside


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


async def find_vectors(
    connection: AsyncConnection,
    workspace_id: WorkspaceId,
    document_id: DocumentId,
    model: str,
    chunks: Sequence[Chunk],
    dimension: int,
) -> Mapping[int, Vectors]:
    """Return the vectors, by ordinal, of chunks whose text and context the document has already."""
    digests = {_digest(chunk): chunk.ordinal for chunk in chunks}
    rows = await connection.execute(
        text(
            "SELECT * FROM (SELECT encode(sha256(convert_to("
            "c.context || chr(10) || c.text, 'UTF8')), 'hex') AS digest, CAST(v.embedding AS text) "
            f"FROM chunks c JOIN {vector_table(dimension)} v ON v.workspace_id = c.workspace_id "
            "AND v.chunk_id = c.id AND v.model = :model "
            "WHERE c.workspace_id = :workspace AND c.document_id = :document) AS known "
            "WHERE digest = ANY(:digests)"
        ),
        {
            "workspace": workspace_id,
            "document": document_id,
            "model": model,
            "digests": list(digests),
        },
    )
    vectors = {digest: np.array(vector[1:-1].split(","), np.float32) for digest, vector in rows}
    return {
        chunk.ordinal: vectors[digest] for chunk in chunks if (digest := _digest(chunk)) in vectors
    }


def _digest(chunk: Chunk) -> str:
    return hashlib.sha256(f"{chunk.context}\n{chunk.text}".encode()).hexdigest()
