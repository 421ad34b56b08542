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
    DocumentId,
    JobId,
    Json,
    ParsedDocument,
    ParseReport,
    Section,
    VersionId,
    WorkspaceId,
)
from citewell.ports import Vectors
from citewell.records.audit import add_audit
from citewell.records.chunks import Publication, chunk_id, publish
from citewell.records.collections import get_collection_id
from citewell.records.documents import Registered, Upload, add_upload
from citewell.records.jobs import Claim, claim_job, finish_job
from citewell.records.lexical import refresh_lexemes
from citewell.records.session import Database

A = PUBLIC_WORKSPACE


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
        added = await add_upload(connection, workspace_id, collection_id, file, "a-request")
        if added.changed:
            await add_audit(
                connection, workspace_id, "document.upload", str(added.document_id), "a-request"
            )
    return added


async def claim(database: Database, workspace_id: WorkspaceId, job_id: JobId) -> Claim | None:
    async with database.transaction(workspace_id) as connection:
        return await claim_job(connection, workspace_id, job_id, 60)


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
    report = ParseReport("text/plain", characters=len(canonical))
    parsed = ParsedDocument(canonical, "Title", sections, (), {}, report)
    return Publication(
        document_id=document_id,
        version_id=version_id,
        parsed=parsed,
        chunks=chunks,
        vectors=random_vectors(len(texts)) if vectors is None else vectors,
        model="all-MiniLM-L6-v2",
    )


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
) -> CollectionId | None:
    """Publish as the worker does: the job ends in the transaction of its chunks."""
    async with database.transaction(workspace_id) as connection:
        await finish_job(connection, workspace_id, held, "done")
        made = publication(held.document_id, held.version_id, texts, vectors)
        return await publish(connection, workspace_id, made)


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
