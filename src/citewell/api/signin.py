"""/auth: sign in with a key, or at a provider, for a browser's session; sign out."""

import hmac
from datetime import UTC, datetime
from time import monotonic
from typing import Annotated

import structlog
from fastapi import APIRouter, Query, Request
from fastapi.responses import JSONResponse, RedirectResponse, Response
from pydantic import Field, SecretStr

from citewell.api.browser import (
    SESSION_COOKIE,
    csrf_token,
    derive,
    give_cookie,
    new_secret,
    read_cookie,
    take_cookie,
)
from citewell.api.context import request_id
from citewell.api.deps import CallerDep, GateDep, ServicesDep
from citewell.api.schemas import Request as Body
from citewell.api.schemas import Wire
from citewell.domain import INSTALLATION, PrincipalId, Visitor
from citewell.errors import AccessError, InputError, NotFound, Unauthenticated
from citewell.ports import IdentityProvider, SignInSecrets
from citewell.records.audit import add_audit, add_audits
from citewell.records.browser_sessions import (
    add_session,
    add_sign_in,
    remove_session,
    take_sign_in,
)
from citewell.records.credentials import PREFIX, digest_of, read_credential
from citewell.records.people import Person, read_group_roles, rights_of, sign_in_person
from citewell.records.session import Connection, enter_as
from citewell.wiring import Services

router = APIRouter(prefix="/auth", tags=["sign-in"])
log = structlog.get_logger(__name__)

SIGN_IN_COOKIE = "citewell_sign_in"
SIGN_IN_PATH = "/auth/oidc"
SIGN_IN_MINUTES = 10.0
AFTER_SIGN_IN = "/"
"""Where a browser goes then; no request can name another place."""
MOST_DENIALS = 60
"""Refused sign-ins that one process records in a minute: a guesser must not fill the record."""
NOBODY = "nobody"
NO_RIGHT = (
    "The provider knows you, but none of your groups has a right here. Ask who looks after this "
    "installation for one."
)
OVER = "This sign-in has ended, or was used already. Begin again."


class LoginRequest(Body):
    """The key to sign in with."""

    key: SecretStr = Field(max_length=1000)


class Session(Wire):
    """A browser's session; changes send ``csrf_token`` in the header ``X-CSRF-Token``."""

    csrf_token: str
    name: str
    expires_at: datetime


class RefusedSignIns:
    """Counts what was recorded of refused sign-ins in this minute."""

    def __init__(self) -> None:
        self._since = monotonic()
        self._count = 0

    def admit(self) -> bool:
        """Say whether one more is to be recorded."""
        if monotonic() - self._since >= 60:
            self._since, self._count = monotonic(), 0
        self._count += 1
        return self._count <= MOST_DENIALS


@router.post("/login", response_model=Session)
async def login(
    request: Request, services: ServicesDep, gate: GateDep, body: LoginRequest
) -> JSONResponse:
    """Sign a browser in with a key: the reply sets its cookie, and has its token."""
    given = body.key.get_secret_value()
    principal = await gate.identities.principal_of(given)
    if principal is None or principal.principal_id is None:
        credential = read_credential(given)
        target = "-" if credential is None else f"{PREFIX}{credential.lookup}"
        await _note_denial(request, services, target)
        raise Unauthenticated("This key is not valid here. Check it, or ask for another one.")
    enter_as(Visitor(principal.actor, principal.principal_id, request_id()))
    secret = new_secret()
    async with services.database.system_transaction() as connection:
        expires_at = await _begin(services, connection, principal.principal_id, secret)
        await _end_earlier(services, connection, request)
    gate.forget()
    session = Session(
        csrf_token=csrf_token(secret, services.settings.auth.pepper),
        name=principal.name,
        expires_at=expires_at,
    )
    response = JSONResponse(session.model_dump(mode="json"), headers={"Cache-Control": "no-store"})
    _give_session(request, response, secret, expires_at)
    return response


@router.post("/logout", status_code=204)
async def logout(request: Request, services: ServicesDep, gate: GateDep, _: CallerDep) -> Response:
    """End the browser's session."""
    async with services.database.system_transaction() as connection:
        await _end_earlier(services, connection, request)
    gate.forget()
    response = Response(status_code=204)
    take_cookie(response, SESSION_COOKIE, "/")
    return response


@router.get("/csrf")
async def csrf(
    request: Request, response: Response, services: ServicesDep, gate: GateDep, _: CallerDep
) -> Session:
    """Return the browser's session with its token, for a page that was loaded anew."""
    secret = read_cookie(request.headers, SESSION_COOKIE)
    session = await gate.identities.find_session(secret or "")
    if secret is None or session is None:
        raise NotFound("There is no browser's session here. POST /auth/login begins one.")
    response.headers["Cache-Control"] = "no-store"
    return Session(
        csrf_token=csrf_token(secret, services.settings.auth.pepper),
        name=session.principal.name,
        expires_at=session.expires_at,
    )


@router.get("/oidc/login", status_code=303, response_class=RedirectResponse)
async def begin_at_provider(request: Request, services: ServicesDep) -> RedirectResponse:
    """Send a browser to the provider, to sign in there."""
    provider, secret = _provider(services), new_secret()
    url = await provider.begin(_secrets(services, secret))
    async with services.database.system_transaction() as connection:
        digest = digest_of(secret, services.settings.auth.pepper)
        await add_sign_in(connection, digest, SIGN_IN_MINUTES)
    response = RedirectResponse(url, 303, {"Cache-Control": "no-store"})
    give_cookie(
        request, response, SIGN_IN_COOKIE, secret, SIGN_IN_PATH, round(SIGN_IN_MINUTES * 60)
    )
    return response


@router.get("/oidc/callback", status_code=303, response_class=RedirectResponse)
async def end_at_provider(
    request: Request,
    services: ServicesDep,
    gate: GateDep,
    state: Annotated[str, Query(max_length=1000)] = "",
    code: Annotated[str, Query(max_length=4000)] = "",
    error: Annotated[str, Query(max_length=1000)] = "",
) -> RedirectResponse:
    """Take the provider's word on who somebody is, and begin their session."""
    provider = _provider(services)
    secret = await _take(request, services, state)
    if error:
        log.info("the provider signed nobody in")
        raise AccessError(
            "The provider did not sign you in. Begin again, or ask who looks after it."
        )
    if not code:
        raise InputError("The provider sent no code. Begin again.")
    identity = await provider.finish(code, _secrets(services, secret))
    person = Person(identity.issuer, identity.subject, identity.name, identity.groups)
    session = new_secret()
    expires_at = await _sign_in(request, services, person, session)
    gate.forget()
    response = RedirectResponse(AFTER_SIGN_IN, 303, {"Cache-Control": "no-store"})
    _give_session(request, response, session, expires_at)
    take_cookie(response, SIGN_IN_COOKIE, SIGN_IN_PATH)
    return response


async def _take(request: Request, services: Services, state: str) -> str:
    """Return the secret of the sign-in that this browser began; it is used up by that.

    Raises:  AccessError – it began none, or another one, or that is over.
    """
    secret = read_cookie(request.headers, SIGN_IN_COOKIE)
    wanted = _secrets(services, secret or "").state
    if not secret or not hmac.compare_digest(wanted.encode(), state.encode("utf-8", "replace")):
        raise AccessError(OVER)
    async with services.database.system_transaction() as connection:
        digest = digest_of(secret, services.settings.auth.pepper)
        if not await take_sign_in(connection, digest):
            raise AccessError(OVER)
    return secret


async def _sign_in(request: Request, services: Services, person: Person, secret: str) -> datetime:
    """Keep who signed in, and begin their session; return when it ends.

    Raises:  AccessError – they have no right here.
    """
    enter_as(Visitor(f"person:{person.subject}", None, request_id()))
    rights = rights_of(person.groups, read_group_roles(services.settings.oidc.roles))
    expires_at = None
    async with services.database.system_transaction() as connection:
        principal_id = await sign_in_person(connection, person, rights)
        if principal_id is not None:
            expires_at = await _begin(services, connection, principal_id, secret)
            await _end_earlier(services, connection, request)
    if expires_at is None:
        await _note_denial(request, services, f"person:{person.subject}")
        raise AccessError(NO_RIGHT)
    return expires_at


async def _begin(
    services: Services, connection: Connection, principal_id: PrincipalId, secret: str
) -> datetime:
    auth = services.settings.auth
    digest, csrf_digest = (
        digest_of(each, auth.pepper) for each in (secret, csrf_token(secret, auth.pepper))
    )
    expires_at = await add_session(
        connection, principal_id, digest, csrf_digest, auth.session_hours
    )
    await add_audit(connection, INSTALLATION, "auth.login", str(principal_id), request_id())
    return expires_at


async def _end_earlier(services: Services, connection: Connection, request: Request) -> None:
    """End the session that a browser came with, if it had one."""
    secret = read_cookie(request.headers, SESSION_COOKIE)
    if secret and await remove_session(
        connection, digest_of(secret, services.settings.auth.pepper)
    ):
        await add_audit(connection, INSTALLATION, "auth.logout", "-", request_id())


async def _note_denial(request: Request, services: Services, target: str) -> None:
    refused: RefusedSignIns = request.app.state.refused_sign_ins
    if not refused.admit():
        log.warning("more sign-ins were refused in this minute than are recorded")
        return
    enter_as(Visitor(NOBODY, None, request_id()))
    async with services.database.system_transaction() as connection:
        await add_audits(connection, INSTALLATION, "auth.login", [target], request_id(), "denied")


def _provider(services: Services) -> IdentityProvider:
    if services.identity is None:
        raise NotFound("Sign-in at a provider is not set up here. Sign in with a key.")
    return services.identity


def _secrets(services: Services, secret: str) -> SignInSecrets:
    """Return what the provider is sent, all made from the one secret that the browser keeps."""
    pepper = services.settings.auth.pepper
    return SignInSecrets(*(derive(each, secret, pepper) for each in ("state", "nonce", "verifier")))


def _give_session(request: Request, response: Response, secret: str, expires_at: datetime) -> None:
    seconds = max(1, round((expires_at - datetime.now(UTC)).total_seconds()))
    give_cookie(request, response, SESSION_COOKIE, secret, "/", seconds)
