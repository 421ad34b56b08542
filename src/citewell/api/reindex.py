"""Read anew what is here: one document, or all of a collection, each as a new version."""

from typing import Annotated

from fastapi import APIRouter, Path
from fastapi.responses import Response

from citewell.api import job_schemas
from citewell.api.context import request_id
from citewell.api.deps import CleanText, DocumentIdDep, ServicesDep, WorkspaceDep
from citewell.api.once import Accepted, AttemptDep, do_once
from citewell.records.audit import add_audit
from citewell.records.collections import get_collection_id
from citewell.records.jobs import JobRow, get_job
from citewell.records.reindex import reindex_collection
from citewell.records.session import Connection
from citewell.records.uploads import add_reindex

router = APIRouter(tags=["reindexing"])


@router.post(
    "/documents/{document_id}/reindex", status_code=202, response_model=job_schemas.ReindexReply
)
async def reindex_one(
    services: ServicesDep,
    workspace_id: WorkspaceDep,
    document_id: DocumentIdDep,
    attempt: AttemptDep,
) -> Response:
    """Read a document anew; one that waits for a job is left to that job."""

    async def effect(connection: Connection) -> Accepted:
        added = await add_reindex(connection, workspace_id, document_id, request_id())
        if added.changed:
            target = str(document_id)
            await add_audit(connection, workspace_id, "document.reindex", target, request_id())
        job = await get_job(connection, workspace_id, added.job_id)
        jobs = [added.job_id] if added.changed else []
        return Accepted(_reply(job, 1), jobs, f"/jobs/{job.job_id}")

    reply, _ = await do_once(services, workspace_id, attempt, None, 202, effect)
    return reply


@router.post(
    "/collections/{name}/reindex", status_code=202, response_model=job_schemas.ReindexReply
)
async def reindex_all(
    services: ServicesDep,
    workspace_id: WorkspaceDep,
    name: Annotated[CleanText, Path()],
    attempt: AttemptDep,
) -> Response:
    """Read all documents of a collection anew; what is searchable now stays so until then."""

    async def effect(connection: Connection) -> Accepted:
        collection_id = await get_collection_id(
            connection, workspace_id, name, lock="FOR KEY SHARE"
        )
        group, count = await reindex_collection(
            connection, workspace_id, collection_id, request_id()
        )
        await add_audit(connection, workspace_id, "collection.reindex", name, request_id())
        job = await get_job(connection, workspace_id, group)
        reply = _reply(job, count)
        return Accepted(reply, location=f"/jobs/{group}", group=group)

    reply, _ = await do_once(services, workspace_id, attempt, None, 202, effect)
    return reply


def _reply(job: JobRow, documents: int) -> job_schemas.ReindexReply:
    return job_schemas.ReindexReply(job_id=job.job_id, status=job.status, documents=documents)
