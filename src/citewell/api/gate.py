"""The gate: who calls, in which workspace, and whether they may; before a byte of a body is read.

Every address is in ``rights.RIGHTS``. One that is not needs a valid credential before it is said
that there is no such address.
"""

import hmac
import ipaddress
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar
from uuid import UUID

from starlette.datastructures import Headers
from starlette.routing import compile_path
from starlette.types import ASGIApp, Receive, Scope, Send

from citewell.api.client_address import FORWARDED
from citewell.api.context import request_id
from citewell.api.problems import known_response
from citewell.api.rights import ANY, OPEN, RIGHTS, Right
from citewell.domain import (
    LOCAL_PRINCIPAL,
    PUBLIC_WORKSPACE,
    Principal,
    Role,
    Visitor,
    WorkspaceId,
    covers,
)
from citewell.errors import (
    AccessError,
    CitewellError,
    Conflict,
    InputError,
    NotFound,
    Unauthenticated,
)
from citewell.records.audit import add_audits
from citewell.records.credentials import PREFIX, digest_of, read_credential
from citewell.records.principals import find_key
from citewell.records.session import Database, enter_as
from citewell.records.workspaces import Standing, get_standing
from citewell.settings import AuthSettings

Key = TypeVar("Key")
Value = TypeVar("Value")

WORKSPACE_HEADER = "x-workspace-id"
MOST_KNOWN = 10_000
"""Credentials and workspaces that a process remembers for ``cache_seconds``."""
NO_WORKSPACE = "There is no workspace with that id here. GET /workspaces lists yours."


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls, the workspace that the request is about, and the role held there."""

    principal: Principal
    workspace_id: WorkspaceId
    role: Role | None


class Gate:
    """Decides about each request; remembers for a moment what it looked up."""

    def __init__(self, database: Database, auth: AuthSettings, *, required: bool) -> None:
        self._database = database
        self._auth = auth
        self._required = required
        self._principals: dict[bytes, tuple[float, Principal | None]] = {}
        self._standings: dict[str, tuple[float, Standing | None]] = {}

    async def admit(self, headers: Headers, client: str | None, right: Right) -> Caller:
        """Return who calls, when they may.

        Raises:  Unauthenticated – no valid credential.  NotFound – unknown or foreign workspace.
                 InputError – it is not clear which workspace is meant.  AccessError – the role is
                 too small.  Conflict – the workspace is archived, and the request writes.
        """
        principal = await self.identify(headers, client)
        if right.place == "installation":
            if not principal.is_owner:
                raise AccessError("Only an owner of this installation may do this.")
            return Caller(principal, PUBLIC_WORKSPACE, "owner")
        if right.place != "workspace":
            return Caller(principal, PUBLIC_WORKSPACE, None)
        standing = await self._workspace(headers.get(WORKSPACE_HEADER), principal)
        role = principal.role_in(standing.workspace_id)
        if not covers(role, right.role):
            await self._note_denial(principal, standing.workspace_id, right)
            raise AccessError(
                f"This needs the role {right.role} in the workspace; yours is {role}."
            )
        if right.writes and standing.archived:
            raise Conflict(
                "The workspace is archived: it can be read, not changed. An admin may restore it.",
                code="workspace_archived",
            )
        return Caller(principal, standing.workspace_id, role)

    async def identify(self, headers: Headers, client: str | None) -> Principal:
        """Return whom the request's credential stands for.

        Raises:  Unauthenticated – it has none that is valid; always with the same words.
        """
        given = _credentials(headers)
        # OpenAI's clients always send some key; what is none of ours says nothing about who calls.
        ours = any(key.startswith(PREFIX) for key in given)
        if not self._required and not ours and _is_local(headers, client):
            return LOCAL_PRINCIPAL
        if len(set(given)) != 1:
            raise Unauthenticated
        principal = await self._principal_of(given[0])
        if principal is None:
            raise Unauthenticated
        return principal

    def forget(self) -> None:
        """Look everything up anew from now on: a key or a workspace was changed here."""
        self._principals.clear()
        self._standings.clear()

    async def _principal_of(self, given: str) -> Principal | None:
        local = self._auth.local_key
        if local is not None and hmac.compare_digest(
            local.get_secret_value().encode(), given.encode("utf-8", "replace")
        ):
            return LOCAL_PRINCIPAL
        credential = read_credential(given)
        if credential is None or self._auth.pepper is None:
            return None
        digest = digest_of(given, self._auth.pepper)
        known = self._principals.get(digest)
        if known is not None and known[0] > time.monotonic():
            return known[1]
        async with self._database.system_transaction() as connection:
            found = await find_key(connection, credential.lookup)
        # An unknown name is compared as well, so that it takes as long as a wrong secret.
        stored = bytes(len(digest)) if found is None else found.digest
        valid = hmac.compare_digest(stored, digest) and found is not None
        principal = found.principal if found is not None and valid else None
        _remember(self._principals, digest, principal, self._auth.cache_seconds)
        return principal

    async def _workspace(self, named: str | None, principal: Principal) -> Standing:
        """Return the workspace that the request is about; a foreign one is unknown."""
        standing = await self._standing(named or _only_workspace(principal))
        if standing is None or principal.role_in(standing.workspace_id) is None:
            raise NotFound(NO_WORKSPACE)
        return standing

    async def _standing(self, named: str) -> Standing | None:
        known = self._standings.get(named)
        if known is not None and known[0] > time.monotonic():
            return known[1]
        try:
            workspace_id = WorkspaceId(UUID(named))
        except ValueError:
            return None
        async with self._database.system_transaction() as connection:
            standing = await get_standing(connection, workspace_id)
        _remember(self._standings, named, standing, self._auth.cache_seconds)
        return standing

    async def _note_denial(
        self, principal: Principal, workspace_id: WorkspaceId, right: Right
    ) -> None:
        if right.role == "viewer":
            return
        enter_as(visitor_of(principal, workspace_id))
        async with self._database.transaction(workspace_id) as connection:
            await add_audits(
                connection, workspace_id, "access.denied", [right.role], request_id(), "denied"
            )


def visitor_of(principal: Principal, workspace_id: WorkspaceId) -> Visitor:
    """Return how a principal acts in transactions on a workspace."""
    return Visitor(
        actor=principal.actor,
        principal_id=principal.principal_id,
        request_id=request_id(),
        tags=principal.tags_in(workspace_id),
    )


class AccessGate:
    """Pure ASGI middleware: lets a request through when the gate does."""

    def __init__(self, app: ASGIApp, rights: Mapping[str, Right] = RIGHTS) -> None:
        self._app = app
        self._exact = {name: right for name, right in rights.items() if "{" not in name}
        self._patterns = [
            (method, compile_path(path)[0], right)
            for (method, path), right in (
                (tuple(name.split(" ", 1)), right) for name, right in rights.items() if "{" in name
            )
        ]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
            return
        if scope["type"] == "http":
            right = self.right_of(scope["method"], scope["path"])
            scope.setdefault("state", {})["right"] = right
            if right is not OPEN:
                try:
                    caller = await self._admit(scope, right)
                except CitewellError as error:
                    await known_response(error)(scope, receive, send)
                    return
                scope["state"]["caller"] = caller
                enter_as(visitor_of(caller.principal, caller.workspace_id))
        await self._app(scope, receive, send)

    def right_of(self, method: str, path: str) -> Right:
        """Return what an address needs; one that is not in the table, any credential."""
        exact = self._exact.get(f"{method} {path}")
        if exact is not None:
            return exact
        for wanted, pattern, right in self._patterns:
            if wanted == method and pattern.match(path):
                return right
        return ANY

    async def _admit(self, scope: Scope, right: Right) -> Caller:
        gate: Gate = scope["app"].state.gate
        client = scope.get("client")
        return await gate.admit(Headers(scope=scope), client and client[0], right)


def require_rights(addresses: Mapping[str, Mapping[str, object]]) -> None:
    """Refuse to serve an address that the table of rights does not name.

    Raises:  InputError – the message names it.
    """
    served = {
        f"{method.upper()} {path}" for path, methods in addresses.items() for method in methods
    }
    if missing := sorted(served - RIGHTS.keys()):
        raise InputError(f"api/rights.py does not say who may call {missing[0]}. Add it there.")


def _credentials(headers: Headers) -> list[str]:
    """Return every credential of a request; two different ones are none."""
    given = headers.getlist("x-api-key")
    for value in headers.getlist("authorization"):
        scheme, _, token = value.partition(" ")
        given.append(token.strip() if scheme.lower() == "bearer" else "")
    return given


def _is_local(headers: Headers, client: str | None) -> bool:
    """Say whether a request comes from a program on this machine that is no proxy."""
    if any(name in headers for name in FORWARDED):
        return False
    try:
        return client is not None and ipaddress.ip_address(client).is_loopback
    except ValueError:
        return False


def _only_workspace(principal: Principal) -> str:
    if principal.is_owner:
        return str(PUBLIC_WORKSPACE)
    if len(principal.roles) != 1:
        raise InputError("Your key belongs to several workspaces. Name one in X-Workspace-ID.")
    return str(next(iter(principal.roles)))


def _remember(
    known: dict[Key, tuple[float, Value]], key: Key, value: Value, seconds: float
) -> None:
    if len(known) >= MOST_KNOWN:
        known.clear()
    known[key] = time.monotonic() + seconds, value
