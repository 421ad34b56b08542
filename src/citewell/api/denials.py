"""Note what was denied: who wanted to do what at which address; so much in a minute, not more."""

import time

import structlog

from citewell.api.context import request_id
from citewell.domain import Principal, Visitor, WorkspaceId
from citewell.records.audit import add_audits
from citewell.records.session import Database, enter_as

log = structlog.get_logger(__name__)

MOST_A_MINUTE = 20
"""Rows that one principal's denials may add by one process: nobody fills the table so."""
MOST_KNOWN = 10_000
MINUTE_SECONDS = 60.0


class Denials:
    """Writes a row for each denied action of a principal, as many as its minute allows."""

    def __init__(self, database: Database, most_a_minute: int = MOST_A_MINUTE) -> None:
        self._database = database
        self._most = most_a_minute
        self._counts: dict[str, tuple[float, int]] = {}

    async def note(self, principal: Principal, workspace_id: WorkspaceId, address: str) -> None:
        """Write one row; its target is the address: its method and its form, never its ids.

        Raises:  Unavailable – PostgreSQL does not answer.
        """
        if not self._has_room(principal.actor):
            return
        enter_as(Visitor(principal.actor, principal.principal_id, request_id()))
        async with self._database.transaction(workspace_id) as connection:
            await add_audits(
                connection, workspace_id, "access.denied", [address], request_id(), "denied"
            )

    def _has_room(self, actor: str) -> bool:
        now = time.monotonic()
        since, count = self._counts.get(actor, (now, 0))
        if now - since >= MINUTE_SECONDS:
            since, count = now, 0
        if len(self._counts) >= MOST_KNOWN and actor not in self._counts:
            self._counts.clear()
        self._counts[actor] = since, count + 1
        if count == self._most:
            log.warning("denials of one principal are no longer recorded this minute", actor=actor)
        return count < self._most
