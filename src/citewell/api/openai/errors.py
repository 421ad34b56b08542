"""Errors under /v1 in OpenAI's shape, wherever in the application they arise."""

import json
from collections.abc import Callable, Coroutine
from typing import Any, cast

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from citewell.api.refusals import UNKNOWN_FIELD, tell
from citewell.domain import Json
from citewell.errors import InputError, NotFound

PREFIX = "/v1/"
PROBLEM = "application/problem+json"
UNPROCESSABLE = 422
"""OpenAI says 400 for every value that is wrong, and its clients look for that."""
TYPES = {
    401: "authentication_error",
    403: "permission_error",
    429: "rate_limit_error",
}
MOST_MESSAGE_CHARACTERS = 500


class ParameterError(InputError):
    """A parameter is not valid; correct it and send the request again."""

    code = "invalid_value"

    def __init__(self, param: str, message: str, *, code: str | None = None) -> None:
        super().__init__(message, code=code)
        self.param = param


class UnknownModel(NotFound):
    """There is no such model; GET /v1/models lists those that there are."""

    code = "model_not_found"
    param = "model"


class OpenAIRoute(APIRoute):
    """A route whose errors name the parameter that is wrong."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return the route's handler."""
        handle = super().get_route_handler()

        async def handle_with_parameter(request: Request) -> Response:
            try:
                return await handle(request)
            except RequestValidationError as error:
                problems = cast("list[dict[str, Any]]", error.errors())
                param, sentence = _describe(problems[0], error.body)
                return JSONResponse(error_body(400, "invalid_value", sentence, param), 400)
            except (ParameterError, UnknownModel) as error:
                body = error_body(error.status, error.reason, error.message, error.param)
                return JSONResponse(body, error.status)

        return handle_with_parameter


class OpenAIErrors:
    """Writes the problems of paths under /v1 anew; it stands around all other middleware.

    So a refused host, a body that is too large and a bug read like every other error.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http" or not f"{scope['path']}/".startswith(PREFIX):
            await self._app(scope, receive, send)
            return
        start: Message | None = None
        problem = b""

        async def translated(message: Message) -> None:
            nonlocal start, problem
            if message["type"] == "http.response.start" and _is_problem(message):
                start = message
            elif start is None:
                await send(message)
            else:
                problem += message.get("body", b"")
                if not message.get("more_body", False):
                    await _send_error(start, json.loads(problem), send)

        await self._app(scope, receive, translated)


def error_body(status: int, code: str, message: str, param: str | None = None) -> Json:
    """Make an error's body; also that of a stream's error event."""
    default = "server_error" if status >= 500 else "invalid_request_error"
    kind = TYPES.get(status, default)
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


def _is_problem(start: Message) -> bool:
    return Headers(raw=start["headers"]).get("content-type") == PROBLEM


async def _send_error(start: Message, problem: Json, send: Send) -> None:
    status = start["status"] if start["status"] != UNPROCESSABLE else 400
    body = json.dumps(error_body(status, problem["code"], problem["detail"])).encode()
    headers = MutableHeaders(raw=list(start["headers"]))
    headers["content-type"] = "application/json"
    headers["content-length"] = str(len(body))
    await send({**start, "status": status, "headers": headers.raw})
    await send({"type": "http.response.body", "body": body})


def _describe(problem: dict[str, Any], body: object) -> tuple[str | None, str]:
    """Return the parameter that is wrong and a sentence, without repeating what was sent."""
    place = [part for part in problem["loc"] if part not in {"body", "path"}]
    if problem["type"] == UNKNOWN_FIELD:
        place.append(problem["ctx"]["field"])
    if problem["type"] == "json_invalid" or not place:
        return None, "The body is not a JSON object. Send one, with Content-Type application/json."
    param = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in place)[1:]
    return _printable(param), _printable(tell([problem], body))


def _printable(value: str) -> str:
    return value.encode("utf-8", "replace").decode()[:MOST_MESSAGE_CHARACTERS]
