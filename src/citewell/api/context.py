"""A request's id: made or accepted, on every log line, echoed as X-Request-ID."""

import re
from contextvars import ContextVar
from uuid import uuid4

ACCEPTED_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")

_request_id: ContextVar[str] = ContextVar("request_id", default="")


def request_id() -> str:
    """Return the id of the request that this code runs for."""
    return _request_id.get()


def enter_request(offered: str | None) -> str:
    """Take the caller's id where it is well formed, else make one; keep it for this context."""
    accepted = offered if offered and ACCEPTED_ID.fullmatch(offered) else uuid4().hex
    _request_id.set(accepted)
    return accepted
