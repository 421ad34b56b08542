"""What a browser carries: its session's cookie, and the token that shows a change was meant.

Cookies come with every request, also with those that another site's page makes; the token does
not. It is made from the session's secret, so that every tab and every reload has the same one.
"""

import base64
import re
import secrets

from pydantic import SecretStr
from starlette.datastructures import Headers
from starlette.requests import Request, cookie_parser
from starlette.responses import Response

from citewell.records.credentials import digest_of
from citewell.settings import LOOPBACK

SESSION_COOKIE = "citewell_session"
CSRF_HEADER = "x-csrf-token"
READING = frozenset({"GET", "HEAD", "OPTIONS"})
"""Methods that change nothing, and need no token."""
_SECRET = re.compile(r"[A-Za-z0-9_-]{43}")


def new_secret() -> str:
    """Make 256 random bits, in 43 characters."""
    return secrets.token_urlsafe(32)


def read_cookie(headers: Headers, name: str) -> str | None:
    """Return the secret in a request's cookie; what cannot be one is an empty text."""
    given = {
        value
        for header in headers.getlist("cookie")
        if (value := cookie_parser(header).get(name)) is not None
    }
    if not given:
        return None
    value = given.pop()
    return value if not given and _SECRET.fullmatch(value) else ""


def derive(purpose: str, secret: str, pepper: SecretStr | None) -> str:
    """Return what a secret and the pepper make for a purpose: 43 characters of a URL."""
    digest = digest_of(f"{purpose} {secret}", pepper)
    return base64.urlsafe_b64encode(digest).decode().rstrip("=")


def csrf_token(session: str, pepper: SecretStr | None) -> str:
    """Return the token that a session's changes must carry."""
    return derive("csrf", session, pepper)


def give_cookie(
    request: Request, response: Response, name: str, value: str, path: str, seconds: int
) -> None:
    """Set a cookie that scripts cannot read, and that leaves only by https but on this machine."""
    response.set_cookie(
        name,
        value,
        max_age=seconds,
        path=path,
        secure=request.url.scheme == "https" or request.url.hostname not in LOOPBACK,
        httponly=True,
        samesite="lax",
    )


def take_cookie(response: Response, name: str, path: str) -> None:
    """Have the browser forget a cookie."""
    response.delete_cookie(name, path=path, httponly=True, samesite="lax")
