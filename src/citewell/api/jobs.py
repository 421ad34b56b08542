"""/jobs: what runs in the background, how far it is, and how it ended."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Body, Depends, Query
from fastapi.responses import Response
from sse_starlette import EventSourceResponse, ServerSentEvent

from citewell.api import job_schemas
from citewell.api.context import request_id
from citewell.api.deps import (
    CleanText,
    CursorQuery,
    JobIdDep,
    LimitQuery,
    ServicesDep,
    WorkspaceDep,
)
from citewell.api.once import Accepted, AttemptDep, do_once
from citewell.api.problems import problem_body
from citewell.api.steps import OPEN, wire_job, wire_job_detail
from citewell.domain import DocumentId, JobId, JobKind, JobStatus, WorkspaceId
from citewell.errors import CitewellError
from citewell.records.audit import add_audit
from citewell.records.jobs import JobFilter, cancel_job, get_job, list_jobs, retry_job
from citewell.records.session import Connection
from citewell.wiring import Services

router = APIRouter(prefix="/jobs", tags=["jobs"])

HEARTBEAT_SECONDS = 15
SSE_HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
FIRST_PAUSE_SECONDS = 0.25
LONGEST_PAUSE_SECONDS = 2.0
"""A job is looked at this often; the pauses grow while nothing changes."""


async def get_filter(
    status: Annotated[JobStatus | None, Query()] = None,
    kind: Annotated[JobKind | None, Query()] = None,
    collection: Annotated[CleanText | None, Query()] = None,
    document_id: Annotated[UUID | None, Query()] = None,
    parent_id: Annotated[UUID | None, Query(description="Parts of this job only.")] = None,
) -> JobFilter:
    """Read which jobs a list shows."""
    return JobFilter(
        status=status,
        kind=kind,
        document_id=None if document_id is None else DocumentId(document_id),
        collection=collection,
        parent_id=None if parent_id is None else JobId(parent_id),
    )


@router.get("")
async def list_all(
    services: ServicesDep,
    workspace_id: WorkspaceDep,
    wanted: Annotated[JobFilter, Depends(get_filter)],
    limit: LimitQuery = 50,
    cursor: CursorQuery = None,
) -> job_schemas.JobPage:
    """List jobs, newest first; the parts of large files only by their parent_id."""
    async with services.database.transaction(workspace_id) as connection:
        page = await list_jobs(connection, workspace_id, wanted, limit, cursor)
    return job_schemas.JobPage(
        jobs=[wire_job(row) for row in page.items], next_cursor=page.next_cursor
    )


@router.get("/{job_id}")
async def get_one(
    services: ServicesDep, workspace_id: WorkspaceDep, job_id: JobIdDep
) -> job_schemas.JobDetail:
    """Return one job: its status, its steps and their progress, and why it failed if it did."""
    return await _look(services, workspace_id, job_id)


@router.get("/{job_id}/events", response_class=EventSourceResponse)
async def follow(
    services: ServicesDep, workspace_id: WorkspaceDep, job_id: JobIdDep
) -> EventSourceResponse:
    """Stream a job's progress as server-sent events; done, failed or cancelled is the last one.

    Each event's data is the job as ``GET /jobs/{job_id}`` returns it. The first one comes at once,
    so that a client that lost the connection only has to ask again.
    """
    first = await _look(services, workspace_id, job_id)
    return EventSourceResponse(
        _events(services, workspace_id, first), ping=HEARTBEAT_SECONDS, headers=SSE_HEADERS
    )


@router.post("/{job_id}/cancel", status_code=202, response_model=job_schemas.JobDetail)
async def cancel(
    services: ServicesDep, workspace_id: WorkspaceDep, job_id: JobIdDep, attempt: AttemptDep
) -> Response:
    """Cancel an open job, and the open ones that it waits for; nothing of it is published."""

    async def effect(connection: Connection) -> Accepted:
        await cancel_job(connection, workspace_id, job_id)
        await add_audit(connection, workspace_id, "job.cancel", str(job_id), request_id())
        row = await get_job(connection, workspace_id, job_id)
        return Accepted(wire_job_detail(row), location=f"/jobs/{job_id}")

    reply, _ = await do_once(services, workspace_id, attempt, None, 202, effect)
    return reply


@router.post("/{job_id}/retry", status_code=202, response_model=job_schemas.JobDetail)
async def retry(
    services: ServicesDep,
    workspace_id: WorkspaceDep,
    job_id: JobIdDep,
    attempt: AttemptDep,
    body: Annotated[job_schemas.RetryRequest | None, Body()] = None,
) -> Response:
    """Queue a failed or cancelled job again; of one that waits for others, those that failed."""
    password = None if body is None else job_schemas.plain(body.password)

    async def effect(connection: Connection) -> Accepted:
        jobs = await retry_job(connection, workspace_id, job_id, password)
        await add_audit(connection, workspace_id, "job.retry", str(job_id), request_id())
        row = await get_job(connection, workspace_id, job_id)
        location = f"/jobs/{job_id}"
        if row.task == "wait":
            return Accepted(wire_job_detail(row), location=location, group=job_id)
        return Accepted(wire_job_detail(row), jobs, location)

    content = {"password": password is not None}
    reply, _ = await do_once(services, workspace_id, attempt, content, 202, effect)
    return reply


async def _look(
    services: Services, workspace_id: WorkspaceId, job_id: JobId
) -> job_schemas.JobDetail:
    async with services.database.transaction(workspace_id) as connection:
        return wire_job_detail(await get_job(connection, workspace_id, job_id))


async def _events(
    services: Services, workspace_id: WorkspaceId, job: job_schemas.JobDetail
) -> AsyncIterator[ServerSentEvent]:
    """Yield an event for each change; no connection is held while nothing happens."""
    number, pause = 0, FIRST_PAUSE_SECONDS
    try:
        while job.status in OPEN:
            yield _event(job, "progress", number)
            number += 1
            seen = job
            while job == seen:
                await asyncio.sleep(pause)
                pause = min(pause * 1.5, LONGEST_PAUSE_SECONDS)
                job = await _look(services, workspace_id, JobId(job.job_id))
            pause = FIRST_PAUSE_SECONDS
        yield _event(job, job.status, number)
    except CitewellError as error:
        problem: Any = problem_body(error.status, error.reason, error.message)
        yield ServerSentEvent(json.dumps(problem), event="error")


def _event(job: job_schemas.JobDetail, name: str, number: int) -> ServerSentEvent:
    return ServerSentEvent(job.model_dump_json(), event=name, id=str(number))
