"""/documents: upload, list, look into, delete."""

from dataclasses import asdict
from typing import Annotated

from fastapi import APIRouter, File, Form, Query, Response, UploadFile
from fastapi.responses import PlainTextResponse

from citewell.api import job_schemas, schemas
from citewell.api.context import request_id
from citewell.api.deps import (
    CleanText,
    CursorQuery,
    DocumentIdDep,
    LimitQuery,
    Password,
    ServicesDep,
    VersionIdDep,
    WorkspaceDep,
)
from citewell.api.metadata import read_metadata
from citewell.api.once import Accepted, AttemptDep
from citewell.api.readers import ReadersForm, read_readers
from citewell.api.uploads import (
    clean_name,
    describe,
    fingerprint_of,
    incoming_files,
    jobs_of,
    register_files,
    store_files,
    take_once,
)
from citewell.domain import DEFAULT_COLLECTION
from citewell.records.audit import add_audit
from citewell.records.blobs import remove_unused_blobs
from citewell.records.chunks import list_chunks
from citewell.records.collections import get_collection_id
from citewell.records.documents import (
    get_document,
    get_text,
    list_documents,
    remove_document,
)
from citewell.records.revisions import find_known, list_versions
from citewell.records.session import Connection

router = APIRouter(prefix="/documents", tags=["documents"])


@router.post("/upload", status_code=202, response_model=schemas.UploadReply)
async def upload(
    services: ServicesDep,
    workspace_id: WorkspaceDep,
    attempt: AttemptDep,
    files: Annotated[list[UploadFile], File(description="One or more files.")],
    collection: Annotated[CleanText, Form()] = DEFAULT_COLLECTION,
    metadata: Annotated[
        CleanText | None, Form(description='A JSON object, for instance {"author": "Huygens"}.')
    ] = None,
    password: Annotated[
        Password | None, Form(description="Opens encrypted files; forgotten when the job ends.")
    ] = None,
    readers: ReadersForm = None,
) -> Response:
    """Store files and queue their ingestion; the same bytes under the same name are a no-op.

    A file that cannot be accepted is reported as rejected; when none can be, the reply is its
    error.
    """
    given, limited = read_metadata(metadata), read_readers(readers)
    if attempt.key is None:
        # An unknown collection is told before anything is stored.
        async with services.database.transaction(workspace_id) as connection:
            await get_collection_id(connection, workspace_id, collection)
    incoming = incoming_files(files, given, job_schemas.plain(password), limited)
    stored = await store_files(services, incoming)

    async def effect(connection: Connection) -> Accepted:
        collection_id = await get_collection_id(
            connection, workspace_id, collection, lock="FOR KEY SHARE"
        )
        added = await register_files(services, connection, workspace_id, collection_id, stored)
        reply = schemas.UploadReply(documents=describe(stored, added))
        return Accepted(reply, jobs_of(added))

    content = [fingerprint_of(stored), collection, given, limited]
    return await take_once(services, workspace_id, attempt, stored, content, effect)


@router.post("/known")
async def list_known(
    services: ServicesDep, workspace_id: WorkspaceDep, body: schemas.KnownRequest
) -> schemas.KnownReply:
    """Say which files need no upload: their bytes are their document's newest version already."""
    sent = {(clean_name(file.source), file.sha256): file.source for file in body.files}
    async with services.database.transaction(workspace_id) as connection:
        collection_id = await get_collection_id(connection, workspace_id, body.collection)
        found = await find_known(connection, workspace_id, collection_id, list(sent))
    return schemas.KnownReply(
        files=[
            schemas.KnownFile.model_validate(
                {**asdict(item), "source": sent[item.source, item.sha256]}
            )
            for item in found
        ]
    )


@router.get("")
async def list_all(
    services: ServicesDep,
    workspace_id: WorkspaceDep,
    collection: Annotated[CleanText | None, Query()] = None,
    limit: LimitQuery = 50,
    cursor: CursorQuery = None,
) -> schemas.DocumentPage:
    """List documents, newest first."""
    async with services.database.transaction(workspace_id) as connection:
        collection_id = (
            None
            if collection is None
            else await get_collection_id(connection, workspace_id, collection)
        )
        page = await list_documents(connection, workspace_id, collection_id, limit, cursor)
    return schemas.DocumentPage(
        documents=[schemas.Document.model_validate(row) for row in page.items],
        next_cursor=page.next_cursor,
    )


@router.get("/{document_id}")
async def get_one(
    services: ServicesDep, workspace_id: WorkspaceDep, document_id: DocumentIdDep
) -> schemas.DocumentDetail:
    """Return one document with its truth report."""
    async with services.database.transaction(workspace_id) as connection:
        row = await get_document(connection, workspace_id, document_id)
    return schemas.DocumentDetail.model_validate(row)


@router.get("/{document_id}/text", response_class=PlainTextResponse)
async def read_text(
    services: ServicesDep,
    workspace_id: WorkspaceDep,
    document_id: DocumentIdDep,
    version_id: VersionIdDep,
) -> Response:
    """Return the canonical text that every citation's offsets count in (Unicode code points)."""
    async with services.database.transaction(workspace_id) as connection:
        version, text = await get_text(connection, workspace_id, document_id, version_id)
    return PlainTextResponse(text, headers={"X-Version-ID": str(version)})


@router.get("/{document_id}/versions")
async def list_document_versions(
    services: ServicesDep, workspace_id: WorkspaceDep, document_id: DocumentIdDep
) -> schemas.Versions:
    """List a document's kept versions, newest first."""
    async with services.database.transaction(workspace_id) as connection:
        rows = await list_versions(connection, workspace_id, document_id)
    return schemas.Versions(versions=[schemas.VersionInfo.model_validate(row) for row in rows])


@router.get("/{document_id}/chunks")
async def list_document_chunks(
    services: ServicesDep,
    workspace_id: WorkspaceDep,
    document_id: DocumentIdDep,
    limit: LimitQuery = 50,
    after: Annotated[int, Query(ge=-1, le=2**31 - 1, description="Last ordinal seen.")] = -1,
) -> schemas.ChunkPage:
    """List a document's chunks in order."""
    async with services.database.transaction(workspace_id) as connection:
        await get_document(connection, workspace_id, document_id)
        chunks = await list_chunks(connection, workspace_id, document_id, after, limit)
    return schemas.ChunkPage(
        chunks=[schemas.Chunk.model_validate(chunk) for chunk in chunks],
        next_after=chunks[-1].ordinal if len(chunks) == limit else None,
    )


@router.delete("/{document_id}", status_code=204)
async def delete(
    services: ServicesDep, workspace_id: WorkspaceDep, document_id: DocumentIdDep
) -> None:
    """Delete a document with its versions, chunks, vectors and file; open jobs are cancelled."""
    async with services.database.transaction(workspace_id) as connection:
        hashes = await remove_document(connection, workspace_id, document_id)
        await add_audit(connection, workspace_id, "document.delete", str(document_id), request_id())
    await remove_unused_blobs(services.database, services.blobs, hashes)
