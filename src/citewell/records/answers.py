"""Answers that were given: their manifests, kept so that each can be looked up and replayed."""

import json
from collections.abc import Sequence
from typing import Literal

from sqlalchemy.ext.asyncio import AsyncConnection

from citewell.domain import AnswerId, DocumentId, Json, SessionId, WorkspaceId
from citewell.errors import NotFound
from citewell.records.answer_form import REMOVED
from citewell.records.session import seeing_every_document
from citewell.records.statements import text

AnswerStatus = Literal["complete", "incomplete"]
YOUNG_MINUTES = 15
REMOVED_AT_ONCE = 10_000
"""Old answers of one workspace that one round removes; so each is found by its index."""


async def add_answer(  # noqa: PLR0913 - a row has as many columns
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
    history: int = 0,
) -> bool:
    """Store one answer as it was sent, unless a document in it was deleted or hidden meanwhile.

    Returns whether it is stored. ``manifest`` says what its retrieval rested on; one that broke off
    is ``incomplete``. ``history`` is how many of its session's last messages it was asked after.
    The commit waits for the disk only where a session counts on it.

    Holds:   a document that is locked against others' keys is just being deleted; no answer
             outlives it, and none waits for it. Documents that were found but not shown, or that
             earlier replies rest on, are kept beside: who may not see them does not see the answer.
    """
    if session_id is None:
        await connection.execute(text("SET LOCAL synchronous_commit = off"))
    added = await connection.execute(
        text(ADD),
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
            "chunks": _chunks_behind(result, manifest or {}),
            "history": history,
        },
    )
    return added.rowcount > 0


OTHER_DOCUMENTS = """
SELECT c.document_id FROM chunks c
WHERE c.workspace_id = :workspace AND c.id = ANY(CAST(:chunks AS uuid[]))
UNION
SELECT unnest(a.document_ids) FROM answers a WHERE a.workspace_id = :workspace AND a.id IN (
    SELECT m.answer_id FROM messages m WHERE m.workspace_id = :workspace
    AND m.session_id = CAST(:session AS uuid) ORDER BY m.ordinal DESC LIMIT :history)
EXCEPT
SELECT unnest(CAST(:documents AS uuid[]))
"""
ADD = f"""
INSERT INTO answers (workspace_id, id, question, refused, document_ids, result, status, session_id,
    manifest, other_document_ids)
SELECT :workspace, :id, :question, :refused, CAST(:documents AS uuid[]), CAST(:result AS jsonb),
    :status, CAST(:session AS uuid), CAST(:manifest AS jsonb), ARRAY({OTHER_DOCUMENTS})
WHERE (SELECT count(*) FROM (SELECT 1 FROM documents
    WHERE workspace_id = :workspace AND id = ANY(CAST(:documents AS uuid[]))
    FOR KEY SHARE SKIP LOCKED) AS kept) = cardinality(CAST(:documents AS uuid[]))
"""


def _chunks_behind(result: Json, manifest: Json) -> list[str]:
    """Return the chunks that an answer's search found and its guard graded, shown or not."""
    found: list[Json] = [*manifest.get("retrieved", ()), *result.get("grades", ())]
    return sorted({each["chunk_id"] for each in found})


async def get_answer(
    connection: AsyncConnection, workspace_id: WorkspaceId, answer_id: AnswerId
) -> Json:
    """Return an answer as it was sent.

    Raises:  NotFound – no such answer in this workspace, or its time is over.
    """
    return await _get(connection, workspace_id, answer_id, "result")


async def get_manifest(
    connection: AsyncConnection, workspace_id: WorkspaceId, answer_id: AnswerId
) -> Json:
    """Return what an answer's retrieval rested on; empty when nothing was searched for it.

    Raises:  NotFound – no such answer in this workspace, or its time is over.
    """
    return await _get(connection, workspace_id, answer_id, "manifest")


async def _get(
    connection: AsyncConnection,
    workspace_id: WorkspaceId,
    answer_id: AnswerId,
    column: Literal["result", "manifest"],
) -> Json:
    found = await connection.scalar(
        text(f"SELECT {column} FROM answers WHERE workspace_id = :workspace AND id = :id"),
        {"workspace": workspace_id, "id": answer_id},
    )
    if found is None:
        raise NotFound(
            "There is no answer with that id. Answers are removed after some days, and with the "
            "documents that they quote."
        )
    return found


async def remove_answers_from(
    connection: AsyncConnection, workspace_id: WorkspaceId, document_ids: Sequence[DocumentId]
) -> None:
    """Remove the answers that hold text of these documents, and blank what sessions hold of them.

    Deleted means gone there too, also where an answer quotes what who deletes may not see.
    """
    chosen = "workspace_id = :workspace AND document_ids && CAST(:documents AS uuid[])"
    async with seeing_every_document(connection):
        await connection.execute(
            text(BLANK.format(chosen=chosen)),
            {"workspace": workspace_id, "documents": list(document_ids)},
        )


async def remove_orphaned_answers(connection: AsyncConnection) -> int:
    """Remove young answers that were stored while one of their documents was being deleted.

    Needs a system transaction. Returns how many there were.
    """
    found = await connection.scalar(
        text(
            f"SELECT count(*) FROM answers WHERE {ORPHANED} "
            "AND created_at > now() - make_interval(mins => :minutes)"
        ),
        {"minutes": YOUNG_MINUTES},
    )
    if found:
        await connection.execute(text(BLANK_ORPHANED))
    return found or 0


async def remove_old_answers(connection: AsyncConnection, keep_days: int) -> int:
    """Remove answers older than ``keep_days``, or than their workspace's policy says.

    Needs a system transaction. Those of a session stay as long as it: they tell which documents
    its messages quote. Returns how many went: of each workspace at most ``REMOVED_AT_ONCE``.
    """
    removed = await connection.scalar(
        text(
            "WITH old AS MATERIALIZED (SELECT w.id AS workspace_id, found.id FROM workspaces w, "
            "LATERAL (SELECT a.id FROM answers a WHERE a.workspace_id = w.id "
            "AND a.created_at < now() - make_interval(days => "
            "coalesce(CAST(w.policy ->> 'keep_days' AS integer), :days)) "
            "AND NOT EXISTS (SELECT FROM messages m "
            "WHERE m.workspace_id = a.workspace_id AND m.answer_id = a.id) "
            "ORDER BY a.created_at LIMIT :most) AS found), "
            "gone AS (DELETE FROM answers a USING old "
            "WHERE a.workspace_id = old.workspace_id AND a.id = old.id "
            "RETURNING a.workspace_id, a.id), marked AS ("
            + MARK_JOBS
            + ") SELECT count(*) FROM gone"
        ),
        {"days": keep_days, "most": REMOVED_AT_ONCE},
    )
    return removed or 0


MARK_JOBS = """
UPDATE jobs j SET progress = j.progress || '{"answer": "removed"}' FROM gone
WHERE j.workspace_id = gone.workspace_id AND j.id = gone.id
"""
"""The job of a question says that its answer was there once."""
BLANK = (
    "WITH gone AS (DELETE FROM answers WHERE {chosen} RETURNING workspace_id, id), marked AS ("
    + MARK_JOBS.replace("{", "{{").replace("}", "}}")
    + f") UPDATE messages m SET content = '{REMOVED}' FROM gone WHERE m.workspace_id = "
    "gone.workspace_id AND m.answer_id = gone.id AND m.role = 'assistant'"
)
ORPHANED = """
EXISTS (SELECT FROM unnest(answers.document_ids) AS named (id) WHERE NOT EXISTS (
    SELECT FROM documents d WHERE d.workspace_id = answers.workspace_id AND d.id = named.id))
"""
BLANK_ORPHANED = BLANK.format(chosen=ORPHANED)
