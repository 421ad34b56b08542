"""Principals: API keys, and people who signed in, with their roles. Needs system transactions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal
from uuid import UUID, uuid4

from sqlalchemy.ext.asyncio import AsyncConnection

from citewell.domain import Principal, PrincipalId, Role, WorkspaceId
from citewell.errors import NotFound
from citewell.records.paging import Page, decode_cursor, page_of
from citewell.records.statements import text

Origin = Literal["made", "first start", "environment", "sign-in"]
UNKNOWN = "There is no key with that id here. GET /keys lists those that you may see."


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key to be stored: what it may do, and what is kept of its secret."""

    name: str
    lookup: str
    digest: bytes
    is_owner: bool = False
    roles: Mapping[WorkspaceId, Role] | None = None
    groups: Sequence[str] = ()
    expires_at: datetime | None = None
    origin: Origin = "made"


@dataclass(frozen=True, slots=True)
class KeyRow:
    """A key as lists show it; nothing of its secret."""

    id: UUID
    name: str
    hint: str
    is_owner: bool
    roles: dict[str, Role]
    groups: list[str]
    origin: Origin
    created_at: datetime
    created_by: str
    expires_at: datetime | None
    last_used_at: datetime | None
    revoked_at: datetime | None
    replaced_by: UUID | None


@dataclass(frozen=True, slots=True)
class Known:
    """What a lookup found: the stored digest, and whom it stands for."""

    digest: bytes
    principal: Principal


COLUMNS = """
p.id, p.name, 'cw_' || p.lookup AS hint, p.is_owner,
coalesce((SELECT jsonb_object_agg(m.workspace_id, m.role) FROM memberships m
    WHERE m.principal_id = p.id), '{}'::jsonb) AS roles,
p.groups, p.origin, p.created_at, p.created_by, p.expires_at, p.last_used_at, p.revoked_at,
p.replaced_by
"""
VALID = "p.revoked_at IS NULL AND coalesce(p.expires_at, 'infinity') > now()"


async def add_key(connection: AsyncConnection, key: NewKey) -> KeyRow:
    """Store a key; who acts is its maker. Needs a system transaction.

    Raises:  NotFound – one of its workspaces is unknown.
    """
    principal_id = uuid4()
    await connection.execute(
        text(
            "INSERT INTO principals (id, kind, name, is_owner, groups, lookup, digest, origin, "
            "created_by, expires_at) VALUES (:id, 'key', :name, :owner, CAST(:groups AS text[]), "
            ":lookup, :digest, :origin, current_setting('citewell.actor'), :expires)"
        ),
        {
            "id": principal_id,
            "name": key.name,
            "owner": key.is_owner,
            "groups": sorted(set(key.groups)),
            "lookup": key.lookup,
            "digest": key.digest,
            "origin": key.origin,
            "expires": key.expires_at,
        },
    )
    roles = dict(key.roles or {})
    added = await connection.execute(
        text(
            "INSERT INTO memberships (workspace_id, principal_id, role) "
            "SELECT w.id, :principal, given.role FROM "
            "unnest(CAST(:workspaces AS uuid[]), CAST(:roles AS text[])) AS given (id, role) "
            "JOIN workspaces w ON w.id = given.id"
        ),
        {"principal": principal_id, "workspaces": list(roles), "roles": list(roles.values())},
    )
    if added.rowcount != len(roles):
        raise NotFound("There is no workspace with that id here.")
    return await get_key(connection, PrincipalId(principal_id))


async def get_key(connection: AsyncConnection, key_id: PrincipalId) -> KeyRow:
    """Return a key. Needs a system transaction.

    Raises:  NotFound – there is none with that id.
    """
    row = (
        await connection.execute(
            text(f"SELECT {COLUMNS} FROM principals p WHERE p.id = :id AND p.kind = 'key'"),
            {"id": key_id},
        )
    ).one_or_none()
    if row is None:
        raise NotFound(UNKNOWN)
    return KeyRow(*row)


async def list_keys(
    connection: AsyncConnection,
    workspaces: Sequence[WorkspaceId] | None,
    limit: int,
    cursor: str | None = None,
) -> Page[KeyRow]:
    """List keys, newest first: all, or those that have a role in one of these workspaces.

    Needs a system transaction.
    """
    created_at, last_id = decode_cursor(cursor) if cursor else (None, None)
    rows = await connection.execute(
        text(
            f"SELECT {COLUMNS} FROM principals p WHERE p.kind = 'key' "
            "AND (CAST(:workspaces AS uuid[]) IS NULL OR NOT p.is_owner AND EXISTS ("
            "SELECT FROM memberships m WHERE m.principal_id = p.id "
            "AND m.workspace_id = ANY(:workspaces))) "
            "AND (CAST(:created AS timestamptz) IS NULL OR (p.created_at, p.id) < (:created, :id)) "
            "ORDER BY p.created_at DESC, p.id DESC LIMIT :limit"
        ),
        {
            "workspaces": None if workspaces is None else list(workspaces),
            "created": created_at,
            "id": last_id,
            "limit": limit + 1,
        },
    )
    found = [KeyRow(*row) for row in rows]
    return page_of(found, limit, lambda row: (row.created_at, row.id))


async def revoke_key(connection: AsyncConnection, key_id: PrincipalId) -> None:
    """End a key now; what was signed in with it ends too. A second time changes nothing.

    Needs a system transaction.
    """
    await connection.execute(
        text(
            "WITH ended AS (DELETE FROM browser_sessions WHERE principal_id = :id) "
            "UPDATE principals SET revoked_at = coalesce(revoked_at, now()) WHERE id = :id"
        ),
        {"id": key_id},
    )


async def replace_key(
    connection: AsyncConnection, key: KeyRow, new: NewKey, overlap_seconds: float
) -> KeyRow:
    """Store a new key that may do what the old one may; the old one works for a while longer.

    Needs a system transaction.
    """
    added = await add_key(connection, new)
    await connection.execute(
        text(
            "UPDATE principals SET replaced_by = :new, expires_at = least(expires_at, "
            "now() + make_interval(secs => CAST(:overlap AS float8))) WHERE id = :id"
        ),
        {"id": key.id, "new": added.id, "overlap": overlap_seconds},
    )
    return added


async def find_key(connection: AsyncConnection, lookup: str, digest: bytes) -> Known | None:
    """Return the valid key of that public name; note once a minute that it, itself, is used.

    Needs a system transaction.
    """
    row = (
        await connection.execute(
            text(
                "WITH used AS (UPDATE principals SET last_used_at = now() WHERE lookup = :lookup "
                "AND digest = :digest "
                "AND coalesce(last_used_at, '-infinity') < now() - interval '1 minute') "
                f"SELECT p.digest, {COLUMNS} FROM principals p "
                f"WHERE p.lookup = :lookup AND {VALID}"
            ),
            {"lookup": lookup, "digest": digest},
        )
    ).one_or_none()
    if row is None:
        return None
    return Known(bytes(row.digest), make_principal(f"key:{row.hint}", row))


async def find_principal(
    connection: AsyncConnection, principal_id: PrincipalId, actor: str
) -> Principal | None:
    """Return a principal as it is now, under the name that it acted by; None if it is not valid.

    Needs a system transaction.
    """
    row = (
        await connection.execute(
            text(f"SELECT {COLUMNS} FROM principals p WHERE p.id = :id AND {VALID}"),
            {"id": principal_id},
        )
    ).one_or_none()
    return None if row is None else make_principal(actor, row)


def make_principal(actor: str, row: Any) -> Principal:
    """Make a principal of a row that has ``COLUMNS``."""
    return Principal(
        actor=actor,
        name=row.name,
        principal_id=PrincipalId(row.id),
        is_owner=row.is_owner,
        roles={WorkspaceId(UUID(name)): role for name, role in row.roles.items()},
        groups=tuple(row.groups),
    )


async def has_keys(connection: AsyncConnection) -> bool:
    """Say whether any key was ever stored. Needs a system transaction."""
    return bool(await connection.scalar(text("SELECT EXISTS (SELECT FROM principals)")))


async def add_unknown_key(connection: AsyncConnection, key: NewKey) -> KeyRow | None:
    """Store a key and return it; None where one of its public name is there already.

    Needs a system transaction.
    """
    await connection.execute(
        text("SELECT pg_advisory_xact_lock(hashtextextended(:lookup, 4))"), {"lookup": key.lookup}
    )
    known = await connection.scalar(
        text("SELECT EXISTS (SELECT FROM principals WHERE lookup = :lookup)"),
        {"lookup": key.lookup},
    )
    return None if known else await add_key(connection, key)
