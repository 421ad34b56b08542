"""Changes with an Idempotency-Key: one effect, and the same reply to the same request again."""

import hashlib
import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import structlog
from fastapi import Depends, Header, Request
from fastapi.responses import Response
from pydantic import BaseModel
from starlette.background import BackgroundTask

from citewell.api.patterns import VISIBLE
from citewell.domain import PUBLIC_WORKSPACE, JobId, Task, WorkspaceId
from citewell.errors import InsufficientStorage, Unavailable
from citewell.records.idempotency import KeptReply, keep_reply, take_key
from citewell.records.jobs import mark_sent
from citewell.records.reindex import list_unsent_parts
from citewell.records.session import Connection, current_visitor
from citewell.wiring import Services

log = structlog.get_logger(__name__)

SEND_AT_ONCE = 500
"""Messages in one go, and between two looks at the ledger."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One sending of a request: its key, where it has one, and its method and address."""

    key: str | None
    request: str


async def get_attempt(
    request: Request,
    key: Annotated[
        str | None,
        Header(
            alias="Idempotency-Key",
            min_length=1,
            max_length=255,
            pattern=VISIBLE,
            description="Any text of yours: the same request with it again has no second effect.",
        ),
    ] = None,
) -> Attempt:
    """Read a request's key; each caller has its own keys."""
    caller = current_visitor()
    if key is not None and caller.principal_id is not None:
        key = f"{caller.principal_id} {key}"
    address = f"{request.scope['path']}?{request.scope['query_string'].decode('latin-1')}"
    return Attempt(key, f"{request.method} {address}")


AttemptDep = Annotated[Attempt, Depends(get_attempt)]


@dataclass(frozen=True, slots=True)
class Accepted:
    """What a change did: the reply, the jobs to send, and where to look for more.

    ``group`` is a job whose parts are sent after the reply, however many there are; ``task`` is
    what is to be done for the jobs.
    """

    reply: BaseModel
    jobs: Sequence[JobId] = ()
    location: str | None = None
    group: JobId | None = None
    task: Task = "ingest"


async def do_once(
    services: Services,
    workspace_id: WorkspaceId,
    attempt: Attempt,
    content: object,
    status: int,
    effect: Callable[[Connection], Awaitable[Accepted]],
) -> tuple[Response, Accepted | None]:
    """Run an effect and keep its reply in one transaction, then send its jobs.

    ``content`` is what tells this request from another one: it must be JSON, without secrets.
    Returns the reply, and what was done; None when the reply is an earlier one.
    Raises:  Unprocessable – the key was another request's. What the effect raises.
    """
    async with services.database.transaction(workspace_id) as connection:
        kept, done = await _do(connection, workspace_id, attempt, content, status, effect)
    response = _respond(kept, replayed=done is None)
    if done is not None:
        await send_jobs(services, workspace_id, done.jobs, done.task)
        if done.group is not None:
            response.background = BackgroundTask(send_parts, services, workspace_id, done.group)
    return response, done


async def do_once_everywhere(
    services: Services,
    attempt: Attempt,
    content: object,
    status: int,
    effect: Callable[[Connection], Awaitable[Accepted]],
) -> tuple[Response, Accepted | None]:
    """Run an effect on the installation, as ``do_once`` does, in a system transaction; no jobs.

    Holds:   its keys are kept in the public workspace, which is never purged.
    """
    async with services.database.system_transaction() as connection:
        kept, done = await _do(connection, PUBLIC_WORKSPACE, attempt, content, status, effect)
    return _respond(kept, replayed=done is None), done


async def _do(
    connection: Connection,
    workspace_id: WorkspaceId,
    attempt: Attempt,
    content: object,
    status: int,
    effect: Callable[[Connection], Awaitable[Accepted]],
) -> tuple[KeptReply, Accepted | None]:
    if attempt.key is not None:
        fingerprint = _fingerprint(attempt.request, content)
        earlier = await take_key(connection, workspace_id, attempt.key, fingerprint)
        if earlier is not None:
            return earlier, None
    done = await effect(connection)
    # As text, because jsonb would sort the fields: an earlier reply is the same to the byte.
    reply = {"body": done.reply.model_dump_json(), "location": done.location}
    kept = KeptReply(status, reply)
    if attempt.key is not None:
        await keep_reply(connection, workspace_id, attempt.key, kept)
    return kept, done


async def send_jobs(
    services: Services, workspace_id: WorkspaceId, jobs: Sequence[JobId], task: Task = "ingest"
) -> bool:
    """Tell the workers; when the broker is away the reconciler does it later.

    Returns whether the broker took the messages.
    """
    try:
        for first in range(0, len(jobs), SEND_AT_ONCE):
            batch = list(jobs[first : first + SEND_AT_ONCE])
            await services.queue.send(task, [(workspace_id, job) for job in batch])
            async with services.database.transaction(workspace_id) as connection:
                await mark_sent(connection, workspace_id, batch)
    except (Unavailable, InsufficientStorage) as error:
        log.warning("jobs are sent later", count=len(jobs), why=error.message)
        return False
    return True


async def send_parts(services: Services, workspace_id: WorkspaceId, group: JobId) -> None:
    """Tell the workers of all of a group's jobs, page by page."""
    last, sent = -1, True
    while sent:
        try:
            async with services.database.transaction(workspace_id) as connection:
                parts = await list_unsent_parts(connection, workspace_id, group, last, SEND_AT_ONCE)
        except (Unavailable, InsufficientStorage) as error:
            log.warning("jobs are sent later", group=str(group), why=error.message)
            return
        if not parts:
            return
        last = parts[-1][0]
        sent = await send_jobs(services, workspace_id, [job for _, job in parts])


def _fingerprint(request: str, content: object) -> str:
    written = json.dumps([request, content], sort_keys=True, ensure_ascii=True)
    return hashlib.sha256(written.encode()).hexdigest()


def _respond(kept: KeptReply, *, replayed: bool) -> Response:
    headers: dict[str, str] = {}
    location: Any = kept.reply["location"]
    if location is not None:
        headers["Location"] = location
    if replayed:
        headers["Idempotency-Replayed"] = "true"
    return Response(kept.reply["body"], kept.status, headers, "application/json")
