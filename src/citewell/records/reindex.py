"""A whole collection read anew: a new version of each document, and a job that waits for all."""

from sqlalchemy.ext.asyncio import AsyncConnection

from citewell.domain import CollectionId, JobId, WorkspaceId
from citewell.records.jobs import close_group, open_group
from citewell.records.statements import text


async def reindex_collection(
    connection: AsyncConnection,
    workspace_id: WorkspaceId,
    collection_id: CollectionId,
    request_id: str | None,
) -> tuple[JobId, int]:
    """Queue every document of a collection to be read, cut and embedded anew, each by its own job.

    A document that waits for a job already is left to that job. What is queued stays queued: a
    worker that dies costs one document's try.
    Returns the job that waits for the others, and how many these are; ``list_unsent_parts`` names
    them.
    """
    # A large collection takes its time; it is one transaction, so that all of it is queued or none.
    await connection.execute(text("SET LOCAL statement_timeout = 0"))
    group = await open_group(connection, workspace_id, "reindex", request_id)
    values = {
        "workspace": workspace_id,
        "collection": collection_id,
        "group": group,
        "request_id": request_id,
    }
    # Locked first, by a statement of its own: the next one sees what uploads did until then.
    await connection.execute(
        text(
            "SELECT count(*) FROM (SELECT 1 FROM documents WHERE workspace_id = :workspace "
            'AND collection_id = :collection ORDER BY source COLLATE "C" FOR NO KEY UPDATE) '
            "AS locked"
        ),
        values,
    )
    added = await connection.execute(text(ADD_ALL), values)
    await close_group(connection, workspace_id, group, added.rowcount)
    return group, added.rowcount


async def list_unsent_parts(
    connection: AsyncConnection, workspace_id: WorkspaceId, group: JobId, after: int, limit: int
) -> list[tuple[int, JobId]]:
    """List those of a group's jobs that wait and that no worker was told of, by their number.

    Shapes:  at most ``limit`` pairs of number and job, with numbers above ``after``.
    """
    rows = await connection.execute(
        text(
            "SELECT part, id FROM jobs WHERE workspace_id = :workspace AND parent_id = :group "
            "AND status = 'queued' AND sent_at IS NULL AND coalesce(run_after, now()) <= now() "
            "AND part > :after ORDER BY part LIMIT :limit"
        ),
        {"workspace": workspace_id, "group": group, "after": after, "limit": limit},
    )
    return [(row[0], JobId(row[1])) for row in rows]


ADD_ALL = """
WITH chosen AS MATERIALIZED (
    SELECT d.id AS document_id, v.number + 1 AS number, v.sha256, v.size_bytes, v.media_type,
        gen_random_uuid() AS version_id, gen_random_uuid() AS job_id,
        row_number() OVER (ORDER BY d.id) - 1 AS part
    FROM documents d CROSS JOIN LATERAL (
        SELECT number, sha256, size_bytes, media_type FROM versions
        WHERE workspace_id = d.workspace_id AND document_id = d.id
        ORDER BY number DESC LIMIT 1) v
    WHERE d.workspace_id = :workspace AND d.collection_id = :collection
    AND NOT EXISTS (SELECT FROM jobs j WHERE j.workspace_id = d.workspace_id
        AND j.document_id = d.id AND j.status IN ('queued', 'running') AND j.task <> 'embed')
), added AS (
    INSERT INTO versions (workspace_id, id, document_id, number, sha256, size_bytes, media_type)
    SELECT :workspace, version_id, document_id, number, sha256, size_bytes, media_type FROM chosen
), audited AS (
    INSERT INTO audit_log (workspace_id, action, target, request_id, outcome)
    SELECT :workspace, 'document.reindex', document_id::text, :request_id, 'done'
    FROM chosen
)
INSERT INTO jobs (workspace_id, id, kind, parent_id, part, document_id, version_id, request_id)
SELECT :workspace, job_id, 'reindex', :group, part, document_id, version_id, :request_id
FROM chosen
"""
