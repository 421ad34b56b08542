"""The ledger's invariants: what finds their breaches, and what repairs them."""

from dataclasses import dataclass
from typing import Literal

from citewell.records.answer_invariants import ANSWER_INVARIANTS
from citewell.records.audit_chain import BROKEN, CHAINED
from citewell.records.purge_tables import LEFT_OF_PURGED, REMOVE_LEFT
from citewell.records.usage import USAGE_INVARIANTS

Cure = Literal["reindex", "statement", "files", "none"]


@dataclass(frozen=True, slots=True)
class Invariant:
    """A query for the rows that break it, and the statement that cures them.

    A query whose cure is "reindex" returns the workspace and the document of each breach. ``lock``
    comes before a statement that counts: it then sees all that was written until it has the locks.
    """

    query: str
    cure: Cure
    statement: str = ""
    lock: str = ""


COUNT_DOCUMENTS = """
UPDATE documents d SET chunk_count = (SELECT count(*) FROM chunks c
WHERE c.workspace_id = d.workspace_id AND c.document_id = d.id)
WHERE chunk_count <> (SELECT count(*) FROM chunks c
WHERE c.workspace_id = d.workspace_id AND c.document_id = d.id)
"""
LOCK_DOCUMENTS = """
SELECT 1 FROM documents d WHERE chunk_count <> (SELECT count(*) FROM chunks c
WHERE c.workspace_id = d.workspace_id AND c.document_id = d.id)
ORDER BY collection_id, source COLLATE "C" FOR NO KEY UPDATE
"""
LOCK_COLLECTIONS = "SELECT 1 FROM collections ORDER BY id FOR NO KEY UPDATE"
COUNT_COLLECTIONS = """
UPDATE collections c SET chunk_count = (SELECT count(*) FROM chunks k
WHERE k.workspace_id = c.workspace_id AND k.collection_id = c.id),
lexical_pending = lexical_pending + 1
"""
CLEAR_STAGED = """
WITH idle AS (SELECT v.workspace_id, v.id FROM versions v WHERE NOT EXISTS (SELECT FROM jobs j
    WHERE j.workspace_id = v.workspace_id AND j.version_id = v.id
    AND j.status IN ('queued', 'running', 'failed', 'cancelled'))),
texts AS (DELETE FROM staged_texts s USING idle
    WHERE s.workspace_id = idle.workspace_id AND s.version_id = idle.id),
embeddings AS (DELETE FROM staged_embeddings s USING idle
    WHERE s.workspace_id = idle.workspace_id AND s.version_id = idle.id)
DELETE FROM staged_chunks s USING idle
WHERE s.workspace_id = idle.workspace_id AND s.version_id = idle.id
"""

NAMELESS_EXPORTS = """
FROM jobs j JOIN exports e ON e.workspace_id = j.workspace_id AND e.id = j.id
WHERE j.status = 'done' AND e.sha256 IS NULL
"""

LEASED = "no running job is without a living lease or open parts"
DEAD = """status = 'running' AND CASE WHEN lease_token IS NULL THEN open_parts = 0
ELSE coalesce(lease_until, '-infinity') < now() - interval '2 minutes' END"""
STILL_DEAD = f"""
SELECT workspace_id, id FROM jobs WHERE {DEAD} AND lease_until < now() - interval '1 hour'
UNION SELECT * FROM (SELECT workspace_id, id FROM jobs WHERE {DEAD} FOR UPDATE SKIP LOCKED) AS idle
"""
"""A job that is being published is locked by its worker, which cannot renew the lease meanwhile."""

INVARIANTS = {
    "every chunk belongs to its document's active version": Invariant(
        """
SELECT DISTINCT c.workspace_id, c.document_id FROM chunks c JOIN documents d
ON d.workspace_id = c.workspace_id AND d.id = c.document_id
WHERE d.active_version_id IS DISTINCT FROM c.version_id
""",
        "reindex",
    ),
    "every active version has chunks": Invariant(
        """
SELECT d.workspace_id, d.id FROM documents d WHERE d.active_version_id IS NOT NULL
AND NOT EXISTS (SELECT FROM chunks c
WHERE c.workspace_id = d.workspace_id AND c.version_id = d.active_version_id)
""",
        "reindex",
    ),
    "a version's chunks are numbered without a gap": Invariant(
        """
SELECT workspace_id, document_id FROM chunks GROUP BY workspace_id, document_id, version_id
HAVING min(ordinal) <> 0 OR max(ordinal) <> count(*) - 1
""",
        "reindex",
    ),
    "every chunk has its vector, and every vector its chunk": Invariant(
        """
SELECT DISTINCT coalesce(c.workspace_id, v.workspace_id), coalesce(c.document_id, v.document_id)
FROM chunks c FULL JOIN ({every_vector}) v ON v.workspace_id = c.workspace_id AND v.chunk_id = c.id
WHERE c.document_id IS DISTINCT FROM v.document_id
OR c.collection_id IS DISTINCT FROM v.collection_id
""",
        "reindex",
    ),
    "every chunk has its terms, and all terms their chunk": Invariant(
        """
SELECT DISTINCT coalesce(c.workspace_id, t.workspace_id), coalesce(c.document_id, t.document_id)
FROM chunks c FULL JOIN chunk_terms t ON t.workspace_id = c.workspace_id AND t.chunk_id = c.id
WHERE c.document_id IS DISTINCT FROM t.document_id
OR c.collection_id IS DISTINCT FROM t.collection_id
""",
        "reindex",
    ),
    "every document counts its own chunks": Invariant(
        """
SELECT d.workspace_id, d.id FROM documents d WHERE d.chunk_count <> (SELECT count(*) FROM chunks c
WHERE c.workspace_id = d.workspace_id AND c.document_id = d.id)
""",
        "statement",
        COUNT_DOCUMENTS,
        LOCK_DOCUMENTS,
    ),
    "every collection counts its own chunks": Invariant(
        """
SELECT c.workspace_id, c.id FROM collections c WHERE c.chunk_count <> (SELECT count(*)
FROM chunks k WHERE k.workspace_id = c.workspace_id AND k.collection_id = c.id)
""",
        "statement",
        COUNT_COLLECTIONS,
        LOCK_COLLECTIONS,
    ),
    "every version has its job": Invariant(
        """
SELECT v.workspace_id, v.document_id FROM versions v WHERE NOT EXISTS (SELECT FROM jobs j
WHERE j.workspace_id = v.workspace_id AND j.version_id = v.id)
""",
        "statement",
        """
INSERT INTO jobs (workspace_id, id, kind, document_id, version_id, status, finished_at)
SELECT v.workspace_id, gen_random_uuid(), 'ingest', v.document_id, v.id,
CASE WHEN v.published_at IS NULL THEN 'queued' ELSE 'done' END, v.published_at
FROM versions v WHERE NOT EXISTS (SELECT FROM jobs j
WHERE j.workspace_id = v.workspace_id AND j.version_id = v.id)
""",
    ),
    "every job with parts counts those that are open": Invariant(
        """
SELECT p.workspace_id, p.id FROM jobs p WHERE p.status = 'running' AND p.lease_token IS NULL
AND p.open_parts <> (SELECT count(*) FROM jobs c WHERE c.workspace_id = p.workspace_id
AND c.parent_id = p.id AND c.status IN ('queued', 'running'))
""",
        "statement",
        """
UPDATE jobs p SET open_parts = n.open, status = CASE WHEN n.open > 0 THEN 'running'
WHEN p.task = 'wait' THEN 'done' ELSE 'queued' END,
finished_at = CASE WHEN n.open = 0 AND p.task = 'wait' THEN now() END, run_after = now()
FROM (SELECT q.workspace_id, q.id, (SELECT count(*) FROM jobs c
    WHERE c.workspace_id = q.workspace_id AND c.parent_id = q.id
    AND c.status IN ('queued', 'running')) AS open
    FROM jobs q WHERE q.status = 'running' AND q.lease_token IS NULL) n
WHERE p.workspace_id = n.workspace_id AND p.id = n.id AND p.open_parts <> n.open
""",
        """
SELECT 1 FROM jobs WHERE status = 'running' AND lease_token IS NULL ORDER BY id FOR NO KEY UPDATE
""",
    ),
    "every open job has something to do": Invariant(
        """
SELECT j.workspace_id, j.id FROM jobs j WHERE j.status IN ('queued', 'running')
AND CASE j.task WHEN 'wait' THEN open_parts = 0 WHEN 'embed' THEN NOT EXISTS (SELECT FROM jobs p
    WHERE p.workspace_id = j.workspace_id AND p.id = j.parent_id AND p.status = 'running')
WHEN 'answer' THEN payload = '{}' WHEN 'export' THEN NOT EXISTS (SELECT FROM exports e
    WHERE e.workspace_id = j.workspace_id AND e.id = j.id)
WHEN 'evaluate' THEN NOT EXISTS (SELECT FROM eval_runs e
    WHERE e.workspace_id = j.workspace_id AND e.id = j.id)
ELSE NOT EXISTS (SELECT FROM versions v
    WHERE v.workspace_id = j.workspace_id AND v.id = j.version_id) END
""",
        "statement",
        """
UPDATE jobs j SET status = 'cancelled', finished_at = now(), reason = 'repaired',
message = 'The job had nothing to do any more.', lease_token = NULL, password = NULL
WHERE j.status IN ('queued', 'running')
AND CASE j.task WHEN 'wait' THEN open_parts = 0 WHEN 'embed' THEN NOT EXISTS (SELECT FROM jobs p
    WHERE p.workspace_id = j.workspace_id AND p.id = j.parent_id AND p.status = 'running')
WHEN 'answer' THEN payload = '{}' WHEN 'export' THEN NOT EXISTS (SELECT FROM exports e
    WHERE e.workspace_id = j.workspace_id AND e.id = j.id)
WHEN 'evaluate' THEN NOT EXISTS (SELECT FROM eval_runs e
    WHERE e.workspace_id = j.workspace_id AND e.id = j.id)
ELSE NOT EXISTS (SELECT FROM versions v
    WHERE v.workspace_id = j.workspace_id AND v.id = j.version_id) END
""",
    ),
    "every finished job published its version": Invariant(
        """
SELECT DISTINCT j.workspace_id, v.document_id FROM jobs j JOIN versions v
ON v.workspace_id = j.workspace_id AND v.id = j.version_id
WHERE j.task <> 'embed' AND j.status = 'done' AND v.published_at IS NULL
""",
        "reindex",
    ),
    "every succeeded export names its file": Invariant(
        f"SELECT j.workspace_id, j.id {NAMELESS_EXPORTS}",
        "statement",
        f"""
UPDATE jobs SET status = 'failed', reason = 'file_lost',
message = 'The file was lost. Try the export again.'
WHERE (workspace_id, id) IN (SELECT j.workspace_id, j.id {NAMELESS_EXPORTS})
""",
    ),
    "every failed job says why": Invariant(
        """
SELECT workspace_id, id FROM jobs WHERE status IN ('failed', 'cancelled')
AND (reason IS NULL OR message IS NULL)
""",
        "statement",
        """
UPDATE jobs SET reason = coalesce(reason, 'unknown'),
message = coalesce(message, 'The reason was lost. Try the job again.')
WHERE status IN ('failed', 'cancelled') AND (reason IS NULL OR message IS NULL)
""",
    ),
    LEASED: Invariant(
        f"SELECT workspace_id, id FROM jobs WHERE {DEAD}",
        "statement",
        f"""
UPDATE jobs SET status = 'queued', lease_token = NULL, lease_until = NULL, sent_at = NULL,
run_after = now() WHERE (workspace_id, id) IN (
    SELECT workspace_id, id FROM jobs WHERE {DEAD} ORDER BY id FOR UPDATE SKIP LOCKED)
""",
    ),
    "nothing stays staged after its job": Invariant(
        """
SELECT DISTINCT s.workspace_id, s.version_id FROM staged_chunks s WHERE NOT EXISTS (
SELECT FROM jobs j WHERE j.workspace_id = s.workspace_id AND j.version_id = s.version_id
AND j.status IN ('queued', 'running', 'failed', 'cancelled'))
""",
        "statement",
        CLEAR_STAGED,
    ),
    "no password outlives its job": Invariant(
        """
SELECT workspace_id, id FROM jobs WHERE password IS NOT NULL
AND status NOT IN ('queued', 'running')
""",
        "statement",
        "UPDATE jobs SET password = NULL WHERE status NOT IN ('queued', 'running')",
    ),
    "every accepted version has one audit row": Invariant(
        """
SELECT d.workspace_id, d.id FROM documents d
LEFT JOIN (SELECT workspace_id, target, count(*) AS rows FROM audit_log
    WHERE action IN ('document.upload', 'document.reindex') GROUP BY workspace_id, target) a
ON a.workspace_id = d.workspace_id AND a.target = d.id::text
WHERE coalesce(a.rows, 0) <> (SELECT coalesce(max(number), 0)
    FROM versions v WHERE v.workspace_id = d.workspace_id AND v.document_id = d.id)
""",
        "none",
    ),
    CHAINED: Invariant(BROKEN, "none"),
    "nothing is left of a purged workspace": Invariant(LEFT_OF_PURGED, "statement", REMOVE_LEFT),
} | {
    name: Invariant(query, "statement", cure, lock)
    for name, query, cure, lock in (
        *((name, *rest, "") for name, rest in ANSWER_INVARIANTS.items()),
        *((name, *rest) for name, rest in USAGE_INVARIANTS.items()),
    )
}
