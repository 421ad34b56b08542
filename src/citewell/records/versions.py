"""Which servers we talk to, and whether they have known holes."""

from sqlalchemy.ext.asyncio import AsyncConnection

from citewell.records.statements import text

SAFE_POSTGRESQL = {15: 19, 16: 15, 17: 11, 18: 6}
"""The least minor release by major one: earlier ones overflow on a tsvector of document text."""
SAFE_PGVECTOR = (0, 8, 4)


async def read_server_versions(connection: AsyncConnection) -> list[tuple[str, str | None]]:
    """Return PostgreSQL's and pgvector's version, with a sentence when one should be upgraded."""
    row = (
        await connection.execute(
            text(
                "SELECT current_setting('server_version_num')::int, "
                "(SELECT extversion FROM pg_extension WHERE extname = 'vector')"
            )
        )
    ).one()
    major, minor = divmod(row[0], 10_000)
    extension = tuple(int(part) for part in row[1].split(".")[:3])
    old = minor < SAFE_POSTGRESQL.get(major, 0) or major < min(SAFE_POSTGRESQL)
    return [
        (
            f"PostgreSQL {major}.{minor}",
            f"Upgrade it to {major}.{SAFE_POSTGRESQL.get(major, 0)} or newer." if old else None,
        ),
        (
            f"pgvector {row[1]}",
            "Upgrade it to 0.8.4 or newer." if extension < SAFE_PGVECTOR else None,
        ),
    ]
