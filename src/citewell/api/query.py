"""/search and /query: find chunks; answer with exact citations, at once or streamed."""

import json
from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import APIRouter, Body, Query
from fastapi.responses import Response
from pydantic import BaseModel
from sse_starlette import EventSourceResponse, ServerSentEvent

from citewell.answer.path import Question
from citewell.api import schemas
from citewell.api.deps import AnswerIdDep, CleanText, ServicesDep, WorkspaceDep
from citewell.api.filters import read_scope
from citewell.api.problems import problem_body, unexpected_body
from citewell.domain import (
    Answer,
    AnswerEvent,
    AnswerSentence,
    EvidenceFound,
    Finished,
    Refusal,
    Started,
    WorkspaceId,
)
from citewell.errors import CitewellError, TooLarge
from citewell.records.answers import add_answer, get_answer
from citewell.telemetry import ANSWERS, STAGE_SECONDS
from citewell.wiring import Services

router = APIRouter(tags=["questions"])

HEARTBEAT_SECONDS = 15
SSE_HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}

QueryBody = Annotated[schemas.QueryRequest | None, Body()]
QueryText = Annotated[CleanText | None, Query(alias="q", description="The question.")]
QueryMode = Annotated[schemas.Mode | None, Query(description="How to answer.")]


@router.post("/search", response_model=schemas.SearchReply)
async def search(
    services: ServicesDep, workspace_id: WorkspaceDep, body: schemas.SearchRequest
) -> Response:
    """Find the chunks that fit a query best, by meaning and by words; no answer is written."""
    scope = await read_scope(services, workspace_id, body.collection, body.filters)
    found = await services.answers.search(workspace_id, body.query, scope, body.limit)
    _observe(found.timings_ms)
    return _json(
        schemas.SearchReply(
            results=[schemas.Result.model_validate(item) for item in found.candidates],
            timings_ms=found.timings_ms,
        )
    )


@router.post("/query", response_model=schemas.Answer)
async def query(
    services: ServicesDep,
    workspace_id: WorkspaceDep,
    body: QueryBody = None,
    q: QueryText = None,
    mode: QueryMode = None,
) -> Response:
    """Answer a question from the documents, or refuse and say why."""
    question = await _read_question(services, workspace_id, body, q, mode)
    answer = None
    async for event in services.answers.start(question).events():
        if isinstance(event, Finished):
            answer = event.answer
    assert answer is not None, "the pipeline ends with Finished"
    return _json(await _keep(services, workspace_id, answer))


@router.post("/query/stream", response_class=EventSourceResponse)
async def stream(
    services: ServicesDep,
    workspace_id: WorkspaceDep,
    body: QueryBody = None,
    q: QueryText = None,
    mode: QueryMode = None,
) -> EventSourceResponse:
    """Stream an answer as server-sent events: meta, evidence, sentence …, refused?, done.

    Each event's data is JSON; ``done`` carries the whole result as ``POST /query`` returns it; a
    failure after the first byte is an ``error`` event with a problem's body.
    """
    question = await _read_question(services, workspace_id, body, q, mode)
    return EventSourceResponse(
        _events(services, workspace_id, question), ping=HEARTBEAT_SECONDS, headers=SSE_HEADERS
    )


@router.get("/answers/{answer_id}", response_model=schemas.Answer)
async def get_one(
    services: ServicesDep, workspace_id: WorkspaceDep, answer_id: AnswerIdDep
) -> dict[str, Any]:
    """Return an answer as it was sent."""
    async with services.database.transaction(workspace_id) as connection:
        return await get_answer(connection, workspace_id, answer_id)


async def _read_question(
    services: Services,
    workspace_id: WorkspaceId,
    body: schemas.QueryRequest | None,
    q: str | None,
    mode: schemas.Mode | None,
) -> Question:
    body = body or schemas.QueryRequest.model_validate({})
    text = (body.question if body.question is not None else q) or ""
    longest = services.settings.answer.max_question_characters
    if len(text) > longest:
        raise TooLarge(f"The question is longer than {longest} characters. Ask it more shortly.")
    scope = await read_scope(services, workspace_id, body.collection, body.filters)
    return Question(
        workspace_id=workspace_id,
        text=text,
        scope=scope,
        limit=body.limit or services.settings.answer.max_evidence,
        mode=mode or body.mode,
    )


async def _events(
    services: Services, workspace_id: WorkspaceId, question: Question
) -> AsyncIterator[ServerSentEvent]:
    number = 0
    try:
        async for event in services.answers.start(question).events():
            name, data = await _wire(services, workspace_id, event)
            yield ServerSentEvent(data, event=name, id=str(number))
            number += 1
    except CitewellError as error:
        problem = problem_body(error.status, error.reason, error.message)
        yield ServerSentEvent(json.dumps(problem), event="error")
    except Exception as error:  # noqa: BLE001 - a door: the reply has begun, so the bug is told inside the stream
        yield ServerSentEvent(json.dumps(unexpected_body(error)), event="error")


async def _wire(
    services: Services, workspace_id: WorkspaceId, event: AnswerEvent
) -> tuple[str, str]:
    """Return an event's name and its data as JSON."""
    match event:
        case Started():
            name, value = "meta", schemas.Meta.model_validate(event)
        case EvidenceFound():
            name, value = "evidence", schemas.Evidence.model_validate(event)
        case AnswerSentence():
            name, value = "sentence", schemas.Sentence.model_validate(event)
        case Refusal():
            name, value = "refused", schemas.Refused.model_validate(event)
        case Finished():
            name, value = "done", await _keep(services, workspace_id, event.answer)
    return name, value.model_dump_json()


async def _keep(services: Services, workspace_id: WorkspaceId, answer: Answer) -> schemas.Answer:
    """Count the answer and store it, so that it can be looked up by its id."""
    reply = schemas.Answer.model_validate(answer)
    ANSWERS.labels(answer.reason or "answered").inc()
    _observe(answer.timings_ms)
    async with services.database.transaction(workspace_id) as connection:
        await add_answer(
            connection,
            workspace_id,
            answer.answer_id,
            answer.question,
            answer.refused,
            sorted({source.document_id for source in answer.sources}),
            reply.model_dump(mode="json"),
            manifest=answer.manifest,
        )
    return reply


def _observe(timings_ms: Any) -> None:
    for stage, milliseconds in timings_ms.items():
        STAGE_SECONDS.labels(stage).observe(milliseconds / 1000)


def _json(value: BaseModel) -> Response:
    return Response(value.model_dump_json(), media_type="application/json")
