"""The ledger of background jobs: claimed by lease and token, so that nothing is lost or doubled.

queued → running → done | failed | cancelled. A worker holds a job by a lease that it must renew,
and publishes only while its token is still the row's: a worker that was given up for dead changes
nothing when it wakes. A broker message is only a hint that a row waits here.
"""

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Literal
from uuid import UUID, uuid4

from sqlalchemy.ext.asyncio import AsyncConnection

from citewell.domain import DocumentId, JobId, JobStatus, Json, VersionId, WorkspaceId
from citewell.errors import LeaseLost, NotFound
from citewell.records.paging import Page, decode_cursor, page_of
from citewell.records.statements import text

FIRST_RETRY_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Claim:
    """A job that this worker holds, and the file that it is about."""

    job_id: JobId
    token: UUID
    attempt: int
    document_id: DocumentId
    version_id: VersionId
    name: str
    sha256: str
    media_type: str
    request_id: str | None


@dataclass(frozen=True, slots=True)
class JobRow:
    """A job as a list shows it."""

    job_id: JobId
    kind: str
    status: JobStatus
    reason: str | None
    message: str | None
    attempt: int
    progress: Json
    document_id: DocumentId | None
    document_name: str | None
    request_id: str | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None


async def claim_job(
    connection: AsyncConnection, workspace_id: WorkspaceId, job_id: JobId, lease_seconds: float
) -> Claim | None:
    """Take a waiting job, or one whose lease ran out; None when there is nothing to take."""
    token = uuid4()
    row = (
        await connection.execute(
            text(
                "UPDATE jobs j SET status = 'running', attempt = j.attempt + 1, "
                "lease_token = :token, lease_until = now() + make_interval(secs => :lease), "
                "started_at = coalesce(j.started_at, now()), reason = NULL, message = NULL, "
                'progress = \'{"stage": "parse"}\' '
                "FROM versions v JOIN documents d "
                "ON d.workspace_id = v.workspace_id AND d.id = v.document_id "
                "WHERE j.workspace_id = :workspace AND j.id = :job "
                "AND v.workspace_id = j.workspace_id AND v.id = j.version_id "
                "AND ((j.status = 'queued' AND coalesce(j.run_after, now()) <= now()) "
                "OR (j.status = 'running' AND j.lease_until < now())) "
                "RETURNING j.attempt, d.id, v.id, d.name, v.sha256, v.media_type, j.request_id"
            ),
            {"workspace": workspace_id, "job": job_id, "token": token, "lease": lease_seconds},
        )
    ).one_or_none()
    return None if row is None else Claim(job_id, token, *row)


async def renew_lease(
    connection: AsyncConnection,
    workspace_id: WorkspaceId,
    claim: Claim,
    lease_seconds: float,
    progress: Json,
) -> None:
    """Say that the worker lives, and how far it is.

    Raises:  LeaseLost – another worker took the job, or it was cancelled.
    """
    renewed = await connection.execute(
        text(
            "UPDATE jobs SET lease_until = now() + make_interval(secs => :lease), "
            "progress = CAST(:progress AS jsonb) WHERE workspace_id = :workspace AND id = :job "
            "AND lease_token = :token AND status = 'running'"
        ),
        {
            "workspace": workspace_id,
            "job": claim.job_id,
            "token": claim.token,
            "lease": lease_seconds,
            "progress": json.dumps(progress),
        },
    )
    if renewed.rowcount == 0:
        raise LeaseLost


async def finish_job(
    connection: AsyncConnection,
    workspace_id: WorkspaceId,
    claim: Claim,
    status: Literal["done", "failed"],
    reason: str | None = None,
    message: str | None = None,
) -> None:
    """End a job for good, in the transaction that publishes its work.

    Raises:  LeaseLost – this worker does not hold the job any more; nothing may be published.
    """
    finished = await connection.execute(
        text(
            "UPDATE jobs SET status = :status, reason = :reason, message = :message, "
            "finished_at = now(), lease_token = NULL, lease_until = NULL, "
            "progress = progress || CAST(:progress AS jsonb) WHERE workspace_id = :workspace "
            "AND id = :job AND lease_token = :token AND status = 'running'"
        ),
        {
            "workspace": workspace_id,
            "job": claim.job_id,
            "token": claim.token,
            "status": status,
            "reason": reason,
            "message": message,
            "progress": json.dumps({"stage": status}),
        },
    )
    if finished.rowcount == 0:
        raise LeaseLost


async def release_job(
    connection: AsyncConnection,
    workspace_id: WorkspaceId,
    claim: Claim,
    max_attempts: int,
    reason: str,
    message: str,
) -> None:
    """Give a job back after a passing fault: queued with a pause, or failed after the last try."""
    if claim.attempt >= max_attempts:
        await finish_job(connection, workspace_id, claim, "failed", reason, message)
        return
    await connection.execute(
        text(
            "UPDATE jobs SET status = 'queued', lease_token = NULL, lease_until = NULL, "
            "sent_at = NULL, reason = :reason, message = :message, "
            "run_after = now() + make_interval(secs => :pause) "
            "WHERE workspace_id = :workspace AND id = :job AND lease_token = :token"
        ),
        {
            "workspace": workspace_id,
            "job": claim.job_id,
            "token": claim.token,
            "reason": reason,
            "message": message,
            "pause": FIRST_RETRY_SECONDS * 2 ** (claim.attempt - 1),
        },
    )


async def return_job(connection: AsyncConnection, workspace_id: WorkspaceId, claim: Claim) -> None:
    """Give a job back untried, because its worker is told to stop; it waits for another one."""
    await connection.execute(
        text(
            "UPDATE jobs SET status = 'queued', attempt = attempt - 1, lease_token = NULL, "
            "lease_until = NULL, sent_at = NULL, run_after = now(), "
            'progress = \'{"stage": "queued"}\' '
            "WHERE workspace_id = :workspace AND id = :job AND lease_token = :token"
        ),
        {"workspace": workspace_id, "job": claim.job_id, "token": claim.token},
    )


async def mark_sent(
    connection: AsyncConnection, workspace_id: WorkspaceId, job_ids: list[JobId]
) -> None:
    """Note that the broker took these jobs' messages."""
    await connection.execute(
        text(
            "UPDATE jobs SET sent_at = now() "
            "WHERE workspace_id = :workspace AND id = ANY(CAST(:jobs AS uuid[])) "
            "AND status = 'queued' AND coalesce(run_after, now()) <= now()"
        ),
        {"workspace": workspace_id, "jobs": job_ids},
    )


async def forget_workers(connection: AsyncConnection) -> None:
    """End every lease and unsend every message: no worker and no broker's memory can be left.

    Needs a system transaction.
    """
    await connection.execute(text("UPDATE jobs SET lease_until = now() WHERE status = 'running'"))
    await connection.execute(
        text("UPDATE jobs SET sent_at = NULL, run_after = now() WHERE status = 'queued'")
    )


async def requeue_expired(connection: AsyncConnection, max_attempts: int) -> int:
    """Give up on silent workers: their jobs are queued again, or failed after the last try.

    Needs a system transaction. Returns how many jobs changed.
    """
    changed = await connection.execute(
        text(
            "UPDATE jobs SET lease_token = NULL, lease_until = NULL, sent_at = NULL, "
            "status = CASE WHEN attempt >= :most THEN 'failed' ELSE 'queued' END, "
            "finished_at = CASE WHEN attempt >= :most THEN now() END, reason = 'worker_lost', "
            "message = CASE WHEN attempt >= :most THEN 'The worker stopped while reading this "
            "document, each time it was tried. Upload it again, or in smaller parts.' "
            "ELSE 'The worker stopped while reading this document; it is tried again.' END "
            "WHERE status = 'running' AND lease_until < now()"
        ),
        {"most": max_attempts},
    )
    return changed.rowcount


async def list_unsent(
    connection: AsyncConnection, unsent_after_seconds: float, limit: int, broker_empty: bool
) -> list[tuple[WorkspaceId, JobId, str]]:
    """List queued jobs that no worker was told of: never sent, or the message seems lost.

    A message counts as lost soon when the broker holds none, and later whatever it holds: a job
    that is told of twice is claimed once.

    Needs a system transaction.
    """
    rows = await connection.execute(
        text(
            "SELECT workspace_id, id, kind FROM jobs WHERE status = 'queued' "
            "AND coalesce(run_after, created_at) <= now() AND (CASE WHEN sent_at IS NULL "
            "THEN run_after IS NOT NULL OR created_at < now() - make_interval(secs => :after) "
            "ELSE sent_at < now() - make_interval(secs => "
            "CASE WHEN :broker_empty THEN :after ELSE :after * 10 END) END) "
            "ORDER BY created_at LIMIT :limit"
        ),
        {"after": unsent_after_seconds, "limit": limit, "broker_empty": broker_empty},
    )
    return [(WorkspaceId(row[0]), JobId(row[1]), row[2]) for row in rows]


SELECT_JOBS = """
SELECT j.id, j.kind, j.status, j.reason, j.message, j.attempt, j.progress, j.document_id, d.name,
       j.request_id, j.created_at, j.started_at, j.finished_at
FROM jobs j LEFT JOIN documents d ON d.workspace_id = j.workspace_id AND d.id = j.document_id
WHERE j.workspace_id = :workspace
"""


async def get_job(connection: AsyncConnection, workspace_id: WorkspaceId, job_id: JobId) -> JobRow:
    """Return one job.

    Raises:  NotFound – no such job in this workspace.
    """
    row = (
        await connection.execute(
            text(SELECT_JOBS + " AND j.id = :job"), {"workspace": workspace_id, "job": job_id}
        )
    ).one_or_none()
    if row is None:
        raise NotFound("There is no job with that id. GET /jobs lists them.")
    return JobRow(*row)


async def list_jobs(
    connection: AsyncConnection,
    workspace_id: WorkspaceId,
    status: JobStatus | None,
    limit: int,
    cursor: str | None,
) -> Page[JobRow]:
    """List jobs, newest first."""
    clauses = ""
    values: dict[str, object] = {"workspace": workspace_id, "limit": limit + 1}
    if status is not None:
        clauses += " AND j.status = :status"
        values["status"] = status
    if cursor is not None:
        clauses += " AND (j.created_at, j.id) < (:before, :before_id)"
        values["before"], values["before_id"] = decode_cursor(cursor)
    rows = await connection.execute(
        text(SELECT_JOBS + clauses + " ORDER BY j.created_at DESC, j.id DESC LIMIT :limit"), values
    )
    return page_of([JobRow(*row) for row in rows], limit, lambda row: (row.created_at, row.job_id))


async def count_open_jobs(connection: AsyncConnection) -> dict[str, int]:
    """Count queued and running jobs of all workspaces; needs a system transaction."""
    rows = await connection.execute(
        text(
            "SELECT status, count(*) FROM jobs WHERE status IN ('queued', 'running') "
            "GROUP BY status"
        )
    )
    return {"queued": 0, "running": 0, **{row[0]: row[1] for row in rows}}
