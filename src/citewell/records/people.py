"""People who sign in at a provider: their groups there say what they may do here."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID, uuid4

from sqlalchemy.ext.asyncio import AsyncConnection

from citewell.domain import ROLES, WORKSPACE_ROLES, PrincipalId, Role, WorkspaceId
from citewell.errors import InputError
from citewell.records.statements import text


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody as the provider knows them."""

    issuer: str
    subject: str
    name: str
    groups: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Rights:
    """What somebody may do: everything, or a role in some workspaces."""

    is_owner: bool
    roles: Mapping[WorkspaceId, Role]


@dataclass(frozen=True, slots=True)
class GroupRole:
    """What the members of a group may do: a role in a workspace; in none it is owner."""

    group: str
    role: Role
    workspace_id: WorkspaceId | None


def read_group_roles(given: str | None) -> list[GroupRole]:
    """Read ``GROUP=owner`` and ``GROUP=ROLE@WORKSPACE``, with commas between them.

    Raises:  InputError – one cannot be read; the message counts them.
    """
    items = [item.strip() for item in (given or "").split(",") if item.strip()]
    return [_read(item, number) for number, item in enumerate(items, 1)]


def rights_of(groups: Sequence[str], group_roles: Sequence[GroupRole]) -> Rights:
    """Return what the members of these groups may do; of several roles the largest counts."""
    held = [each for each in group_roles if each.group in groups]
    roles: dict[WorkspaceId, Role] = {}
    for each in sorted(held, key=lambda each: ROLES.index(each.role)):
        if each.workspace_id is not None:
            roles[each.workspace_id] = each.role
    return Rights(any(each.workspace_id is None for each in held), roles)


async def sign_in_person(
    connection: AsyncConnection, person: Person, rights: Rights
) -> PrincipalId | None:
    """Keep what the provider says of somebody now; return them, or None without a right here.

    A person who lost every right, or was shut out here, is signed out everywhere.

    Needs a system transaction.
    """
    values: dict[str, object] = {
        "id": uuid4(),
        "issuer": person.issuer,
        "subject": person.subject,
        "name": person.name,
        "owner": rights.is_owner,
        "groups": sorted(set(person.groups)),
        "workspaces": list(rights.roles),
        "roles": list(rights.roles.values()),
    }
    found = (await connection.execute(text(UPSERT), values)).one()
    values["id"] = found.id
    for statement in (DROP_MEMBERSHIPS, KEEP_MEMBERSHIPS):
        await connection.execute(text(statement), values)
    held = await connection.scalar(
        text("SELECT EXISTS (SELECT FROM memberships WHERE principal_id = :id)"), values
    )
    if found.revoked_at is None and (rights.is_owner or held):
        return PrincipalId(found.id)
    await connection.execute(text("DELETE FROM browser_sessions WHERE principal_id = :id"), values)
    return None


UPSERT = """
INSERT INTO principals (id, kind, name, is_owner, groups, origin, issuer, subject, created_by,
    last_used_at)
VALUES (:id, 'person', :name, :owner, CAST(:groups AS text[]), 'sign-in', :issuer, :subject,
    'sign-in', now())
ON CONFLICT (issuer, subject) DO UPDATE SET name = excluded.name, is_owner = excluded.is_owner,
    groups = excluded.groups, last_used_at = now()
RETURNING id, revoked_at
"""
DROP_MEMBERSHIPS = """
DELETE FROM memberships WHERE principal_id = :id
AND workspace_id <> ALL(CAST(:workspaces AS uuid[]))
"""
# A workspace of the setting that is gone, or not made yet, gives nobody a role.
KEEP_MEMBERSHIPS = """
INSERT INTO memberships (workspace_id, principal_id, role)
SELECT w.id, :id, given.role
FROM unnest(CAST(:workspaces AS uuid[]), CAST(:roles AS text[])) AS given (id, role)
JOIN workspaces w ON w.id = given.id
ON CONFLICT (workspace_id, principal_id) DO UPDATE SET role = excluded.role
"""


def _read(item: str, number: int) -> GroupRole:
    group, _, right = item.rpartition("=")
    role, _, workspace = right.strip().partition("@")
    group = group.strip()
    if group and role == "owner" and not workspace:
        return GroupRole(group, "owner", None)
    refused = InputError(
        f"Part {number} of CITEWELL_OIDC__ROLES is not understood. Write GROUP=owner, or "
        "GROUP=viewer@ID with a workspace's id; also editor and admin."
    )
    if not group or role not in WORKSPACE_ROLES:
        raise refused
    try:
        return GroupRole(group, role, WorkspaceId(UUID(workspace)))
    except ValueError as error:
        raise refused from error
