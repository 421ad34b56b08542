"""Keep an answer as /query does, so that it can be looked up by its id; book one that broke off."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

from citewell.answer.pipeline import AnswerRun
from citewell.api import schemas
from citewell.api.answer_stream import observe
from citewell.api.failures import book_failure
from citewell.domain import Answer, AnswerEvent, Finished, WorkspaceId
from citewell.records.answer_form import Telling
from citewell.records.questions import keep_answer as write_down
from citewell.telemetry import ANSWERS
from citewell.wiring import Services

_booking: set[asyncio.Task[None]] = set()
"""Kept here until they end; asyncio itself does not hold its tasks."""


async def keep_answer(
    services: Services, workspace_id: WorkspaceId, answer: Answer
) -> schemas.Answer:
    """Write an answer down, and count it."""
    telling = Telling(evidence=bool(answer.sources), channel="openai")
    async with services.database.transaction(workspace_id) as connection:
        kept = await write_down(
            connection, workspace_id, answer, telling, None, services.settings.session.hours
        )
    ANSWERS.labels(answer.reason or "answered").inc()
    observe(answer.timings_ms)
    return schemas.Answer.model_validate(kept.result)


async def events_of(
    services: Services, workspace_id: WorkspaceId, run: AnswerRun
) -> AsyncGenerator[AnswerEvent]:
    """Yield a run's events; what one that fails, or loses its reader, has spent is booked."""
    finished = False
    events = run.events()
    try:
        async with aclosing(events):
            async for event in events:
                finished = finished or isinstance(event, Finished)
                yield event
    finally:
        if not finished:
            # In a task of its own: this one may be cancelled.
            task = asyncio.create_task(book_failure(services, workspace_id, run.result()))
            _booking.add(task)
            task.add_done_callback(_booking.discard)
