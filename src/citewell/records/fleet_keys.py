"""Keys that come from the environment, for fleets whose secrets a vault hands out."""

from dataclasses import dataclass
from typing import cast
from uuid import UUID

from pydantic import SecretStr

from citewell.domain import WORKSPACE_ROLES, Role, WorkspaceId
from citewell.errors import InputError
from citewell.records.credentials import Credential, read_credential


@dataclass(frozen=True, slots=True)
class FleetKey:
    """A key of the environment, and what it may do where."""

    credential: Credential
    role: Role
    roles: dict[WorkspaceId, Role]


def read_fleet_keys(given: SecretStr | None) -> list[FleetKey]:
    """Read ``KEY=owner`` and ``KEY=ROLE@WORKSPACE``, with commas between them.

    Raises:  InputError – one cannot be read; the message counts and never repeats it.
    """
    written = "" if given is None else given.get_secret_value()
    items = [item.strip() for item in written.split(",") if item.strip()]
    return [_read(item, number) for number, item in enumerate(items, 1)]


def _read(item: str, number: int) -> FleetKey:
    key, _, right = item.partition("=")
    role, _, workspace = right.strip().partition("@")
    credential = read_credential(key.strip())
    if credential is None:
        raise InputError(
            f"Key {number} of CITEWELL_AUTH__KEYS is not a key. `citewell key generate` makes one."
        )
    if role == "owner" and not workspace:
        return FleetKey(credential, "owner", {})
    try:
        index = WORKSPACE_ROLES.index(cast("Role", role))
        held = WORKSPACE_ROLES[index]
        return FleetKey(credential, held, {WorkspaceId(UUID(workspace)): held})
    except ValueError as error:
        raise InputError(
            f"The rights of key {number} of CITEWELL_AUTH__KEYS are not understood. Write "
            "KEY=owner, or KEY=viewer@ID with a workspace's id; also editor and admin."
        ) from error
