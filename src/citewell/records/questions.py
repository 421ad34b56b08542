"""Questions: as the payload of jobs, and what is written when one is answered, by any door."""

import json
from dataclasses import asdict, dataclass
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy.ext.asyncio import AsyncConnection

from citewell.domain import (
    SYSTEM,
    Allowance,
    Answer,
    AnswerId,
    CollectionId,
    DocumentId,
    JobId,
    Json,
    PrincipalId,
    Scope,
    SessionId,
    Visitor,
    WorkspaceId,
    filter_from_json,
)
from citewell.errors import NotFound
from citewell.records.answer_form import REMOVED, Telling, answer_json, reply_text
from citewell.records.answers import add_answer
from citewell.records.chat_logs import add_chat_log
from citewell.records.jobs import JobRow, get_job
from citewell.records.messages import Exchange, add_exchange
from citewell.records.redaction import REDACTED, redact
from citewell.records.session import current_visitor
from citewell.records.statements import text
from citewell.records.suggestions import suggest_question
from citewell.records.turns import Turn, TurnEnd, end_turn
from citewell.records.usage import book_answer

UNKNOWN_TASK = "There is no question with that id. POST /rag/query asks one."


@dataclass(frozen=True, slots=True)
class Asked:
    """A question as a request put it, checked, before the rules and the history join it.

    ``min_similarity`` may ask for closer evidence than the rules do, never for less.
    """

    text: str
    scope: Scope
    limit: int
    mode: str
    allowance: Allowance
    session_id: SessionId | None = None
    min_similarity: float = 0.0

    def to_json(self) -> Json:
        """Return what a job keeps until it ends."""
        scope = self.scope
        return {
            "text": self.text,
            "collection_id": scope.collection_id and str(scope.collection_id),
            "document_ids": scope.document_ids and [str(each) for each in scope.document_ids],
            "document_names": scope.document_names and list(scope.document_names),
            "metadata": dict(scope.metadata),
            "where": [asdict(each) for each in scope.where],
            "limit": self.limit,
            "mode": self.mode,
            "seconds": self.allowance.seconds,
            "cost_usd": self.allowance.cost_usd,
            "session_id": self.session_id and str(self.session_id),
            "min_similarity": self.min_similarity,
        }

    @classmethod
    def from_json(cls, payload: Json) -> "Asked":
        """Read what ``to_json`` wrote."""
        ids, names = payload["document_ids"], payload["document_names"]
        collection: Any = payload["collection_id"]
        session: Any = payload["session_id"]
        return cls(
            text=payload["text"],
            scope=Scope(
                collection_id=collection and CollectionId(UUID(collection)),
                document_ids=None if ids is None else tuple(DocumentId(UUID(id_)) for id_ in ids),
                document_names=None if names is None else tuple(names),
                metadata=payload["metadata"],
                where=tuple(filter_from_json(each) for each in payload.get("where", ())),
            ),
            limit=payload["limit"],
            mode=payload["mode"],
            allowance=Allowance(payload["seconds"], payload["cost_usd"]),
            session_id=session and SessionId(UUID(session)),
            min_similarity=payload.get("min_similarity", 0.0),
        )


async def add_question(
    connection: AsyncConnection, workspace_id: WorkspaceId, asked: Asked, request_id: str | None
) -> JobId:
    """Queue a question for a worker, with who asks it; the answer will have the job's id."""
    job_id = JobId(uuid4())
    await connection.execute(
        text(
            "INSERT INTO jobs (workspace_id, id, kind, task, request_id, payload) VALUES "
            "(:workspace, :id, 'answer', 'answer', :request_id, CAST(:payload AS jsonb))"
        ),
        {
            "workspace": workspace_id,
            "id": job_id,
            "request_id": request_id,
            "payload": json.dumps(asked.to_json() | {"asker": _asker_json(current_visitor())}),
        },
    )
    return job_id


def _asker_json(visitor: Visitor) -> Json:
    return {
        "actor": visitor.actor,
        "principal_id": visitor.principal_id and str(visitor.principal_id),
        "tags": None if visitor.tags is None else list(visitor.tags),
    }


def read_asker(payload: Json, request_id: str | None) -> Visitor:
    """Return who asked a question; of one that was queued without it, somebody without rights."""
    asker: Json = payload.get("asker", {"actor": SYSTEM, "principal_id": None, "tags": []})
    principal: Any = asker["principal_id"]
    return Visitor(
        actor=asker["actor"],
        principal_id=principal and PrincipalId(UUID(principal)),
        request_id=request_id,
        tags=None if asker["tags"] is None else tuple(asker["tags"]),
    )


async def get_question(
    connection: AsyncConnection, workspace_id: WorkspaceId, job_id: JobId
) -> tuple[JobRow, Json | None]:
    """Return a question's job, and its answer once it is there.

    Raises:  NotFound – no such job in this workspace, or it is another kind of job.
    """
    try:
        job = await get_job(connection, workspace_id, job_id)
    except NotFound as error:
        raise NotFound(UNKNOWN_TASK) from error
    if job.kind != "answer":
        raise NotFound(UNKNOWN_TASK)
    result = None
    if job.status == "done":
        result = await connection.scalar(
            text("SELECT result FROM answers WHERE workspace_id = :workspace AND id = :id"),
            {"workspace": workspace_id, "id": job_id},
        )
    return job, result


@dataclass(frozen=True, slots=True)
class Kept:
    """An answer as it was written down, if it was, and whether its turn was still its own."""

    result: Json
    stored: bool
    turn: TurnEnd | None


async def keep_answer(
    connection: AsyncConnection,
    workspace_id: WorkspaceId,
    answer: Answer,
    telling: Telling,
    turn: Turn | None,
    hours: float,
) -> Kept:
    """Write down an answer and, in its session, the question and the reply; and log it.

    Holds:   of a session that was deleted meanwhile nothing is written; a turn that ran out costs
             the session its two messages, but not the answer. A reply that quotes a document that
             was deleted meanwhile is not written either. All of them are logged, and
             what was used is booked in any case. What is kept has
             no more text than the workspace's policy allows, and ``result`` is whole; a session's
             messages, which follow-ups are understood by, lose theirs only with ``all``.
    """
    result = answer_json(answer, telling)
    redaction = await add_chat_log(connection, workspace_id, answer, telling)
    question = answer.question if redaction == "off" else REDACTED
    ended: TurnEnd | None = None
    if turn is not None:
        ended = await end_turn(connection, workspace_id, turn.session_id, turn.token, hours)
        if ended == "gone":
            await book_answer(connection, workspace_id, answer)
            return Kept(result, False, ended)
    stored = await add_answer(
        connection,
        workspace_id,
        answer.answer_id,
        question,
        answer.refused,
        sorted({source.document_id for source in answer.sources}),
        redact(result, redaction),
        status=telling.status,
        session_id=answer.session_id,
        manifest=answer.manifest if redaction == "off" else None,
        history=0 if turn is None else len(turn.history),
    )
    if stored and redaction == "off":
        await suggest_question(connection, workspace_id, answer, telling)
    if turn is not None and ended == "held":
        reply = reply_text(answer, telling) if stored else REMOVED
        exchange = Exchange(answer.question, reply, AnswerId(answer.answer_id))
        if redaction == "all":
            exchange = Exchange(REDACTED, REDACTED, exchange.answer_id)
        await add_exchange(connection, workspace_id, turn.session_id, exchange)
    await book_answer(connection, workspace_id, answer)
    return Kept(result, stored, ended)
