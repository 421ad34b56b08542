"""/feedback: what readers said of answers."""

from collections.abc import AsyncGenerator
from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Depends, Query
from fastapi.responses import Response, StreamingResponse

from citewell.api import chat_schemas
from citewell.api.context import request_id
from citewell.api.deps import AnswerIdDep, CursorQuery, LimitQuery, ServicesDep, WorkspaceDep
from citewell.domain import WorkspaceId
from citewell.records.audit import add_audit
from citewell.records.feedback import (
    FeedbackFilter,
    FeedbackRow,
    Rating,
    list_feedback,
    remove_feedback,
    set_feedback,
)
from citewell.records.paging import Page
from citewell.wiring import Services

router = APIRouter(tags=["feedback"])

EXPORT_ROWS = 500
"""Rows that an export reads at once; no connection is held while they are sent."""


async def get_filter(
    rating: Annotated[Rating | None, Query()] = None,
    since: Annotated[
        datetime | None, Query(description="From this time on; UTC if it names no zone.")
    ] = None,
) -> FeedbackFilter:
    """Read which feedback is wanted."""
    if since is not None and since.tzinfo is None:
        since = since.replace(tzinfo=UTC)
    return FeedbackFilter(rating, since)


FilterDep = Annotated[FeedbackFilter, Depends(get_filter)]


@router.post("/answers/{answer_id}/feedback")
async def give(
    services: ServicesDep,
    workspace_id: WorkspaceDep,
    answer_id: AnswerIdDep,
    body: chat_schemas.NewFeedback,
) -> chat_schemas.Feedback:
    """Say whether an answer was good; said again, it replaces what was said before."""
    async with services.database.transaction(workspace_id) as connection:
        row = await set_feedback(connection, workspace_id, answer_id, body.rating, body.comment)
        await add_audit(connection, workspace_id, "feedback.set", str(answer_id), request_id())
    return chat_schemas.Feedback.model_validate(row)


@router.delete("/answers/{answer_id}/feedback", status_code=204)
async def take_back(
    services: ServicesDep, workspace_id: WorkspaceDep, answer_id: AnswerIdDep
) -> Response:
    """Delete what was said of an answer."""
    async with services.database.transaction(workspace_id) as connection:
        await remove_feedback(connection, workspace_id, answer_id)
        await add_audit(connection, workspace_id, "feedback.delete", str(answer_id), request_id())
    return Response(status_code=204)


@router.get("/feedback")
async def list_all(
    services: ServicesDep,
    workspace_id: WorkspaceDep,
    wanted: FilterDep,
    limit: LimitQuery = 50,
    cursor: CursorQuery = None,
) -> chat_schemas.FeedbackPage:
    """List feedback, newest first."""
    page = await _read(services, workspace_id, wanted, limit, cursor)
    return chat_schemas.FeedbackPage(
        feedback=[chat_schemas.Feedback.model_validate(row) for row in page.items],
        next_cursor=page.next_cursor,
    )


@router.get(
    "/feedback/export",
    response_class=StreamingResponse,
    responses={200: {"content": {"application/jsonl": {}}}},
)
async def export(
    services: ServicesDep, workspace_id: WorkspaceDep, wanted: FilterDep
) -> StreamingResponse:
    """Download feedback as JSON lines, newest first, each as the list has it."""
    first = await _read(services, workspace_id, wanted, EXPORT_ROWS, None)
    return StreamingResponse(
        _lines(services, workspace_id, wanted, first),
        media_type="application/jsonl",
        headers={"Content-Disposition": 'attachment; filename="feedback.jsonl"'},
    )


async def _lines(
    services: Services,
    workspace_id: WorkspaceId,
    wanted: FeedbackFilter,
    page: Page[FeedbackRow],
) -> AsyncGenerator[str]:
    while True:
        lines = [
            chat_schemas.Feedback.model_validate(row).model_dump_json() + "\n" for row in page.items
        ]
        yield "".join(lines)
        if page.next_cursor is None:
            return
        page = await _read(services, workspace_id, wanted, EXPORT_ROWS, page.next_cursor)


async def _read(
    services: Services,
    workspace_id: WorkspaceId,
    wanted: FeedbackFilter,
    limit: int,
    cursor: str | None,
) -> Page[FeedbackRow]:
    async with services.database.transaction(workspace_id) as connection:
        return await list_feedback(connection, workspace_id, wanted, limit, cursor)
