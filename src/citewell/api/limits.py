"""How often and how much at once: limits per key, per address without one, and per workspace.

``FailureLimit`` stands before the gate, where nobody is known yet, and counts credentials that are
not valid. ``RequestLimit`` stands behind it and counts callers.
"""

import hashlib
import hmac
import math
import secrets
from collections.abc import Sequence
from time import monotonic
from uuid import uuid4

from fastapi import Request
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from citewell.api.client_address import Client, Network, client_of
from citewell.api.gate import Caller
from citewell.api.problems import known_response
from citewell.api.rights import OPEN, Right
from citewell.domain import LOCAL_PRINCIPAL
from citewell.errors import LimitExceeded
from citewell.ports import Limiter, Place, Room, Window
from citewell.ports.limits import PERIOD_SECONDS
from citewell.settings import LimitSettings

MOST_REMEMBERED = 10_000
REQUESTS, QUESTIONS, FAILURES = "requests", "questions", "failures"
SAID = {
    REQUESTS: "You may send {most} requests a minute",
    QUESTIONS: "You may ask {most} questions a minute",
    FAILURES: "Too many keys from your address were not valid",
}


class Limits:
    """What each caller may do, and the counters of it."""

    def __init__(
        self, limiter: Limiter, settings: LimitSettings, proxies: Sequence[Network]
    ) -> None:
        self.limiter = limiter
        self.settings = settings
        self._proxies = proxies
        self._salt = secrets.token_bytes(32)
        self._blocked: dict[str, float] = {}
        self._valid: dict[bytes, None] = {}

    def client_of(self, scope: Scope) -> Client:
        """Return where a request comes from."""
        peer = scope.get("client")
        return client_of(peer and peer[0], Headers(scope=scope), self._proxies)

    def windows_of(self, scope: Scope) -> list[Window]:
        """Return what a request counts in; nothing when its caller is not limited."""
        state = scope.get("state", {})
        bucket = self._bucket(scope, state.get("caller"))
        if bucket is None:
            return []
        right: Right = state.get("right", OPEN)
        windows = [Window(REQUESTS, bucket, self.settings.requests_per_minute)]
        if right.asks:
            windows.append(Window(QUESTIONS, bucket, self.settings.questions_per_minute))
        return [window for window in windows if window.most]

    def places_of(self, scope: Scope) -> list[Place]:
        """Return where a stream counts; nowhere when its caller is not limited."""
        caller: Caller = scope["state"]["caller"]
        bucket = self._bucket(scope, caller)
        if bucket is None:
            return []
        workspace = f"workspace/{caller.workspace_id}"
        places = [
            Place("you have", bucket, self.settings.streams_per_key),
            Place("the workspace has", workspace, self.settings.streams_per_workspace),
        ]
        return [place for place in places if place.most]

    async def require_chance(self, scope: Scope) -> None:
        """Let nobody try keys from an address where too many were wrong, but for known ones.

        Raises:  LimitExceeded – too many were.
        """
        if not self._blocked:
            return
        client = self.client_of(scope)
        left = self._blocked.get(client.bucket, 0.0) - monotonic()
        # What a proxy of this machine forwards has its address, and must not lock it out itself.
        exempt = client.is_local and not self.settings.local
        if left > 0 and not exempt and self._print_of(scope) not in self._valid:
            raise _exceeded(Room(Window(FAILURES, client.bucket, 0), 0, left, left))

    async def note_failure(self, scope: Scope) -> None:
        """Count a credential that was not valid.

        Raises:  LimitExceeded – there were too many of that address.
        """
        client, most = self.client_of(scope), self.settings.failures_per_minute
        if not most or (client.is_local and not self.settings.local):
            return
        (room,) = await self.limiter.hit([Window(FAILURES, client.bucket, most)])
        if room.wait_seconds:
            if len(self._blocked) >= MOST_REMEMBERED:
                self._blocked.clear()
            self._blocked[client.bucket] = monotonic() + room.wait_seconds
            raise _exceeded(room)

    def note_valid(self, scope: Scope) -> None:
        """Remember the credential of whom the gate let in, by a digest of this process only."""
        caller: Caller | None = scope.get("state", {}).get("caller")
        if caller is None or caller.principal.principal_id is None:
            return
        if len(self._valid) >= MOST_REMEMBERED:
            self._valid.pop(next(iter(self._valid)))
        self._valid[self._print_of(scope)] = None

    def _bucket(self, scope: Scope, caller: Caller | None) -> str | None:
        """Return whom to count: the key, else the address; nobody for this machine itself."""
        if caller is not None and caller.principal.principal_id is not None:
            return f"key/{caller.principal.principal_id}"
        client = self.client_of(scope)
        local = client.is_local if caller is None else caller.principal is LOCAL_PRINCIPAL
        if local and not self.settings.local:
            return None
        return f"address/{client.bucket}"

    def _print_of(self, scope: Scope) -> bytes:
        headers = Headers(scope=scope)
        carriers = ("authorization", "x-api-key", "cookie")
        given = "\n\n".join("\n".join(headers.getlist(name)) for name in carriers)
        return hmac.digest(self._salt, given.encode("latin-1"), hashlib.sha256)


class FailureLimit:
    """Pure ASGI middleware before the gate: slows whoever tries keys."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        limits: Limits = scope["app"].state.limits
        refusal: LimitExceeded | None = None

        async def watched(message: Message) -> None:
            nonlocal refusal
            if message["type"] == "http.response.start":
                try:
                    if message["status"] == 401:
                        await limits.note_failure(scope)
                    else:
                        limits.note_valid(scope)
                except LimitExceeded as error:
                    refusal = error
            if refusal is None:
                await send(message)

        try:
            await limits.require_chance(scope)
            await self._app(scope, receive, watched)
        except LimitExceeded as error:
            refusal = error
        if refusal is not None:
            await known_response(refusal)(scope, receive, send)


class RequestLimit:
    """Pure ASGI middleware behind the gate: counts requests, and streams while they are open."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        limits: Limits = scope["app"].state.limits
        windows = limits.windows_of(scope)
        rooms = await limits.limiter.hit(windows) if windows else []
        marked = _marked(send, rooms) if rooms else send
        stream = Stream(limits, scope)
        scope.setdefault("state", {})["stream"] = stream
        try:
            full = max(rooms, key=lambda room: room.wait_seconds, default=None)
            if full is not None and full.wait_seconds:
                raise _exceeded(full)
            if scope["state"].get("right", OPEN).streams:
                await stream.enter()
        except LimitExceeded as error:
            await known_response(error)(scope, receive, marked)
            return
        try:
            await self._app(scope, receive, marked)
        finally:
            await stream.leave()


class Stream:
    """A request's place among the open streams, until the reply ends or its reader leaves."""

    def __init__(self, limits: Limits, scope: Scope) -> None:
        self._limits, self._scope = limits, scope
        self._id = uuid4().hex
        self._places: Sequence[Place] = ()

    async def enter(self) -> None:
        """Take the place.

        Raises:  LimitExceeded – as many streams are open as may be.
        """
        places = self._limits.places_of(self._scope)
        if not places:
            return
        full = await self._limits.limiter.enter(self._id, places)
        if full is not None:
            raise LimitExceeded(
                f"Only {full.most} streams may be open at once, and {full.name} as many. Close "
                "one, or wait until one ends.",
                retry_after_seconds=1,
            )
        self._places = places

    async def leave(self) -> None:
        """Give the place back, if there is one."""
        if self._places:
            places, self._places = self._places, ()
            await self._limits.limiter.leave(self._id, places)


async def open_stream(request: Request) -> None:
    """Count this request's reply as a stream: its address alone does not tell that it is one.

    Raises:  LimitExceeded – as many streams are open as may be.
    """
    stream: Stream = request.state.stream
    await stream.enter()


def _exceeded(room: Room) -> LimitExceeded:
    seconds = math.ceil(room.wait_seconds)
    said = SAID[room.window.name].format(most=room.window.most)
    return LimitExceeded(f"{said}. Wait {seconds} s, then go on.", retry_after_seconds=seconds)


def _marked(send: Send, rooms: Sequence[Room]) -> Send:
    """Tell in the reply's headers what is left.

    Source:  draft-ietf-httpapi-ratelimit-headers-10 (RateLimit, RateLimit-Policy), and the three
             fields of its drafts up to 06, which more clients read.
    """
    least = min(rooms, key=lambda room: (-room.wait_seconds, room.left))

    async def marked(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            headers["RateLimit-Policy"] = ", ".join(
                f'"{room.window.name}";q={room.window.most};w={PERIOD_SECONDS}' for room in rooms
            )
            headers["RateLimit"] = ", ".join(
                f'"{room.window.name}";r={room.left};t={_seconds(room)}' for room in rooms
            )
            headers["RateLimit-Limit"] = str(least.window.most)
            headers["RateLimit-Remaining"] = str(least.left)
            headers["RateLimit-Reset"] = str(_seconds(least))
        await send(message)

    return marked


def _seconds(room: Room) -> int:
    return math.ceil(room.wait_seconds or room.reset_seconds)
