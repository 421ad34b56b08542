"""One message's turn in a session: waited for, kept alive while its answer is made, given back.

A turn is a lease: its token stands in the session's row, and no transaction stays open meanwhile.
Messages are written by the turn's holder only.
"""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from time import monotonic
from typing import Literal
from uuid import UUID, uuid4

import structlog
from sqlalchemy.ext.asyncio import AsyncConnection

from citewell.domain import Message, SessionId, WorkspaceId
from citewell.errors import CitewellError, SessionBusy
from citewell.records.messages import read_history
from citewell.records.session import Database
from citewell.records.sessions import add_session, get_session
from citewell.records.statements import text

log = structlog.get_logger(__name__)

TURN_SECONDS = 30.0
"""A process that died leaves its session to others after this."""
FIRST_PAUSE_SECONDS = 0.05
LONGEST_PAUSE_SECONDS = 0.5
RENEW_SECONDS = TURN_SECONDS / 3


class Turn:
    """The right to write a session's next two messages; no connection is held meanwhile."""

    def __init__(
        self, database: Database, workspace_id: WorkspaceId, session_id: SessionId
    ) -> None:
        self._database = database
        self._workspace_id = workspace_id
        self.session_id = session_id
        self.token = uuid4()
        self.history: Sequence[Message] = ()
        self._renewing: asyncio.Task[None] | None = None
        self._over = False

    async def take(self, hours: float, wait_seconds: float, max_history: int) -> None:
        """Take the turn, waiting for those before, and read the history.

        Raises:  NotFound – no such session.  SessionBusy – others were not done in time.
        """
        give_up, pause = monotonic() + wait_seconds, FIRST_PAUSE_SECONDS
        while not await self._try(hours, max_history):
            if monotonic() + pause > give_up:
                raise SessionBusy
            await asyncio.sleep(pause)
            pause = min(pause * 1.5, LONGEST_PAUSE_SECONDS)
        self._renewing = asyncio.create_task(self._renew())

    async def open(self, hours: float) -> None:
        """Make the session, and have its first turn."""
        async with self._database.transaction(self._workspace_id) as connection:
            await add_session(connection, self._workspace_id, self.session_id, None, hours)
            await take_turn(connection, self._workspace_id, self.session_id, self.token, hours)
        self._renewing = asyncio.create_task(self._renew())

    def stop(self) -> None:
        """Renew no more: the turn is about to end in a transaction of its holder."""
        if self._renewing is not None:
            self._renewing.cancel()
            self._renewing = None

    def finish(self) -> None:
        """Note that the turn was ended in a transaction that is committed."""
        self._over = True

    async def give_back(self) -> None:
        """End the turn without a message; one that cannot be given back now runs out."""
        self.stop()
        if self._over:
            return
        with suppress(CitewellError):
            async with self._database.transaction(self._workspace_id) as connection:
                await return_turn(connection, self._workspace_id, self.session_id, self.token)

    async def _try(self, hours: float, max_history: int) -> bool:
        key = (self._workspace_id, self.session_id)
        async with self._database.transaction(self._workspace_id) as connection:
            if not await take_turn(connection, *key, self.token, hours):
                return False
            self.history = await read_history(connection, *key, max_history)
        return True

    async def _renew(self) -> None:
        held = True
        while held:
            await asyncio.sleep(RENEW_SECONDS)
            try:
                async with self._database.transaction(self._workspace_id) as connection:
                    held = await renew_turn(
                        connection, self._workspace_id, self.session_id, self.token
                    )
            except CitewellError as error:
                log.warning("a session's turn could not be renewed", why=error.message)


async def take_turn(
    connection: AsyncConnection,
    workspace_id: WorkspaceId,
    session_id: SessionId,
    token: UUID,
    hours: float,
) -> bool:
    """Take a session's turn, unless somebody has it; the session counts as used.

    Raises:  NotFound – no such session.
    """
    values = {
        "workspace": workspace_id,
        "id": session_id,
        "token": token,
        "turn": TURN_SECONDS,
        "seconds": hours * 3600,
    }
    taken = await connection.execute(
        text(
            "UPDATE sessions SET turn_token = :token, "
            "turn_until = now() + make_interval(secs => :turn), "
            "expires_at = now() + make_interval(secs => :seconds) "
            "WHERE workspace_id = :workspace AND id = :id AND expires_at > now() "
            "AND coalesce(turn_until, '-infinity') <= now()"
        ),
        values,
    )
    if taken.rowcount:
        return True
    await get_session(connection, workspace_id, session_id)
    return False


async def renew_turn(
    connection: AsyncConnection, workspace_id: WorkspaceId, session_id: SessionId, token: UUID
) -> bool:
    """Say that the turn's holder lives; return whether it still has the turn."""
    renewed = await connection.execute(
        text(
            "UPDATE sessions SET turn_until = now() + make_interval(secs => :turn), "
            "expires_at = greatest(expires_at, now() + make_interval(secs => :turn)) "
            "WHERE workspace_id = :workspace AND id = :id AND turn_token = :token"
        ),
        {"workspace": workspace_id, "id": session_id, "token": token, "turn": TURN_SECONDS},
    )
    return renewed.rowcount > 0


async def return_turn(
    connection: AsyncConnection, workspace_id: WorkspaceId, session_id: SessionId, token: UUID
) -> None:
    """Give the turn back without a message."""
    await connection.execute(
        text(
            "UPDATE sessions SET turn_token = NULL, turn_until = NULL "
            "WHERE workspace_id = :workspace AND id = :id AND turn_token = :token"
        ),
        {"workspace": workspace_id, "id": session_id, "token": token},
    )


TurnEnd = Literal["held", "lost", "gone"]
"""Ours until now; another's by now; without a session."""


async def end_turn(
    connection: AsyncConnection,
    workspace_id: WorkspaceId,
    session_id: SessionId,
    token: UUID,
    hours: float,
) -> TurnEnd:
    """End a turn, and lock the session until the transaction ends; say whether it was ours."""
    values = {
        "workspace": workspace_id,
        "id": session_id,
        "token": token,
        "seconds": hours * 3600,
    }
    ended = await connection.execute(
        text(
            "UPDATE sessions SET turn_token = NULL, turn_until = NULL, updated_at = now(), "
            "expires_at = now() + make_interval(secs => :seconds) "
            "WHERE workspace_id = :workspace AND id = :id AND turn_token = :token"
        ),
        values,
    )
    if ended.rowcount:
        return "held"
    there = await connection.scalar(
        text("SELECT true FROM sessions WHERE workspace_id = :workspace AND id = :id"), values
    )
    return "lost" if there else "gone"
