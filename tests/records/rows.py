"""Rows for the tests of the records, made by the records' own functions."""

import hashlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import uuid4

import numpy as np
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from citewell.adapters.local_blobs import LocalBlobStore
from citewell.domain import (
    PUBLIC_WORKSPACE,
    Chunk,
    ChunkId,
    CollectionId,
    DocumentHead,
    DocumentId,
    JobId,
    Json,
    ParseReport,
    Section,
    Task,
    VersionId,
    WorkspaceId,
)
from citewell.ports import Vectors
from citewell.records.collections import get_collection_id
from citewell.records.leases import Claim, claim_jobs, finish_jobs, hold_job, requeue_expired
from citewell.records.lexical import refresh_lexemes
from citewell.records.publish import Outcome, Publication, publish
from citewell.records.session import Database
from citewell.records.uploads import Registered, Upload, add_upload
from citewell.records.version_rows import chunk_id, vector_literal

A = PUBLIC_WORKSPACE
MODEL = "all-MiniLM-L6-v2"
KEPT = 2
"""Earlier versions that these tests keep."""


@dataclass(frozen=True, slots=True)
class Published:
    """A document that was brought in, and its chunks."""

    document_id: DocumentId
    version_id: VersionId
    job_id: JobId
    collection_id: CollectionId
    chunk_ids: list[ChunkId]
    text: str


async def add_workspace(database: Database, name: str = "other") -> WorkspaceId:
    """Make a second workspace with its default collection."""
    workspace_id = WorkspaceId(uuid4())
    async with database.system_transaction() as connection:
        await connection.execute(
            text("INSERT INTO workspaces (id, name) VALUES (:id, :name)"),
            {"id": workspace_id, "name": name},
        )
        await connection.execute(
            text("INSERT INTO collections (workspace_id, id, name) VALUES (:w, :id, 'default')"),
            {"w": workspace_id, "id": uuid4()},
        )
    return workspace_id


async def upload(
    database: Database,
    workspace_id: WorkspaceId,
    name: str,
    data: bytes = b"some bytes",
    *,
    collection: str = "default",
    metadata: Json | None = None,
    blobs: LocalBlobStore | None = None,
) -> Registered:
    """Register a file as the API does."""
    sha256 = hashlib.sha256(data).hexdigest()
    if blobs is not None:
        await blobs.add(io.BytesIO(data))
    file = Upload(name, name, sha256, len(data), "text/plain", metadata)
    async with database.transaction(workspace_id) as connection:
        collection_id = await get_collection_id(connection, workspace_id, collection)
        return await add_upload(connection, workspace_id, collection_id, file, "a-request")


async def claim(
    database: Database, workspace_id: WorkspaceId, job_id: JobId, task: Task = "ingest"
) -> Claim | None:
    async with database.transaction(workspace_id) as connection:
        claims = await claim_jobs(connection, workspace_id, [(job_id, task)], 60)
        return claims.get(job_id)


async def claim_again(database: Database, workspace_id: WorkspaceId, job_id: JobId) -> Claim:
    """Take a job over from a worker whose lease ran out."""
    async with database.system_transaction() as connection:
        assert await requeue_expired(connection, 5)
    await value(database, "UPDATE jobs SET run_after = now() WHERE status = 'queued'")
    held = await claim(database, workspace_id, job_id)
    assert held is not None
    return held


def publication(
    document_id: DocumentId,
    version_id: VersionId,
    texts: Sequence[str],
    vectors: Vectors | None = None,
) -> Publication:
    """Make a version of these chunks, one section each, parted by empty lines."""
    canonical = "\n\n".join(texts)
    chunks: list[Chunk] = []
    start = 0
    for ordinal, piece in enumerate(texts):
        end = start + len(piece)
        chunks.append(Chunk(ordinal, start, end, piece, "", ordinal, None, len(piece.split())))
        start = end + 2
    sections = tuple(
        Section(
            c.ordinal, None, 1, str(c.ordinal + 1), f"S{c.ordinal}", None, ("S",), c.start, c.start,
            c.end,
        )
        for c in chunks
    )  # fmt: skip
    drawn = random_vectors(len(texts)) if vectors is None else vectors
    return Publication(
        document_id=document_id,
        version_id=version_id,
        head=head(len(canonical), len(sections), len(chunks)),
        text=canonical,
        sections=sections,
        chunks=chunks,
        vectors=[vector_literal(row) for row in drawn],
        model=MODEL,
    )


def head(characters: int, section_count: int, chunk_count: int) -> DocumentHead:
    """What is known of a plain text."""
    report = ParseReport("text/plain", characters=characters)
    return DocumentHead("Title", (), {}, report, section_count, chunk_count)


def random_vectors(count: int, seed: int = 1) -> Vectors:
    """Unit vectors that a half-precision store holds as they are."""
    drawn = np.random.default_rng(seed).standard_normal((count, 384)).astype(np.float32)
    drawn /= np.linalg.norm(drawn, axis=1, keepdims=True)
    return drawn.astype(np.float16).astype(np.float32)


async def publish_claim(
    database: Database,
    workspace_id: WorkspaceId,
    held: Claim,
    texts: Sequence[str],
    vectors: Vectors | None = None,
) -> Outcome:
    """Publish as the worker does: the job ends in the transaction of its chunks."""
    async with database.transaction(workspace_id) as connection:
        await hold_job(connection, held)
        made = publication(held.document_id, held.version_id, texts, vectors)
        outcome = await publish(connection, workspace_id, [made], KEPT)
        await finish_jobs(connection, workspace_id, {held.job_id: {}})
        return outcome


async def add_document(
    database: Database,
    workspace_id: WorkspaceId,
    name: str,
    texts: Sequence[str],
    *,
    collection: str = "default",
    metadata: Json | None = None,
    vectors: Vectors | None = None,
    blobs: LocalBlobStore | None = None,
) -> Published:
    """Take a document all the way: upload, claim, publish, count its terms."""
    data = "\n\n".join(texts).encode()
    added = await upload(
        database, workspace_id, name, data, collection=collection, metadata=metadata, blobs=blobs
    )
    held = await claim(database, workspace_id, added.job_id)
    assert held is not None
    await publish_claim(database, workspace_id, held, texts, vectors)
    async with database.transaction(workspace_id) as connection:
        collection_id = await get_collection_id(connection, workspace_id, collection)
        await refresh_lexemes(connection, workspace_id, collection_id)
    ids = [chunk_id(held.version_id, ordinal) for ordinal in range(len(texts))]
    return Published(
        added.document_id, held.version_id, added.job_id, collection_id, ids, data.decode()
    )


async def count(connection: AsyncConnection, table: str, where: str = "true") -> int:
    found = await connection.scalar(text(f"SELECT count(*) FROM {table} WHERE {where}"))
    assert found is not None
    return found


async def value(database: Database, statement: str, **values: object) -> object:
    """Read or change one thing across all workspaces."""
    async with database.system_transaction() as connection:
        done = await connection.execute(text(statement), values)
        return done.scalar() if done.returns_rows else done.rowcount


async def snapshot(database: Database, *tables: str) -> dict[str, list[str]]:
    """Every row of the tables, as text."""
    async with database.system_transaction() as connection:
        return {
            table: sorted(await connection.scalars(text(f"SELECT t::text FROM {table} t")))
            for table in tables
        }
