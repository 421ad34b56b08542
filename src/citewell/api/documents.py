"""/documents: upload, list, look into, delete."""

import json
from typing import Annotated, Any, cast

from fastapi import APIRouter, File, Form, Query, Response, UploadFile
from fastapi.responses import PlainTextResponse

from citewell.api import schemas
from citewell.api.context import request_id
from citewell.api.deps import (
    CleanText,
    CursorQuery,
    DocumentIdDep,
    LimitQuery,
    ServicesDep,
    VersionIdDep,
    WorkspaceDep,
    storable_json,
)
from citewell.api.uploads import accept_files
from citewell.domain import DEFAULT_COLLECTION
from citewell.errors import Unprocessable
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

router = APIRouter(prefix="/documents", tags=["documents"])

MOST_METADATA_CHARACTERS = 100_000


@router.post("/upload", status_code=202)
async def upload(
    services: ServicesDep,
    workspace_id: WorkspaceDep,
    files: Annotated[list[UploadFile], File(description="One or more files.")],
    collection: Annotated[CleanText, Form()] = DEFAULT_COLLECTION,
    metadata: Annotated[
        CleanText | None, Form(description='A JSON object, for instance {"author": "Huygens"}.')
    ] = None,
) -> schemas.UploadReply:
    """Store files and queue their ingestion; the same bytes under the same name are a no-op.

    A file that cannot be accepted is reported as rejected; when none can be, the reply is its
    error.
    """
    accepted = await accept_files(
        services, workspace_id, collection, files, _read_metadata(metadata)
    )
    return schemas.UploadReply(documents=accepted)


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


def _read_metadata(written: str | None) -> dict[str, Any] | None:
    if written is None or not written.strip():
        return None
    if len(written) > MOST_METADATA_CHARACTERS:
        raise Unprocessable("metadata is too long. Send at most 100,000 characters.")
    try:
        metadata = json.loads(written)
    except (ValueError, RecursionError) as error:
        raise Unprocessable(
            'metadata is not valid JSON. Send an object such as {"author": "Huygens"}.'
        ) from error
    if not isinstance(metadata, dict):
        raise Unprocessable('metadata must be a JSON object, such as {"author": "Huygens"}.')
    try:
        return storable_json(cast("dict[str, Any]", metadata))
    except ValueError as error:
        raise Unprocessable(
            "metadata holds a value that cannot be kept: NUL, NaN, a lone "
            "surrogate, or too deep a nesting. Take it out."
        ) from error
