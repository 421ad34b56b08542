"""Read a request into a question: checked, with the workspace's rules, in its session's turn."""

from dataclasses import dataclass, replace
from typing import Annotated
from uuid import uuid4

from fastapi import Depends, Header

from citewell.answer.modes import read_mode
from citewell.api import schemas
from citewell.api.filters import read_filters
from citewell.domain import Allowance, AnswerPolicy, SessionId, WorkspaceId
from citewell.errors import TooLarge
from citewell.records.policy import merge_policy, read_rules
from citewell.records.questions import Asked
from citewell.records.quotas import check_day
from citewell.records.turns import Turn
from citewell.records.workspaces import require_active
from citewell.settings import AnswerSettings
from citewell.wiring import Services

ASYNC_PREFERENCE = "respond-async"


@dataclass(frozen=True, slots=True)
class Ready:
    """A question that can be asked now: by these rules, and in its session's turn if it has one."""

    workspace_id: WorkspaceId
    asked: Asked
    policy: AnswerPolicy
    turn: Turn | None = None


async def prefers_async(
    prefer: Annotated[
        str | None, Header(description="`respond-async` leaves the answer to a worker.")
    ] = None,
) -> bool:
    """Say whether the header Prefer asks for an answer later."""
    wishes = (prefer or "").split(",")
    return any(wish.partition(";")[0].strip().lower() == ASYNC_PREFERENCE for wish in wishes)


PrefersAsync = Annotated[bool, Depends(prefers_async)]


async def read_question(
    services: Services, workspace_id: WorkspaceId, text: str, body: schemas.AskRequest
) -> Ready:
    """Check a question, and read the rules and the scope that it is answered by.

    Raises:  TooLarge – it is too long.  Unprocessable – its mode or a filter is not understood.
             NotFound – no such collection.  QuotaExceeded – the day's tokens or money are used up.
    """
    settings = services.settings.answer
    if len(text) > settings.max_question_characters:
        raise TooLarge(
            f"The question is longer than {settings.max_question_characters} characters. "
            "Ask it more shortly."
        )
    scope = read_filters(body.filters)
    async with services.database.transaction(workspace_id) as connection:
        own, collection_id = await read_rules(connection, workspace_id, body.collection)
        await check_day(connection, workspace_id, collection_id)
    policy = merge_policy(settings, own)
    asked = Asked(
        text=text,
        scope=replace(scope, collection_id=collection_id),
        limit=body.limit or settings.max_evidence,
        mode=read_mode(body.mode or policy.mode).name,
        allowance=allowance_of(settings, body.budget),
        session_id=None if body.session_id is None else SessionId(body.session_id),
        min_similarity=body.min_similarity,
    )
    return Ready(workspace_id, asked, policy)


def allowance_of(settings: AnswerSettings, budget: schemas.Budget | None) -> Allowance:
    """Return what a question may take: what it asks for, and never more than the settings."""
    seconds = settings.deadline_seconds
    costs = [settings.max_cost_usd]
    if budget is not None:
        seconds = min(seconds, budget.seconds or seconds)
        costs.append(budget.cost_usd)
    known = [cost for cost in costs if cost is not None]
    return Allowance(seconds, min(known) if known else None)


async def take_turn(services: Services, ready: Ready, *, in_session: bool) -> Ready:
    """Wait for the session's turn; make a session where one is wanted and none is named.

    Raises:  NotFound – no such session.  SessionBusy – the messages before took too long.
             Conflict – the workspace is archived: its sessions are not written.
    """
    settings, asked = services.settings.session, ready.asked
    if asked.session_id is None and not in_session:
        return ready
    async with services.database.transaction(ready.workspace_id) as connection:
        await require_active(connection, ready.workspace_id)
    session_id = asked.session_id or SessionId(uuid4())
    turn = Turn(services.database, ready.workspace_id, session_id)
    if asked.session_id is None:
        await turn.open(settings.hours)
    else:
        await turn.take(settings.hours, settings.wait_seconds, settings.max_history)
    return replace(ready, asked=replace(asked, session_id=session_id), turn=turn)
