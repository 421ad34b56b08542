"""The database's door: an engine, and the only place that commits."""

from collections.abc import AsyncGenerator, Generator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from contextvars import ContextVar
from functools import cache
from typing import Any

import psycopg
import structlog
from sqlalchemy import TextClause, event, make_url
from sqlalchemy.engine.interfaces import DBAPIConnection, IsolationLevel
from sqlalchemy.exc import (
    IntegrityError,
    InterfaceError,
    InvalidatePoolError,
    OperationalError,
)
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from citewell.domain import Visitor, WorkspaceId
from citewell.errors import InsufficientStorage, NotFound, Unavailable
from citewell.records.link import KEEPALIVE, Link, own_time
from citewell.records.reading import Reading
from citewell.records.statements import text
from citewell.records.turnstile import Turnstile

log = structlog.get_logger(__name__)

ENTER = text(
    "SELECT set_config('role', :role, true), set_config('citewell.workspace_id', :workspace, true),"
    " set_config('citewell.actor', :actor, true),"
    " set_config('citewell.principal', :principal, true),"
    " set_config('citewell.reader_tags', :tags, true),"
    " set_config('statement_timeout', '60s', true),"
    " set_config('idle_in_transaction_session_timeout', '60s', true)"
)


@cache
def enter_with(parameters: tuple[tuple[str, str], ...]) -> TextClause:
    """Return the statement that enters a workspace and sets these parameters of the server."""
    more = (f", set_config('{name}', '{value}', true)" for name, value in parameters)
    return text(ENTER.text + "".join(more))


SEE = text("SELECT set_config('citewell.reader_tags', :tags, true)")
EVERY_DOCUMENT = "*"
"""Stands for the tags of one who sees every document."""

_visitor: ContextVar[Visitor] = ContextVar("visitor", default=Visitor())  # noqa: B039 - it is frozen


_tested: ContextVar[bool] = ContextVar("tested", default=True)
"""Whether a connection is tested before it is lent."""


def enter_as(visitor: Visitor) -> None:
    """Say who acts in the transactions that follow in this context; tasks begun in it inherit it.

    Without it Citewell itself acts.
    """
    _visitor.set(visitor)


@contextmanager
def acting_as(visitor: Visitor) -> Generator[None]:
    """Let somebody act in the transactions of a block, and then who did before."""
    before = _visitor.set(visitor)
    try:
        yield
    finally:
        _visitor.reset(before)


def current_visitor() -> Visitor:
    """Return who acts in the transactions of this context."""
    return _visitor.get()


@asynccontextmanager
async def seeing_every_document(connection: AsyncConnection) -> AsyncGenerator[None]:
    """Let a change reach what hangs on hidden documents too, such as the answers that it removes.

    Holds:   what is read meanwhile must not be shown. When the change fails, the transaction ends,
             and with it this.
    """
    tags = current_visitor().tags
    if tags is None:
        yield
        return
    await connection.execute(SEE, {"tags": EVERY_DOCUMENT})
    yield
    await connection.execute(SEE, {"tags": _written(tags)})


Connection = AsyncConnection
"""An open transaction, as doors hand it on; they know nothing else of SQLAlchemy."""

AWAY = ("08", "53", "57")
"""Classes of SQLSTATE: connection lost, too few resources, stopped by an operator or a time-out."""
CONFLICT = "40"
"""Class of SQLSTATE: deadlock or serialization failure; the same again may pass."""
DISK_FULL = "53100"

CHECKOUT_SECONDS = 4.0
"""Most time for a connection: the pool's turn, its test, a new one where the old one is gone."""
POOL_SECONDS = 3.5
QUEUE_SECONDS = 300.0
"""Most time for a connection while others give theirs back: a crowd waits, and is not sent away."""
ENTER_SECONDS = 1.5
"""Most time for a transaction's begin, which waits for no lock and no disk."""

BUSY_MESSAGE = "The server is too busy. Try again in a few seconds."
AWAY_MESSAGE = "The database does not answer. Try again in a few seconds."


class Database:
    """A pool of connections; each transaction belongs to one workspace.

    Holds: the first statement of a transaction gives up the login role for ``citewell_app``, which
    owns nothing, and names the workspace and who acts in it; row-level security does the rest.
    """

    role = "citewell_app"
    """The role of transactions that see one workspace."""

    def __init__(self, url: str, pool_size: int) -> None:
        self._link = Link()
        self._turnstile = Turnstile(pool_size, POOL_SECONDS, QUEUE_SECONDS)
        defaults = {"application_name": "citewell"} | KEEPALIVE
        named = make_url(url).query
        self.engine: AsyncEngine = create_async_engine(
            url,
            pool_size=pool_size,
            max_overflow=0,
            pool_timeout=POOL_SECONDS,
            hide_parameters=True,
            pool_recycle=1800,
            connect_args={name: value for name, value in defaults.items() if name not in named}
            | {"async_creator_fn": self._link.connect},
        )
        event.listen(self.engine.sync_engine, "checkout", self._test)

    @asynccontextmanager
    async def transaction(self, workspace_id: WorkspaceId) -> AsyncGenerator[AsyncConnection]:
        """Run one transaction that sees one workspace; commit at the end, or roll back.

        Raises:  Unavailable – PostgreSQL does not answer.  InsufficientStorage – its disk is full.
        """
        async with self._begin(self.role, str(workspace_id)) as connection:
            yield connection

    @asynccontextmanager
    async def reading(
        self, workspace_id: WorkspaceId, parameters: Mapping[str, str] | None = None
    ) -> AsyncGenerator[Reading]:
        """Run one transaction that only reads and sees one workspace, with little around it.

        ``parameters`` of the server are set for its length.
        Raises:  Unavailable – PostgreSQL does not answer.
        """
        with _translated():
            async with AsyncExitStack() as stack:
                entry = _entry(self.role, str(workspace_id))
                connection, raw = await self._begin_reading(stack, entry, parameters or {})
                try:
                    yield Reading(raw)
                    await raw.commit()
                except psycopg.Error:
                    await connection.invalidate()
                    raise

    async def _begin_reading(
        self, stack: AsyncExitStack, entry: Mapping[str, str], parameters: Mapping[str, str]
    ) -> tuple[AsyncConnection, Any]:
        """Check a connection out and enter the workspace; a lost one is replaced unseen."""
        enter = enter_with(tuple(parameters.items()))
        for tested in (False, True):
            async with AsyncExitStack() as attempt:
                connection = await attempt.enter_async_context(self._check_out(tested=tested))
                raw: Any = (await connection.get_raw_connection()).driver_connection
                try:
                    async with self._in_time(ENTER_SECONDS, connection):
                        await Reading(raw).tuples(enter, entry)
                except psycopg.OperationalError:
                    await connection.invalidate()
                    if tested or self._link.is_silent:
                        raise
                else:
                    stack.push_async_exit(attempt.pop_all())
                    return connection, raw
        raise AssertionError("the second attempt returns or raises")

    @asynccontextmanager
    async def system_transaction(self) -> AsyncGenerator[AsyncConnection]:
        """Run one transaction of maintenance, which sees every workspace."""
        async with self._begin("citewell_system", "") as connection:
            yield connection

    @asynccontextmanager
    async def snapshot(self) -> AsyncGenerator[AsyncConnection]:
        """Run one transaction that sees every workspace as it is at one moment."""
        async with self._begin("citewell_system", "", "REPEATABLE READ") as connection:
            yield connection

    @asynccontextmanager
    async def owner_connection(self) -> AsyncGenerator[AsyncConnection]:
        """Lend a connection as the tables' owner, without a transaction, to build indexes.

        Holds:   row-level security is forced, so the owner reads no rows by it.
        """
        with _translated():
            async with self._check_out() as connection:
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
    async def _begin(
        self, role: str, workspace: str, isolation: IsolationLevel | None = None
    ) -> AsyncGenerator[AsyncConnection]:
        with _translated():
            async with self._check_out() as connection, AsyncExitStack() as stack:
                if isolation is not None:
                    await connection.execution_options(isolation_level=isolation)
                async with self._in_time(ENTER_SECONDS, connection):
                    await stack.enter_async_context(connection.begin())
                    await connection.execute(ENTER, _entry(role, workspace))
                yield connection

    @asynccontextmanager
    async def _check_out(self, *, tested: bool = True) -> AsyncGenerator[AsyncConnection]:
        async with AsyncExitStack() as stack:
            if not self._link.is_silent:
                await self._take_turn(stack)
            if self._link.is_silent:  # as those before may have found out meanwhile
                raise Unavailable(AWAY_MESSAGE)
            async with self._in_time(CHECKOUT_SECONDS):
                mark = _tested.set(tested)
                try:
                    connection = await stack.enter_async_context(self.engine.connect())
                finally:
                    _tested.reset(mark)
            yield connection

    def _test(self, connection: DBAPIConnection, *_: object) -> None:
        """Have a connection that is lost replaced before it is lent, unless nobody minds."""
        if _tested.get():
            dialect = self.engine.dialect
            try:
                dialect.do_ping(connection)
            except dialect.loaded_dbapi.Error as error:
                raise InvalidatePoolError from error

    async def _take_turn(self, stack: AsyncExitStack) -> None:
        try:
            await stack.enter_async_context(self._turnstile.place())
        except TimeoutError as error:
            raise Unavailable(BUSY_MESSAGE) from error

    @asynccontextmanager
    async def _in_time(
        self, seconds: float, connection: AsyncConnection | None = None
    ) -> AsyncGenerator[None]:
        """Give the connection up, and the server for a moment, when this takes longer."""
        try:
            async with own_time(seconds):
                yield
        except TimeoutError as error:
            self._link.mark_silent()
            if connection is not None:
                await connection.invalidate()
            raise Unavailable(AWAY_MESSAGE) from error


def _entry(role: str, workspace: str) -> dict[str, str]:
    visitor = _visitor.get()
    return {
        "role": role,
        "workspace": workspace,
        "actor": visitor.actor,
        "principal": "" if visitor.principal_id is None else str(visitor.principal_id),
        "tags": _written(visitor.tags),
    }


def _written(tags: Sequence[str] | None) -> str:
    """Write tags as citewell_reader_tags() reads them: an array, or a star for all documents."""
    if tags is None:
        return EVERY_DOCUMENT
    quoted = (tag.replace("\\", "\\\\").replace('"', '\\"') for tag in tags)
    return "{" + ",".join(f'"{tag}"' for tag in quoted) + "}"


@contextmanager
def _translated() -> Generator[None]:
    """Say what the database's errors mean to a caller."""
    try:
        yield
    except PoolTimeout as error:
        raise Unavailable(BUSY_MESSAGE) from error
    except IntegrityError as error:
        if _names_a_workspace(error):
            raise NotFound("The workspace was removed meanwhile.") from error
        raise
    except (OperationalError, InterfaceError, psycopg.OperationalError) as error:
        cause = error if isinstance(error, psycopg.Error) else error.orig
        state = getattr(cause, "sqlstate", None) or "08"
        if state == DISK_FULL:
            log.warning("PostgreSQL's disk is full; free space on it", why=str(cause))
            raise InsufficientStorage(
                "The database has no space left on its disk. Free some, then try again."
            ) from error
        if state.startswith(CONFLICT):
            raise Unavailable("Another change came in between. Try again.") from error
        if state.startswith(AWAY):
            raise Unavailable(AWAY_MESSAGE) from error
        raise


def _names_a_workspace(error: IntegrityError) -> bool:
    """Say whether a row was to be written whose workspace is not there any more."""
    diagnosis = getattr(error.orig, "diag", None)
    return str(getattr(diagnosis, "constraint_name", "")).endswith("_workspaces")
