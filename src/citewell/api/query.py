"""/query: answer with exact citations, at once, streamed, or later."""

from collections.abc import AsyncGenerator, Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Body, Depends, Header, Query
from fastapi.responses import Response
from pydantic import BaseModel
from sse_starlette import EventSourceResponse, ServerSentEvent

from citewell.api import schemas
from citewell.api.answer_events import WireEvent, events_of
from citewell.api.answer_stream import (
    LiveAnswersDep,
    event_stream,
    stream,
)
from citewell.api.deps import AnswerIdDep, CleanText, ServicesDep, WorkspaceDep
from citewell.api.once import AttemptDep
from citewell.api.questions import PrefersAsync, read_question, take_turn
from citewell.api.results import ACCEPTED, answer_later
from citewell.errors import Unprocessable
from citewell.records.answers import get_answer

router = APIRouter(tags=["questions"])


async def read_last_id(
    header: Annotated[str | None, Header(alias="Last-Event-ID")] = None,
    last_event_id: Annotated[
        str | None, Query(description="Stands for the header, which wins.")
    ] = None,
) -> int:
    """Return the id of the last event that a client saw; -1 when it saw none.

    Raises:  Unprocessable – it is no number.
    """
    given = header or last_event_id
    if given is None:
        return -1
    if not (given.isascii() and given.isdigit() and len(given) < 10):
        raise Unprocessable("Last-Event-ID must be the id of an event: a number from 0.")
    return int(given)


LastEventId = Annotated[int, Depends(read_last_id)]
QueryBody = Annotated[schemas.QueryRequest | None, Body()]
QueryText = Annotated[CleanText | None, Query(alias="q", description="The question.")]
QueryMode = Annotated[schemas.ModeName | None, Query(description="How to answer.")]


@router.post("/query", response_model=schemas.Answer, responses=ACCEPTED)
async def query(
    services: ServicesDep,
    workspace_id: WorkspaceDep,
    live_answers: LiveAnswersDep,
    attempt: AttemptDep,
    prefers_async: PrefersAsync,
    body: QueryBody = None,
    q: QueryText = None,
    mode: QueryMode = None,
) -> Response:
    """Answer a question from the documents, or refuse and say why; with ``async``, later."""
    body = joined(body, q, mode)
    ready = await read_question(services, workspace_id, body.question or "", body)
    if prefers_async or body.respond_async:
        return await answer_later(services, ready, attempt, preferred=prefers_async)
    ready = await take_turn(services, ready, in_session=False)
    return _json(schemas.Answer.model_validate(await live_answers.make(services, ready)))


@router.post("/query/stream", response_class=EventSourceResponse)
async def stream_query(
    services: ServicesDep,
    workspace_id: WorkspaceDep,
    live_answers: LiveAnswersDep,
    body: QueryBody = None,
    q: QueryText = None,
    mode: QueryMode = None,
) -> Response:
    """Stream an answer as server-sent events: meta, evidence, sentence, citation …, usage, done.

    Each event's data is JSON, and its id its place; ``done`` carries the whole result as
    ``POST /query`` returns it. With the policy ``delivery: token`` each checked sentence comes word
    by word as ``token`` events. A refusal is ``refused``; a failure after the first byte is an
    ``error`` event with a problem's body.
    """
    body = joined(body, q, mode)
    ready = await read_question(services, workspace_id, body.question or "", body)
    return stream(live_answers.start(services, await take_turn(services, ready, in_session=False)))


@router.get("/answers/{answer_id}", response_model=schemas.Answer)
async def get_one(
    services: ServicesDep, workspace_id: WorkspaceDep, answer_id: AnswerIdDep
) -> dict[str, Any]:
    """Return an answer as it was sent."""
    async with services.database.transaction(workspace_id) as connection:
        return await get_answer(connection, workspace_id, answer_id)


@router.get("/answers/{answer_id}/events", response_class=EventSourceResponse)
async def follow(
    services: ServicesDep,
    workspace_id: WorkspaceDep,
    live_answers: LiveAnswersDep,
    answer_id: AnswerIdDep,
    last_id: LastEventId,
) -> Response:
    """Stream an answer's events again, those after ``Last-Event-ID``, with the same ids.

    An answer that this process is still making is followed to its end; one that was made before is
    told from what is stored, with nothing in between. Without anything left the reply is 204.
    """
    live = live_answers.find(workspace_id, answer_id)
    if live is not None:
        return stream(live, last_id)
    async with services.database.transaction(workspace_id) as connection:
        events = events_of(await get_answer(connection, workspace_id, answer_id))
    if last_id + 1 >= len(events):
        return Response(status_code=204)
    return event_stream(_again(events, last_id + 1))


async def _again(events: Sequence[WireEvent], first: int) -> AsyncGenerator[ServerSentEvent]:
    for place, event in enumerate(events[first:], first):
        yield event.encode(place)


def joined(
    body: schemas.QueryRequest | None, q: str | None, mode: str | None
) -> schemas.QueryRequest:
    """Put a question together from the body and the address, where a bare + stands for a space."""
    mode = mode and mode.strip().replace(" ", "+")
    body = body or schemas.QueryRequest.model_validate({})
    question = body.question if body.question is not None else q
    return body.model_copy(update={"question": question, "mode": mode or body.mode})


def _json(value: BaseModel) -> Response:
    return Response(value.model_dump_json(), media_type="application/json")
