"""Pure ASGI middleware: request id, log line, metrics; and the limit of a body's size."""

import contextlib
import re
from collections.abc import Collection
from time import perf_counter

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from citewell.api.context import enter_request
from citewell.api.problems import problem_response, unexpected_response
from citewell.telemetry import REQUEST_SECONDS, REQUESTS

log = structlog.get_logger("citewell.requests")

UPLOAD_PATH = "/documents/upload"
TEXTS_PATHS = ("/ingest", "/ingest/")
EMBEDDINGS_PATH = "/v1/embeddings"
MOST_JSON_BYTES = 1_048_576
"""Every body but an upload is read at once, so it has to be small; texts may be as one file."""
MOST_EMBEDDINGS_BYTES = 8 * MOST_JSON_BYTES
"""Clients send 1,000 texts and more at once."""
QUIET_ROUTES = {"/health", "/ready", "/metrics"}


class RequestRecord:
    """Gives each request its id, and writes one log line and two metrics when it ends."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = enter_request(Headers(scope=scope).get("x-request-id"))
        started, status, answered = perf_counter(), 500, False

        async def send_with_id(message: Message) -> None:
            nonlocal status, answered
            if message["type"] == "http.response.start":
                status, answered = message["status"], True
                headers = MutableHeaders(scope=message)
                headers["X-Request-ID"] = request_id
                headers["X-Content-Type-Options"] = "nosniff"
            await send(message)

        with structlog.contextvars.bound_contextvars(request_id=request_id):
            try:
                await self._app(scope, receive, send_with_id)
            except Exception as error:  # noqa: BLE001 - a door: the caller gets an id, the log the rest
                response = unexpected_response(error)
                if not answered:
                    await response(scope, receive, send_with_id)
            finally:
                self._record(scope, status, perf_counter() - started)

    def _record(self, scope: Scope, status: int, seconds: float) -> None:
        route = getattr(scope.get("route"), "path", "unknown")
        REQUESTS.labels(scope["method"], route, status).inc()
        REQUEST_SECONDS.labels(scope["method"], route).observe(seconds)
        if route not in QUIET_ROUTES:
            log.info(
                "request",
                method=scope["method"],
                route=route,
                status=status,
                milliseconds=round(seconds * 1000, 1),
            )


class HostGuard:
    """Refuses host names that are not ours, and pages of other sites that post to us.

    Without it a web page could reach a server on loopback through the reader's browser, by a name
    that resolves to it (DNS rebinding) or by a plain form.
    """

    def __init__(self, app: ASGIApp, allowed: Collection[str]) -> None:
        self._app = app
        self._allowed = {host.lower() for host in allowed}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] == "http":
            headers = Headers(scope=scope)
            origin = headers.get("origin")
            refusal = None
            if not self._is_ours(headers.get("host", "")):
                refusal = problem_response(
                    400,
                    "unknown_host",
                    "This server does not go by that host name. Use 127.0.0.1, or add the name to "
                    "CITEWELL_ALLOWED_HOSTS.",
                )
            elif origin and not self._is_ours(origin.partition("://")[2]):
                refusal = problem_response(
                    403, "foreign_origin", "Pages of other sites may not call this server."
                )
            if refusal is not None:
                await refusal(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _is_ours(self, authority: str) -> bool:
        host = re.sub(r":\d+$", "", authority).lower()
        return "*" in self._allowed or host in self._allowed


class _BodyTooLargeError(Exception):
    pass


class BodyLimit:
    """Ends a request whose body grows over the limit, declared or not, before it is stored."""

    def __init__(self, app: ASGIApp, most_upload_bytes: int, most_texts_bytes: int) -> None:
        self._app = app
        self._most_bytes = {
            UPLOAD_PATH: most_upload_bytes,
            EMBEDDINGS_PATH: MOST_EMBEDDINGS_BYTES,
            **dict.fromkeys(TEXTS_PATHS, most_texts_bytes),
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        most = self._most_bytes.get(scope["path"], MOST_JSON_BYTES)
        declared = Headers(scope=scope).get("content-length", "")
        if declared.isdigit() and int(declared) > most:
            await _refuse(most, scope, receive, send)
            return
        read, answered = 0, False

        async def counted_receive() -> Message:
            nonlocal read
            message = await receive()
            read += len(message.get("body", b""))
            if read > most:
                raise _BodyTooLargeError
            return message

        async def watched_send(message: Message) -> None:
            nonlocal answered
            if answered or read <= most:
                answered = True
                await send(message)

        # The framework turns the error into a reply of its own, which watched_send holds back.
        with contextlib.suppress(_BodyTooLargeError):
            await self._app(scope, counted_receive, watched_send)
        if read > most and not answered:
            await _refuse(most, scope, receive, send)


async def _refuse(most_bytes: int, scope: Scope, receive: Receive, send: Send) -> None:
    response = problem_response(
        413,
        "too_large",
        f"The request is larger than {most_bytes // 1_048_576} MiB. "
        "Send fewer or smaller files at once, or a shorter text.",
        {"Connection": "close"},
    )
    await response(scope, receive, send)
