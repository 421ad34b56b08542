"""The checker: invariants of the ledger, each with its count of breaches, and what repairs it.

All rows are read in one snapshot, so that work that goes on meanwhile is no breach.
"""

import asyncio
import hashlib
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy.ext.asyncio import AsyncConnection

from citewell.ports import BlobStore
from citewell.records.blobs import ORPHAN_SECONDS
from citewell.records.invariants import INVARIANTS, LEASED, STILL_DEAD, Cure
from citewell.records.session import Database
from citewell.records.statements import text
from citewell.records.vector_tables import every_vector, list_vector_tables
from citewell.records.version_rows import chunk_id

QUOTED = "every chunk is exactly its span of the canonical text, with its own id"
STORED = "every version's and every export's file is stored, with that sha256"
NEEDED = "every stored file belongs to a version or an export"

NAMED = """
SELECT sha256 FROM versions UNION SELECT sha256 FROM exports WHERE sha256 IS NOT NULL
"""
SWEEP_SECONDS = 2 * 3600.0
"""Files that nothing names are swept within this time after they are old enough."""


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
        vectors = every_vector(await list_vector_tables(connection))
        for name, invariant in INVARIANTS.items():
            query = invariant.query.replace("{every_vector}", vectors)
            rows = await connection.execute(text(query))
            checks.append(Check(name, [tuple(row) for row in rows], invariant.cure))
        hashes = set(await connection.scalars(text(NAMED)))
    checks = [await _look_again(database, check) for check in checks]
    wrong = [sha256 for sha256 in sorted(hashes) if await _is_wrong(blobs, sha256)]
    strays = set(await blobs.list_hashes(ORPHAN_SECONDS + SWEEP_SECONDS)) - hashes
    checks.append(Check(STORED, await _still_needed(database, wrong), "none"))
    checks.append(Check(NEEDED, [(sha256,) for sha256 in sorted(strays)], "files"))
    return checks


async def _look_again(database: Database, check: Check) -> Check:
    """Leave out jobs that ended meanwhile, or that the worker that writes their end has locked."""
    if check.invariant != LEASED or not check.found:
        return check
    async with database.system_transaction() as connection:
        dead = {tuple(row) for row in await connection.execute(text(STILL_DEAD))}
    return Check(check.invariant, [row for row in check.found if row in dead], check.cure)


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
    """Leave out files whose versions or exports were removed while the files were read."""
    async with database.system_transaction() as connection:
        rows = await connection.execute(
            text(f"SELECT sha256 FROM ({NAMED}) AS named WHERE sha256 = ANY(:hashes)"),
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
