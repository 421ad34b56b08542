"""Answers in the making: each runs by itself, is read by any number of clients, and is kept.

The pipeline never waits for a reader: its events are collected here, and no connection to the
database is held while they are sent. When the last reader leaves, the run is closed.
"""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Annotated, Any

import structlog
from fastapi import Depends, Request
from fastapi.responses import Response
from sse_starlette import EventSourceResponse, ServerSentEvent

from citewell.answer.path import new_answer_id
from citewell.api import chat_schemas
from citewell.api.answer_events import WireEvent, ending, event_of, sentence_events
from citewell.api.failures import book_failure
from citewell.api.problems import problem_body, unexpected_body
from citewell.api.questions import Ready
from citewell.domain import (
    Answer,
    AnswerEvent,
    AnswerId,
    AnswerSentence,
    EvidenceFound,
    Finished,
    Json,
    Started,
    WorkspaceId,
    sees_as_much,
)
from citewell.errors import CitewellError, Unavailable
from citewell.records.answer_form import Telling, cut_short
from citewell.records.questions import keep_answer
from citewell.records.session import current_visitor
from citewell.telemetry import ANSWERS, STAGE_SECONDS
from citewell.wiring import Services

log = structlog.get_logger(__name__)

HEARTBEAT_SECONDS = 15
SSE_HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
UNREAD_SECONDS = 5.0
"""A stream that nobody began to read by then has lost its client."""
STOP_SECONDS = 1.0
LEFT = (
    "reader_left",
    "The connection was closed before the answer was complete. Ask again for all of it.",
)
Key = tuple[WorkspaceId, AnswerId]


class LiveAnswer:
    """One answer in the making: its events so far, and how it ended."""

    def __init__(self, services: Services, ready: Ready, *, streamed: bool) -> None:
        self._services = services
        self._ready = ready
        self._streamed = streamed
        self.answer_id = new_answer_id()
        self.tags = current_visitor().tags
        history = () if ready.turn is None else ready.turn.history
        self._run = services.start_answer(
            ready.workspace_id, ready.asked, ready.policy, history, self.answer_id
        )
        self.events: list[WireEvent] = []
        self.ended = False
        self.result: Json | None = None
        self.failure: BaseException | None = None
        self._told: list[AnswerSentence] = []
        self._evidence = False
        self._answer: Answer | None = None
        self._readers = 0
        self._left = False
        self._news = asyncio.Event()
        self._reading = asyncio.create_task(self._read())
        if streamed:
            asyncio.get_running_loop().call_later(UNREAD_SECONDS, self._stop_unread)

    async def work(self) -> None:
        """Read the run to its end, keep the answer, and tell the end."""
        await asyncio.wait({self._reading})
        try:
            await self._settle()
        except CitewellError as error:
            self._fail(error, problem_body(error.status, error.reason, error.message))
        except Exception as error:  # noqa: BLE001 - a door: the reply has begun, so the bug is told inside the stream
            problem = unexpected_body(error)
            self._fail(error, problem)
            await self._keep_part(problem)
        finally:
            self.ended = True
            self._tell([])
            if self._ready.turn is not None:
                await self._ready.turn.give_back()

    async def follow(self, after: int) -> AsyncGenerator[ServerSentEvent]:
        """Yield the events after the one with that number, as they come, to the end."""
        self._readers += 1
        place = after + 1
        try:
            while True:
                while place < len(self.events):
                    yield self.events[place].encode(place)
                    place += 1
                if self.ended:
                    return
                await self._news.wait()
        finally:
            self._readers -= 1
            self._stop_unread()

    def stop(self) -> None:
        """Close the run at once; what was told until now is kept as an incomplete answer."""
        self._left = True
        self._reading.cancel()

    def _stop_unread(self) -> None:
        if self._streamed and not self._readers and not self._reading.done():
            self.stop()

    async def _read(self) -> None:
        async with aclosing(self._run.events()) as events:
            async for event in events:
                self._note(event)
                if self._left:  # a driver may swallow the cancellation
                    raise asyncio.CancelledError

    def _note(self, event: AnswerEvent) -> None:
        if isinstance(event, Started):
            self._tell([event_of("meta", chat_schemas.Meta, event)])
        elif isinstance(event, EvidenceFound):
            self._evidence = True
            self._tell([event_of("evidence", chat_schemas.Evidence, event)])
        elif isinstance(event, AnswerSentence):
            delivery = self._ready.policy.delivery
            self._tell(sentence_events(event, len(self._told), delivery))
            self._told.append(event)
        elif isinstance(event, Finished):
            self._answer = event.answer

    async def _settle(self) -> None:
        """Keep what there is, and tell how it ended."""
        if self._answer is not None:
            self.result = await self._keep(self._answer, None)
            self._tell(ending(self.result))
            return
        broken = self._left or self._reading.cancelled()
        error = None if broken else self._reading.exception()
        if error is None:
            self.failure = Unavailable("The server is stopping. Ask again in a few seconds.")
            await self._keep_part(problem_body(409, *LEFT))
        elif isinstance(error, Unavailable):
            # Its reader does not wait for the database a second time.
            problem = problem_body(error.status, error.reason, error.message)
            self._fail(error, problem)
            await self._keep_part(problem)
            return
        elif isinstance(error, CitewellError):
            self.failure = error
            await self._keep_part(problem_body(error.status, error.reason, error.message))
        else:
            raise error

    async def _keep_part(self, problem: Json) -> None:
        """Keep an answer that broke off, where somebody saw a part of it, and tell why."""
        if self._streamed or self._ready.turn is not None:
            try:
                await self._keep(cut_short(self._run.result(), self._told, problem), problem)
            except CitewellError as error:
                log.warning("an incomplete answer could not be kept", why=error.message)
        else:
            await book_failure(self._services, self._ready.workspace_id, self._run.result())
        if not self.events or self.events[-1].name != "error":
            self._tell([WireEvent("error", problem)])

    async def _keep(self, answer: Answer, problem: Json | None) -> Json:
        """Write an answer down, and count it."""
        ready, services = self._ready, self._services
        telling = Telling(ready.policy.delivery, self._evidence, problem)
        if ready.turn is not None:
            ready.turn.stop()
        async with services.database.transaction(ready.workspace_id) as connection:
            kept = await keep_answer(
                connection,
                ready.workspace_id,
                answer,
                telling,
                ready.turn,
                services.settings.session.hours,
            )
        if ready.turn is not None:
            ready.turn.finish()
            if kept.turn != "held":
                log.warning("a session's turn ended before its answer", turn=kept.turn)
        ANSWERS.labels(answer.reason or "answered").inc()
        observe(answer.timings_ms)
        return kept.result

    def _fail(self, error: BaseException, problem: Json) -> None:
        self.failure = error
        self._tell([WireEvent("error", problem)])

    def _tell(self, events: Sequence[WireEvent]) -> None:
        self.events += events
        news, self._news = self._news, asyncio.Event()
        news.set()


class LiveAnswers:
    """The answers that this process is making."""

    def __init__(self) -> None:
        self._live: dict[Key, tuple[LiveAnswer, asyncio.Task[None]]] = {}

    def start(self, services: Services, ready: Ready) -> LiveAnswer:
        """Begin an answer that is streamed: it ends early when its last reader leaves."""
        return self._start(services, ready, streamed=True)[0]

    async def make(self, services: Services, ready: Ready) -> Json:
        """Make a whole answer.

        Raises:  CitewellError – as the pipeline and the ledger say.
        """
        live, work = self._start(services, ready, streamed=False)
        await asyncio.shield(work)
        if live.result is None:
            assert live.failure is not None, "an answer that nobody may leave ends or fails"
            raise live.failure
        return live.result

    def find(self, workspace_id: WorkspaceId, answer_id: AnswerId) -> LiveAnswer | None:
        """Return an answer that is being made here, or None.

        It is shown to those who see at least what its asker sees. Others wait for what is stored,
        where the documents that it rests on are known and each is judged.
        """
        live = self._live.get((workspace_id, answer_id))
        if live is None or not sees_as_much(current_visitor().tags, live[0].tags):
            return None
        return live[0]

    async def close(self) -> None:
        """End all of them; each is kept as far as it came."""
        works = [work for _, work in self._live.values()]
        for live, _ in self._live.values():
            live.stop()
        if works:
            await asyncio.wait(works, timeout=STOP_SECONDS)

    def _start(
        self, services: Services, ready: Ready, *, streamed: bool
    ) -> tuple[LiveAnswer, asyncio.Task[None]]:
        live = LiveAnswer(services, ready, streamed=streamed)
        key = (ready.workspace_id, live.answer_id)
        work = asyncio.create_task(live.work())
        self._live[key] = live, work
        work.add_done_callback(lambda _: self._live.pop(key, None))
        return live, work


async def get_live_answers(request: Request) -> LiveAnswers:
    """Return the answers that this application is making."""
    return request.app.state.live_answers


LiveAnswersDep = Annotated[LiveAnswers, Depends(get_live_answers)]


def stream(live: LiveAnswer, after: int = -1) -> Response:
    """Send an answer's events as they come."""
    return event_stream(live.follow(after))


def event_stream(events: AsyncGenerator[ServerSentEvent]) -> Response:
    """Send server-sent events, with a comment now and then."""
    return EventSourceResponse(events, ping=HEARTBEAT_SECONDS, headers=SSE_HEADERS)


def observe(timings_ms: Any) -> None:
    """Count how long each stage took that was needed."""
    for name, milliseconds in timings_ms.items():
        if milliseconds:
            STAGE_SECONDS.labels(name).observe(milliseconds / 1000)
