"""Bring the database to the newest schema, once, however many processes start together."""

from pathlib import Path
from typing import TYPE_CHECKING

import structlog
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.ext.asyncio import AsyncEngine

from citewell.errors import Unavailable

if TYPE_CHECKING:
    from alembic.config import Config

log = structlog.get_logger(__name__)

HEAD = "0016"
"""The newest revision; a test compares it with the migrations folder."""

MIGRATION_LOCK = 4_129_889_001
"""Advisory lock that a migrating process holds."""


async def migrate(engine: AsyncEngine) -> bool:
    """Migrate to HEAD under an advisory lock; return whether anything was to do.

    Raises:  Unavailable – the database lacks pgvector, or the role may not create what is needed.
    """
    try:
        async with engine.connect() as connection:
            if await connection.run_sync(_current) == HEAD:
                return False
        async with engine.begin() as connection:
            return await connection.run_sync(_upgrade)
    except (OperationalError, InterfaceError) as error:
        raise Unavailable(
            "The database does not answer, or does not let this user in. Check "
            "CITEWELL_DATABASE_URL."
        ) from error
    except DBAPIError as error:
        log.error("migration failed", reason=str(error.orig))  # noqa: TRY400 - no trace is needed
        raise Unavailable(
            "The database could not be migrated; the line above says why. It needs the encoding "
            "UTF8, a user with CREATEROLE that owns it, and the extension vector (pgvector 0.8.4 "
            "or newer), which a superuser creates once with CREATE EXTENSION vector."
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
