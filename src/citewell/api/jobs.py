"""/jobs: what runs in the background, and how it ended."""

from typing import Annotated

from fastapi import APIRouter, Query

from citewell.api import schemas
from citewell.api.deps import CursorQuery, JobIdDep, LimitQuery, ServicesDep, WorkspaceDep
from citewell.domain import JobStatus
from citewell.records.jobs import get_job, list_jobs

router = APIRouter(prefix="/jobs", tags=["jobs"])


@router.get("")
async def list_all(
    services: ServicesDep,
    workspace_id: WorkspaceDep,
    status: Annotated[JobStatus | None, Query()] = None,
    limit: LimitQuery = 50,
    cursor: CursorQuery = None,
) -> schemas.JobPage:
    """List jobs, newest first."""
    async with services.database.transaction(workspace_id) as connection:
        page = await list_jobs(connection, workspace_id, status, limit, cursor)
    return schemas.JobPage(
        jobs=[schemas.Job.model_validate(row) for row in page.items], next_cursor=page.next_cursor
    )


@router.get("/{job_id}")
async def get_one(
    services: ServicesDep, workspace_id: WorkspaceDep, job_id: JobIdDep
) -> schemas.Job:
    """Return one job: its status, its progress, and why it failed if it did."""
    async with services.database.transaction(workspace_id) as connection:
        row = await get_job(connection, workspace_id, job_id)
    return schemas.Job.model_validate(row)
