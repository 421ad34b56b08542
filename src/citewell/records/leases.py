"""Who holds a job: claimed by lease and token, so that nothing is lost and nothing done twice.

A worker holds a job by a lease that it must renew, and commits its work only while its token is
still the row's: a worker that was given up for dead changes nothing when it wakes. Rows are locked
in the order of their ids, so that two processes never wait for each other.
"""

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal
from uuid import UUID, uuid4

from sqlalchemy.ext.asyncio import AsyncConnection

from citewell.domain import DocumentId, JobId, Json, Task, VersionId, WorkspaceId
from citewell.errors import LeaseLost
from citewell.records.statements import text

FIRST_RETRY_SECONDS = 2.0
LONGEST_RETRY_SECONDS = 60.0


@dataclass(frozen=True, slots=True, eq=False)
class Lease:
    """A job that this worker holds; ``payload`` is a question's own."""

    workspace_id: WorkspaceId
    job_id: JobId
    token: UUID
    task: Task
    attempt: int
    request_id: str | None
    payload: Json

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Lease) and other.token == self.token

    def __hash__(self) -> int:
        return hash(self.token)


@dataclass(frozen=True, slots=True, eq=False)
class Claim(Lease):
    """A job about a file, with the file.

    ``staged`` says that the version was read and cut before, by an earlier try.
    """

    parent_id: JobId | None
    part: int | None
    document_id: DocumentId
    version_id: VersionId
    name: str
    sha256: str
    media_type: str
    password: str | None
    published: bool
    staged: bool


CLAIM = """
WITH wanted AS (
    SELECT j.id, j.version_id, w.token FROM jobs j
    JOIN unnest(CAST(:jobs AS uuid[]), CAST(:tasks AS text[]), CAST(:tokens AS uuid[]))
        AS w (id, task, token) ON w.id = j.id AND w.task = j.task
    WHERE j.workspace_id = :workspace AND j.status = 'queued'
    AND coalesce(j.run_after, now()) <= now()
    ORDER BY j.id FOR UPDATE OF j SKIP LOCKED
)
UPDATE jobs j SET status = 'running', attempt = j.attempt + 1, lease_token = wanted.token,
    lease_until = now() + make_interval(secs => :lease), reason = NULL, message = NULL,
    started_at = coalesce(j.started_at, now()),
    progress = j.progress || jsonb_build_object('stage',
        CASE j.task WHEN 'ingest' THEN 'parse' ELSE j.task END)
FROM wanted LEFT JOIN versions v ON v.workspace_id = :workspace AND v.id = wanted.version_id
LEFT JOIN documents d ON d.workspace_id = v.workspace_id AND d.id = v.document_id
WHERE j.workspace_id = :workspace AND j.id = wanted.id
AND (v.id IS NOT NULL OR j.task IN ('answer', 'export', 'evaluate'))
RETURNING j.workspace_id, j.id, j.lease_token, j.task, j.attempt, j.request_id, j.payload,
    j.parent_id, j.part, d.id, v.id, d.name, v.sha256, v.media_type, j.password,
    d.active_version_id IS NOT NULL, v.staged_at IS NOT NULL
"""


COUNT_WAITING = """
SELECT count(*) FROM jobs j JOIN unnest(CAST(:jobs AS uuid[]), CAST(:tasks AS text[]))
    AS w (id, task) ON w.id = j.id AND w.task = j.task
WHERE j.workspace_id = :workspace AND j.status = 'queued'
AND coalesce(j.run_after, now()) <= now()
"""

LEASE_COLUMNS = len(fields(Lease))
FILELESS = {"answer", "export", "evaluate"}
"""Tasks that are about no file."""
LOCKED_PAUSES_SECONDS = (0.02, 0.1, 0.4)
"""A job that is locked is tried again after each; then the reconciler sends it again later."""


async def claim_jobs(
    connection: AsyncConnection,
    workspace_id: WorkspaceId,
    wanted: Sequence[tuple[JobId, Task]],
    lease_seconds: float,
) -> dict[JobId, Lease]:
    """Take those of the jobs that wait for this very task; the others have nothing to be done.

    Holds:   a locked job is waited for as long as noting that it was sent may take, and no longer:
             it is about to be removed or cancelled, which must not keep the other jobs waiting.
    """
    claims: dict[JobId, Lease] = {}
    for pause in (*LOCKED_PAUSES_SECONDS, None):
        left = [(job_id, task) for job_id, task in wanted if job_id not in claims]
        values: dict[str, object] = {
            "workspace": workspace_id,
            "jobs": [job_id for job_id, _ in left],
            "tasks": [task for _, task in left],
        }
        taking = {**values, "tokens": [uuid4() for _ in left], "lease": lease_seconds}
        rows = await connection.execute(text(CLAIM), taking)
        claims |= {lease.job_id: lease for lease in map(_lease_of, rows)}
        if pause is None or len(claims) == len({job_id for job_id, _ in wanted}):
            break
        if not await connection.scalar(text(COUNT_WAITING), values):
            break
        await asyncio.sleep(pause)
    return claims


def _lease_of(row: Sequence[Any]) -> Lease:
    """Make a lease of a row of ``CLAIM``; a question, an export or an evaluation has no file."""
    lease = Lease(*row[:LEASE_COLUMNS])
    return lease if lease.task in FILELESS else Claim(*row)


async def hold_jobs(
    connection: AsyncConnection, workspace_id: WorkspaceId, claims: Sequence[Lease]
) -> set[JobId]:
    """Lock those of the jobs that are still held by these claims, until the transaction ends.

    What is written after it in the same transaction is written by the lease's holder.
    """
    rows = await connection.scalars(
        text(
            "SELECT j.id FROM jobs j "
            "JOIN unnest(CAST(:jobs AS uuid[]), CAST(:tokens AS uuid[])) AS h (id, token) "
            "ON h.id = j.id AND h.token = j.lease_token "
            "WHERE j.workspace_id = :workspace AND j.status = 'running' "
            "ORDER BY j.id FOR UPDATE OF j"
        ),
        _keys(workspace_id, claims),
    )
    return {JobId(row) for row in rows}


async def hold_job(connection: AsyncConnection, claim: Lease) -> None:
    """Lock one job that is still held by this claim.

    Raises:  LeaseLost – another worker took it, or it was cancelled.
    """
    if not await hold_jobs(connection, claim.workspace_id, [claim]):
        raise LeaseLost


async def renew_leases(
    connection: AsyncConnection,
    workspace_id: WorkspaceId,
    progress: Mapping[Lease, Json],
    lease_seconds: float,
) -> set[JobId]:
    """Say that the worker lives, and how far it is; return the jobs that it still holds.

    Holds:   it waits for no lock, so that one job that is being removed costs no other its lease;
             a job whose row is locked is not given to anybody else either.
    """
    claims = list(progress)
    rows = await connection.scalars(
        text(
            "SELECT j.id FROM jobs j "
            "JOIN unnest(CAST(:jobs AS uuid[]), CAST(:tokens AS uuid[])) AS h (id, token) "
            "ON h.id = j.id AND h.token = j.lease_token "
            "WHERE j.workspace_id = :workspace AND j.status = 'running'"
        ),
        _keys(workspace_id, claims),
    )
    held = {JobId(row) for row in rows}
    if held:
        await connection.execute(
            text(
                "UPDATE jobs j SET lease_until = now() + make_interval(secs => :lease), "
                "progress = j.progress || CAST(p.progress AS jsonb) "
                "FROM unnest(CAST(:jobs AS uuid[]), CAST(:progress AS text[])) "
                "AS p (id, progress) WHERE j.workspace_id = :workspace AND j.id = p.id "
                "AND j.id IN (SELECT l.id FROM jobs l "
                "JOIN unnest(CAST(:jobs AS uuid[]), CAST(:tokens AS uuid[])) AS h (id, token) "
                "ON h.id = l.id AND h.token = l.lease_token "
                "WHERE l.workspace_id = :workspace AND l.status = 'running' "
                "ORDER BY l.id FOR UPDATE OF l SKIP LOCKED)"
            ),
            {
                **_keys(workspace_id, claims),
                "progress": [json.dumps(progress[claim]) for claim in claims],
                "lease": lease_seconds,
            },
        )
    return held


async def finish_jobs(
    connection: AsyncConnection,
    workspace_id: WorkspaceId,
    progress: Mapping[JobId, Json],
) -> None:
    """End jobs that ``hold_jobs`` locked in this transaction as done.

    Holds:   those that wait for them are locked by their ids first: a trigger counts them down in
             the order of their parts, which is another one in each transaction.
    """
    await connection.execute(
        text(
            "WITH parents AS MATERIALIZED (SELECT id FROM jobs WHERE workspace_id = :workspace "
            "AND id IN (SELECT parent_id FROM jobs WHERE workspace_id = :workspace "
            "AND id = ANY(CAST(:jobs AS uuid[]))) ORDER BY id FOR NO KEY UPDATE) "
            "UPDATE jobs j SET status = 'done', finished_at = now(), lease_token = NULL, "
            "lease_until = NULL, password = NULL, payload = '{}', "
            "progress = j.progress || CAST(p.progress AS jsonb) || jsonb_build_object('seconds', "
            "coalesce(j.progress -> 'seconds', '{}') "
            "|| coalesce(CAST(p.progress AS jsonb) -> 'seconds', '{}')) "
            "FROM unnest(CAST(:jobs AS uuid[]), CAST(:progress AS text[])) AS p (id, progress), "
            "(SELECT count(*) FROM parents) AS locked "
            "WHERE j.workspace_id = :workspace AND j.id = p.id"
        ),
        {
            "workspace": workspace_id,
            "jobs": list(progress),
            "progress": [json.dumps({**said, "stage": "done"}) for said in progress.values()],
        },
    )


async def fail_job(connection: AsyncConnection, claim: Lease, reason: str, message: str) -> None:
    """End a job for good, because another try would come to the same end.

    Raises:  LeaseLost – this worker does not hold the job any more.
    """
    await _change(
        connection,
        claim,
        "status = 'failed', finished_at = now(), reason = :reason, message = :message, "
        "password = NULL, payload = '{}', "
        'progress = progress || \'{"stage": "failed"}\'',
        {"reason": reason, "message": message},
    )


async def release_job(
    connection: AsyncConnection, claim: Lease, max_attempts: int, reason: str, message: str
) -> None:
    """Give a job back for another try after a growing pause, or fail it after the last one.

    Raises:  LeaseLost – this worker does not hold the job any more.
    """
    if claim.attempt >= max_attempts:
        await fail_job(connection, claim, reason, message)
        return
    await _change(
        connection,
        claim,
        "status = 'queued', sent_at = NULL, reason = :reason, message = :message, "
        "run_after = now() + make_interval(secs => :pause)",
        {
            "reason": reason,
            "message": message,
            "pause": min(FIRST_RETRY_SECONDS * 2 ** (claim.attempt - 1), LONGEST_RETRY_SECONDS),
        },
    )


async def return_job(connection: AsyncConnection, claim: Lease) -> None:
    """Give a job back untried, because its worker is told to stop; it waits for another one.

    Raises:  LeaseLost – this worker does not hold the job any more.
    """
    await _change(
        connection,
        claim,
        "status = 'queued', attempt = attempt - 1, sent_at = NULL, run_after = now(), "
        'progress = progress || \'{"stage": "queued"}\'',
        {},
    )


async def postpone_job(
    connection: AsyncConnection, claim: Lease, pause_seconds: float, reason: str, message: str
) -> None:
    """Give a job back untried, because it is not its turn yet.

    Raises:  LeaseLost – this worker does not hold the job any more.
    """
    await _change(
        connection,
        claim,
        "status = 'queued', attempt = attempt - 1, sent_at = NULL, reason = :reason, "
        "message = :message, run_after = now() + make_interval(secs => :pause), "
        'progress = progress || \'{"stage": "queued"}\'',
        {"reason": reason, "message": message, "pause": pause_seconds},
    )


async def _change(
    connection: AsyncConnection, claim: Lease, changes: str, values: Mapping[str, object]
) -> None:
    changed = await connection.execute(
        text(
            f"UPDATE jobs SET {changes}, lease_token = NULL, lease_until = NULL "
            "WHERE workspace_id = :workspace AND id = :job AND lease_token = :token "
            "AND status = 'running'"
        ),
        {
            "workspace": claim.workspace_id,
            "job": claim.job_id,
            "token": claim.token,
            **values,
        },
    )
    if changed.rowcount == 0:
        raise LeaseLost


async def forget_workers(connection: AsyncConnection) -> None:
    """End every lease and unsend every message: no worker and no broker's memory can be left.

    Needs a system transaction.
    """
    await connection.execute(
        text("UPDATE jobs SET lease_until = now() WHERE status = 'running' AND lease_until > now()")
    )
    await connection.execute(
        text("UPDATE jobs SET sent_at = NULL, run_after = now() WHERE status = 'queued'")
    )


LOST: Literal["worker_lost"] = "worker_lost"


async def requeue_expired(connection: AsyncConnection, max_attempts: int) -> int:
    """Give up on silent workers: their jobs are queued again, or failed after the last try.

    A job whose row is locked is just being finished. Needs a system transaction. Returns how many
    jobs changed.
    """
    changed = await connection.execute(
        text(
            "WITH lost AS (SELECT workspace_id, id FROM jobs WHERE status = 'running' "
            "AND lease_until < now() ORDER BY id FOR UPDATE SKIP LOCKED) "
            "UPDATE jobs j SET lease_token = NULL, lease_until = NULL, sent_at = NULL, "
            "status = CASE WHEN attempt >= :most THEN 'failed' ELSE 'queued' END, "
            "run_after = now() + make_interval(secs => "
            "CASE WHEN attempt = 1 THEN 0 ELSE least(:pause * 2 ^ (attempt - 1), :longest) END), "
            "finished_at = CASE WHEN attempt >= :most THEN now() END, reason = :reason, "
            "password = CASE WHEN attempt >= :most THEN NULL ELSE password END, "
            "payload = CASE WHEN attempt >= :most THEN '{}' ELSE payload END, "
            "message = CASE WHEN task = 'export' THEN CASE WHEN attempt >= :most "
            "THEN 'The worker stopped while writing this file, each time it was tried. Export "
            "less at once.' "
            "ELSE 'The worker stopped while writing this file; it is tried again.' END "
            "WHEN task = 'evaluate' THEN CASE WHEN attempt >= :most "
            "THEN 'The worker stopped while evaluating, each time it was tried. Evaluate fewer "
            "questions at once.' "
            "ELSE 'The worker stopped while evaluating; the run begins again.' END "
            "WHEN task = 'answer' THEN CASE WHEN attempt >= :most "
            "THEN 'The worker stopped while answering, each time it was tried. Ask again.' "
            "ELSE 'The worker stopped while answering; the question is tried again.' END "
            "WHEN attempt >= :most THEN 'The worker stopped while reading this "
            "document, each time it was tried. Upload it again, or in smaller parts.' "
            "ELSE 'The worker stopped while reading this document; it is tried again.' END "
            "FROM lost WHERE j.workspace_id = lost.workspace_id AND j.id = lost.id"
        ),
        {
            "most": max_attempts,
            "pause": FIRST_RETRY_SECONDS,
            "longest": LONGEST_RETRY_SECONDS,
            "reason": LOST,
        },
    )
    return changed.rowcount


def _keys(workspace_id: WorkspaceId, claims: Sequence[Lease]) -> dict[str, object]:
    return {
        "workspace": workspace_id,
        "jobs": [claim.job_id for claim in claims],
        "tokens": [claim.token for claim in claims],
    }
