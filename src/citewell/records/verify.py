"""The checker: invariants that hold at rest, each with its count of breaches."""

import asyncio
import hashlib
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy.ext.asyncio import AsyncConnection

from citewell.ports import BlobStore
from citewell.records.blobs import ORPHAN_SECONDS
from citewell.records.session import Database
from citewell.records.statements import text

QUOTED = "every chunk is exactly its span of the canonical text"

INVARIANTS = {
    "every chunk belongs to its document's active version": """
SELECT count(*) FROM chunks c JOIN documents d
ON d.workspace_id = c.workspace_id AND d.id = c.document_id
WHERE d.active_version_id IS DISTINCT FROM c.version_id
""",
    "every chunk has its vector": """
SELECT count(*) FROM chunks c WHERE NOT EXISTS (SELECT FROM vectors_384 v
WHERE v.workspace_id = c.workspace_id AND v.chunk_id = c.id AND v.document_id = c.document_id)
""",
    "every chunk has its terms": """
SELECT count(*) FROM chunks c WHERE NOT EXISTS (SELECT FROM chunk_terms t
WHERE t.workspace_id = c.workspace_id AND t.chunk_id = c.id AND t.document_id = c.document_id)
""",
    "every document counts its own chunks": """
SELECT count(*) FROM documents d WHERE d.chunk_count <> (SELECT count(*) FROM chunks c
WHERE c.workspace_id = d.workspace_id AND c.document_id = d.id)
""",
    "every collection counts its own chunks": """
SELECT count(*) FROM collections c WHERE c.chunk_count <> (SELECT coalesce(sum(d.chunk_count), 0)
FROM documents d WHERE d.workspace_id = c.workspace_id AND d.collection_id = c.id)
""",
    "no published document is empty": """
SELECT count(*) FROM documents d WHERE d.active_version_id IS NOT NULL AND d.chunk_count = 0
""",
    "every version has its job": """
SELECT count(*) FROM versions v WHERE NOT EXISTS (SELECT FROM jobs j
WHERE j.workspace_id = v.workspace_id AND j.version_id = v.id)
""",
    "every open job has its version": """
SELECT count(*) FROM jobs j WHERE j.status IN ('queued', 'running')
AND NOT EXISTS (SELECT FROM versions v
WHERE v.workspace_id = j.workspace_id AND v.id = j.version_id)
""",
    "every finished job published its version": """
SELECT count(*) FROM jobs j JOIN versions v
ON v.workspace_id = j.workspace_id AND v.id = j.version_id
WHERE j.kind = 'ingest' AND j.status = 'done' AND v.published_at IS NULL
""",
    "every failed job says why": """
SELECT count(*) FROM jobs WHERE status IN ('failed', 'cancelled')
AND (reason IS NULL OR message IS NULL)
""",
    "no running job is without a living lease": """
SELECT count(*) FROM jobs WHERE status = 'running'
AND (lease_until IS NULL OR lease_until < now() - interval '2 minutes')
""",
    "every uploaded version has one audit row": """
SELECT count(*) FROM documents d WHERE (SELECT count(*) FROM versions v
WHERE v.workspace_id = d.workspace_id AND v.document_id = d.id) <> (SELECT count(*)
FROM audit_log a WHERE a.workspace_id = d.workspace_id AND a.action = 'document.upload'
AND a.target = d.id::text)
""",
}


SWEEP_SECONDS = 2 * 3600.0
"""Files without a version are swept within this time after they are old enough."""


@dataclass(frozen=True, slots=True)
class Check:
    """One invariant and how many rows or files break it."""

    invariant: str
    breaches: int


async def verify(database: Database, blobs: BlobStore) -> list[Check]:
    """Check every invariant over all workspaces, and every stored file against its sha256."""
    checks: list[Check] = []
    async with database.system_transaction() as connection:
        # A whole installation is looked through: no statement is too long here.
        await connection.execute(text("SET LOCAL statement_timeout = 0"))
        checks.append(Check(QUOTED, await _count_misquoted(connection)))
        for invariant, query in INVARIANTS.items():
            breaches = await connection.scalar(text(query))
            checks.append(Check(invariant, breaches or 0))
        hashes = list(await connection.scalars(text("SELECT DISTINCT sha256 FROM versions")))
    wrong = sum([await _is_wrong(blobs, sha256) for sha256 in hashes])
    orphans = set(await blobs.list_hashes(ORPHAN_SECONDS + SWEEP_SECONDS)) - set(hashes)
    checks.append(Check("every version's file is stored, with that sha256", wrong))
    checks.append(Check("every stored file belongs to a version", len(orphans)))
    return checks


async def _count_misquoted(connection: AsyncConnection) -> int:
    """Compare each version's chunks with its text, which is read once and not for each chunk."""
    versions = await connection.execute(
        text("SELECT DISTINCT workspace_id, version_id FROM chunks")
    )
    misquoted = 0
    for workspace_id, version_id in versions.all():
        values = {"workspace": workspace_id, "version": version_id}
        whole = await connection.scalar(
            text("SELECT text FROM versions WHERE workspace_id = :workspace AND id = :version"),
            values,
        )
        chunks = await connection.execute(
            text(
                'SELECT start, "end", text FROM chunks '
                "WHERE workspace_id = :workspace AND version_id = :version"
            ),
            values,
        )
        misquoted += sum((whole or "")[start:end] != quote for start, end, quote in chunks)
    return misquoted


async def _is_wrong(blobs: BlobStore, sha256: str) -> bool:
    path = await blobs.find_path(sha256)
    return path is None or await asyncio.to_thread(_sha256_of, path) != sha256


def _sha256_of(path: str) -> str:
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
