"""/chat: a message in a conversation, answered at once, streamed, or later."""

from fastapi import APIRouter
from fastapi.responses import Response
from sse_starlette import EventSourceResponse

from citewell.api import schemas
from citewell.api.answer_stream import LiveAnswersDep, stream
from citewell.api.deps import ServicesDep, WorkspaceDep
from citewell.api.once import AttemptDep
from citewell.api.questions import PrefersAsync, read_question, take_turn
from citewell.api.results import ACCEPTED, answer_later

router = APIRouter(prefix="/chat", tags=["chat"])


@router.post("", response_model=schemas.Answer, responses=ACCEPTED)
async def chat(
    services: ServicesDep,
    workspace_id: WorkspaceDep,
    live_answers: LiveAnswersDep,
    attempt: AttemptDep,
    prefers_async: PrefersAsync,
    body: schemas.ChatRequest,
) -> Response:
    """Answer a message, understood with those before it; without a session, begin one.

    Messages of one session are answered one after the other. With ``async`` or the header
    ``Prefer: respond-async`` a worker answers it.
    """
    ready = await read_question(services, workspace_id, body.message, body)
    if prefers_async or body.respond_async:
        return await answer_later(
            services, ready, attempt, preferred=prefers_async, in_session=True
        )
    ready = await take_turn(services, ready, in_session=True)
    answer = schemas.Answer.model_validate(await live_answers.make(services, ready))
    return Response(answer.model_dump_json(), media_type="application/json")


@router.post("/stream", response_class=EventSourceResponse)
async def stream_chat(
    services: ServicesDep,
    workspace_id: WorkspaceDep,
    live_answers: LiveAnswersDep,
    body: schemas.ChatRequest,
) -> Response:
    """Answer a message as server-sent events: those of ``POST /query/stream``, in a session.

    The event ``meta`` names the session.
    """
    ready = await read_question(services, workspace_id, body.message, body)
    return stream(live_answers.start(services, await take_turn(services, ready, in_session=True)))
