"""The HNSW index: made when a workspace outgrows exact search, so that small ones never pay for it.

Measured over 48,000 vectors: a vector takes 3.2 ms to be put into it, making it 25 s.
"""

from citewell.records.session import Database
from citewell.records.statements import text
from citewell.records.vector_tables import FIRST_DIMENSION, vector_table

BUILD_LOCK = 4_129_889_003
"""Advisory lock of the process that builds."""
BREADTH = 128
"""``ef_construction``, twice pgvector's: docs/decisions/0019."""
BUSY_FACTOR = 5
"""While documents come in, exact search may reach this much further: some 35 ms on one core."""


def index_name(dimension: int) -> str:
    """Return the name of the HNSW index over vectors of so many numbers."""
    return f"ix_{vector_table(dimension)}_hnsw"


async def ensure_vector_index(
    database: Database, exact_below_chunks: int, dimension: int = FIRST_DIMENSION
) -> bool:
    """Build the index once a workspace holds more chunks than are searched exactly.

    While documents come in it waits, since each of their chunks would have to be put into it;
    until it is there, larger scopes are searched exactly as well.
    Cost:  minutes for a million vectors; searches and uploads go on meanwhile.
    Returns whether it was built now.
    """
    async with database.system_transaction() as connection:
        largest, busy = (
            await connection.execute(
                text(
                    "SELECT coalesce(max(chunks), 0), EXISTS (SELECT FROM jobs "
                    "WHERE status IN ('queued', 'running')) "
                    "FROM (SELECT sum(chunk_count) AS chunks FROM collections "
                    "GROUP BY workspace_id) AS workspaces"
                )
            )
        ).one()
    if largest <= exact_below_chunks * (BUSY_FACTOR if busy else 1):
        return False
    name, table = index_name(dimension), vector_table(dimension)
    async with database.owner_connection() as connection:
        ready = await connection.scalar(
            text(
                "SELECT EXISTS (SELECT FROM pg_index WHERE indisvalid "
                "AND indexrelid = to_regclass(:name))"
            ),
            {"name": name},
        )
        if ready or not await connection.scalar(
            text("SELECT pg_try_advisory_lock(:key)"), {"key": BUILD_LOCK}
        ):
            return False
        try:
            await connection.execute(text(f"DROP INDEX IF EXISTS {name}"))
            await connection.execute(
                text(
                    f"CREATE INDEX CONCURRENTLY {name} ON {table} "
                    f"USING hnsw (embedding halfvec_cosine_ops) WITH (ef_construction = {BREADTH})"
                )
            )
        finally:
            await connection.execute(text("SELECT pg_advisory_unlock(:key)"), {"key": BUILD_LOCK})
    return True
