"""/keys and /me: make, list, replace and revoke API keys; say who is calling."""

from datetime import UTC, datetime
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter
from pydantic import Field, StringConstraints

from citewell.api.chat_schemas import ShortText
from citewell.api.context import request_id
from citewell.api.deps import (
    CallerDep,
    CleanText,
    CursorQuery,
    GateDep,
    KeyIdDep,
    LimitQuery,
    ServicesDep,
)
from citewell.api.gate import Caller
from citewell.api.patterns import NAME
from citewell.api.schemas import Request, Wire
from citewell.domain import INSTALLATION, PrincipalId, Role, WorkspaceId, covers
from citewell.errors import AccessError, Conflict, NotFound, Unprocessable
from citewell.records.audit import add_audit
from citewell.records.credentials import digest_of, new_credential
from citewell.records.fleet_keys import read_fleet_keys
from citewell.records.principals import (
    UNKNOWN,
    KeyRow,
    NewKey,
    add_key,
    add_unknown_key,
    get_key,
    list_keys,
    replace_key,
    revoke_key,
)
from citewell.records.session import Connection
from citewell.records.workspaces import (
    MOST_NAME_CHARACTERS,
    UNKNOWN_WORKSPACE,
    find_standing,
)
from citewell.wiring import Services

router = APIRouter(tags=["keys"])
DAY_SECONDS = 86_400
WorkspaceRef = Annotated[
    CleanText, StringConstraints(min_length=1, max_length=MOST_NAME_CHARACTERS)
]
FLEET_NAME = "from the environment"


class NewKeyRequest(Request):
    """A key to make: a role in workspaces (the request's own if none is named), or owner."""

    name: ShortText
    role: Role = "viewer"
    workspaces: list[WorkspaceRef] | None = Field(
        default=None, min_length=1, max_length=1000, description="Names or ids."
    )
    groups: list[Annotated[str, StringConstraints(pattern=NAME)]] = Field(
        default_factory=list[str], max_length=100, description="What lists of readers may name."
    )
    expires_at: datetime | None = Field(
        default=None, description="It works until then; UTC if it names no zone."
    )


class RotateRequest(Request):
    """How long the old key works beside the new one."""

    overlap_seconds: float = Field(default=DAY_SECONDS, ge=0, le=30 * DAY_SECONDS)


class Key(Wire):
    """A key, without its secret; ``hint`` is how it begins.

    A key that has roles in workspaces of others too is not ``manageable``, and ``roles`` has only
    those in the caller's workspaces.
    """

    id: UUID
    name: str
    hint: str
    is_owner: bool
    roles: dict[UUID, Role]
    groups: list[str]
    origin: str
    created_at: datetime
    created_by: str
    expires_at: datetime | None
    last_used_at: datetime | None
    revoked_at: datetime | None
    replaced_by: UUID | None
    manageable: bool = True


class MadeKey(Key):
    """A new key; its secret is shown here and never again."""

    key: str


class KeyPage(Wire):
    """One page of keys, newest first."""

    keys: list[Key]
    next_cursor: str | None


class Me(Wire):
    """Who is calling, and what they may do where."""

    actor: str
    name: str
    is_owner: bool
    roles: dict[UUID, Role]
    groups: list[str]


@router.get("/me")
async def me(caller: CallerDep) -> Me:
    """Say whom the request's credential stands for."""
    principal = caller.principal
    return Me(
        actor=principal.actor,
        name=principal.name,
        is_owner=principal.is_owner,
        roles={UUID(str(name)): role for name, role in principal.roles.items()},
        groups=list(principal.groups),
    )


@router.post("/keys", status_code=201)
async def make(services: ServicesDep, caller: CallerDep, body: NewKeyRequest) -> MadeKey:
    """Make a key; the reply alone shows it. An admin makes keys of own workspaces, up to admin."""
    expires_at = _in_utc(body.expires_at)
    if expires_at is not None and expires_at <= datetime.now(UTC):
        raise Unprocessable("The time expires_at lies in the past. Name a later time.")
    async with services.database.system_transaction() as connection:
        roles = await _roles_wanted(connection, caller, body)
    credential = new_credential()
    new = NewKey(
        name=body.name,
        lookup=credential.lookup,
        digest=digest_of(credential.text, services.settings.auth.pepper),
        is_owner=body.role == "owner",
        roles=roles,
        groups=body.groups,
        expires_at=expires_at,
    )
    async with services.database.system_transaction() as connection:
        row = await add_key(connection, new)
        await _audit(connection, "key.add", row)
    return _made(row, credential.text)


@router.get("/keys")
async def list_all(
    services: ServicesDep, caller: CallerDep, limit: LimitQuery = 50, cursor: CursorQuery = None
) -> KeyPage:
    """List the keys that have a role where the caller is admin, newest first; no secrets."""
    async with services.database.system_transaction() as connection:
        page = await list_keys(connection, _ruled(caller), limit, cursor)
    return KeyPage(keys=[_seen(caller, row) for row in page.items], next_cursor=page.next_cursor)


@router.get("/keys/{key_id}")
async def get_one(services: ServicesDep, caller: CallerDep, key_id: KeyIdDep) -> Key:
    """Return a key, without its secret."""
    async with services.database.system_transaction() as connection:
        row = await get_key(connection, key_id)
    ruled = _ruled(caller)
    if ruled is not None and (row.is_owner or not {UUID(name) for name in row.roles} & set(ruled)):
        raise NotFound(UNKNOWN)
    return _seen(caller, row)


@router.post("/keys/{key_id}/rotate", status_code=201)
async def rotate(
    services: ServicesDep,
    caller: CallerDep,
    gate: GateDep,
    key_id: KeyIdDep,
    body: RotateRequest | None = None,
) -> MadeKey:
    """Make a new key with the rights of this one, which works beside it for a while longer."""
    overlap_seconds = (body or RotateRequest()).overlap_seconds
    credential = new_credential()
    async with services.database.system_transaction() as connection:
        old = await _managed(connection, caller, key_id)
        if old.revoked_at is not None or old.replaced_by is not None:
            raise Conflict("This key was revoked or replaced already. Make a new one instead.")
        new = NewKey(
            name=old.name,
            lookup=credential.lookup,
            digest=digest_of(credential.text, services.settings.auth.pepper),
            is_owner=old.is_owner,
            roles={WorkspaceId(UUID(name)): role for name, role in old.roles.items()},
            groups=old.groups,
            expires_at=old.expires_at,
        )
        row = await replace_key(connection, old, new, overlap_seconds)
        await _audit(connection, "key.rotate", old)
    gate.forget()
    return _made(row, credential.text)


@router.delete("/keys/{key_id}", status_code=204)
async def revoke(services: ServicesDep, caller: CallerDep, gate: GateDep, key_id: KeyIdDep) -> None:
    """Revoke a key: this process refuses it at once, others within CITEWELL_AUTH__CACHE_SECONDS."""
    async with services.database.system_transaction() as connection:
        row = await _managed(connection, caller, key_id)
        await revoke_key(connection, key_id)
        await _audit(connection, "key.revoke", row)
    gate.forget()


async def add_fleet_keys(services: Services) -> None:
    """Store the keys of the environment that are not stored yet.

    Raises:  InputError – one cannot be read.  NotFound – it names an unknown workspace.
    """
    auth = services.settings.auth
    for given in read_fleet_keys(auth.keys):
        new = NewKey(
            name=FLEET_NAME,
            lookup=given.credential.lookup,
            digest=digest_of(given.credential.text, auth.pepper),
            is_owner=given.role == "owner",
            roles=given.roles,
            origin="environment",
        )
        async with services.database.system_transaction() as connection:
            added = await add_unknown_key(connection, new)
            if added is not None:
                await _audit(connection, "key.add", added)


async def _roles_wanted(
    connection: Connection, caller: Caller, body: NewKeyRequest
) -> dict[WorkspaceId, Role]:
    """Return what a new key may do where, as far as the caller may give it away."""
    if body.role == "owner":
        if not caller.principal.is_owner:
            raise AccessError("Only an owner of this installation makes keys of owners.")
        if body.workspaces:
            raise Unprocessable("An owner's key is for every workspace. Leave workspaces out.")
        return {}
    wanted: dict[WorkspaceId, Role] = {}
    for named in body.workspaces or [str(caller.workspace_id)]:
        workspace_id = await _workspace(connection, named)
        held = None if workspace_id is None else caller.principal.role_in(workspace_id)
        if workspace_id is None or held is None:
            raise NotFound(UNKNOWN_WORKSPACE)
        if not covers(held, "admin"):
            raise AccessError("You may make keys only for workspaces that you are an admin of.")
        wanted[workspace_id] = body.role
    return wanted


async def _workspace(connection: Connection, named: str) -> WorkspaceId | None:
    """Return the id of a workspace that is named by it, or by its name."""
    try:
        return WorkspaceId(UUID(named))
    except ValueError:
        found = await find_standing(connection, named)
    return None if found is None else found.workspace_id


def _ruled(caller: Caller) -> list[WorkspaceId] | None:
    """Return the workspaces whose keys the caller manages; None for all."""
    if caller.principal.is_owner:
        return None
    return [name for name, role in caller.principal.roles.items() if covers(role, "admin")]


def _seen(caller: Caller, row: KeyRow) -> Key:
    """Show a key with its roles in the workspaces that the caller is an admin of."""
    key, ruled = Key.model_validate(row), _ruled(caller)
    if ruled is None:
        return key
    seen = {name: role for name, role in key.roles.items() if name in ruled}
    return key.model_copy(update={"roles": seen, "manageable": len(seen) == len(key.roles)})


async def _managed(connection: Connection, caller: Caller, key_id: PrincipalId) -> KeyRow:
    """Return a key that the caller manages; any other one is unknown."""
    row = await get_key(connection, key_id)
    ruled = _ruled(caller)
    own = {UUID(name) for name in row.roles}
    if ruled is not None and (row.is_owner or not own or not own <= set(ruled)):
        raise NotFound(UNKNOWN)
    return row


async def _audit(connection: Connection, action: str, row: KeyRow) -> None:
    """Tell every workspace that the key is for; of an owner's key, the installation."""
    for workspace_id in [UUID(name) for name in row.roles] or [INSTALLATION]:
        await add_audit(
            connection, WorkspaceId(workspace_id), action, str(row.id), request_id() or None
        )


def _made(row: KeyRow, key: str) -> MadeKey:
    return MadeKey(**Key.model_validate(row).model_dump(), key=key)


def _in_utc(moment: datetime | None) -> datetime | None:
    return moment.replace(tzinfo=UTC) if moment is not None and moment.tzinfo is None else moment
