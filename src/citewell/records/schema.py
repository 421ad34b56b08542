"""Bring the database to the newest schema, once, however many processes start together."""

from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Connection, text
from sqlalchemy.exc import ProgrammingError
from sqlalchemy.ext.asyncio import AsyncEngine

from citewell.errors import Unavailable

if TYPE_CHECKING:
    from alembic.config import Config

HEAD = "0001"
"""The newest revision; a test compares it with the migrations folder."""

MIGRATION_LOCK = 4_129_889_001
"""Advisory lock that a migrating process holds."""


async def migrate(engine: AsyncEngine) -> bool:
    """Migrate to HEAD under an advisory lock; return whether anything was to do.

    Raises:  Unavailable – the database lacks pgvector, or the role may not create what is needed.
    """
    async with engine.connect() as connection:
        if await connection.run_sync(_current) == HEAD:
            return False
    try:
        async with engine.begin() as connection:
            return await connection.run_sync(_upgrade)
    except ProgrammingError as error:
        raise Unavailable(
            "The database could not be migrated. Its user needs CREATEROLE and the right to "
            "create the extension vector (pgvector 0.8.4 or newer); the log has the reason."
        ) from error


def alembic_config() -> "Config":
    """Return the configuration that finds the revisions inside the installed package."""
    from alembic.config import Config  # noqa: PLC0415 - a start with nothing to migrate goes without

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    return config


def newest_revision() -> str | None:
    """Return the head of the migrations folder."""
    from alembic.script import ScriptDirectory  # noqa: PLC0415 - see alembic_config

    return ScriptDirectory.from_config(alembic_config()).get_current_head()


def _current(connection: Connection) -> str | None:
    if not connection.dialect.has_table(connection, "alembic_version"):
        return None
    return connection.scalar(text("SELECT version_num FROM alembic_version"))


def _upgrade(connection: Connection) -> bool:
    connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": MIGRATION_LOCK})
    if _current(connection) == HEAD:
        return False
    from alembic import command  # noqa: PLC0415 - see alembic_config

    config = alembic_config()
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
    return True
