"""What comes in: documents, versions and queued jobs of stored files, many in a few statements."""

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from sqlalchemy import Row
from sqlalchemy.ext.asyncio import AsyncConnection

from citewell.domain import CollectionId, DocumentId, JobId, Json, VersionId, WorkspaceId
from citewell.errors import Conflict, NotFound
from citewell.records.audit import add_audits
from citewell.records.jobs import NewJob, add_job, add_jobs
from citewell.records.quotas import check_held, take_turn
from citewell.records.readers import require_reader, set_readers, written_readers
from citewell.records.statements import columns, text
from citewell.records.usage import Entry, book


@dataclass(frozen=True, slots=True)
class Upload:
    """One file that was stored as a blob and is to become searchable.

    ``readers`` and ``metadata`` that are None leave those that its document has.
    """

    name: str
    source: str
    sha256: str
    size_bytes: int
    media_type: str
    metadata: Json | None
    password: str | None = None
    readers: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Registered:
    """What an upload became. ``changed`` is false when these bytes were here already."""

    document_id: DocumentId
    job_id: JobId
    changed: bool


async def add_uploads(
    connection: AsyncConnection,
    workspace_id: WorkspaceId,
    collection_id: CollectionId,
    uploads: Sequence[Upload],
    request_id: str | None,
    group: tuple[JobId, Sequence[int]] | None = None,
) -> list[Registered]:
    """Register stored files: document, version, queued job and audit row of each, in their order.

    ``group`` is a job that waits for these, and the place of each file among its parts.
    Holds:   same bytes under the same source are a no-op unless their last job failed. Rows are
             locked in the order of their sources, so that two requests never wait for each other.
    Raises:  Conflict – a source is that of a document that who acts may not see.
             AccessError – who acts would not see a document that is limited to these readers.
             QuotaExceeded – they are more than the workspace or the collection may hold.
    """
    quotas = await take_turn(connection, workspace_id, "documents")
    registered: dict[int, Registered] = {}
    taken: list[Entry] = []
    grown_bytes = 0
    for places in _rounds(uploads):
        wanted = [uploads[place] for place in places]
        found = await _find_or_add(connection, workspace_id, collection_id, wanted)
        document_ids, new, described = found
        given = zip(document_ids, (upload.readers for upload in wanted), strict=True)
        limited = {document_id: readers for document_id, readers in given if readers is not None}
        if limited:
            await set_readers(connection, workspace_id, limited, request_id)
        latest = await _latest_versions(connection, workspace_id, document_ids)
        jobs: dict[int, NewJob] = {}
        redescribed: list[str] = []
        versions: list[dict[str, object]] = []
        for place, upload, document_id in zip(places, wanted, document_ids, strict=True):
            known = latest.get(document_id)
            if known is not None and _is_current(known, upload):
                job_id = JobId(known.job_id)
                registered[place] = Registered(document_id, job_id, changed=False)
                if document_id in described:
                    redescribed.append(str(document_id))
                continue
            version_id = VersionId(uuid4())
            number = known.number + 1 if known is not None else 1
            versions.append(_version(version_id, document_id, number, upload))
            size, added = upload.size_bytes, int(document_id in new)
            grown_bytes += size if known is None else size - known.size_bytes
            taken.append(Entry("upload", version_id, collection_id, documents=added, bytes=size))
            jobs[place] = NewJob(
                document_id,
                version_id,
                request_id,
                password=upload.password,
                parent_id=None if group is None else group[0],
                part=None if group is None else group[1][place],
            )
        if jobs:
            await _add_versions(connection, workspace_id, versions)
            job_ids = await add_jobs(connection, workspace_id, list(jobs.values()))
            for (place, job), job_id in zip(jobs.items(), job_ids, strict=True):
                registered[place] = Registered(job.document_id, job_id, changed=True)
            targets = [str(job.document_id) for job in jobs.values()]
            await add_audits(connection, workspace_id, "document.upload", targets, request_id)
        if redescribed:
            await add_audits(connection, workspace_id, "document.metadata", redescribed, request_id)
    grown = sum(entry.documents for entry in taken), grown_bytes
    await check_held(connection, workspace_id, quotas, collection_id, grown)
    await book(connection, workspace_id, taken)
    return [registered[place] for place in range(len(uploads))]


async def add_upload(
    connection: AsyncConnection,
    workspace_id: WorkspaceId,
    collection_id: CollectionId,
    upload: Upload,
    request_id: str | None,
) -> Registered:
    """Register one stored file, as ``add_uploads`` does."""
    (registered,) = await add_uploads(connection, workspace_id, collection_id, [upload], request_id)
    return registered


async def add_reindex(
    connection: AsyncConnection,
    workspace_id: WorkspaceId,
    document_id: DocumentId,
    request_id: str | None,
    password: str | None = None,
) -> Registered:
    """Have a document read, cut and embedded anew, as a new version of the same bytes.

    The version that is searchable now stays so until then. A document that waits for a job is left
    to that job.
    Raises:  NotFound – no such document.
    """
    locked = await connection.scalar(
        text(
            "SELECT id FROM documents WHERE workspace_id = :workspace AND id = :id "
            "FOR NO KEY UPDATE"
        ),
        {"workspace": workspace_id, "id": document_id},
    )
    latest = (await _latest_versions(connection, workspace_id, [document_id])).get(document_id)
    if locked is None or latest is None:
        raise NotFound("There is no document with that id. GET /documents lists them.")
    if latest.status in {"queued", "running"}:
        return Registered(document_id, JobId(latest.job_id), changed=False)
    version_id = VersionId(uuid4())
    await connection.execute(
        text(
            "INSERT INTO versions (workspace_id, id, document_id, number, sha256, size_bytes, "
            "media_type) SELECT workspace_id, :id, document_id, number + 1, sha256, size_bytes, "
            "media_type FROM versions WHERE workspace_id = :workspace AND document_id = :document "
            "AND number = :number"
        ),
        {
            "workspace": workspace_id,
            "id": version_id,
            "document": document_id,
            "number": latest.number,
        },
    )
    job = NewJob(document_id, version_id, request_id, kind="reindex", password=password)
    return Registered(document_id, await add_job(connection, workspace_id, job), changed=True)


def _rounds(uploads: Sequence[Upload]) -> list[list[int]]:
    """Part the files so that a source comes once in each round, and sort each by source."""
    seen: dict[str, int] = defaultdict(int)
    rounds: dict[int, list[int]] = defaultdict(list)
    for place, upload in enumerate(uploads):
        rounds[seen[upload.source]].append(place)
        seen[upload.source] += 1
    return [sorted(places, key=lambda place: uploads[place].source) for places in rounds.values()]


def _is_current(known: Row[Any], upload: Upload) -> bool:
    return known.sha256 == upload.sha256 and known.status in {"queued", "running", "done"}


def _version(
    version_id: VersionId, document_id: DocumentId, number: int, upload: Upload
) -> dict[str, object]:
    return {
        "version": version_id,
        "document": document_id,
        "number": number,
        "sha256": upload.sha256,
        "size": upload.size_bytes,
        "media_type": upload.media_type,
    }


async def _find_or_add(
    connection: AsyncConnection,
    workspace_id: WorkspaceId,
    collection_id: CollectionId,
    uploads: Sequence[Upload],
) -> tuple[list[DocumentId], set[DocumentId], set[DocumentId]]:
    """Find or add the documents of these sources, and lock their rows.

    Returns them in their order, those that are new, and those whose metadata were replaced.
    Raises:  Conflict – one of them is there, and hidden.  AccessError – who adds one of these
             would not see it.
    """
    for upload in uploads:
        require_reader(upload.readers)
    made = [uuid4() for _ in uploads]
    rows = await connection.execute(
        text(
            "INSERT INTO documents "
            "(workspace_id, id, collection_id, name, source, size_bytes, metadata, readers) "
            "SELECT :workspace, id, :collection, name, source, size, "
            "coalesce(CAST(metadata AS jsonb), '{}'::jsonb), CAST(readers AS text[]) "
            "FROM unnest(CAST(:ids AS uuid[]), CAST(:names AS text[]), CAST(:sources AS text[]), "
            "CAST(:sizes AS bigint[]), CAST(:metadata AS text[]), CAST(:readers AS text[])) "
            "WITH ORDINALITY AS n (id, name, source, size, metadata, readers, place) "
            "ORDER BY place "
            "ON CONFLICT (workspace_id, collection_id, source) DO UPDATE SET updated_at = now() "
            "WHERE citewell_may_read(documents.readers) RETURNING id, source"
        ),
        {
            "workspace": workspace_id,
            "collection": collection_id,
            "ids": made,
            "names": [upload.name for upload in uploads],
            "sources": [upload.source for upload in uploads],
            "sizes": [upload.size_bytes for upload in uploads],
            "metadata": [_written(upload.metadata) for upload in uploads],
            "readers": [written_readers(upload.readers) for upload in uploads],
        },
    )
    by_source = {row.source: DocumentId(row.id) for row in rows}
    for upload in uploads:
        if upload.source not in by_source:
            raise Conflict(
                f"A document named {upload.source!r} is in this collection already, and you may "
                "not see it. Give the file another name, or ask an admin.",
                code="name_taken",
            )
    ids = [by_source[upload.source] for upload in uploads]
    given = {
        document_id: upload.metadata
        for document_id, upload in zip(ids, uploads, strict=True)
        if upload.metadata is not None
    }
    new = set(ids).intersection(made)
    if not given:
        return ids, new, set()
    return ids, new, await _set_metadata(connection, workspace_id, given)


async def _set_metadata(
    connection: AsyncConnection, workspace_id: WorkspaceId, given: Mapping[DocumentId, Json]
) -> set[DocumentId]:
    replaced = await connection.scalars(
        text(
            "UPDATE documents d SET metadata = CAST(n.metadata AS jsonb) "
            "FROM unnest(CAST(:ids AS uuid[]), CAST(:metadata AS text[])) AS n (id, metadata) "
            "WHERE d.workspace_id = :workspace AND d.id = n.id "
            "AND d.metadata <> CAST(n.metadata AS jsonb) RETURNING d.id"
        ),
        {
            "workspace": workspace_id,
            "ids": list(given),
            "metadata": [json.dumps(metadata) for metadata in given.values()],
        },
    )
    return {DocumentId(each) for each in replaced}


def _written(metadata: Json | None) -> str | None:
    return None if metadata is None else json.dumps(metadata)


async def _latest_versions(
    connection: AsyncConnection, workspace_id: WorkspaceId, document_ids: Sequence[DocumentId]
) -> dict[DocumentId, Row[Any]]:
    """Return each document's newest version with its last job."""
    rows = await connection.execute(
        text(
            "SELECT DISTINCT ON (v.document_id) v.document_id, v.number, v.sha256, v.size_bytes, "
            "j.id AS job_id, j.status FROM versions v "
            "JOIN jobs j ON j.workspace_id = v.workspace_id AND j.document_id = v.document_id "
            "AND j.version_id = v.id AND j.task <> 'embed' WHERE v.workspace_id = :workspace "
            "AND v.document_id = ANY(CAST(:documents AS uuid[])) "
            "ORDER BY v.document_id, v.number DESC, j.created_at DESC"
        ),
        {"workspace": workspace_id, "documents": list(document_ids)},
    )
    return {DocumentId(row.document_id): row for row in rows}


async def _add_versions(
    connection: AsyncConnection, workspace_id: WorkspaceId, versions: Sequence[dict[str, object]]
) -> None:
    await connection.execute(
        text(
            "WITH added AS (INSERT INTO versions "
            "(workspace_id, id, document_id, number, sha256, size_bytes, media_type) "
            "SELECT :workspace, * FROM unnest(CAST(:version AS uuid[]), CAST(:document AS uuid[]), "
            "CAST(:number AS integer[]), CAST(:sha256 AS text[]), CAST(:size AS bigint[]), "
            "CAST(:media_type AS text[])) RETURNING document_id, size_bytes) "
            "UPDATE documents d SET size_bytes = added.size_bytes FROM added "
            "WHERE d.workspace_id = :workspace AND d.id = added.document_id "
            "AND d.size_bytes <> added.size_bytes"
        ),
        {"workspace": workspace_id, **columns(versions)},
    )
