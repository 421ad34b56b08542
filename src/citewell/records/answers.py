"""Answers that were given: their manifests, kept so that each can be looked up and replayed."""

import json
from collections.abc import Sequence
from typing import Literal

from sqlalchemy.ext.asyncio import AsyncConnection

from citewell.domain import AnswerId, DocumentId, Json, SessionId, WorkspaceId
from citewell.errors import NotFound
from citewell.records.statements import text

AnswerStatus = Literal["complete", "incomplete"]


async def add_answer(  # noqa: PLR0913 - one row has so many columns
    connection: AsyncConnection,
    workspace_id: WorkspaceId,
    answer_id: AnswerId,
    question: str,
    refused: bool,
    document_ids: Sequence[DocumentId],
    result: Json,
    *,
    status: AnswerStatus = "complete",
    session_id: SessionId | None = None,
    manifest: Json | None = None,
) -> None:
    """Store one answer as it was sent, unless a document in it was deleted meanwhile.

    ``manifest`` says what its retrieval rested on; one that broke off is ``incomplete``.

    Holds:   a document that is locked against others' keys is just being deleted; no answer
             outlives it, and none waits for it.
    """
    await connection.execute(text("SET LOCAL synchronous_commit = off"))
    await connection.execute(
        text(
            "INSERT INTO answers (workspace_id, id, question, refused, document_ids, result, "
            "status, session_id, manifest) "
            "SELECT :workspace, :id, :question, :refused, CAST(:documents AS uuid[]), "
            "CAST(:result AS jsonb), :status, :session, CAST(:manifest AS jsonb) "
            "WHERE (SELECT count(*) FROM (SELECT 1 FROM documents "
            "WHERE workspace_id = :workspace AND id = ANY(CAST(:documents AS uuid[])) "
            "FOR KEY SHARE SKIP LOCKED) AS kept) "
            "= cardinality(CAST(:documents AS uuid[]))"
        ),
        {
            "workspace": workspace_id,
            "id": answer_id,
            "question": question,
            "refused": refused,
            "documents": list(document_ids),
            "result": json.dumps(result),
            "status": status,
            "session": session_id,
            "manifest": json.dumps(manifest or {}),
        },
    )


async def get_answer(
    connection: AsyncConnection, workspace_id: WorkspaceId, answer_id: AnswerId
) -> Json:
    """Return an answer as it was sent.

    Raises:  NotFound – no such answer in this workspace, or its time is over.
    """
    found = await connection.scalar(
        text("SELECT result FROM answers WHERE workspace_id = :workspace AND id = :id"),
        {"workspace": workspace_id, "id": answer_id},
    )
    if found is None:
        raise NotFound("There is no answer with that id. Answers are removed after some days.")
    return found


async def get_manifest(
    connection: AsyncConnection, workspace_id: WorkspaceId, answer_id: AnswerId
) -> Json:
    """Return what an answer's retrieval rested on; empty when nothing was searched for it.

    Raises:  NotFound – no such answer in this workspace, or its time is over.
    """
    found = await connection.scalar(
        text("SELECT manifest FROM answers WHERE workspace_id = :workspace AND id = :id"),
        {"workspace": workspace_id, "id": answer_id},
    )
    if found is None:
        raise NotFound("There is no answer with that id. Answers are removed after some days.")
    return found


async def remove_answers_from(
    connection: AsyncConnection, workspace_id: WorkspaceId, document_ids: Sequence[DocumentId]
) -> None:
    """Remove the answers that hold text of these documents: deleted means gone there too."""
    await connection.execute(
        text(
            "DELETE FROM answers WHERE workspace_id = :workspace "
            "AND document_ids && CAST(:documents AS uuid[])"
        ),
        {"workspace": workspace_id, "documents": list(document_ids)},
    )


async def remove_old_answers(connection: AsyncConnection, keep_days: int) -> int:
    """Remove answers older than ``keep_days``; needs a system transaction."""
    removed = await connection.execute(
        text("DELETE FROM answers WHERE created_at < now() - make_interval(days => :days)"),
        {"days": keep_days},
    )
    return removed.rowcount
