"""/rag/pipeline: take a file of the inbox, or a document that is here, along its path."""

import asyncio
import os
from typing import Any

from fastapi import APIRouter
from fastapi.responses import Response

from citewell.api import job_schemas
from citewell.api.context import request_id
from citewell.api.deps import ServicesDep, WorkspaceDep
from citewell.api.inbox import open_inbox_file
from citewell.api.metadata import check_metadata
from citewell.api.once import Accepted, Attempt, AttemptDep, do_once
from citewell.api.steps import STEPS, step_id
from citewell.api.uploads import (
    Incoming,
    fingerprint_of,
    register_files,
    store_files,
    take_once,
)
from citewell.domain import DEFAULT_COLLECTION, DocumentId, WorkspaceId
from citewell.errors import NotFound
from citewell.records.audit import add_audit
from citewell.records.collections import get_collection_id
from citewell.records.documents import get_document, set_metadata
from citewell.records.readers import set_readers
from citewell.records.session import Connection
from citewell.records.uploads import Registered, add_reindex
from citewell.wiring import Services

router = APIRouter(tags=["pipeline"])


@router.post("/rag/pipeline", status_code=202, response_model=job_schemas.PipelineReply)
async def run(
    services: ServicesDep,
    workspace_id: WorkspaceDep,
    body: job_schemas.PipelineRequest,
    attempt: AttemptDep,
) -> Response:
    """Ingest a file of the inbox, or an uploaded document anew; return the ids of the steps."""
    metadata = check_metadata(body.metadata)
    if body.document_id is not None:
        return await _run_again(services, workspace_id, body, attempt)
    file_name = body.file_name or ""
    inbox = services.settings.inbox
    with await asyncio.to_thread(open_inbox_file, inbox, file_name) as stream:
        size = os.fstat(stream.fileno()).st_size
        password = job_schemas.plain(body.password)
        return await _run_file(
            services,
            workspace_id,
            attempt,
            body.collection or DEFAULT_COLLECTION,
            Incoming(file_name, stream, size, metadata, password, readers=_readers(body)),
        )


async def _run_file(
    services: Services,
    workspace_id: WorkspaceId,
    attempt: Attempt,
    collection: str,
    file: Incoming,
) -> Response:
    stored = await store_files(services, [file])

    async def effect(connection: Connection) -> Accepted:
        collection_id = await get_collection_id(
            connection, workspace_id, collection, lock="FOR KEY SHARE"
        )
        added = await register_files(services, connection, workspace_id, collection_id, stored)
        return _accepted(added[0])

    content = [fingerprint_of(stored), collection, file.metadata, file.readers]
    return await take_once(services, workspace_id, attempt, stored, content, effect)


async def _run_again(
    services: Services,
    workspace_id: WorkspaceId,
    body: job_schemas.PipelineRequest,
    attempt: Attempt,
) -> Response:
    async def effect(connection: Connection) -> Accepted:
        document_id = DocumentId(body.document_id)  # pyright: ignore[reportArgumentType]
        password = job_schemas.plain(body.password)
        document = await get_document(connection, workspace_id, document_id)
        if body.collection is not None and document.collection != body.collection:
            raise NotFound(
                "There is no document with that id in this collection. GET /documents lists them."
            )
        added = await add_reindex(connection, workspace_id, document_id, request_id(), password)
        if body.metadata is not None:
            await set_metadata(connection, workspace_id, document_id, body.metadata)
        if body.readers is not None:
            limited = {document_id: body.readers}
            await set_readers(connection, workspace_id, limited, request_id())
        if added.changed or body.metadata is not None:
            action = "document.reindex" if added.changed else "document.metadata"
            await add_audit(connection, workspace_id, action, str(document_id), request_id())
        return _accepted(added)

    content: Any = body.model_dump(mode="json", exclude={"password"})
    content["password"] = body.password is not None
    reply, _ = await do_once(services, workspace_id, attempt, content, 202, effect)
    return reply


def _readers(body: job_schemas.PipelineRequest) -> tuple[str, ...] | None:
    return None if body.readers is None else tuple(body.readers)


def _accepted(added: Registered) -> Accepted:
    reply = job_schemas.PipelineReply(
        job_id=added.job_id,
        document_id=added.document_id,
        status="queued" if added.changed else "unchanged",
        steps=[
            job_schemas.StepName(step_id=step_id(added.job_id, name), name=name) for name in STEPS
        ],
    )
    return Accepted(reply, [added.job_id] if added.changed else [], f"/jobs/{added.job_id}")
