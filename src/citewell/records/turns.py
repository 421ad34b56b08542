"""One message's turn in a session: waited for, kept alive while its answer is made, given back."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from time import monotonic
from uuid import uuid4

import structlog

from citewell.domain import Message, SessionId, WorkspaceId
from citewell.errors import CitewellError, SessionBusy
from citewell.records.session import Database
from citewell.records.sessions import (
    TURN_SECONDS,
    add_session,
    read_history,
    renew_turn,
    return_turn,
    take_turn,
)

log = structlog.get_logger(__name__)

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
