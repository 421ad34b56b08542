"""The ledger of background jobs: added with what they are about, listed, cancelled, tried again.

queued → running → done | failed | cancelled. A broker message is only a hint that a row waits here.
A job may have parts, jobs of their own: the texts of one request, the documents of a collection, or
the batches of a large file. A trigger (migration 0002) tells it when one of them ends.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from uuid import uuid4

from sqlalchemy.ext.asyncio import AsyncConnection

from citewell.domain import (
    DocumentId,
    JobId,
    JobKind,
    JobStatus,
    Json,
    Task,
    VersionId,
    WorkspaceId,
)
from citewell.errors import Conflict, NotFound
from citewell.records.paging import Page, decode_cursor, page_of
from citewell.records.statements import columns, text

OPEN = ("queued", "running")


@dataclass(frozen=True, slots=True)
class JobRow:
    """A job as a list shows it; a job with parts counts them."""

    job_id: JobId
    kind: JobKind
    task: Task
    status: JobStatus
    reason: str | None
    message: str | None
    attempt: int
    progress: Json
    parent_id: JobId | None
    part_count: int
    open_parts: int
    failed_parts: int
    document_id: DocumentId | None
    document_name: str | None
    collection: str | None
    chunk_count: int | None
    request_id: str | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None


@dataclass(frozen=True, slots=True)
class NewJob:
    """A job about one version of a document; ``part`` counts from 0 inside its parent."""

    document_id: DocumentId
    version_id: VersionId
    request_id: str | None
    kind: JobKind = "ingest"
    password: str | None = None
    parent_id: JobId | None = None
    part: int | None = None


async def add_job(connection: AsyncConnection, workspace_id: WorkspaceId, job: NewJob) -> JobId:
    """Queue a job about one version; the caller sends its message after the commit."""
    (job_id,) = await add_jobs(connection, workspace_id, [job])
    return job_id


async def add_jobs(
    connection: AsyncConnection, workspace_id: WorkspaceId, jobs: Sequence[NewJob]
) -> list[JobId]:
    """Queue jobs; the caller sends their messages after the commit."""
    rows = [{"id": JobId(uuid4()), **asdict(job)} for job in jobs]
    await connection.execute(
        text(
            "INSERT INTO jobs (workspace_id, id, document_id, version_id, request_id, kind, "
            "password, parent_id, part) SELECT :workspace, * FROM unnest(CAST(:id AS uuid[]), "
            "CAST(:document_id AS uuid[]), CAST(:version_id AS uuid[]), "
            "CAST(:request_id AS text[]), CAST(:kind AS text[]), CAST(:password AS text[]), "
            "CAST(:parent_id AS uuid[]), CAST(:part AS integer[]))"
        ),
        {"workspace": workspace_id, **columns(rows)},
    )
    return [row["id"] for row in rows]


async def open_group(
    connection: AsyncConnection, workspace_id: WorkspaceId, kind: JobKind, request_id: str | None
) -> JobId:
    """Add a job that only waits for its parts; ``close_group`` says how many there are."""
    job_id = JobId(uuid4())
    await connection.execute(
        text(
            "INSERT INTO jobs (workspace_id, id, kind, task, status, request_id, started_at) "
            "VALUES (:workspace, :id, :kind, 'wait', 'running', :request_id, now())"
        ),
        {"workspace": workspace_id, "id": job_id, "kind": kind, "request_id": request_id},
    )
    return job_id


async def close_group(
    connection: AsyncConnection, workspace_id: WorkspaceId, job_id: JobId, part_count: int
) -> None:
    """Say how many parts a group has, when all are added; without any it is done."""
    await connection.execute(
        text(
            "UPDATE jobs SET part_count = :count, open_parts = :count, "
            "status = CASE WHEN :count = 0 THEN 'done' ELSE status END, "
            "finished_at = CASE WHEN :count = 0 THEN now() END "
            "WHERE workspace_id = :workspace AND id = :job"
        ),
        {"workspace": workspace_id, "job": job_id, "count": part_count},
    )


async def mark_sent(
    connection: AsyncConnection, workspace_id: WorkspaceId, job_ids: list[JobId]
) -> None:
    """Note that the broker took these jobs' messages."""
    await connection.execute(
        text(
            "UPDATE jobs SET sent_at = now() WHERE workspace_id = :workspace AND id IN ("
            "SELECT id FROM jobs WHERE workspace_id = :workspace "
            "AND id = ANY(CAST(:jobs AS uuid[])) AND status = 'queued' "
            "AND coalesce(run_after, now()) <= now() ORDER BY id FOR UPDATE SKIP LOCKED)"
        ),
        {"workspace": workspace_id, "jobs": job_ids},
    )


async def list_unsent(
    connection: AsyncConnection, unsent_after_seconds: float, limit: int, broker_empty: bool
) -> list[tuple[WorkspaceId, JobId, Task]]:
    """List queued jobs that no worker was told of: never sent, or the message seems lost.

    A message counts as lost soon when the broker holds none, and later whatever it holds: a job
    that is told of twice is claimed once.

    Needs a system transaction.
    """
    rows = await connection.execute(
        text(
            "SELECT workspace_id, id, task FROM jobs WHERE status = 'queued' "
            "AND coalesce(run_after, created_at) <= now() AND (CASE WHEN sent_at IS NULL "
            "THEN run_after IS NOT NULL OR created_at < now() - make_interval(secs => :after) "
            "ELSE sent_at < now() - make_interval(secs => "
            "CASE WHEN :broker_empty THEN :after ELSE :after * 10 END) END) "
            "ORDER BY created_at LIMIT :limit"
        ),
        {"after": unsent_after_seconds, "limit": limit, "broker_empty": broker_empty},
    )
    return [(WorkspaceId(row[0]), JobId(row[1]), row[2]) for row in rows]


SHOWN = """
((SELECT citewell_sees_all()) OR CASE j.kind WHEN 'answer' THEN NOT citewell_hides_answer(j.id)
    WHEN 'export' THEN false ELSE j.task <> 'wait' OR NOT citewell_hides_parts(j.id) END)
"""
"""A question is shown with its answer, an export to those who see every document, and a job that
waits for others to those who see them all.

No policy says this: the last of its parts ends such a job, whoever brings it about.
"""
SELECT_JOBS = (
    """
SELECT j.id, j.kind, j.task, j.status, j.reason, j.message, j.attempt, j.progress, j.parent_id,
       j.part_count, j.open_parts, j.failed_parts, j.document_id, d.name, c.name,
       CASE WHEN d.active_version_id = j.version_id THEN d.chunk_count END,
       j.request_id, j.created_at, j.started_at, j.finished_at
FROM jobs j
LEFT JOIN documents d ON d.workspace_id = j.workspace_id AND d.id = j.document_id
LEFT JOIN collections c ON c.workspace_id = d.workspace_id AND c.id = d.collection_id
WHERE j.workspace_id = :workspace
"""
    f"AND {SHOWN}"
)


@dataclass(frozen=True, slots=True)
class JobFilter:
    """Which jobs a list shows; parts of large files only when their parent is named."""

    status: JobStatus | None = None
    kind: JobKind | None = None
    document_id: DocumentId | None = None
    collection: str | None = None
    parent_id: JobId | None = None


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
    wanted: JobFilter,
    limit: int,
    cursor: str | None,
) -> Page[JobRow]:
    """List jobs, newest first."""
    clauses = "" if wanted.parent_id else " AND j.task <> 'embed'"
    values: dict[str, object] = {"workspace": workspace_id, "limit": limit + 1}
    for column, value in (
        ("j.status", wanted.status),
        ("j.kind", wanted.kind),
        ("j.document_id", wanted.document_id),
        ("c.name", wanted.collection),
        ("j.parent_id", wanted.parent_id),
    ):
        if value is not None:
            name = column.replace(".", "_")
            clauses += f" AND {column} = :{name}"
            values[name] = value
    if cursor is not None:
        clauses += " AND (j.created_at, j.id) < (:before, :before_id)"
        values["before"], values["before_id"] = decode_cursor(cursor)
    rows = await connection.execute(
        text(SELECT_JOBS + clauses + " ORDER BY j.created_at DESC, j.id DESC LIMIT :limit"), values
    )
    return page_of([JobRow(*row) for row in rows], limit, lambda row: (row.created_at, row.job_id))


async def cancel_job(
    connection: AsyncConnection, workspace_id: WorkspaceId, job_id: JobId
) -> JobRow:
    """End a job that is still open, and its open parts; a worker that runs it cannot publish.

    Raises:  NotFound – no such job.  Conflict – it has ended already, or is a large file's part,
             or makes an export.
    """
    row = await get_job(connection, workspace_id, job_id)
    if row.task == "embed":
        raise Conflict(
            "This job is a part of a large file, which needs all of its parts. Cancel the whole "
            f"with POST /jobs/{row.parent_id}/cancel."
        )
    if row.kind == "export":
        raise Conflict("This job makes an export. An admin may DELETE /exports/{export_id}.")
    values = {"workspace": workspace_id, "job": job_id, "open": list(OPEN)}
    # Parts before their parent, as ending parts lock them.
    await connection.execute(
        text(
            "SELECT 1 FROM jobs WHERE workspace_id = :workspace AND parent_id = :job "
            "AND status = ANY(:open) ORDER BY id FOR UPDATE"
        ),
        values,
    )
    ended = await connection.execute(text(CANCEL + " AND id = :job"), values)
    row = await get_job(connection, workspace_id, job_id)
    if ended.rowcount == 0:
        raise Conflict("The job has ended already. POST /jobs/{job_id}/retry starts it again.")
    await connection.execute(text(CANCEL + " AND parent_id = :job"), values)
    return row


CANCEL = """
UPDATE jobs SET status = 'cancelled', reason = 'cancelled', message = 'The job was cancelled.',
    finished_at = now(), lease_token = NULL, lease_until = NULL, password = NULL, payload = '{}'
WHERE workspace_id = :workspace AND status = ANY(:open)
"""


async def retry_job(
    connection: AsyncConnection,
    workspace_id: WorkspaceId,
    job_id: JobId,
    password: str | None = None,
) -> list[JobId]:
    """Queue a failed or cancelled job again, from where it was; of a group its failed parts.

    Returns the jobs to send.
    Raises:  NotFound – no such job.  Conflict – it is open or done, or its document is gone or has
             a newer version; or it makes an export.
    """
    row = await get_job(connection, workspace_id, job_id)
    if row.kind == "answer":
        raise Conflict("A question is forgotten when its job ends. Ask it again.")
    if row.kind == "evaluate":
        raise Conflict("An evaluation is not tried again. Start a new one with POST /evals.")
    if row.kind == "export":
        raise Conflict("This job makes an export. An admin may POST /exports/{export_id}/retry.")
    is_group = row.task == "wait"
    values: dict[str, object] = {"workspace": workspace_id, "job": job_id, "password": password}
    chosen = "j.parent_id = :job" if is_group else "j.id = :job"
    # Locked by statements of their own, parts before their parent: the next one sees whether the
    # document was removed until then.
    await connection.execute(
        text(
            f"SELECT 1 FROM jobs j WHERE j.workspace_id = :workspace AND {chosen} "
            "AND j.status IN ('failed', 'cancelled') ORDER BY j.id FOR UPDATE"
        ),
        values,
    )
    if row.parent_id is not None or is_group:
        await connection.execute(
            text("SELECT 1 FROM jobs WHERE workspace_id = :workspace AND id = :id FOR UPDATE"),
            {"workspace": workspace_id, "id": row.parent_id or job_id},
        )
    again = await connection.execute(
        text(
            "UPDATE jobs j SET status = 'queued', task = 'ingest', attempt = 0, sent_at = NULL, "
            "run_after = now(), reason = NULL, message = NULL, finished_at = NULL, "
            "open_parts = 0, part_count = 0, password = :password, "
            'progress = \'{"stage": "queued"}\' '
            f"WHERE j.workspace_id = :workspace AND {chosen} "
            "AND j.status IN ('failed', 'cancelled') AND j.task <> 'embed' "
            "AND EXISTS (SELECT FROM versions v WHERE v.workspace_id = j.workspace_id "
            "AND v.id = j.version_id AND NOT EXISTS (SELECT FROM versions n "
            "WHERE n.workspace_id = v.workspace_id AND n.document_id = v.document_id "
            "AND n.number > v.number)) RETURNING j.id"
        ),
        values,
    )
    jobs = [JobId(found.id) for found in again]
    if not jobs:
        raise Conflict(
            "This job cannot be tried again: it is open or done, or its document is gone or was "
            "uploaded anew since. Look at GET /jobs, or upload the file again."
        )
    group = job_id if is_group else row.parent_id
    if group is not None:
        await _reopen_group(connection, workspace_id, group)
    return jobs


async def _reopen_group(
    connection: AsyncConnection, workspace_id: WorkspaceId, job_id: JobId
) -> None:
    """Let a group wait again; its parts are counted anew, as cancelling it does not count them."""
    await connection.execute(
        text(
            "UPDATE jobs j SET status = 'running', reason = NULL, message = NULL, "
            "finished_at = NULL, open_parts = p.open, failed_parts = p.failed FROM ("
            "SELECT count(*) FILTER (WHERE status IN ('queued', 'running')) AS open, "
            "count(*) FILTER (WHERE status IN ('failed', 'cancelled')) AS failed "
            "FROM jobs WHERE workspace_id = :workspace AND parent_id = :job) AS p "
            "WHERE j.workspace_id = :workspace AND j.id = :job"
        ),
        {"workspace": workspace_id, "job": job_id},
    )


async def count_open_jobs(connection: AsyncConnection) -> dict[str, int]:
    """Count queued and running jobs of all workspaces; needs a system transaction."""
    rows = await connection.execute(
        text(
            "SELECT status, count(*) FROM jobs WHERE status IN ('queued', 'running') "
            "AND task <> 'embed' GROUP BY status"
        )
    )
    return {"queued": 0, "running": 0, **{row[0]: row[1] for row in rows}}
