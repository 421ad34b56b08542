"""Texts that came in one request: which document each became, and how far they are."""

import json
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncConnection

from citewell.domain import DocumentId, JobId, JobStatus, WorkspaceId
from citewell.errors import NotFound
from citewell.records.jobs import SHOWN
from citewell.records.statements import text


@dataclass(frozen=True, slots=True)
class TextRow:
    """One text of a request; ``status`` is that of its job, or "unchanged" where it needed none."""

    document_id: DocumentId
    name: str | None
    job_id: JobId | None
    status: str
    reason: str | None
    message: str | None
    chunk_count: int


@dataclass(frozen=True, slots=True)
class TextGroup:
    """A request's texts in their order, and the job that waits for them."""

    job_id: JobId
    status: JobStatus
    reason: str | None
    message: str | None
    texts: list[TextRow]


async def note_texts(
    connection: AsyncConnection,
    workspace_id: WorkspaceId,
    job_id: JobId,
    documents: Sequence[DocumentId],
) -> None:
    """Keep with a job which document each of its request's texts became."""
    await connection.execute(
        text(
            "UPDATE jobs SET progress = CAST(:progress AS jsonb) "
            "WHERE workspace_id = :workspace AND id = :job"
        ),
        {
            "workspace": workspace_id,
            "job": job_id,
            "progress": json.dumps({"documents": [str(document) for document in documents]}),
        },
    )


async def get_texts(
    connection: AsyncConnection, workspace_id: WorkspaceId, job_id: JobId
) -> TextGroup:
    """Return the texts of one request.

    Raises:  NotFound – no such job, or it is not one of texts.
    """
    values = {"workspace": workspace_id, "job": job_id}
    group = (
        await connection.execute(
            text(
                "SELECT j.id, j.status, j.reason, j.message FROM jobs j WHERE "
                f"j.workspace_id = :workspace AND j.id = :job AND j.kind = 'texts' AND {SHOWN}"
            ),
            values,
        )
    ).one_or_none()
    if group is None:
        raise NotFound("There is no job of texts with that id. POST /ingest/ makes one.")
    rows = await connection.execute(
        text(
            "SELECT CAST(t.document AS uuid), d.name, p.id, "
            "CASE WHEN p.id IS NOT NULL THEN p.status WHEN d.id IS NULL THEN 'cancelled' "
            "ELSE 'unchanged' END, p.reason, p.message, coalesce(d.chunk_count, 0) FROM jobs g "
            "CROSS JOIN jsonb_array_elements_text(g.progress -> 'documents') "
            "WITH ORDINALITY AS t (document, place) "
            "LEFT JOIN jobs p ON p.workspace_id = g.workspace_id AND p.parent_id = g.id "
            "AND p.part = t.place - 1 "
            "LEFT JOIN documents d ON d.workspace_id = g.workspace_id "
            "AND d.id = CAST(t.document AS uuid) "
            "WHERE g.workspace_id = :workspace AND g.id = :job ORDER BY t.place"
        ),
        values,
    )
    texts = [TextRow(*row) for row in rows]
    return TextGroup(group.id, group.status, group.reason, group.message, texts)
