"""/v1/chat/completions: the last user message is answered from documents, whole or streamed."""

import json
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from functools import partial

from fastapi import APIRouter, Request
from fastapi.responses import Response
from sse_starlette import EventSourceResponse, ServerSentEvent

from citewell.api import schemas
from citewell.api.deps import ServicesDep, WorkspaceDep
from citewell.api.limits import open_stream
from citewell.api.openai import wire
from citewell.api.openai.conversation import read_question
from citewell.api.openai.errors import OpenAIRoute, error_body
from citewell.api.openai.keeping import events_of, keep_answer
from citewell.api.openai.leaving import gone, until_gone
from citewell.api.openai.reply import Reply
from citewell.api.problems import unexpected_body
from citewell.domain import Answer, AnswerEvent, Finished, Json, Started
from citewell.errors import CitewellError

router = APIRouter(route_class=OpenAIRoute)

Events = AsyncGenerator[AnswerEvent]
Keep = Callable[[Answer], Awaitable[schemas.Answer]]


@router.post("/chat/completions", response_model=wire.ChatCompletion)
async def complete(
    request: Request, services: ServicesDep, workspace_id: WorkspaceDep, body: wire.ChatRequest
) -> Response:
    """Answer the last user message from the model's documents, with a citation for each sentence.

    With ``stream`` the reply is server-sent events: one chunk for each checked sentence.
    """
    if body.stream:
        await open_stream(request)
    question = await read_question(services, workspace_id, body)
    events = events_of(services, workspace_id, services.answers.start(question))
    reply = Reply(question.answer_id, body.model, str(request.base_url))
    keep = partial(keep_answer, services, workspace_id)
    if not body.stream:
        whole = await until_gone(request, _answer(events, reply, keep))
        if whole is None:
            return gone()
        return Response(whole.model_dump_json(), media_type="application/json")
    head = await until_gone(request, _read_head(events))
    if head is None:
        return gone()
    with_usage = body.stream_options is not None and bool(body.stream_options.include_usage)
    chunks = _chunks(head, events, reply, keep, with_usage=with_usage)
    return EventSourceResponse(_stream(chunks), sep="\n")


async def _answer(events: Events, reply: Reply, keep: Keep) -> wire.ChatCompletion:
    """Read all events; return the whole answer."""
    async with aclosing(events):
        async for event in events:
            reply.add(event)
            if isinstance(event, Finished):
                return reply.whole(await keep(event.answer))
    raise AssertionError("the pipeline ends with Finished")


async def _read_head(events: Events) -> list[AnswerEvent]:
    """Read until the evidence is there, so that a search that fails is a plain reply's status."""
    head: list[AnswerEvent] = []
    async for event in events:
        head.append(event)
        if not isinstance(event, Started):
            break
    return head


async def _chunks(
    head: Sequence[AnswerEvent], events: Events, reply: Reply, keep: Keep, *, with_usage: bool
) -> AsyncGenerator[Json]:
    """Yield a stream's chunks: the role, each sentence or the refusal, the end, the usage."""
    rest: Json = {"usage": None} if with_usage else {}
    async with aclosing(_join(head, events)) as joined:
        yield reply.chunk({"role": "assistant", "content": "", "refusal": None}) | rest
        async for event in joined:
            delta = reply.add(event)
            if delta is not None:
                yield reply.chunk(delta) | rest
            if isinstance(event, Finished):
                answer = await keep(event.answer)
                yield reply.last_chunk(answer) | rest
                if with_usage:
                    yield reply.usage_chunk(answer)


async def _join(head: Sequence[AnswerEvent], events: Events) -> Events:
    async with aclosing(events):
        for event in head:
            yield event
        async for event in events:
            yield event


async def _stream(chunks: AsyncGenerator[Json]) -> AsyncGenerator[ServerSentEvent]:
    """Write chunks as events; a failure is an event with an error, and then nothing more comes."""
    try:
        async with aclosing(chunks):
            async for chunk in chunks:
                yield _event(json.dumps(chunk, ensure_ascii=False))
        yield _event("[DONE]")
    except CitewellError as error:
        yield _event(json.dumps(error_body(error.status, error.reason, error.message)))
    except Exception as error:  # noqa: BLE001 - a door: the reply has begun, so the bug is told inside the stream
        problem = unexpected_body(error)
        yield _event(json.dumps(error_body(500, problem["code"], problem["detail"])))


def _event(data: str) -> ServerSentEvent:
    return ServerSentEvent(data, sep="\n")
