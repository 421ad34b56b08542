"""/rag/query and /result: questions that a worker answers, and what became of them."""

from dataclasses import replace
from typing import Annotated, Any
from uuid import uuid4

from fastapi import APIRouter, Body, Path
from fastapi.responses import Response

from citewell.api import chat_schemas, schemas
from citewell.api.answer_stream import LiveAnswersDep
from citewell.api.context import request_id
from citewell.api.deps import ServicesDep, WorkspaceDep, job_id
from citewell.api.once import Accepted, Attempt, AttemptDep, do_once
from citewell.api.questions import (
    ASYNC_PREFERENCE,
    PrefersAsync,
    Ready,
    read_question,
    take_turn,
)
from citewell.domain import Json, SessionId
from citewell.records.jobs import JobRow
from citewell.records.questions import add_question, get_question
from citewell.records.session import Connection
from citewell.records.sessions import add_session, touch_session
from citewell.records.workspaces import require_active
from citewell.wiring import Services

router = APIRouter(tags=["questions"])

ACCEPTED: dict[int | str, dict[str, Any]] = {
    202: {"model": chat_schemas.TaskReply, "description": "A worker answers it."}
}
STATUS = {"queued": "pending", "running": "pending", "done": "done"}
REMOVED = (
    "answer_removed",
    "The answer was removed: by its age, with its session, or with a document that it quoted.",
)
QuestionBody = Annotated[schemas.QueryRequest, Body()]


@router.post("/rag/query", status_code=202, response_model=chat_schemas.TaskReply)
async def ask_later(
    services: ServicesDep,
    workspace_id: WorkspaceDep,
    body: QuestionBody,
    attempt: AttemptDep,
    prefers_async: PrefersAsync,
) -> Response:
    """Leave a question to a worker; ``GET /result/{task_id}`` has the answer when it is there."""
    ready = await read_question(services, workspace_id, body.question or "", body)
    return await answer_later(services, ready, attempt, preferred=prefers_async)


@router.post("/rag/query/sync", response_model=schemas.Answer)
async def ask_now(
    services: ServicesDep,
    workspace_id: WorkspaceDep,
    live_answers: LiveAnswersDep,
    body: QuestionBody,
) -> Response:
    """Answer a question at once, whatever ``async`` says, as ``POST /query`` does."""
    ready = await read_question(services, workspace_id, body.question or "", body)
    ready = await take_turn(services, ready, in_session=False)
    answer = schemas.Answer.model_validate(await live_answers.make(services, ready))
    return Response(answer.model_dump_json(), media_type="application/json")


@router.get("/result/{task_id}", response_model=chat_schemas.TaskResult)
async def get_result(
    services: ServicesDep,
    workspace_id: WorkspaceDep,
    task_id: Annotated[str, Path(description="The task_id of a 202 reply.")],
) -> chat_schemas.TaskResult:
    """Return whether a question that was left to a worker is answered, and the answer."""
    async with services.database.transaction(workspace_id) as connection:
        job, result = await get_question(connection, workspace_id, await job_id(task_id))
    return _wire(job, result)


async def answer_later(
    services: Services,
    ready: Ready,
    attempt: Attempt,
    *,
    preferred: bool,
    in_session: bool = False,
) -> Response:
    """Queue a question, in a session where one is named or wanted; reply 202.

    Raises:  Conflict – the workspace is archived, and takes no new jobs.
    """

    async def effect(connection: Connection) -> Accepted:
        await require_active(connection, ready.workspace_id)
        asked, hours = ready.asked, services.settings.session.hours
        if asked.session_id is not None:
            await touch_session(connection, ready.workspace_id, asked.session_id, hours)
        elif in_session:
            session_id = SessionId(uuid4())
            asked = replace(asked, session_id=session_id)
            await add_session(connection, ready.workspace_id, session_id, None, hours)
        task = await add_question(connection, ready.workspace_id, asked, request_id())
        reply = chat_schemas.TaskReply(task_id=task, session_id=asked.session_id)
        return Accepted(reply, [task], f"/result/{task}", task="answer")

    content = ready.asked.to_json()
    response, _ = await do_once(services, ready.workspace_id, attempt, content, 202, effect)
    if preferred:
        response.headers["Preference-Applied"] = ASYNC_PREFERENCE
    return response


def _wire(job: JobRow, result: Json | None) -> chat_schemas.TaskResult:
    status = STATUS.get(job.status, "failed")
    fields: dict[str, Any] = {"task_id": job.job_id, "status": status}
    if status == "failed":
        fields |= {"reason": job.reason, "message": job.message}
    elif status == "done" and result is None:
        fields |= dict(zip(("reason", "message"), REMOVED, strict=True))
    elif result is not None:
        shared = ("answer", "sources", "reason", "message")
        fields |= {"result": result, **{name: result[name] for name in shared}}
    return chat_schemas.TaskResult.model_validate(fields)
