"""The gate as middleware: every request passes it, and nothing that it does not know gets further.

Every address is in ``rights.RIGHTS``. What is not is answered here: the framework, which may read
an address otherwise, is never asked.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.routing import compile_path
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from citewell.api.call import Call
from citewell.api.denials import Denials
from citewell.api.gate import Caller, Gate, visitor_of
from citewell.api.problems import NO_ADDRESS, NO_METHOD, known_response, problem_response
from citewell.api.rights import OPEN, RIGHTS, UNKNOWN, Right
from citewell.errors import AccessError, CitewellError
from citewell.records.session import enter_as


@dataclass(frozen=True, slots=True)
class Admission:
    """A call and the gate that it passed; kept so that it may decide about an open stream again."""

    gate: Gate
    call: Call

    async def admit(self) -> Caller:
        """Return who calls, when they may now.

        Raises:  as ``Gate.admit`` does.
        """
        return await self.gate.admit(self.call)


class AccessGate:
    """Pure ASGI middleware: lets a request through when the gate does."""

    def __init__(self, app: ASGIApp, rights: Mapping[str, Right] = RIGHTS) -> None:
        self._app = app
        self._exact = {name: right for name, right in rights.items() if "{" not in name}
        self._patterns = [
            (name.partition(" ")[0], compile_path(name.partition(" ")[2])[0], name, right)
            for name, right in rights.items()
            if "{" in name
        ]
        self._methods = [
            (compile_path(name.partition(" ")[2])[0], name.partition(" ")[0]) for name in rights
        ]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
            return
        if scope["type"] == "http":
            call = self.call_of(scope)
            state = scope.setdefault("state", {})
            state["right"] = call.right
            if call.right is not OPEN:
                gate: Gate = scope["app"].state.gate
                try:
                    caller = await gate.admit(call)
                except CitewellError as error:
                    await known_response(error)(scope, receive, send)
                    return
                # A workspace that is renamed meanwhile is still the same to an open stream.
                if call.right is UNKNOWN:
                    await self._unknown(scope["path"])(scope, receive, send)
                    return
                again = replace(call, named=str(caller.workspace_id))
                state.update(caller=caller, admission=Admission(gate, again))
                enter_as(visitor_of(caller))
                send = _noting(gate.denials, caller, call.address, scope, receive, send)
        await self._app(scope, receive, send)

    def call_of(self, scope: Scope) -> Call:
        """Return a request as the gate sees it; an unknown address needs any credential as well."""
        method, path = scope["method"], scope["path"]
        address, right, named = f"{method} {path}", self._exact.get(f"{method} {path}"), None
        if right is None:
            address, right = method, UNKNOWN
            # The framework's own patterns overlook a line break at the end.
            patterns = () if "\n" in path else self._patterns
            for wanted, pattern, name, needed in patterns:
                found = pattern.fullmatch(path) if wanted == method else None
                if found is not None:
                    address, right = name, needed
                    named = found["workspace_id"] if needed.place == "named" else None
                    break
        client = scope.get("client")
        return Call(method, Headers(scope=scope), client and client[0], address, right, named)

    def _unknown(self, path: str) -> JSONResponse:
        """Say that there is no such address, or that it does not take the method."""
        taken = {method for pattern, method in self._methods if pattern.fullmatch(path)}
        if taken:
            allowed = {"Allow": ", ".join(sorted(taken))}
            return problem_response(405, "method_not_allowed", NO_METHOD, allowed)
        return problem_response(404, "not_found", NO_ADDRESS)


def _noting(
    denials: Denials, caller: Caller, address: str, scope: Scope, receive: Receive, send: Send
) -> Send:
    """Return a ``send`` that notes a denial of the application itself before it is told.

    One that cannot be noted becomes the error of the ledger: no denial goes without its row.
    """
    told = False

    async def noting(message: Message) -> None:
        nonlocal told
        if message["type"] == "http.response.start" and message["status"] == AccessError.status:
            try:
                await denials.note(caller.principal, caller.workspace_id, address)
            except CitewellError as error:
                told = True
                await known_response(error)(scope, receive, send)
        if not told:
            await send(message)

    return noting
