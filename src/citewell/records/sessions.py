"""Conversations: sessions that expire, their messages in order, and whose turn it is.

A session's turn is a lease: while an answer is made, its token stands in the session's row, and no
transaction stays open. Messages are written in pairs, by the turn's holder only.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from citewell.domain import AnswerId, Message, SessionId, WorkspaceId
from citewell.errors import NotFound
from citewell.records.paging import Page, decode_cursor, page_of
from citewell.records.statements import text

TURN_SECONDS = 30.0
"""A process that died leaves its session to others after this."""
STALE_SECONDS = 60.0
TITLE_CHARACTERS = 80
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


@dataclass(frozen=True, slots=True)
class MessageRow:
    """A stored message; what its answer was is None once that is gone."""

    ordinal: int
    role: Literal["user", "assistant"]
    content: str
    answer_id: AnswerId | None
    status: Literal["complete", "incomplete"] | None
    refused: bool | None
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Exchange:
    """A question and what was answered, as they stand in the history."""

    question: str
    reply: str
    answer_id: AnswerId


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


async def take_turn(
    connection: AsyncConnection,
    workspace_id: WorkspaceId,
    session_id: SessionId,
    token: UUID,
    hours: float,
) -> bool:
    """Take a session's turn, unless somebody has it; the session counts as used.

    Raises:  NotFound – no such session.
    """
    values = {
        "workspace": workspace_id,
        "id": session_id,
        "token": token,
        "turn": TURN_SECONDS,
        "seconds": hours * 3600,
    }
    taken = await connection.execute(
        text(
            "UPDATE sessions SET turn_token = :token, "
            "turn_until = now() + make_interval(secs => :turn), "
            "expires_at = now() + make_interval(secs => :seconds) "
            "WHERE workspace_id = :workspace AND id = :id AND expires_at > now() "
            "AND coalesce(turn_until, '-infinity') <= now()"
        ),
        values,
    )
    if taken.rowcount:
        return True
    await get_session(connection, workspace_id, session_id)
    return False


async def renew_turn(
    connection: AsyncConnection, workspace_id: WorkspaceId, session_id: SessionId, token: UUID
) -> bool:
    """Say that the turn's holder lives; return whether it still has the turn."""
    renewed = await connection.execute(
        text(
            "UPDATE sessions SET turn_until = now() + make_interval(secs => :turn), "
            "expires_at = greatest(expires_at, now() + make_interval(secs => :turn)) "
            "WHERE workspace_id = :workspace AND id = :id AND turn_token = :token"
        ),
        {"workspace": workspace_id, "id": session_id, "token": token, "turn": TURN_SECONDS},
    )
    return renewed.rowcount > 0


async def return_turn(
    connection: AsyncConnection, workspace_id: WorkspaceId, session_id: SessionId, token: UUID
) -> None:
    """Give the turn back without a message."""
    await connection.execute(
        text(
            "UPDATE sessions SET turn_token = NULL, turn_until = NULL "
            "WHERE workspace_id = :workspace AND id = :id AND turn_token = :token"
        ),
        {"workspace": workspace_id, "id": session_id, "token": token},
    )


TurnEnd = Literal["held", "lost", "gone"]
"""Ours until now; another's by now; without a session."""


async def end_turn(
    connection: AsyncConnection,
    workspace_id: WorkspaceId,
    session_id: SessionId,
    token: UUID,
    hours: float,
) -> TurnEnd:
    """End a turn, and lock the session until the transaction ends; say whether it was ours."""
    values = {
        "workspace": workspace_id,
        "id": session_id,
        "token": token,
        "seconds": hours * 3600,
    }
    ended = await connection.execute(
        text(
            "UPDATE sessions SET turn_token = NULL, turn_until = NULL, updated_at = now(), "
            "expires_at = now() + make_interval(secs => :seconds) "
            "WHERE workspace_id = :workspace AND id = :id AND turn_token = :token"
        ),
        values,
    )
    if ended.rowcount:
        return "held"
    there = await connection.scalar(
        text("SELECT true FROM sessions WHERE workspace_id = :workspace AND id = :id"), values
    )
    return "lost" if there else "gone"


async def add_exchange(
    connection: AsyncConnection,
    workspace_id: WorkspaceId,
    session_id: SessionId,
    exchange: Exchange,
) -> None:
    """Write a question and its reply, after ``end_turn`` in the same transaction.

    A session without a title is named after its first question.
    """
    values = {
        "workspace": workspace_id,
        "id": session_id,
        "question": exchange.question,
        "reply": exchange.reply,
        "answer": exchange.answer_id,
        "title": " ".join(exchange.question.split())[:TITLE_CHARACTERS] or None,
    }
    await connection.execute(
        text(
            "INSERT INTO messages (workspace_id, session_id, ordinal, role, content, answer_id) "
            "SELECT :workspace, :id, n.first + m.place, m.role, m.content, m.answer FROM ("
            "SELECT coalesce(max(ordinal) + 1, 0) AS first FROM messages "
            "WHERE workspace_id = :workspace AND session_id = :id) n CROSS JOIN (VALUES "
            "(0, 'user', :question, NULL::uuid), "
            "(1, 'assistant', :reply, CAST(:answer AS uuid))) AS m (place, role, content, answer)"
        ),
        values,
    )
    await connection.execute(
        text(
            "UPDATE sessions SET title = :title "
            "WHERE workspace_id = :workspace AND id = :id AND title IS NULL"
        ),
        values,
    )


async def list_messages(
    connection: AsyncConnection,
    workspace_id: WorkspaceId,
    session_id: SessionId,
    after: int,
    limit: int,
) -> list[MessageRow]:
    """List a session's messages in their order, those after the one with number ``after``."""
    rows = await connection.execute(
        text(
            "SELECT m.ordinal, m.role, m.content, m.answer_id, a.status, a.refused, m.created_at "
            "FROM messages m LEFT JOIN answers a "
            "ON a.workspace_id = m.workspace_id AND a.id = m.answer_id "
            "WHERE m.workspace_id = :workspace AND m.session_id = :id AND m.ordinal > :after "
            "ORDER BY m.ordinal LIMIT :limit"
        ),
        {"workspace": workspace_id, "id": session_id, "after": after, "limit": limit},
    )
    return [MessageRow(*row) for row in rows]


async def read_history(
    connection: AsyncConnection, workspace_id: WorkspaceId, session_id: SessionId, most: int
) -> tuple[Message, ...]:
    """Return a session's last messages, the oldest of them first."""
    rows = await connection.execute(
        text(
            "SELECT role, content FROM messages WHERE workspace_id = :workspace "
            "AND session_id = :id ORDER BY ordinal DESC LIMIT :most"
        ),
        {"workspace": workspace_id, "id": session_id, "most": most},
    )
    return tuple(Message(row.role, row.content) for row in rows)[::-1]
