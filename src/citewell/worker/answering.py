"""An asynchronous question: answered by a worker, and written down with the end of its job."""

from collections.abc import Callable
from contextlib import aclosing
from dataclasses import replace

from citewell.answer.pipeline import AnswerRun
from citewell.domain import Answer, AnswerId, EvidenceFound, Finished, Json, Visitor, covers
from citewell.errors import AccessError, CitewellError, SessionBusy
from citewell.records.answer_form import Telling
from citewell.records.leases import Lease, finish_jobs, hold_job
from citewell.records.policy import get_policy, merge_policy
from citewell.records.principals import find_principal
from citewell.records.questions import Asked, keep_answer, read_asker
from citewell.records.quotas import check_day
from citewell.records.session import acting_as
from citewell.records.turns import Turn
from citewell.records.usage import book_answer
from citewell.telemetry import ANSWERS, STAGE_SECONDS
from citewell.wiring import Services

TURN_WAIT_SECONDS = 5.0
"""A question whose session is busy for longer makes room for other jobs."""


async def answer_question(
    services: Services, lease: Lease, last_word: Callable[[], Callable[[], Json]]
) -> None:
    """Answer the question of a job; the answer has the job's id.

    Holds:   the answer and the end of the job are one transaction, which sees whether the job is
             still this worker's: a second try stores no second answer. It is read and written as
             who asked it, with the rights of now.
    Raises:  LeaseLost – it is not.  SessionBusy – it is not this question's turn.
             AccessError – the asker's key is valid no more.
             QuotaExceeded – the day's tokens or money are used up.
             CitewellError – as the pipeline says; NotFound when the session is gone.
    """
    with acting_as(await _find_asker(services, lease)):
        await _answer(services, lease, last_word)


async def _answer(
    services: Services, lease: Lease, last_word: Callable[[], Callable[[], Json]]
) -> None:
    asked = Asked.from_json(lease.payload)
    turn = await _take_turn(services, lease, asked)
    try:
        async with services.database.transaction(lease.workspace_id) as connection:
            own = await get_policy(connection, lease.workspace_id)
            await check_day(connection, lease.workspace_id, asked.scope.collection_id)
        policy = merge_policy(services.settings.answer, own)
        history = () if turn is None else turn.history
        answer_id = AnswerId(lease.job_id)
        run = services.start_answer(lease.workspace_id, asked, policy, history, answer_id)
        try:
            answer, evidence = await _read(run)
        except CitewellError:
            async with services.database.transaction(lease.workspace_id) as connection:
                await book_answer(connection, lease.workspace_id, run.result(), failure=lease.token)
            raise
        await _keep(services, lease, answer, Telling(policy.delivery, evidence), turn, last_word())
    finally:
        if turn is not None:
            await turn.give_back()
    ANSWERS.labels(answer.reason or "answered").inc()
    for stage, milliseconds in answer.timings_ms.items():
        STAGE_SECONDS.labels(stage).observe(milliseconds / 1000)


async def _find_asker(services: Services, lease: Lease) -> Visitor:
    """Return who asked, with what they may see now; a key may be revoked since, or its groups."""
    asker = read_asker(lease.payload, lease.request_id)
    if asker.principal_id is None:
        return asker
    async with services.database.system_transaction() as connection:
        principal = await find_principal(connection, asker.principal_id, asker.actor)
    if principal is None or not covers(principal.role_in(lease.workspace_id), "viewer"):
        raise AccessError(
            "The key that asked this question is no longer valid here. Ask it again with another.",
            code="key_ended",
        )
    return replace(asker, tags=principal.tags_in(lease.workspace_id))


async def _take_turn(services: Services, lease: Lease, asked: Asked) -> Turn | None:
    if asked.session_id is None:
        return None
    settings = services.settings.session
    turn = Turn(services.database, lease.workspace_id, asked.session_id)
    wait_seconds = min(settings.wait_seconds, TURN_WAIT_SECONDS)
    await turn.take(settings.hours, wait_seconds, settings.max_history)
    return turn


async def _read(run: AnswerRun) -> tuple[Answer, bool]:
    """Return the answer, and whether its evidence would have been shown."""
    answer, evidence = None, False
    async with aclosing(run.events()) as events:
        async for event in events:
            if isinstance(event, EvidenceFound):
                evidence = True
            elif isinstance(event, Finished):
                answer = event.answer
    assert answer is not None, "the pipeline ends with Finished"
    return answer, evidence


async def _keep(
    services: Services,
    lease: Lease,
    answer: Answer,
    telling: Telling,
    turn: Turn | None,
    word: Callable[[], Json],
) -> None:
    hours = services.settings.session.hours
    if turn is not None:
        turn.stop()
    async with services.database.transaction(lease.workspace_id) as connection:
        await hold_job(connection, lease)
        kept = await keep_answer(connection, lease.workspace_id, answer, telling, turn, hours)
        if kept.turn == "lost":
            raise SessionBusy
        stored = {"answer": "stored" if kept.stored else "removed"}
        await finish_jobs(connection, lease.workspace_id, {lease.job_id: word() | stored})
    if turn is not None:
        turn.finish()
