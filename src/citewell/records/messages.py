"""A session's messages: a question and its reply together, in their order."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from sqlalchemy.ext.asyncio import AsyncConnection

from citewell.domain import AnswerId, Message, SessionId, WorkspaceId
from citewell.records.answer_form import HIDDEN
from citewell.records.redaction import REDACTED
from citewell.records.statements import text

TITLE_CHARACTERS = 80


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


CONTENT = f"""
CASE WHEN m.role = 'assistant' AND m.answer_id IS NOT NULL AND NOT (SELECT citewell_sees_all())
    AND citewell_hides_answer(m.answer_id) THEN '{HIDDEN}' ELSE m.content END
"""


async def list_messages(
    connection: AsyncConnection,
    workspace_id: WorkspaceId,
    session_id: SessionId,
    after: int,
    limit: int,
) -> list[MessageRow]:
    """List a session's messages in their order, those after the one with number ``after``.

    Holds:   a reply whose answer the visitor may not see is blanked.
    """
    rows = await connection.execute(
        text(
            f"SELECT m.ordinal, m.role, {CONTENT}, m.answer_id, a.status, a.refused, m.created_at "
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
    """Return a session's last messages, the oldest of them first; redacted ones say nothing."""
    rows = await connection.execute(
        text(
            f"SELECT m.role, {CONTENT} AS content FROM messages m "
            "WHERE m.workspace_id = :workspace AND m.session_id = :id "
            "AND m.content <> :redacted ORDER BY m.ordinal DESC LIMIT :most"
        ),
        {"workspace": workspace_id, "id": session_id, "most": most, "redacted": REDACTED},
    )
    return tuple(Message(row.role, row.content) for row in rows)[::-1]
