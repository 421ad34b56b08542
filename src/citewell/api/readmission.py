"""Streams end when their caller may not read on: each is admitted anew every two seconds.

Exactly as a new request of the same kind: so an archived workspace's jobs and answers are followed
on, while a stream that writes to a session ends. The application sees a client that has left.
"""

import asyncio
import json
from typing import cast

import structlog
from sse_starlette import ServerSentEvent
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from citewell.api.access_gate import Admission
from citewell.api.openai.errors import PREFIX as OPENAI_PREFIX
from citewell.api.openai.errors import error_body
from citewell.api.problems import problem_body
from citewell.errors import AccessError, CitewellError, Conflict, NotFound, Unauthenticated

log = structlog.get_logger(__name__)

AGAIN_SECONDS = 2.0
"""With the longest CITEWELL_AUTH__CACHE_SECONDS it stays below the five seconds promised."""
DENIALS = (Unauthenticated, AccessError, NotFound, Conflict)
"""What ends a stream; a database that does not answer now does not."""


class Readmission:
    """Pure ASGI middleware, inside of the gate: watches the streams of server-sent events."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        admission = cast("Admission | None", scope.get("state", {}).get("admission"))
        if scope["type"] != "http" or admission is None:
            await self._app(scope, receive, send)
            return
        stream = _Stream(scope, receive, send, admission)
        try:
            await self._app(scope, stream.receive, stream.send)
        finally:
            await stream.close()


class _Stream:
    """One reply: passed on as it is; if it is a stream of events, with a watch beside it."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, admission: Admission) -> None:
        self._scope = scope
        self._receive = receive
        self._send = send
        self._admission = admission
        self._body_read = False
        self._denied = asyncio.Event()
        self._watching: asyncio.Task[None] | None = None

    async def receive(self) -> Message:
        """Return the next part of the body; after it, that the client left or may not stay."""
        if not self._body_read:
            message = await self._receive()
            self._body_read = not message.get("more_body", False)
            return message
        leaving = asyncio.ensure_future(self._receive())
        denied = asyncio.create_task(self._denied.wait())
        try:
            await asyncio.wait({leaving, denied}, return_when=asyncio.FIRST_COMPLETED)
            return leaving.result() if leaving.done() else {"type": "http.disconnect"}
        finally:
            leaving.cancel()
            denied.cancel()

    async def send(self, message: Message) -> None:
        """Pass a message on, unless the stream was ended."""
        if self._denied.is_set():
            return
        if message["type"] == "http.response.start":
            kind = Headers(raw=message["headers"]).get("content-type", "")
            if kind.startswith("text/event-stream"):
                self._watching = asyncio.create_task(self._watch())
        elif not message.get("more_body", False) and self._watching is not None:
            self._watching.cancel()
        await self._send(message)

    async def close(self) -> None:
        """End the watch; what it was just sending is sent."""
        if self._watching is None:
            return
        if not self._denied.is_set():
            self._watching.cancel()
        await asyncio.wait({self._watching})

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(AGAIN_SECONDS)
            try:
                await self._admission.admit()
            except DENIALS as error:
                await self._end(error)
                return
            except CitewellError as error:
                log.warning("a stream's caller could not be looked up", why=error.message)

    async def _end(self, error: CitewellError) -> None:
        # First, so that nothing follows it: each message holds whole events.
        self._denied.set()
        log.info("a stream was ended", code=error.reason)
        await self._send(
            {"type": "http.response.body", "body": self._event(error), "more_body": False}
        )

    def _event(self, error: CitewellError) -> bytes:
        if self._scope["path"].startswith(OPENAI_PREFIX):
            body = error_body(error.status, error.reason, error.message)
            return ServerSentEvent(json.dumps(body), sep="\n").encode()
        body = problem_body(error.status, error.reason, error.message)
        return ServerSentEvent(json.dumps(body), event="error").encode()
