"""Which stored files are still needed: additions and deletions of the same bytes take turns."""

from collections.abc import Sequence

from sqlalchemy.ext.asyncio import AsyncConnection

from citewell.ports import BlobStore
from citewell.records.session import Database
from citewell.records.statements import text

ORPHAN_SECONDS = 24 * 3600.0
"""A file that nothing names is removed at this age: a younger one may be an upload's."""
LOCKED_AT_ONCE = 500
"""Advisory locks of one transaction: PostgreSQL's lock table holds a few thousand."""


async def lock_blobs(connection: AsyncConnection, hashes: Sequence[str]) -> None:
    """Keep others from adding or removing these files until the transaction ends."""
    await connection.execute(
        text(
            "SELECT pg_advisory_xact_lock(hashtextextended(h, 2)) "
            "FROM (SELECT DISTINCT h FROM unnest(CAST(:hashes AS text[])) h ORDER BY h) AS sorted"
        ),
        {"hashes": list(hashes)},
    )


async def remove_unused_blobs(database: Database, blobs: BlobStore, hashes: Sequence[str]) -> int:
    """Remove those of the files that no version and no export names, in any workspace.

    Returns how many.
    """
    removed = 0
    for first in range(0, len(hashes), LOCKED_AT_ONCE):
        batch = hashes[first : first + LOCKED_AT_ONCE]
        async with database.system_transaction() as connection:
            removed += len(await remove_unused_batch(connection, blobs, batch))
    return removed


async def remove_unused_batch(
    connection: AsyncConnection, blobs: BlobStore, hashes: Sequence[str]
) -> list[str]:
    """Remove those of at most ``LOCKED_AT_ONCE`` files that no version names; return them.

    Needs a system transaction.
    """
    unused = await list_unused(connection, hashes)
    await lock_blobs(connection, unused)
    removed = await list_unused(connection, unused)
    for sha256 in removed:
        await blobs.remove(sha256)
    return removed


async def list_unused(connection: AsyncConnection, hashes: Sequence[str]) -> list[str]:
    """Return those of the files that no version in any workspace names.

    Needs a system transaction.
    """
    if not hashes:
        return []
    rows = await connection.scalars(
        text(
            "SELECT h FROM unnest(CAST(:hashes AS text[])) h "
            "WHERE NOT EXISTS (SELECT 1 FROM versions WHERE sha256 = h) "
            "AND NOT EXISTS (SELECT 1 FROM exports WHERE sha256 = h)"
        ),
        {"hashes": list(hashes)},
    )
    return list(rows)
