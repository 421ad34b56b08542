"""Who calls, and what they may do where."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from citewell.domain.ids import PrincipalId, WorkspaceId

Role = Literal["viewer", "editor", "admin", "owner"]
"""viewer reads and asks; editor also changes documents; admin also rules the workspace; owner rules
the installation, every workspace of it included."""

ROLES: tuple[Role, ...] = ("viewer", "editor", "admin", "owner")
WORKSPACE_ROLES: tuple[Role, ...] = ("viewer", "editor", "admin")
"""Roles that are held in one workspace; owner is held everywhere or not at all."""

SYSTEM, LOCAL = "system", "local"
"""Actors without a credential: Citewell itself, and whoever sits at this machine."""


def covers(role: Role | None, needed: Role) -> bool:
    """Say whether a role includes what another one may do."""
    return role is not None and ROLES.index(role) >= ROLES.index(needed)


@dataclass(frozen=True, slots=True)
class Visitor:
    """Who acts in a transaction.

    ``tags`` are what lists of readers may name of them; None sees every document.
    """

    actor: str = SYSTEM
    principal_id: PrincipalId | None = None
    request_id: str | None = None
    tags: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Principal:
    """Somebody that a credential stands for: an API key, or a person who signed in."""

    actor: str
    name: str
    principal_id: PrincipalId | None = None
    is_owner: bool = False
    roles: Mapping[WorkspaceId, Role] = field(default_factory=dict[WorkspaceId, Role])
    groups: tuple[str, ...] = ()

    def role_in(self, workspace_id: WorkspaceId) -> Role | None:
        """Return the role held in a workspace; None for a stranger to it."""
        return "owner" if self.is_owner else self.roles.get(workspace_id)

    def tags_in(self, workspace_id: WorkspaceId) -> tuple[str, ...] | None:
        """Return what lists of readers may name; None where every document is seen.

        Holds:   admins and owners see all documents: they decide who reads them.
        """
        role = self.role_in(workspace_id)
        if role is None:
            return ()
        if covers(role, "admin"):
            return None
        held = [f"role:{each}" for each in WORKSPACE_ROLES if covers(role, each)]
        return tuple(sorted({*held, *(f"group:{group}" for group in self.groups)}))


LOCAL_PRINCIPAL = Principal(actor=LOCAL, name="this machine", is_owner=True)
"""Whoever calls a server on loopback that asks for no credential."""
