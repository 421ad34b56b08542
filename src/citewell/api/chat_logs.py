"""/chat-logs: every question that was answered, refused or broken off, and who asked it."""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from fastapi import APIRouter, Depends, Query

from citewell.api.audit import Moment, in_utc
from citewell.api.deps import (
    AnswerIdDep,
    CleanText,
    CursorQuery,
    LimitQuery,
    ServicesDep,
    WorkspaceDep,
)
from citewell.api.schemas import Answer, Wire
from citewell.records.chat_logs import ChatLogFilter, get_chat_log, list_chat_logs

router = APIRouter(prefix="/chat-logs", tags=["chat logs"])

Status = Literal["complete", "incomplete"]
Channel = Literal["api", "openai"]
Name = Annotated[CleanText | None, Query(max_length=300)]


class ChatLog(Wire):
    """A question, who asked it, and how it was answered.

    ``content`` says whether its texts are there: ``redacted`` ones were never kept, ``removed``
    ones are gone, with a document that the answer quoted, with its session, or by age.
    """

    answer_id: UUID
    created_at: datetime
    actor: str
    principal_id: UUID | None
    request_id: str | None
    channel: Channel
    session_id: UUID | None
    mode: str
    model: str
    status: Status
    refused: bool
    reason: str | None
    citation_count: int
    input_tokens: int
    output_tokens: int
    cost_usd: float | None
    timings_ms: dict[str, float]
    question: str | None
    content: Literal["kept", "redacted", "removed"]


class ChatLogPage(Wire):
    """One page of questions, newest first."""

    chat_logs: list[ChatLog]
    next_cursor: str | None


class ChatLogDetail(ChatLog):
    """A question with its answer as it is stored; null where that is gone."""

    answer: Answer | None


async def get_filter(  # noqa: PLR0913, PLR0917 - a query has as many fields
    mode: Name = None,
    model: Name = None,
    refused: Annotated[bool | None, Query()] = None,
    reason: Name = None,
    status: Annotated[Status | None, Query()] = None,
    session_id: Annotated[UUID | None, Query()] = None,
    actor: Name = None,
    channel: Annotated[Channel | None, Query()] = None,
    since: Annotated[Moment, Query(alias="from", description="From this time on.")] = None,
    until: Annotated[Moment, Query(alias="to", description="Before this time.")] = None,
    search: Annotated[
        CleanText | None,
        Query(alias="q", max_length=300, description="A part of the question, in any case."),
    ] = None,
) -> ChatLogFilter:
    """Read which questions are wanted."""
    return ChatLogFilter(
        mode=mode,
        model=model,
        refused=refused,
        reason=reason,
        status=status,
        session_id=session_id,
        actor=actor,
        channel=channel,
        since=in_utc(since),
        until=in_utc(until),
        search=search or None,
    )


@router.get("")
async def list_all(
    services: ServicesDep,
    workspace_id: WorkspaceDep,
    wanted: Annotated[ChatLogFilter, Depends(get_filter)],
    limit: LimitQuery = 50,
    cursor: CursorQuery = None,
) -> ChatLogPage:
    """List questions, newest first."""
    async with services.database.transaction(workspace_id) as connection:
        page = await list_chat_logs(connection, workspace_id, wanted, limit, cursor)
    return ChatLogPage(
        chat_logs=[ChatLog.model_validate(row) for row in page.items],
        next_cursor=page.next_cursor,
    )


@router.get("/{answer_id}")
async def get_one(
    services: ServicesDep, workspace_id: WorkspaceDep, answer_id: AnswerIdDep
) -> ChatLogDetail:
    """Return one question with its answer."""
    async with services.database.transaction(workspace_id) as connection:
        found = await get_chat_log(connection, workspace_id, answer_id)
    entry = ChatLog.model_validate(found.entry).model_dump()
    return ChatLogDetail.model_validate({**entry, "answer": found.answer})
