"""Whom a request's credential stands for: a key, a browser's session, or this machine."""

import hmac
import ipaddress

from citewell.api.browser import CSRF_HEADER, READING, SESSION_COOKIE, read_cookie
from citewell.api.call import Call
from citewell.api.client_address import FORWARDED
from citewell.api.memory import Memory
from citewell.domain import LOCAL_PRINCIPAL, Principal
from citewell.errors import AccessError, Unauthenticated
from citewell.records.browser_sessions import SignedIn, find_session
from citewell.records.credentials import PREFIX, digest_of, read_credential
from citewell.records.principals import find_key
from citewell.records.session import Database
from citewell.settings import AuthSettings


class Identities:
    """Finds out who calls; remembers for a moment what it looked up."""

    def __init__(self, database: Database, auth: AuthSettings, *, required: bool) -> None:
        self._database = database
        self._auth = auth
        self._required = required
        self._principals = Memory[bytes, Principal | None](auth.cache_seconds)
        self._sessions = Memory[bytes, SignedIn | None](auth.cache_seconds)

    async def identify(self, call: Call) -> Principal:
        """Return whom the request's credential stands for.

        Raises:  Unauthenticated – it has none that is valid; always with the same words.
                 AccessError – it is a browser's session, and the change may not be its page's.
        """
        given = call.credentials()
        # OpenAI's clients always send some key; what is none of ours says nothing about who calls.
        ours = any(key.startswith(PREFIX) for key in given)
        if not self._required and not ours and is_local(call):
            return LOCAL_PRINCIPAL
        session = read_cookie(call.headers, SESSION_COOKIE)
        if not given and session is not None:
            return await self._signed_in(session, call)
        if len(set(given)) != 1:
            raise Unauthenticated
        principal = await self.principal_of(given[0])
        if principal is None:
            raise Unauthenticated
        return principal

    async def principal_of(self, given: str) -> Principal | None:
        """Return whom a key stands for; None when it is not valid."""
        local = self._auth.local_key
        if local is not None and hmac.compare_digest(
            local.get_secret_value().encode(), given.encode("utf-8", "replace")
        ):
            return LOCAL_PRINCIPAL
        credential = read_credential(given)
        if credential is None or self._auth.pepper is None:
            return None
        digest = digest_of(given, self._auth.pepper)

        async def look_up() -> Principal | None:
            async with self._database.system_transaction() as connection:
                found = await find_key(connection, credential.lookup, digest)
            # An unknown name is compared as well, so that it takes as long as a wrong secret.
            stored = bytes(len(digest)) if found is None else found.digest
            valid = hmac.compare_digest(stored, digest)
            return found.principal if found is not None and valid else None

        return await self._principals.recall(digest, look_up)

    async def find_session(self, secret: str) -> SignedIn | None:
        """Return the browser's session that a cookie's secret stands for."""
        if not secret or self._auth.pepper is None:
            return None
        digest = digest_of(secret, self._auth.pepper)

        async def look_up() -> SignedIn | None:
            async with self._database.system_transaction() as connection:
                return await find_session(connection, digest)

        return await self._sessions.recall(digest, look_up)

    async def _signed_in(self, secret: str, call: Call) -> Principal:
        session = await self.find_session(secret)
        if session is None:
            raise Unauthenticated
        if call.method not in READING:
            given = digest_of(call.headers.get(CSRF_HEADER, ""), self._auth.pepper)
            if not hmac.compare_digest(session.csrf_digest, given):
                raise AccessError(
                    "A browser's change needs the token of its session in X-CSRF-Token. "
                    "GET /auth/csrf has it.",
                    code="csrf",
                )
        return session.principal

    def forget(self) -> None:
        """Look everybody up anew from now on."""
        self._principals.forget()
        self._sessions.forget()


def is_local(call: Call) -> bool:
    """Say whether a request comes from a program on this machine that is no proxy."""
    if any(name in call.headers for name in FORWARDED):
        return False
    try:
        return call.client is not None and ipaddress.ip_address(call.client).is_loopback
    except ValueError:
        return False
