"""Connections to PostgreSQL that notice when nobody answers, however long a statement may take.

A statement that is slow is left alone. When one has been silent for a second, the server is asked
on a second connection; when that is not answered, or the server does not work on our statement at
all, the first one's socket is shut, and the statement fails like that of any lost connection.
"""

import asyncio
import os
import socket
import struct
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from enum import Enum, auto
from time import monotonic
from typing import Any

import psycopg
import structlog
from psycopg.abc import RV, PQGen

log = structlog.get_logger(__name__)

CONNECT_SECONDS = 2
PATIENCE_SECONDS = 1.0
"""Silence of a statement after which the server is asked, and asked again."""
PROBE_SECONDS = 2.0
"""Most time for the answer; only a server that is stopped or cut off takes as long."""
RECHECK_SECONDS = 0.3
CANCEL_SECONDS = 0.5
"""Most time that an interrupted statement waits for the server to give it up."""
PAUSE_SECONDS = 2.0
"""So long nobody tries again after a server was found silent."""
TICK_SECONDS = 0.1

KEEPALIVE = {
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
}
"""libpq's; over a unix socket they mean nothing."""

TLS_REQUEST = struct.pack("!ii", 8, 80877103)
"""The first message of a client that would like TLS; the reply is one byte."""

STATE = (
    "SELECT pg_backend_pid(), count(*) FILTER"
    " (WHERE state NOT LIKE 'idle%%' AND wait_event IS DISTINCT FROM 'ClientRead')"
    " FROM pg_stat_activity WHERE pid = %(pid)s"
)
"""Who answers, and whether the process with that id works on a statement that it has read."""


@asynccontextmanager
async def own_time(seconds: float) -> AsyncGenerator[None]:
    """Limit a block as asyncio.timeout does, in time that this process really had.

    Holds:   while the event loop is held up, by load or by a stopped process, the clock stands
             still: a server is not called silent because nobody listened.
    Raises:  TimeoutError – the block took longer.
    """
    loop = asyncio.get_running_loop()
    timer: asyncio.TimerHandle | None = None

    def tick(left: float) -> None:
        nonlocal timer
        if left <= 0:
            limit.reschedule(loop.time())
        else:
            timer = loop.call_later(min(left, TICK_SECONDS), tick, left - TICK_SECONDS)

    async with asyncio.timeout(None) as limit:
        tick(seconds)
        try:
            yield
        finally:
            if timer is not None:
                timer.cancel()


class _Verdict(Enum):
    WORKING = auto()
    LOST = auto()
    SILENT = auto()


class Link:
    """One server as this process reaches it.

    Holds:   for two seconds after it was found silent nobody else waits for it.
    """

    def __init__(self) -> None:
        self._silent_until = 0.0

    @property
    def is_silent(self) -> bool:
        """Whether the server did not answer a moment ago."""
        return monotonic() < self._silent_until

    def mark_silent(self) -> None:
        """Let nobody wait for the server for a moment."""
        self._silent_until = monotonic() + PAUSE_SECONDS

    async def connect(self, conninfo: str = "", **parameters: Any) -> "WatchedConnection":
        """Open a connection, as psycopg does.

        Raises:  psycopg.OperationalError – the server refuses, or does not answer in 2 s a host.
        """
        if self.is_silent:
            raise psycopg.OperationalError("the server did not answer a moment ago")
        hosts = str(parameters.get("host", "")).count(",") + 1
        # psycopg's own time-out, for each host, would count the time that nobody listened.
        parameters.setdefault("connect_timeout", 10 if hosts == 1 else CONNECT_SECONDS)
        try:
            async with own_time(CONNECT_SECONDS * hosts):
                connection = await WatchedConnection.connect(conninfo, **parameters)
        except (TimeoutError, psycopg.errors.ConnectionTimeout) as error:
            self.mark_silent()
            raise psycopg.errors.ConnectionTimeout("the server does not answer") from error
        connection.link = self
        return connection


class WatchedConnection(psycopg.AsyncConnection[Any]):
    """A connection whose waits are watched once it belongs to a link."""

    link: Link | None = None
    _cut_timer: asyncio.TimerHandle | None = None

    async def wait(
        self,
        gen: PQGen[RV],
        interval: float = 0.1,
        timeout: float | None = None,  # noqa: ASYNC109 - psycopg's signature
    ) -> RV:
        """Consume a generator that works on the connection."""
        if self.link is None or timeout is not None:
            return await super().wait(gen, interval, timeout)
        watch = _Watch(self, self.link)
        timer = asyncio.get_running_loop().call_later(PATIENCE_SECONDS, watch.start)
        try:
            return await super().wait(watch.listen(gen), interval)
        finally:
            timer.cancel()
            watch.stop()
            if self._cut_timer is not None:
                self._cut_timer.cancel()

    async def _try_cancel(self, *, timeout: float = CANCEL_SECONDS) -> None:  # noqa: ASYNC109 - as above
        # psycopg would wait 5 s for the request to cancel and 5 s for the statement's end.
        loop = asyncio.get_running_loop()
        self._cut_timer = loop.call_later(CANCEL_SECONDS, self.cut)
        await super()._try_cancel(timeout=min(timeout, CANCEL_SECONDS))

    def cut(self) -> None:
        """Shut the socket: whoever waits on it sees a lost connection."""
        with (
            suppress(OSError, psycopg.Error),
            socket.socket(fileno=os.dup(self.pgconn.socket)) as own,
        ):
            own.shutdown(socket.SHUT_RDWR)


class _Watch:
    """Looks after one wait: asks the server while nothing is heard."""

    def __init__(self, connection: WatchedConnection, link: Link) -> None:
        self._connection = connection
        self._link = link
        self._heard = 0
        self._task: asyncio.Task[None] | None = None

    def listen(self, gen: PQGen[RV]) -> PQGen[RV]:
        """Pass a generator through, and note when bytes come."""
        try:
            state = next(gen)
            while True:
                ready = yield state
                if ready:
                    self._heard += 1
                state = gen.send(ready)
        except StopIteration as end:
            return end.value

    def start(self) -> None:
        """Begin to ask."""
        self._task = asyncio.create_task(self._ask())

    def stop(self) -> None:
        """Ask no more: the wait is over."""
        if self._task is not None:
            self._task.cancel()

    async def _ask(self) -> None:
        while True:
            heard = self._heard
            verdict = await self._look()
            if verdict is not _Verdict.WORKING and heard == self._heard:
                break
            await asyncio.sleep(PATIENCE_SECONDS)
        if verdict is _Verdict.SILENT:
            self._link.mark_silent()
        log.warning(
            "a connection to PostgreSQL was given up",
            why="the server does not answer"
            if verdict is _Verdict.SILENT
            else "the server does not know of the statement that we wait for",
        )
        self._connection.cut()

    async def _look(self) -> _Verdict:
        """Ask the server about our statement, on a connection of its own."""
        try:
            async with own_time(PROBE_SECONDS):
                return await self._probe()
        except TimeoutError:
            return _Verdict.SILENT

    async def _probe(self) -> _Verdict:
        info = self._connection.info
        dsn, password, backend, heard = info.dsn, info.password, info.backend_pid, self._heard
        try:
            probe = await psycopg.AsyncConnection.connect(dsn, password=password, autocommit=True)
        except psycopg.errors.ConnectionTimeout:
            return _Verdict.SILENT
        except psycopg.Error:
            # It may have no connection to spare, or let nobody in; that is an answer as well.
            return _Verdict.WORKING if await self._greet() else _Verdict.SILENT
        async with probe:
            for pause in (RECHECK_SECONDS, 0.0):
                row = await (await probe.execute(STATE, {"pid": backend})).fetchone()
                answering, working = row or (None, True)
                # Behind a pooler the ids are not the server's, and say nothing.
                behind_pooler = answering != probe.info.backend_pid
                if working or behind_pooler or heard != self._heard:
                    return _Verdict.WORKING
                await asyncio.sleep(pause)
            # Its locks must not outlive it.
            await probe.execute("SELECT pg_terminate_backend(%s)", [backend])
        return _Verdict.LOST

    async def _greet(self) -> bool:
        """Ask for TLS where our connection goes to; yes and no both come from a living server.

        libpq's ping would hold up the whole process while it waits.
        """
        try:
            with socket.socket(fileno=os.dup(self._connection.pgconn.socket)) as own:
                family, address = own.family, own.getpeername()
            if family == socket.AF_UNIX:
                reader, writer = await asyncio.open_unix_connection(address)
            else:
                reader, writer = await asyncio.open_connection(address[0], address[1])
            try:
                writer.write(TLS_REQUEST)
                return await reader.read(1) != b""
            finally:
                writer.close()
        except OSError:
            return False
