"""Runs of evaluations; how far one is, its job says, which has the run's id."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal
from uuid import uuid4

from sqlalchemy.ext.asyncio import AsyncConnection

from citewell.domain import EvalId, Json, VersionId, WorkspaceId
from citewell.errors import NotFound, Unprocessable
from citewell.records.paging import Page, decode_cursor, page_of
from citewell.records.statements import text

EvalStatus = Literal["pending", "running", "succeeded", "failed"]
UNKNOWN = "There is no evaluation with that id here. GET /evals lists them."
LONGEST_ORDINAL = 9
"""Digits of a cursor: fewer than integer holds."""


@dataclass(frozen=True, slots=True)
class NewEval:
    """What is to be evaluated: ``questions`` as lines of a dataset."""

    name: str
    dataset_sha256: str
    collection: str | None
    retrieval_only: bool
    questions: Sequence[Json]


@dataclass(frozen=True, slots=True)
class EvalRow:
    """A run as a list shows it; its figures and settings are empty until it has ended."""

    eval_id: EvalId
    name: str
    dataset_sha256: str
    collection: str | None
    retrieval_only: bool
    settings_sha256: str | None
    settings: Json
    question_count: int
    figures: Json
    created_by: str
    created_at: datetime
    finished_at: datetime | None
    status: EvalStatus
    reason: str | None
    message: str | None
    progress: Json


@dataclass(frozen=True, slots=True)
class Ended:
    """What a run came to: the settings that it was made with, its figures, a row a question."""

    settings_sha256: str
    settings: Json
    figures: Json
    rows: Sequence[Json]


SELECT = """
SELECT e.id, e.name, e.dataset_sha256, e.collection, e.retrieval_only, e.settings_sha256,
    e.settings, e.question_count, e.figures, e.created_by, e.created_at, e.finished_at,
    CASE WHEN e.finished_at IS NOT NULL THEN 'succeeded' WHEN j.status = 'queued' THEN 'pending'
        WHEN j.status = 'running' THEN 'running' ELSE 'failed' END,
    j.reason, j.message, coalesce(j.progress, '{}')
FROM eval_runs e LEFT JOIN jobs j ON j.workspace_id = e.workspace_id AND j.id = e.id
WHERE e.workspace_id = :workspace
"""


async def add_eval(
    connection: AsyncConnection, workspace_id: WorkspaceId, new: NewEval, request_id: str | None
) -> EvalId:
    """Queue a run; the caller sends its job, which has its id, after the commit."""
    eval_id = EvalId(uuid4())
    values: dict[str, object] = {
        "workspace": workspace_id,
        "id": eval_id,
        "name": new.name,
        "sha256": new.dataset_sha256,
        "collection": new.collection,
        "retrieval_only": new.retrieval_only,
        "count": len(new.questions),
        "questions": json.dumps(list(new.questions)),
        "request_id": request_id,
    }
    await connection.execute(
        text(
            "INSERT INTO jobs (workspace_id, id, kind, task, request_id) "
            "VALUES (:workspace, :id, 'evaluate', 'evaluate', :request_id)"
        ),
        values,
    )
    await connection.execute(
        text(
            "INSERT INTO eval_runs (workspace_id, id, name, dataset_sha256, collection, "
            "retrieval_only, question_count) VALUES (:workspace, :id, :name, :sha256, "
            ":collection, :retrieval_only, :count)"
        ),
        values,
    )
    await connection.execute(
        text(
            "INSERT INTO eval_questions (workspace_id, run_id, ordinal, question) "
            "SELECT :workspace, :id, ordinal - 1, question FROM "
            "jsonb_array_elements(CAST(:questions AS jsonb)) WITH ORDINALITY "
            "AS q (question, ordinal)"
        ),
        values,
    )
    return eval_id


async def get_eval(
    connection: AsyncConnection, workspace_id: WorkspaceId, eval_id: EvalId
) -> EvalRow:
    """Return one run.

    Raises:  NotFound – no such run in this workspace.
    """
    row = (
        await connection.execute(
            text(SELECT + " AND e.id = :id"), {"workspace": workspace_id, "id": eval_id}
        )
    ).one_or_none()
    if row is None:
        raise NotFound(UNKNOWN)
    return EvalRow(*row)


async def list_evals(
    connection: AsyncConnection, workspace_id: WorkspaceId, limit: int, cursor: str | None
) -> Page[EvalRow]:
    """List runs, newest first."""
    clause = ""
    values: dict[str, object] = {"workspace": workspace_id, "limit": limit + 1}
    if cursor is not None:
        clause = " AND (e.created_at, e.id) < (:before, :before_id)"
        values["before"], values["before_id"] = decode_cursor(cursor)
    rows = await connection.execute(
        text(SELECT + clause + " ORDER BY e.created_at DESC, e.id DESC LIMIT :limit"), values
    )
    found = [EvalRow(*row) for row in rows]
    return page_of(found, limit, lambda row: (row.created_at, row.eval_id))


async def list_trend(
    connection: AsyncConnection,
    workspace_id: WorkspaceId,
    dataset_sha256: str | None,
    name: str | None,
    limit: int,
) -> list[EvalRow]:
    """Return the last runs that ended, oldest first: of a dataset, else of the newest run's."""
    rows = await connection.execute(
        text(
            SELECT + " AND e.finished_at IS NOT NULL "
            "AND (CAST(:name AS text) IS NULL OR e.name = :name) "
            "AND e.dataset_sha256 = coalesce(CAST(:sha256 AS text), (SELECT dataset_sha256 "
            "FROM eval_runs WHERE workspace_id = :workspace AND finished_at IS NOT NULL "
            "AND (CAST(:name AS text) IS NULL OR name = :name) "
            "ORDER BY created_at DESC, id DESC LIMIT 1)) "
            "ORDER BY e.created_at DESC, e.id DESC LIMIT :limit"
        ),
        {"workspace": workspace_id, "sha256": dataset_sha256, "name": name, "limit": limit},
    )
    return [EvalRow(*row) for row in rows][::-1]


async def list_questions(
    connection: AsyncConnection,
    workspace_id: WorkspaceId,
    eval_id: EvalId,
    limit: int,
    cursor: str | None = None,
) -> Page[Json]:
    """Return a run's questions in their order; ``result`` is None until it has ended.

    Raises:  NotFound – no such run.  Unprocessable – the cursor is none of this list.
    """
    await get_eval(connection, workspace_id, eval_id)
    rows = await connection.execute(
        text(
            "SELECT ordinal, question, result FROM eval_questions WHERE workspace_id = :workspace "
            "AND run_id = :id AND ordinal > :after ORDER BY ordinal LIMIT :limit"
        ),
        {
            "workspace": workspace_id,
            "id": eval_id,
            "after": -1 if cursor is None else _ordinal(cursor),
            "limit": limit + 1,
        },
    )
    found = [{"ordinal": row[0], "expected": row[1], "result": row[2]} for row in rows]
    last = str(found[limit - 1]["ordinal"]) if len(found) > limit else None
    return Page(found[:limit], last)


async def read_results(
    connection: AsyncConnection, workspace_id: WorkspaceId, eval_id: EvalId
) -> list[Json]:
    """Return what was measured of each question of a run, in their order."""
    rows = await connection.scalars(
        text(
            "SELECT result FROM eval_questions WHERE workspace_id = :workspace AND run_id = :id "
            "AND result IS NOT NULL ORDER BY ordinal"
        ),
        {"workspace": workspace_id, "id": eval_id},
    )
    return list(rows)


async def keep_results(
    connection: AsyncConnection, workspace_id: WorkspaceId, eval_id: EvalId, ended: Ended
) -> None:
    """Keep what a run came to, in the transaction that ends its job."""
    values = {
        "workspace": workspace_id,
        "id": eval_id,
        "sha256": ended.settings_sha256,
        "settings": json.dumps(ended.settings),
        "figures": json.dumps(ended.figures),
        "rows": json.dumps(list(ended.rows)),
    }
    await connection.execute(
        text(
            "UPDATE eval_questions q SET result = r.result FROM "
            "jsonb_array_elements(CAST(:rows AS jsonb)) WITH ORDINALITY AS r (result, ordinal) "
            "WHERE q.workspace_id = :workspace AND q.run_id = :id AND q.ordinal = r.ordinal - 1"
        ),
        values,
    )
    await connection.execute(
        text(
            "UPDATE eval_runs SET settings_sha256 = :sha256, finished_at = now(), "
            "settings = CAST(:settings AS jsonb), figures = CAST(:figures AS jsonb) "
            "WHERE workspace_id = :workspace AND id = :id"
        ),
        values,
    )


async def remove_eval(
    connection: AsyncConnection, workspace_id: WorkspaceId, eval_id: EvalId
) -> None:
    """Remove a run with its questions, and end its job if that is open.

    Raises:  NotFound – no such run in this workspace.
    """
    values = {"workspace": workspace_id, "id": eval_id}
    await connection.execute(
        text(
            "UPDATE jobs SET status = 'cancelled', reason = 'eval_deleted', "
            "message = 'The evaluation was deleted.', finished_at = now(), lease_token = NULL, "
            "lease_until = NULL WHERE workspace_id = :workspace AND id = :id "
            "AND task = 'evaluate' AND status IN ('queued', 'running')"
        ),
        values,
    )
    removed = await connection.execute(
        text("DELETE FROM eval_runs WHERE workspace_id = :workspace AND id = :id"), values
    )
    if removed.rowcount == 0:
        raise NotFound(UNKNOWN)


async def find_text(
    connection: AsyncConnection, workspace_id: WorkspaceId, version_id: VersionId
) -> str | None:
    """Return a version's canonical text; None where it is gone, or hidden."""
    return await connection.scalar(
        text("SELECT text FROM versions WHERE workspace_id = :workspace AND id = :id"),
        {"workspace": workspace_id, "id": version_id},
    )


def _ordinal(cursor: str) -> int:
    if not (cursor.isascii() and cursor.isdigit() and len(cursor) <= LONGEST_ORDINAL):
        raise Unprocessable("The cursor is not valid. Use next_cursor of the page before.")
    return int(cursor)
