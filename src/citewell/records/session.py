"""The database's door: an engine, and the only place that commits."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from citewell.domain import WorkspaceId
from citewell.errors import Unavailable
from citewell.records.statements import text

ENTER = text(
    "SELECT set_config('role', :role, true), set_config('citewell.workspace_id', :workspace, true),"
    " set_config('statement_timeout', '60s', true),"
    " set_config('idle_in_transaction_session_timeout', '60s', true)"
)

Connection = AsyncConnection
"""An open transaction, as doors hand it on; they know nothing else of SQLAlchemy."""

AWAY = ("08", "53", "57")
"""Classes of SQLSTATE: connection lost, too few resources, stopped by an operator or a time-out."""
CONFLICT = "40"
"""Class of SQLSTATE: deadlock or serialization failure; the same again may pass."""


class Database:
    """A pool of connections; each transaction belongs to one workspace.

    Holds: the first statement of a transaction gives up the login role for ``citewell_app``, which
    owns nothing, and names the workspace; row-level security does the rest.
    """

    def __init__(self, url: str, pool_size: int) -> None:
        self.engine: AsyncEngine = create_async_engine(
            url,
            pool_size=pool_size,
            max_overflow=0,
            pool_timeout=5,
            pool_pre_ping=True,
            hide_parameters=True,
            pool_recycle=1800,
            connect_args={"connect_timeout": 5, "application_name": "citewell"},
        )

    @asynccontextmanager
    async def transaction(self, workspace_id: WorkspaceId) -> AsyncGenerator[AsyncConnection]:
        """Run one transaction that sees one workspace; commit at the end, or roll back.

        Raises:  Unavailable – PostgreSQL does not answer.
        """
        async with self._begin("citewell_app", str(workspace_id)) as connection:
            yield connection

    @asynccontextmanager
    async def system_transaction(self) -> AsyncGenerator[AsyncConnection]:
        """Run one transaction of maintenance, which sees every workspace."""
        async with self._begin("citewell_system", "") as connection:
            yield connection

    @asynccontextmanager
    async def owner_connection(self) -> AsyncGenerator[AsyncConnection]:
        """Lend a connection as the tables' owner, without a transaction, to build indexes.

        Holds:   row-level security is forced, so the owner reads no rows by it.
        """
        async with self.engine.connect() as connection:
            yield await connection.execution_options(isolation_level="AUTOCOMMIT")

    async def check(self) -> None:
        """Do nothing, successfully.

        Raises:  Unavailable – PostgreSQL does not answer.
        """
        async with self.system_transaction():
            pass

    async def close(self) -> None:
        """Close every connection."""
        await self.engine.dispose()

    @asynccontextmanager
    async def _begin(self, role: str, workspace: str) -> AsyncGenerator[AsyncConnection]:
        try:
            async with self.engine.begin() as connection:
                await connection.execute(ENTER, {"role": role, "workspace": workspace})
                yield connection
        except PoolTimeout as error:
            raise Unavailable("The server is too busy. Try again in a few seconds.") from error
        except (OperationalError, InterfaceError) as error:
            state = getattr(error.orig, "sqlstate", None) or "08"
            if state.startswith(CONFLICT):
                raise Unavailable("Another change came in between. Try again.") from error
            if state.startswith(AWAY):
                raise Unavailable(
                    "The database does not answer. Try again in a few seconds."
                ) from error
            raise
