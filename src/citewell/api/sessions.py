"""/chat/sessions: conversations and their history."""

from typing import Annotated
from uuid import uuid4

from fastapi import APIRouter, Body, Depends, Path, Query
from fastapi.responses import Response

from citewell.api import chat_schemas
from citewell.api.context import request_id
from citewell.api.deps import CursorQuery, LimitQuery, ServicesDep, WorkspaceDep, known_uuid
from citewell.domain import SessionId, WorkspaceId
from citewell.records.audit import add_audit
from citewell.records.messages import list_messages
from citewell.records.sessions import (
    SessionRow,
    add_session,
    get_session,
    list_sessions,
    remove_session,
    rename_session,
)
from citewell.wiring import Services

router = APIRouter(tags=["chat"])


async def session_id(
    session_id: Annotated[str, Path(description="The session's id.")],
) -> SessionId:
    """Read a session's id; a malformed one is unknown."""
    return SessionId(known_uuid(session_id))


SessionIdDep = Annotated[SessionId, Depends(session_id)]


@router.post("/session", status_code=201)
async def open_plainly(services: ServicesDep, workspace_id: WorkspaceDep) -> chat_schemas.SessionId:
    """Begin a session; its id is all that the reply holds."""
    opened = await _open(services, workspace_id, None)
    return chat_schemas.SessionId(session_id=opened.session_id)


@router.post("/chat/sessions", status_code=201)
async def open_titled(
    services: ServicesDep,
    workspace_id: WorkspaceDep,
    body: Annotated[chat_schemas.NewSession | None, Body()] = None,
) -> chat_schemas.Session:
    """Begin a session, with a title if you like."""
    opened = await _open(services, workspace_id, body.title if body else None)
    return chat_schemas.Session.model_validate(opened)


@router.get("/chat/sessions")
async def list_all(
    services: ServicesDep,
    workspace_id: WorkspaceDep,
    limit: LimitQuery = 50,
    cursor: CursorQuery = None,
) -> chat_schemas.SessionPage:
    """List the sessions that have not expired, the last used first."""
    async with services.database.transaction(workspace_id) as connection:
        page = await list_sessions(connection, workspace_id, limit, cursor)
    return chat_schemas.SessionPage(
        sessions=[chat_schemas.Session.model_validate(row) for row in page.items],
        next_cursor=page.next_cursor,
    )


@router.get("/chat/sessions/{session_id}")
async def get_one(
    services: ServicesDep, workspace_id: WorkspaceDep, session_id: SessionIdDep
) -> chat_schemas.Session:
    """Return one session, without its messages."""
    async with services.database.transaction(workspace_id) as connection:
        row = await get_session(connection, workspace_id, session_id)
    return chat_schemas.Session.model_validate(row)


@router.get("/chat/sessions/{session_id}/history")
async def get_history(
    services: ServicesDep,
    workspace_id: WorkspaceDep,
    session_id: SessionIdDep,
    limit: LimitQuery = 50,
    after: Annotated[int, Query(ge=-1, le=2**31 - 1, description="The last ordinal seen.")] = -1,
) -> chat_schemas.History:
    """List a session's messages in their order, with the ids of the answers."""
    async with services.database.transaction(workspace_id) as connection:
        await get_session(connection, workspace_id, session_id)
        rows = await list_messages(connection, workspace_id, session_id, after, limit + 1)
    more = len(rows) > limit
    messages = [chat_schemas.Message.model_validate(row) for row in rows[:limit]]
    return chat_schemas.History(
        messages=messages, next_after=messages[-1].ordinal if more else None
    )


@router.patch("/chat/sessions/{session_id}")
async def rename(
    services: ServicesDep,
    workspace_id: WorkspaceDep,
    session_id: SessionIdDep,
    body: chat_schemas.NewSession,
) -> chat_schemas.Session:
    """Give a session another title; null lets its next question name it."""
    async with services.database.transaction(workspace_id) as connection:
        await rename_session(connection, workspace_id, session_id, body.title)
        await add_audit(connection, workspace_id, "session.rename", str(session_id), request_id())
        row = await get_session(connection, workspace_id, session_id)
    return chat_schemas.Session.model_validate(row)


@router.delete("/session/{session_id}", status_code=204)
@router.delete("/chat/sessions/{session_id}", status_code=204)
async def delete(
    services: ServicesDep, workspace_id: WorkspaceDep, session_id: SessionIdDep
) -> Response:
    """Delete a session with its history, its answers and the feedback on them."""
    async with services.database.transaction(workspace_id) as connection:
        await remove_session(connection, workspace_id, session_id)
        await add_audit(connection, workspace_id, "session.delete", str(session_id), request_id())
    return Response(status_code=204)


async def _open(services: Services, workspace_id: WorkspaceId, title: str | None) -> SessionRow:
    opened = SessionId(uuid4())
    async with services.database.transaction(workspace_id) as connection:
        await add_session(connection, workspace_id, opened, title, services.settings.session.hours)
        await add_audit(connection, workspace_id, "session.add", str(opened), request_id())
        return await get_session(connection, workspace_id, opened)
