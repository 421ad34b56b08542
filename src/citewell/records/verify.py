"""The checker: invariants of the ledger, each with its count of breaches, and what repairs it.

All rows are read in one snapshot, so that work that goes on meanwhile is no breach.
"""

import asyncio
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from sqlalchemy.ext.asyncio import AsyncConnection

from citewell.ports import BlobStore
from citewell.records.answer_invariants import ANSWER_INVARIANTS
from citewell.records.blobs import ORPHAN_SECONDS
from citewell.records.session import Database
from citewell.records.statements import text
from citewell.records.version_rows import chunk_id

Cure = Literal["reindex", "statement", "files", "none"]


@dataclass(frozen=True, slots=True)
class Invariant:
    """A query for the rows that break it, and the statement that cures them.

    A query whose cure is "reindex" returns the workspace and the document of each breach.
    """

    query: str
    cure: Cure
    statement: str = ""


QUOTED = "every chunk is exactly its span of the canonical text, with its own id"
STORED = "every version's file is stored, with that sha256"
NEEDED = "every stored file belongs to a version"

COUNT_DOCUMENTS = """
UPDATE documents d SET chunk_count = (SELECT count(*) FROM chunks c
WHERE c.workspace_id = d.workspace_id AND c.document_id = d.id)
WHERE chunk_count <> (SELECT count(*) FROM chunks c
WHERE c.workspace_id = d.workspace_id AND c.document_id = d.id)
"""
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
FROM chunks c FULL JOIN vectors_384 v ON v.workspace_id = c.workspace_id AND v.chunk_id = c.id
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
    ),
    "every collection counts its own chunks": Invariant(
        """
SELECT c.workspace_id, c.id FROM collections c WHERE c.chunk_count <> (SELECT count(*)
FROM chunks k WHERE k.workspace_id = c.workspace_id AND k.collection_id = c.id)
""",
        "statement",
        COUNT_COLLECTIONS,
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
    ),
    "every open job has something to do": Invariant(
        """
SELECT j.workspace_id, j.id FROM jobs j WHERE j.status IN ('queued', 'running')
AND CASE j.task WHEN 'wait' THEN open_parts = 0 WHEN 'embed' THEN NOT EXISTS (SELECT FROM jobs p
    WHERE p.workspace_id = j.workspace_id AND p.id = j.parent_id AND p.status = 'running')
WHEN 'answer' THEN payload = '{}' ELSE NOT EXISTS (SELECT FROM versions v
    WHERE v.workspace_id = j.workspace_id AND v.id = j.version_id) END
""",
        "statement",
        """
UPDATE jobs j SET status = 'cancelled', finished_at = now(), reason = 'repaired',
message = 'The job had nothing to do any more.', lease_token = NULL, password = NULL
WHERE j.status IN ('queued', 'running')
AND CASE j.task WHEN 'wait' THEN open_parts = 0 WHEN 'embed' THEN NOT EXISTS (SELECT FROM jobs p
    WHERE p.workspace_id = j.workspace_id AND p.id = j.parent_id AND p.status = 'running')
WHEN 'answer' THEN payload = '{}' ELSE NOT EXISTS (SELECT FROM versions v
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
    "no running job is without a living lease or open parts": Invariant(
        """
SELECT workspace_id, id FROM jobs WHERE status = 'running'
AND CASE WHEN lease_token IS NULL THEN open_parts = 0
ELSE coalesce(lease_until, '-infinity') < now() - interval '2 minutes' END
""",
        "statement",
        """
UPDATE jobs SET status = 'queued', lease_token = NULL, lease_until = NULL, sent_at = NULL,
run_after = now() WHERE status = 'running' AND CASE WHEN lease_token IS NULL THEN open_parts = 0
ELSE coalesce(lease_until, '-infinity') < now() - interval '2 minutes' END
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
} | {name: Invariant(query, "statement", cure) for name, (query, cure) in ANSWER_INVARIANTS.items()}


SWEEP_SECONDS = 2 * 3600.0
"""Files without a version are swept within this time after they are old enough."""


@dataclass(frozen=True, slots=True)
class Check:
    """One invariant, the rows or files that break it, and what would cure them."""

    invariant: str
    found: list[tuple[object, ...]]
    cure: Cure

    @property
    def breaches(self) -> int:
        """How many rows or files break it."""
        return len(self.found)


async def verify(database: Database, blobs: BlobStore) -> list[Check]:
    """Check every invariant over all workspaces, and every stored file against its sha256."""
    checks: list[Check] = []
    async with database.snapshot() as connection:
        # A whole installation is looked through: no statement is too long here.
        await connection.execute(text("SET LOCAL statement_timeout = 0"))
        checks.append(Check(QUOTED, await _find_misquoted(connection), "reindex"))
        for name, invariant in INVARIANTS.items():
            rows = await connection.execute(text(invariant.query))
            checks.append(Check(name, [tuple(row) for row in rows], invariant.cure))
        hashes = set(await connection.scalars(text("SELECT DISTINCT sha256 FROM versions")))
    wrong = [sha256 for sha256 in sorted(hashes) if await _is_wrong(blobs, sha256)]
    strays = set(await blobs.list_hashes(ORPHAN_SECONDS + SWEEP_SECONDS)) - hashes
    checks.append(Check(STORED, await _still_needed(database, wrong), "none"))
    checks.append(Check(NEEDED, [(sha256,) for sha256 in sorted(strays)], "files"))
    return checks


async def _find_misquoted(connection: AsyncConnection) -> list[tuple[object, ...]]:
    """Compare each version's chunks with its text, which is read once and not for each chunk."""
    versions = await connection.execute(
        text("SELECT DISTINCT workspace_id, document_id, version_id FROM chunks")
    )
    misquoted: list[tuple[object, ...]] = []
    for workspace_id, document_id, version_id in versions.all():
        values = {"workspace": workspace_id, "version": version_id}
        whole = await connection.scalar(
            text("SELECT text FROM versions WHERE workspace_id = :workspace AND id = :version"),
            values,
        )
        chunks = await connection.execute(
            text(
                'SELECT id, ordinal, start, "end", text FROM chunks '
                "WHERE workspace_id = :workspace AND version_id = :version"
            ),
            values,
        )
        if any(
            (whole or "")[start:end] != quote or found_id != chunk_id(version_id, ordinal)
            for found_id, ordinal, start, end, quote in chunks
        ):
            misquoted.append((workspace_id, document_id))
    return misquoted


async def _still_needed(database: Database, hashes: list[str]) -> list[tuple[object, ...]]:
    """Leave out files whose versions were removed while the files were read."""
    async with database.system_transaction() as connection:
        rows = await connection.execute(
            text("SELECT DISTINCT sha256 FROM versions WHERE sha256 = ANY(:hashes)"),
            {"hashes": hashes},
        )
        return [tuple(row) for row in rows]


async def _is_wrong(blobs: BlobStore, sha256: str) -> bool:
    path = await blobs.find_path(sha256)
    if path is None:
        return True
    try:
        return await asyncio.to_thread(_sha256_of, path) != sha256
    except OSError:
        return True


def _sha256_of(path: str) -> str:
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
