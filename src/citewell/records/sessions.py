"""Conversations: sessions that are begun, listed, renamed, removed, or expire."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncConnection

from citewell.domain import SessionId, WorkspaceId
from citewell.errors import NotFound
from citewell.records.paging import Page, decode_cursor, page_of
from citewell.records.session import seeing_every_document
from citewell.records.statements import text

STALE_SECONDS = 60.0
UNKNOWN = "There is no session with that id. It may have expired; GET /chat/sessions lists them."


@dataclass(frozen=True, slots=True)
class SessionRow:
    """A session as a list shows it."""

    session_id: SessionId
    title: str | None
    created_at: datetime
    updated_at: datetime
    expires_at: datetime
    message_count: int


async def add_session(
    connection: AsyncConnection,
    workspace_id: WorkspaceId,
    session_id: SessionId,
    title: str | None,
    hours: float,
) -> None:
    """Open a session that expires when it is not used for so many hours."""
    await connection.execute(
        text(
            "INSERT INTO sessions (workspace_id, id, title, expires_at) "
            "VALUES (:workspace, :id, :title, now() + make_interval(secs => :seconds))"
        ),
        {
            "workspace": workspace_id,
            "id": session_id,
            "title": title,
            "seconds": hours * 3600,
        },
    )


SELECT_SESSIONS = """
SELECT s.id, s.title, s.created_at, s.updated_at, s.expires_at, (SELECT count(*) FROM messages m
    WHERE m.workspace_id = s.workspace_id AND m.session_id = s.id)
FROM sessions s WHERE s.workspace_id = :workspace AND s.expires_at > now()
"""


async def list_sessions(
    connection: AsyncConnection, workspace_id: WorkspaceId, limit: int, cursor: str | None
) -> Page[SessionRow]:
    """List sessions that have not expired, the last used first."""
    clauses = ""
    values: dict[str, object] = {"workspace": workspace_id, "limit": limit + 1}
    if cursor is not None:
        clauses = " AND (s.updated_at, s.id) < (:before, :before_id)"
        values["before"], values["before_id"] = decode_cursor(cursor)
    rows = await connection.execute(
        text(SELECT_SESSIONS + clauses + " ORDER BY s.updated_at DESC, s.id DESC LIMIT :limit"),
        values,
    )
    return page_of(
        [SessionRow(*row) for row in rows], limit, lambda row: (row.updated_at, row.session_id)
    )


async def get_session(
    connection: AsyncConnection, workspace_id: WorkspaceId, session_id: SessionId
) -> SessionRow:
    """Return one session.

    Raises:  NotFound – no such session in this workspace, or it has expired.
    """
    row = (
        await connection.execute(
            text(SELECT_SESSIONS + " AND s.id = :id"), {"workspace": workspace_id, "id": session_id}
        )
    ).one_or_none()
    if row is None:
        raise NotFound(UNKNOWN)
    return SessionRow(*row)


async def rename_session(
    connection: AsyncConnection, workspace_id: WorkspaceId, session_id: SessionId, title: str | None
) -> None:
    """Give a session another title; it does not count as used.

    Raises:  NotFound – no such session.
    """
    renamed = await connection.execute(
        text(
            "UPDATE sessions SET title = :title "
            "WHERE workspace_id = :workspace AND id = :id AND expires_at > now()"
        ),
        {"workspace": workspace_id, "id": session_id, "title": title},
    )
    if renamed.rowcount == 0:
        raise NotFound(UNKNOWN)


async def touch_session(
    connection: AsyncConnection, workspace_id: WorkspaceId, session_id: SessionId, hours: float
) -> None:
    """Note that a session is used, so that it lasts.

    Raises:  NotFound – no such session.
    """
    touched = await connection.execute(
        text(
            "UPDATE sessions SET expires_at = now() + make_interval(secs => :seconds) "
            "WHERE workspace_id = :workspace AND id = :id AND expires_at > now()"
        ),
        {"workspace": workspace_id, "id": session_id, "seconds": hours * 3600},
    )
    if touched.rowcount == 0:
        raise NotFound(UNKNOWN)


async def remove_session(
    connection: AsyncConnection, workspace_id: WorkspaceId, session_id: SessionId
) -> None:
    """Remove a session with its history, its answers, and what was said about these.

    Holds:   questions of it that wait or run are cancelled; an answer that is just being made is
             not kept, since its turn is gone.
    Raises:  NotFound – no such session.
    """
    values = {"workspace": workspace_id, "id": session_id, "session": str(session_id)}
    # In the order of those who end jobs and answers: jobs, the session, answers, messages.
    await connection.execute(text(CANCEL_QUESTIONS), values)
    found = await connection.scalar(
        text(
            "SELECT true FROM sessions WHERE workspace_id = :workspace AND id = :id "
            "AND expires_at > now() FOR UPDATE"
        ),
        values,
    )
    if not found:
        raise NotFound(UNKNOWN)
    async with seeing_every_document(connection):
        await connection.execute(text(REMOVE_ANSWERS), values)
    await connection.execute(
        text("DELETE FROM sessions WHERE workspace_id = :workspace AND id = :id"), values
    )


CANCEL_QUESTIONS = """
UPDATE jobs SET status = 'cancelled', finished_at = now(), lease_token = NULL, lease_until = NULL,
    payload = '{}', reason = 'session_deleted', message = 'The session was deleted.'
WHERE workspace_id = :workspace AND id IN (SELECT id FROM jobs WHERE workspace_id = :workspace
    AND task = 'answer' AND status IN ('queued', 'running') AND payload ->> 'session_id' = :session
    ORDER BY id FOR UPDATE)
"""
REMOVE_ANSWERS = """
WITH gone AS (
    DELETE FROM answers WHERE workspace_id = :workspace AND session_id = :id RETURNING id
), unsaid AS (
    DELETE FROM feedback WHERE workspace_id = :workspace AND answer_id IN (SELECT id FROM gone)
)
UPDATE jobs SET progress = progress || '{"answer": "removed"}'
WHERE workspace_id = :workspace AND id IN (SELECT id FROM gone)
"""


async def remove_expired_sessions(connection: AsyncConnection) -> int:
    """Remove sessions whose time is over, and turns of processes that died.

    Needs a system transaction. Returns how many sessions went.
    """
    removed = await connection.execute(
        text(
            "DELETE FROM sessions WHERE expires_at <= now() "
            "AND coalesce(turn_until, '-infinity') <= now()"
        )
    )
    await connection.execute(
        text(
            "UPDATE sessions SET turn_token = NULL, turn_until = NULL "
            "WHERE turn_until < now() - make_interval(secs => :stale)"
        ),
        {"stale": STALE_SECONDS},
    )
    return removed.rowcount
