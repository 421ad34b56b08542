"""Errors as RFC 9457 problem+json: a code, a sentence on what to do next, the request's id."""

import math
import tempfile
from typing import Any, cast

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

from citewell.api.context import request_id
from citewell.api.refusals import tell
from citewell.errors import (
    FULL_ERRNOS,
    CitewellError,
    InsufficientStorage,
    LimitExceeded,
    ProviderBusy,
    SessionBusy,
    Unauthenticated,
    Unavailable,
)

log = structlog.get_logger(__name__)

RETRY_AFTER_SECONDS = 5
NO_ADDRESS = "There is no such address here. /docs lists all that there are."
NO_METHOD = "This address does not take that method. /docs says which it takes."
TITLES = {404: "not_found", 405: "method_not_allowed", 413: "too_large"}


class Problem(BaseModel):
    """What went wrong, and what to do next."""

    type: str = "about:blank"
    title: str = Field(examples=["Not found"])
    status: int = Field(examples=[404])
    code: str = Field(examples=["not_found"])
    detail: str = Field(examples=["There is no document with that id. GET /documents lists them."])
    request_id: str


def problem_body(status: int, code: str, detail: str) -> dict[str, Any]:
    """Make a problem's body; also that of a stream's error event."""
    return Problem(
        title=code.replace("_", " ").capitalize(),
        status=status,
        code=code,
        detail=detail,
        request_id=request_id(),
    ).model_dump()


def problem_response(
    status: int, code: str, detail: str, headers: dict[str, str] | None = None
) -> JSONResponse:
    """Make a problem+json response."""
    return JSONResponse(
        problem_body(status, code, detail),
        status,
        headers,
        media_type="application/problem+json",
    )


def add_handlers(app: FastAPI) -> None:
    """Turn every expected exception into a problem; RequestRecord answers the others."""

    @app.exception_handler(CitewellError)
    async def known(_: Request, error: CitewellError) -> JSONResponse:  # pyright: ignore[reportUnusedFunction]
        return known_response(error)

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> JSONResponse:  # pyright: ignore[reportUnusedFunction]
        problems = cast("list[dict[str, Any]]", error.errors())
        return problem_response(422, "invalid", tell(problems, error.body))

    @app.exception_handler(HTTPException)
    async def http(_: Request, error: HTTPException) -> JSONResponse:  # pyright: ignore[reportUnusedFunction]
        if isinstance(error.__cause__, OSError):
            return known_response(_spool_error(error.__cause__))
        code = TITLES.get(error.status_code, "bad_request")
        return problem_response(
            error.status_code, code, _http_detail(error), dict(error.headers or {})
        )


def unexpected_body(error: Exception) -> dict[str, Any]:
    """Log a bug with the request's id, which is all that the caller sees of it."""
    log.error("unexpected error", exc_info=error)
    detail = f"Something went wrong in Citewell. Its log has the details under {request_id()}."
    return problem_body(500, "internal", detail)


def unexpected_response(error: Exception) -> JSONResponse:
    """Answer a bug."""
    return JSONResponse(unexpected_body(error), 500, media_type="application/problem+json")


def known_response(error: CitewellError) -> JSONResponse:
    """Answer an error that was expected."""
    headers: dict[str, str] = {}
    if isinstance(error, Unauthenticated):
        headers["WWW-Authenticate"] = 'Bearer realm="citewell"'
    if isinstance(error, LimitExceeded | ProviderBusy | SessionBusy):
        if error.retry_after_seconds is not None:
            headers["Retry-After"] = str(max(1, math.ceil(error.retry_after_seconds)))
    elif error.status == Unavailable.status:
        headers["Retry-After"] = str(RETRY_AFTER_SECONDS)
    return problem_response(error.status, error.reason, error.message, headers)


def _spool_error(error: OSError) -> CitewellError:
    """Say what an upload meets whose bytes the temporary folder cannot hold."""
    log.warning(
        "the temporary folder cannot hold an upload; free space there, or name another in TMPDIR",
        folder=tempfile.gettempdir(),
        why=error.strerror,
    )
    if error.errno in FULL_ERRNOS:
        return InsufficientStorage(
            "The server has no space left to receive files. Free some there, or send fewer or "
            "smaller files at once."
        )
    return Unavailable(
        "The server cannot receive files now. Its log says why; send them again when it is mended.",
        code="storage_failed",
    )


def _http_detail(error: HTTPException) -> str:
    if error.status_code == 404:
        return NO_ADDRESS
    if error.status_code == 405:
        return NO_METHOD
    said = _printable(str(error.detail))
    return said if said.endswith(".") else f"{said}. Correct it; /docs shows what is expected."


def _printable(value: str) -> str:
    return value.encode("utf-8", "replace").decode()[:300]
