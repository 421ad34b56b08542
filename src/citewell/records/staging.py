"""Large documents between reading and publishing: staged, embedded in parts, published at once.

A version's text, sections and chunks are staged while the file is read; then each part of
``PART_CHUNKS`` chunks is a job of its own, which any worker may embed. What is staged stays: a
worker that dies costs one part at most. When the last part ends, a trigger queues the parent again
with the task "publish" (migration 0002).
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncConnection

from citewell.domain import DocumentHead, JobId, Json, ParsedPart, VersionId, WorkspaceId
from citewell.errors import DocumentRejected, LeaseLost
from citewell.records.leases import Claim, finish_jobs, hold_job
from citewell.records.publish import (
    Outcome,
    activate,
    lock_documents,
    read_places,
    remove_chunks,
)
from citewell.records.quotas import refuse_chunks, take_turn
from citewell.records.statements import columns, text
from citewell.records.usage import book_published
from citewell.records.vector_tables import vector_table
from citewell.records.version_rows import (
    chunk_values,
    save_sections,
    terms_of,
    version_values,
)

PART_CHUNKS = 128
"""Chunks that one job embeds: a few seconds of work, which is what a crash may cost."""


@dataclass(frozen=True, slots=True)
class StagedChunk:
    """A chunk that waits for its vector."""

    ordinal: int
    text: str
    context: str


async def begin_staging(connection: AsyncConnection, claim: Claim) -> None:
    """Remove what an earlier try staged before it was cut off.

    Raises:  LeaseLost – another worker holds the job.
    """
    await hold_job(connection, claim)
    values = {"workspace": claim.workspace_id, "version": claim.version_id}
    for table in ("staged_texts", "staged_chunks", "staged_embeddings", "sections"):
        await connection.execute(
            text(f"DELETE FROM {table} WHERE workspace_id = :workspace AND version_id = :version"),
            values,
        )


async def stage_part(
    connection: AsyncConnection,
    claim: Claim,
    number: int,
    part: ParsedPart,
    cited: dict[int, str | None],
) -> dict[int, str | None]:
    """Keep one part of a file that is being read; ``cited`` is what the part before returned.

    Raises:  LeaseLost – another worker holds the job.
    """
    await hold_job(connection, claim)
    values = {"workspace": claim.workspace_id, "version": claim.version_id}
    if part.text:
        await connection.execute(
            text("INSERT INTO staged_texts VALUES (:workspace, :version, :part, :text)"),
            {**values, "part": number, "text": part.text},
        )
    if part.chunks:
        rows = [
            chunk_values(claim.version_id, chunk, part.head.page_starts) for chunk in part.chunks
        ]
        await connection.execute(text(INSERT_STAGED), {**values, **columns(rows)})
    sections = [(claim.version_id, section) for section in part.sections]
    return await save_sections(connection, claim.workspace_id, sections, cited)


INSERT_STAGED = """
INSERT INTO staged_chunks (workspace_id, version_id, ordinal, chunk_id, start, "end", text, context,
    section, page, page_breaks, tokens)
SELECT :workspace, :version, ordinal, id, start, stop, body, context, section, page,
    CAST(breaks AS integer[]), tokens
FROM unnest(CAST(:id AS uuid[]), CAST(:ordinal AS integer[]), CAST(:start AS integer[]),
    CAST(:end AS integer[]), CAST(:text AS text[]), CAST(:context AS text[]),
    CAST(:section AS integer[]), CAST(:page AS integer[]), CAST(:breaks AS text[]),
    CAST(:tokens AS integer[]))
    AS t (id, ordinal, start, stop, body, context, section, page, breaks, tokens)
"""


async def end_staging(connection: AsyncConnection, claim: Claim, head: DocumentHead) -> None:
    """Note that the whole file is staged: a later try begins with the embeddings that are missing.

    Raises:  LeaseLost – another worker holds the job.
    """
    await hold_job(connection, claim)
    places = await read_places(connection, claim.workspace_id, [claim.version_id])
    language = places[claim.version_id].language_of(head) if places else None
    await connection.execute(
        text(
            "UPDATE versions SET title = :title, page_starts = CAST(:page_starts AS integer[]), "
            "metadata = CAST(:metadata AS jsonb), report = CAST(:report AS jsonb), "
            "media_type = :media_type, language = :language, staged_at = now() "
            "WHERE workspace_id = :workspace AND id = :version"
        ),
        {
            "workspace": claim.workspace_id,
            "version": claim.version_id,
            "language": language,
            **version_values(head),
        },
    )


async def fan_out(
    connection: AsyncConnection,
    claim: Claim,
    model: str,
    progress: Json | None = None,
    *,
    dimension: int,
) -> list[JobId]:
    """Queue a job for each part that lacks vectors, and let the parent wait for them.

    Chunks whose text and context the document's active version has as well take its vectors. When
    nothing is missing, the parent itself is queued to be published. Returns the jobs to send.
    Raises:  LeaseLost – another worker holds the job.
    """
    await hold_job(connection, claim)
    # A book's chunks take their time; the held job keeps its place meanwhile.
    await connection.execute(text("SET LOCAL statement_timeout = 0"))
    values: dict[str, object] = {
        "workspace": claim.workspace_id,
        "version": claim.version_id,
        "document": claim.document_id,
        "job": claim.job_id,
        "model": model,
        "size": PART_CHUNKS,
        "request_id": claim.request_id,
    }
    await connection.execute(text(FORGET_OTHER_MODELS), values)
    reused = await connection.execute(text(TAKE_OVER.format(table=vector_table(dimension))), values)
    await connection.execute(text(FORGET_PARTS), values)
    values["progress"] = json.dumps({**(progress or {}), "reused": reused.rowcount})
    rows = await connection.scalars(text(ADD_PARTS), values)
    parts = [JobId(row) for row in rows]
    await connection.execute(text(WAIT_FOR_PARTS), {**values, "count": len(parts)})
    return parts


FORGET_OTHER_MODELS = """
DELETE FROM staged_embeddings WHERE workspace_id = :workspace AND version_id = :version
AND model <> :model
"""

TAKE_OVER = """
INSERT INTO staged_embeddings (workspace_id, version_id, ordinal, model, embedding, keys, bm25)
SELECT DISTINCT ON (s.ordinal) :workspace, :version, s.ordinal, v.model, v.embedding, t.keys, t.bm25
FROM staged_chunks s
JOIN chunks c ON c.workspace_id = s.workspace_id AND c.document_id = :document
    AND c.text = s.text AND c.context = s.context
JOIN {table} v ON v.workspace_id = c.workspace_id AND v.chunk_id = c.id AND v.model = :model
JOIN chunk_terms t ON t.workspace_id = c.workspace_id AND t.chunk_id = c.id
JOIN versions o ON o.workspace_id = c.workspace_id AND o.id = c.version_id
JOIN versions n ON n.workspace_id = s.workspace_id AND n.id = s.version_id
    AND n.language IS NOT DISTINCT FROM o.language
WHERE s.workspace_id = :workspace AND s.version_id = :version
ON CONFLICT DO NOTHING
"""

FORGET_PARTS = """
DELETE FROM jobs WHERE workspace_id = :workspace AND parent_id = :job AND task = 'embed'
"""

ADD_PARTS = """
INSERT INTO jobs (workspace_id, id, kind, task, parent_id, part, document_id, version_id,
    request_id, run_after)
SELECT :workspace, gen_random_uuid(), 'part', 'embed', :job, s.ordinal / :size, :document, :version,
    :request_id, now()
FROM staged_chunks s WHERE s.workspace_id = :workspace AND s.version_id = :version
AND NOT EXISTS (SELECT FROM staged_embeddings e WHERE e.workspace_id = s.workspace_id
    AND e.version_id = s.version_id AND e.ordinal = s.ordinal)
GROUP BY s.ordinal / :size ORDER BY s.ordinal / :size RETURNING id
"""

WAIT_FOR_PARTS = """
UPDATE jobs SET lease_token = NULL, lease_until = NULL, part_count = :count, open_parts = :count,
    status = CASE WHEN :count = 0 THEN 'queued' ELSE 'running' END,
    task = CASE WHEN :count = 0 THEN 'publish' ELSE 'ingest' END,
    attempt = 0, sent_at = NULL, run_after = now(),
    progress = progress || CAST(:progress AS jsonb) || '{"stage": "embed"}'
WHERE workspace_id = :workspace AND id = :job
"""


async def load_part(connection: AsyncConnection, claim: Claim) -> list[StagedChunk]:
    """Load the chunks of a part that lack vectors."""
    rows = await connection.execute(
        text(
            "SELECT s.ordinal, s.text, s.context FROM staged_chunks s "
            "WHERE s.workspace_id = :workspace AND s.version_id = :version "
            "AND s.ordinal >= :first AND s.ordinal < :first + :size "
            "AND NOT EXISTS (SELECT FROM staged_embeddings e "
            "WHERE e.workspace_id = s.workspace_id AND e.version_id = s.version_id "
            "AND e.ordinal = s.ordinal) ORDER BY s.ordinal"
        ),
        {
            "workspace": claim.workspace_id,
            "version": claim.version_id,
            "first": (claim.part or 0) * PART_CHUNKS,
            "size": PART_CHUNKS,
        },
    )
    return [StagedChunk(*row) for row in rows]


async def finish_part(
    connection: AsyncConnection,
    claim: Claim,
    chunks: Sequence[StagedChunk],
    vectors: Sequence[str],
    model: str,
) -> bool:
    """Keep a part's vectors and terms and end its job; return whether it was the last one.

    Raises:  LeaseLost – another worker holds the job.
    """
    await hold_job(connection, claim)
    terms = [terms_of(chunk.context, chunk.text) for chunk in chunks]
    values: dict[str, object] = {
        "workspace": claim.workspace_id,
        "version": claim.version_id,
        "model": model,
        "ordinals": [chunk.ordinal for chunk in chunks],
        "words": [each["words"] for each in terms],
        "identifiers": [each["identifiers"] for each in terms],
        "vectors": list(vectors),
        "parent": claim.parent_id,
    }
    await connection.execute(text(INSERT_EMBEDDINGS), values)
    await finish_jobs(connection, claim.workspace_id, {claim.job_id: {}})
    ready = await connection.scalar(
        text(
            "SELECT status = 'queued' AND task = 'publish' FROM jobs "
            "WHERE workspace_id = :workspace AND id = :parent"
        ),
        values,
    )
    return bool(ready)


INSERT_EMBEDDINGS = """
INSERT INTO staged_embeddings (workspace_id, version_id, ordinal, model, embedding, keys, bm25)
SELECT :workspace, :version, n.ordinal, :model, CAST(n.vector AS halfvec),
    citewell_term_keys(n.collection_id, n.words), citewell_bm25(n.words)
FROM (SELECT d.collection_id, t.ordinal, t.vector,
          citewell_terms(coalesce(v.language, 'english'), t.words, t.identifiers) AS words
      FROM unnest(CAST(:ordinals AS integer[]), CAST(:vectors AS text[]), CAST(:words AS text[]),
          CAST(:identifiers AS text[])) AS t (ordinal, vector, words, identifiers),
          versions v JOIN documents d ON d.workspace_id = v.workspace_id AND d.id = v.document_id
      WHERE v.workspace_id = :workspace AND v.id = :version OFFSET 0) n
ON CONFLICT DO NOTHING
"""


async def publish_staged(
    connection: AsyncConnection, claim: Claim, keep_versions: int, last_word: Callable[[], Json]
) -> Outcome:
    """Publish a staged version and end its job.

    Holds:   the rows are moved inside PostgreSQL: the worker's memory does not grow with them.
    Raises:  LeaseLost – another worker holds the job, or the document was deleted.
             DocumentRejected – no quota has room for its chunks.
    """
    quotas = await take_turn(connection, claim.workspace_id, "chunks")
    await hold_job(connection, claim)
    # A book's rows may take minutes to be indexed; the held job keeps its place meanwhile.
    await connection.execute(text("SET LOCAL statement_timeout = 0"))
    places = await lock_documents(connection, claim.workspace_id, [claim.version_id])
    if claim.version_id not in places:
        raise LeaseLost("The document was deleted while it was being read.")
    place = places[claim.version_id]
    values: dict[str, object] = {
        "workspace": claim.workspace_id,
        "version": claim.version_id,
        "document": place.document_id,
        "collection": place.collection_id,
    }
    if quotas:
        count = await connection.scalar(text(COUNT_STAGED), values)
        growth = [place.growth(count or 0)]
        refused = await refuse_chunks(connection, claim.workspace_id, quotas, growth)
        if refused:
            raise DocumentRejected("quota_exceeded", refused[claim.version_id])
    await connection.execute(text(JOIN_TEXT), values)
    outcome = Outcome()
    if not place.overtaken:
        await remove_chunks(connection, claim.workspace_id, [place])
        await connection.execute(text(MOVE_CHUNKS), values)
        moved = await connection.execute(text(MOVE_TERMS), values)
        for dimension in await connection.scalars(text(DIMENSIONS), values):
            statement = MOVE_VECTORS.format(table=vector_table(dimension), dimension=dimension)
            await connection.execute(text(statement), values)
        counts: dict[VersionId, int] = {claim.version_id: moved.rowcount}
        outcome.stale, outcome.unused = await activate(
            connection, claim.workspace_id, [place], counts, keep_versions
        )
        outcome.published = {claim.version_id: (place.collection_id, moved.rowcount)}
    await clear_staged(connection, claim.workspace_id, claim.version_id)
    await finish_jobs(connection, claim.workspace_id, {claim.job_id: last_word()})
    await book_published(connection, claim.workspace_id, outcome.published)
    return outcome


async def clear_staged(
    connection: AsyncConnection, workspace_id: WorkspaceId, version_id: VersionId
) -> None:
    """Remove what was staged for a version that is published."""
    for table in ("staged_texts", "staged_chunks", "staged_embeddings"):
        await connection.execute(
            text(f"DELETE FROM {table} WHERE workspace_id = :workspace AND version_id = :version"),
            {"workspace": workspace_id, "version": version_id},
        )


JOIN_TEXT = """
UPDATE versions SET published_at = now(), text = (
    SELECT coalesce(string_agg(text, '' ORDER BY part), '') FROM staged_texts
    WHERE workspace_id = :workspace AND version_id = :version)
WHERE workspace_id = :workspace AND id = :version
"""

COUNT_STAGED = """
SELECT count(*) FROM staged_chunks WHERE workspace_id = :workspace AND version_id = :version
"""
MOVE_CHUNKS = """
INSERT INTO chunks (workspace_id, id, collection_id, document_id, version_id, ordinal, start, "end",
    text, context, section, page, page_breaks, tokens)
SELECT workspace_id, chunk_id, :collection, :document, version_id, ordinal, start, "end", text,
    context, section, page, page_breaks, tokens
FROM staged_chunks WHERE workspace_id = :workspace AND version_id = :version
"""

MOVE_TERMS = """
INSERT INTO chunk_terms (workspace_id, chunk_id, collection_id, document_id, keys, bm25)
SELECT s.workspace_id, s.chunk_id, :collection, :document, e.keys, e.bm25
FROM staged_chunks s JOIN staged_embeddings e USING (workspace_id, version_id, ordinal)
WHERE s.workspace_id = :workspace AND s.version_id = :version
"""

DIMENSIONS = """
SELECT DISTINCT vector_dims(embedding) FROM staged_embeddings
WHERE workspace_id = :workspace AND version_id = :version
"""
"""More than one when the settings were changed while the parts were embedded."""

MOVE_VECTORS = """
INSERT INTO {table} (workspace_id, chunk_id, collection_id, document_id, model, embedding)
SELECT s.workspace_id, s.chunk_id, :collection, :document, e.model, e.embedding
FROM staged_chunks s JOIN staged_embeddings e USING (workspace_id, version_id, ordinal)
WHERE s.workspace_id = :workspace AND s.version_id = :version
AND vector_dims(e.embedding) = {dimension}
"""
