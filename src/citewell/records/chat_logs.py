"""The log of questions: who asked, how it was answered, what it took; its texts are in ``answers``.

An entry holds no text, so that counts and costs stay true when the answer is gone: with a document
that it quoted, with its session, by its age.
"""

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from citewell.domain import Answer, AnswerId, Json, WorkspaceId
from citewell.errors import NotFound
from citewell.records.answer_form import Telling
from citewell.records.paging import Page, decode_cursor, page_of
from citewell.records.redaction import Redaction
from citewell.records.session import Database, current_visitor
from citewell.records.statements import text

Content = Literal["kept", "redacted", "removed"]


@dataclass(frozen=True, slots=True)
class ChatLogRow:
    """One question and how it was answered.

    ``content`` says whether its texts are there: ``redacted`` ones were never stored, ``removed``
    ones are gone; ``question`` is then None or a sign that it was redacted.
    """

    answer_id: UUID
    created_at: datetime
    actor: str
    principal_id: UUID | None
    request_id: str | None
    channel: Literal["api", "openai"]
    session_id: UUID | None
    mode: str
    model: str
    status: Literal["complete", "incomplete"]
    refused: bool
    reason: str | None
    citation_count: int
    input_tokens: int
    output_tokens: int
    cost_usd: float | None
    timings_ms: dict[str, float]
    redaction: Redaction
    question: str | None
    content: Content


@dataclass(frozen=True, slots=True)
class ChatLogDetail:
    """An entry with the answer as it is stored, None where that is gone."""

    entry: ChatLogRow
    answer: Json | None


@dataclass(frozen=True, slots=True)
class ChatLogFilter:
    """Which entries are wanted.

    ``until`` is the first moment that is not; ``search`` is a part of the question, whatever the
    case of its letters.
    """

    mode: str | None = None
    model: str | None = None
    refused: bool | None = None
    reason: str | None = None
    status: Literal["complete", "incomplete"] | None = None
    session_id: UUID | None = None
    actor: str | None = None
    channel: Literal["api", "openai"] | None = None
    since: datetime | None = None
    until: datetime | None = None
    search: str | None = None


async def add_chat_log(
    connection: AsyncConnection, workspace_id: WorkspaceId, answer: Answer, telling: Telling
) -> Redaction:
    """Log an answer, and return what the workspace's policy lets be kept of its texts.

    Raises:  NotFound – the workspace is gone.
    """
    redaction = await connection.scalar(
        text(ADD),
        {
            "workspace": workspace_id,
            "id": answer.answer_id,
            "request_id": current_visitor().request_id,
            "channel": telling.channel,
            "session": answer.session_id,
            "mode": answer.mode,
            "model": answer.model,
            "status": telling.status,
            "refused": answer.refused,
            "reason": answer.reason,
            "citations": len(answer.citations),
            "input": answer.usage.input_tokens,
            "output": answer.usage.output_tokens,
            "cost": answer.usage.cost_usd,
            "timings": json.dumps(dict(answer.timings_ms)),
        },
    )
    if redaction is None:
        raise NotFound("There is no workspace with that id here.")
    return redaction


ADD = """
INSERT INTO chat_logs (workspace_id, answer_id, request_id, channel, session_id, mode, model,
    status, refused, reason, citation_count, input_tokens, output_tokens, cost_usd, timings_ms,
    redaction)
SELECT w.id, :id, :request_id, :channel, CAST(:session AS uuid), :mode, :model, :status,
    :refused, :reason, :citations, :input, :output, CAST(:cost AS double precision),
    CAST(:timings AS jsonb), coalesce(w.policy ->> 'redact', 'off')
FROM workspaces w WHERE w.id = :workspace RETURNING redaction
"""
COLUMNS = """
l.answer_id, l.created_at, l.actor, l.principal_id, l.request_id, l.channel, l.session_id, l.mode,
l.model, l.status, l.refused, l.reason, l.citation_count, l.input_tokens, l.output_tokens,
l.cost_usd, l.timings_ms, l.redaction, a.question,
CASE WHEN a.id IS NULL THEN 'removed' WHEN l.redaction <> 'off' THEN 'redacted' ELSE 'kept' END
"""
SELECT = """
FROM chat_logs l LEFT JOIN answers a ON a.workspace_id = l.workspace_id AND a.id = l.answer_id
WHERE l.workspace_id = :workspace
"""
CLAUSES = {
    "mode": "l.mode = :mode",
    "model": "l.model = :model",
    "refused": "l.refused = :refused",
    "reason": "l.reason = :reason",
    "status": "l.status = :status",
    "session_id": "l.session_id = :session_id",
    "actor": "l.actor = :actor",
    "channel": "l.channel = :channel",
    "since": "l.created_at >= :since",
    "until": "l.created_at < :until",
    "search": "l.redaction = 'off' AND a.question ILIKE :search",
}


async def list_chat_logs(
    connection: AsyncConnection,
    workspace_id: WorkspaceId,
    wanted: ChatLogFilter,
    limit: int,
    cursor: str | None = None,
) -> Page[ChatLogRow]:
    """List questions, newest first.

    Raises:  Unprocessable – the cursor is none of this list.
    """
    clauses, values = _where(wanted)
    if cursor is not None:
        clauses += " AND (l.created_at, l.answer_id) < (:before, :before_id)"
        values["before"], values["before_id"] = decode_cursor(cursor)
    rows = await connection.execute(
        text(
            f"SELECT {COLUMNS} {SELECT} {clauses} "
            "ORDER BY l.created_at DESC, l.answer_id DESC LIMIT :limit"
        ),
        {"workspace": workspace_id, "limit": limit + 1, **values},
    )
    found = [ChatLogRow(*row) for row in rows]
    return page_of(found, limit, lambda row: (row.created_at, row.answer_id))


async def get_chat_log(
    connection: AsyncConnection, workspace_id: WorkspaceId, answer_id: AnswerId
) -> ChatLogDetail:
    """Return one entry with its answer.

    Raises:  NotFound – none in this workspace has that id, or its time is over.
    """
    row = (
        await connection.execute(
            text(f"SELECT {COLUMNS}, a.result {SELECT} AND l.answer_id = :id"),
            {"workspace": workspace_id, "id": answer_id},
        )
    ).one_or_none()
    if row is None:
        raise NotFound("There is no question with that id in the log. GET /chat-logs lists them.")
    return _detail(row)


async def iterate_chat_logs(
    database: Database, workspace_id: WorkspaceId, wanted: ChatLogFilter, batch: int = 200
) -> AsyncIterator[list[ChatLogDetail]]:
    """Yield all entries with their answers, oldest first; no connection is held in between.

    Holds:   nothing comes twice, and what was logged before the first batch is there.
    """
    clauses, values = _where(wanted)
    statement = text(
        f"SELECT {COLUMNS}, a.result {SELECT} {clauses} AND (CAST(:after AS timestamptz) IS NULL "
        "OR (l.created_at, l.answer_id) > (:after, :after_id)) "
        "ORDER BY l.created_at, l.answer_id LIMIT :limit"
    )
    values |= {"workspace": workspace_id, "limit": batch, "after": None, "after_id": None}
    while True:
        async with database.transaction(workspace_id) as connection:
            found = [_detail(row) for row in await connection.execute(statement, values)]
        if found:
            yield found
        if len(found) < batch:
            return
        last = found[-1].entry
        values |= {"after": last.created_at, "after_id": last.answer_id}


async def remove_old_chat_logs(connection: AsyncConnection, keep_days: int) -> int:
    """Remove entries whose answers are gone and whose time is over. Needs a system transaction.

    A workspace's own ``keep_days`` counts where its policy has one. Returns how many went.
    """
    removed = await connection.execute(
        text(
            "DELETE FROM chat_logs l USING workspaces w WHERE w.id = l.workspace_id "
            "AND l.created_at < now() - make_interval(days => "
            "coalesce(CAST(w.policy ->> 'keep_days' AS integer), :days)) "
            "AND NOT EXISTS (SELECT FROM answers a "
            "WHERE a.workspace_id = l.workspace_id AND a.id = l.answer_id)"
        ),
        {"days": keep_days},
    )
    return removed.rowcount


def _where(wanted: ChatLogFilter) -> tuple[str, dict[str, Any]]:
    values = {name: getattr(wanted, name) for name in CLAUSES}
    values = {name: value for name, value in values.items() if value is not None}
    if wanted.search is not None:
        literal = wanted.search.replace("\\", r"\\").replace("%", r"\%").replace("_", r"\_")
        values["search"] = f"%{literal}%"
    return "".join(f" AND {CLAUSES[name]}" for name in values), values


def _detail(row: Any) -> ChatLogDetail:
    *columns, result = row
    return ChatLogDetail(ChatLogRow(*columns), result)
