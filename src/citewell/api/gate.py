"""The gate: who calls, in which workspace, and whether they may; before a body is read."""

from dataclasses import dataclass
from uuid import UUID

from citewell.api.call import Call
from citewell.api.context import request_id
from citewell.api.denials import Denials
from citewell.api.identity import Identities
from citewell.api.memory import Memory
from citewell.domain import (
    INSTALLATION,
    PUBLIC_WORKSPACE,
    Principal,
    Role,
    Visitor,
    WorkspaceId,
    covers,
)
from citewell.errors import AccessError, Conflict, InputError, NotFound
from citewell.records.session import Database
from citewell.records.workspaces import (
    ARCHIVED,
    ARCHIVED_CODE,
    MOST_NAME_CHARACTERS,
    UNKNOWN_WORKSPACE,
    Standing,
    find_standing,
    get_standing,
)
from citewell.settings import AuthSettings


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls, the workspace that the request is about, and the role held there."""

    principal: Principal
    workspace_id: WorkspaceId
    role: Role | None


class Gate:
    """Decides about each request; remembers for a moment what it looked up."""

    def __init__(self, database: Database, auth: AuthSettings, *, required: bool) -> None:
        self.identities = Identities(database, auth, required=required)
        self.denials = Denials(database)
        self._database = database
        self._standings = Memory[str, Standing | None](auth.cache_seconds)

    async def admit(self, call: Call) -> Caller:
        """Return who calls, when they may.

        Raises:  Unauthenticated – no valid credential.  NotFound – unknown or foreign workspace.
                 InputError – it is not clear which workspace is meant.  AccessError – the role is
                 too small.  Conflict – the workspace is archived, and the request writes.
        """
        principal = await self.identities.identify(call)
        right = call.right
        if right.place == "installation":
            if not principal.is_owner:
                await self.denials.note(principal, INSTALLATION, call.address)
                raise AccessError("Only an owner of this installation may do this.")
            return Caller(principal, PUBLIC_WORKSPACE, "owner")
        if right.place == "any":
            return Caller(principal, PUBLIC_WORKSPACE, None)
        if right.place == "named" and _id_of(call.named or "") is None:
            raise NotFound(UNKNOWN_WORKSPACE)
        standing = await self._workspace(call.workspace, principal)
        role = principal.role_in(standing.workspace_id)
        if not covers(role, right.role):
            await self.denials.note(principal, standing.workspace_id, call.address)
            raise AccessError(
                f"This needs the role {right.role} in the workspace; yours is {role}."
            )
        if right.writes and standing.archived:
            raise Conflict(ARCHIVED, code=ARCHIVED_CODE)
        return Caller(principal, standing.workspace_id, role)

    def forget(self) -> None:
        """Look everything up anew from now on: a key or a workspace was changed here."""
        self.identities.forget()
        self._standings.forget()

    async def _workspace(self, named: str | None, principal: Principal) -> Standing:
        """Return the workspace that the request is about; a foreign one is unknown."""
        standing = await self._standing(named or _only_workspace(principal))
        if standing is None or principal.role_in(standing.workspace_id) is None:
            raise NotFound(UNKNOWN_WORKSPACE)
        return standing

    async def _standing(self, named: str) -> Standing | None:
        if len(named) > MOST_NAME_CHARACTERS or "\0" in named:
            return None

        async def look_up() -> Standing | None:
            workspace_id = _id_of(named)
            async with self._database.system_transaction() as connection:
                if workspace_id is None:
                    return await find_standing(connection, named)
                return await get_standing(connection, workspace_id)

        return await self._standings.recall(named, look_up)


def visitor_of(caller: Caller) -> Visitor:
    """Return how a caller acts in transactions."""
    principal = caller.principal
    return Visitor(
        actor=principal.actor,
        principal_id=principal.principal_id,
        request_id=request_id(),
        tags=principal.tags_in(caller.workspace_id),
    )


def _id_of(named: str) -> WorkspaceId | None:
    try:
        return WorkspaceId(UUID(named))
    except ValueError:
        return None


def _only_workspace(principal: Principal) -> str:
    if principal.is_owner:
        return str(PUBLIC_WORKSPACE)
    if len(principal.roles) != 1:
        raise InputError("Your key belongs to several workspaces. Name one in X-Workspace-ID.")
    return str(next(iter(principal.roles)))
