"""What readers said of answers: up or down, and a comment; kept longer than the answers."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from sqlalchemy.ext.asyncio import AsyncConnection

from citewell.domain import AnswerId, WorkspaceId
from citewell.errors import NotFound
from citewell.records.paging import Page, decode_cursor, page_of
from citewell.records.statements import text

Rating = Literal["up", "down"]
STORED: Mapping[Rating, int] = {"up": 1, "down": -1}


@dataclass(frozen=True, slots=True)
class FeedbackRow:
    """One answer's feedback, with its question; it holds no text of a document."""

    answer_id: AnswerId
    rating: Rating
    comment: str | None
    question: str
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class FeedbackFilter:
    """Which feedback a list shows."""

    rating: Rating | None = None
    since: datetime | None = None


async def set_feedback(
    connection: AsyncConnection,
    workspace_id: WorkspaceId,
    answer_id: AnswerId,
    rating: Rating,
    comment: str | None,
) -> FeedbackRow:
    """Keep what was said of an answer; said again, it replaces what was said before.

    Raises:  NotFound – no such answer in this workspace, and nothing was said of it before.
    """
    values: dict[str, object] = {
        "workspace": workspace_id,
        "id": answer_id,
        "rating": STORED[rating],
        "comment": comment,
    }
    await connection.execute(
        text(
            "INSERT INTO feedback "
            "(workspace_id, answer_id, rating, comment, question, document_ids) "
            "SELECT a.workspace_id, a.id, :rating, :comment, a.question, a.documents FROM ("
            "SELECT workspace_id, id, question, document_ids || other_document_ids AS documents "
            "FROM answers WHERE workspace_id = :workspace AND id = :id UNION ALL "
            "SELECT workspace_id, answer_id, question, document_ids FROM feedback "
            "WHERE workspace_id = :workspace AND answer_id = :id LIMIT 1) a "
            "ON CONFLICT (workspace_id, answer_id) DO UPDATE SET rating = excluded.rating, "
            "comment = excluded.comment, updated_at = now()"
        ),
        values,
    )
    rows = await connection.execute(text(SELECT + " AND answer_id = :id"), values)
    row = rows.one_or_none()
    if row is None:
        raise NotFound("There is no answer with that id. Answers are removed after some days.")
    return FeedbackRow(*row)


async def remove_feedback(
    connection: AsyncConnection, workspace_id: WorkspaceId, answer_id: AnswerId
) -> None:
    """Remove what was said of an answer.

    Raises:  NotFound – nothing was said of it.
    """
    removed = await connection.execute(
        text("DELETE FROM feedback WHERE workspace_id = :workspace AND answer_id = :id"),
        {"workspace": workspace_id, "id": answer_id},
    )
    if removed.rowcount == 0:
        raise NotFound("There is no feedback on an answer with that id. GET /feedback lists all.")


SELECT = """
SELECT answer_id, CASE rating WHEN 1 THEN 'up' ELSE 'down' END, comment, question, created_at,
    updated_at
FROM feedback WHERE workspace_id = :workspace
"""


async def list_feedback(
    connection: AsyncConnection,
    workspace_id: WorkspaceId,
    wanted: FeedbackFilter,
    limit: int,
    cursor: str | None,
) -> Page[FeedbackRow]:
    """List feedback, newest first."""
    clauses = ""
    values: dict[str, object] = {"workspace": workspace_id, "limit": limit + 1}
    if wanted.rating is not None:
        clauses += " AND rating = :rating"
        values["rating"] = STORED[wanted.rating]
    if wanted.since is not None:
        clauses += " AND created_at >= :since"
        values["since"] = wanted.since
    if cursor is not None:
        clauses += " AND (created_at, answer_id) < (:before, :before_id)"
        values["before"], values["before_id"] = decode_cursor(cursor)
    rows = await connection.execute(
        text(SELECT + clauses + " ORDER BY created_at DESC, answer_id DESC LIMIT :limit"), values
    )
    return page_of(
        [FeedbackRow(*row) for row in rows], limit, lambda row: (row.created_at, row.answer_id)
    )
