"""OpenID Connect by Authlib: authorization code flow with PKCE; every id token is checked."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from time import monotonic
from typing import Any, cast

import httpx2
import structlog
from authlib.integrations.base_client import OAuthError
from authlib.integrations.httpx_client import AsyncOAuth2Client
from authlib.oidc.core import CodeIDToken
from joserfc import jwt
from joserfc.errors import InvalidKeyIdError, JoseError
from joserfc.jwk import KeySet
from joserfc.jws import JWSRegistry

from citewell.adapters.provider_http import BoundedTransport
from citewell.errors import AccessError, ProviderBadReply, RemoteFailed
from citewell.ports import Identity, SignInSecrets

log = structlog.get_logger(__name__)

ALGORITHMS = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512"]
"""Signatures by the provider's private key only: the client's secret signs nothing."""
LEEWAY_SECONDS = 60
KEEP_SECONDS = 3600.0
"""So long what the provider says of itself is believed; an unknown key makes it be asked anew."""
MOST_REPLY_BYTES = 1024 * 1024
MOST_GROUPS, MOST_GROUP_CHARACTERS, MOST_NAME_CHARACTERS = 1000, 255, 200
MOST_SUBJECT_CHARACTERS = 255
NAMES = ("name", "preferred_username", "email")

AWAY = "The sign-in provider does not answer as it should. Try again in a moment."
REFUSED = "The provider's word on who you are cannot be accepted. Sign in again."


@dataclass(frozen=True, slots=True)
class OidcClient:
    """How this installation is registered at the provider."""

    issuer: str
    client_id: str
    client_secret: str | None
    redirect_url: str
    scopes: str
    groups_claim: str
    timeout_seconds: float


@dataclass(frozen=True, slots=True)
class _Provider:
    """What the provider says of itself."""

    metadata: dict[str, Any]
    keys: KeySet
    until: float


class OidcProvider:
    """One provider, whose word is checked as OpenID Connect Core 3.1.3.7 asks."""

    def __init__(self, client: OidcClient) -> None:
        self._client = client
        self._known: _Provider | None = None

    async def begin(self, secrets: SignInSecrets) -> str:
        """Return the address where somebody proves who they are."""
        provider = await self._provider()
        async with self._open() as http:
            url, _ = http.create_authorization_url(
                provider.metadata["authorization_endpoint"],
                state=secrets.state,
                nonce=secrets.nonce,
                code_verifier=secrets.verifier,
            )
        return url

    async def finish(self, code: str, secrets: SignInSecrets) -> Identity:
        """Return whom the provider vouches for with this code."""
        provider = await self._provider()
        async with self._open() as http:
            token: dict[str, Any] = await http.fetch_token(
                provider.metadata["token_endpoint"],
                grant_type="authorization_code",
                code=code,
                redirect_uri=self._client.redirect_url,
                code_verifier=secrets.verifier,
            )
        claims = await self._check(token, secrets.nonce)
        groups = claims.get(self._client.groups_claim)
        if groups is None and "userinfo_endpoint" in provider.metadata:
            groups = (await self._ask_more(token, claims["sub"])).get(self._client.groups_claim)
        name = next((claims[key] for key in NAMES if isinstance(claims.get(key), str)), "")
        return Identity(
            issuer=self._client.issuer,
            subject=claims["sub"],
            name=_stored(name)[:MOST_NAME_CHARACTERS] or claims["sub"],
            groups=_groups(groups),
        )

    @asynccontextmanager
    async def _open(self) -> AsyncGenerator[Any]:
        """Open a client for one step of one sign-in: it keeps cookies and tokens.

        Raises:  RemoteFailed – the provider does not answer as it should.
                 AccessError – it refuses.
        """
        client = self._client
        http: Any = AsyncOAuth2Client(
            client_id=client.client_id,
            client_secret=client.client_secret,
            scope=client.scopes,
            redirect_uri=client.redirect_url,
            code_challenge_method="S256",
            transport=BoundedTransport(MOST_REPLY_BYTES),
            timeout=client.timeout_seconds,
            follow_redirects=False,
            trust_env=False,
        )
        async with http:
            try:
                yield http
            except OAuthError as error:
                log.warning("the provider refused a code", why=error.error)
                raise AccessError("The provider refused this sign-in. Begin again.") from error
            except (httpx2.HTTPError, httpx2.InvalidURL, ProviderBadReply, ValueError) as error:
                log.warning("the sign-in provider failed", why=type(error).__name__)
                raise RemoteFailed(AWAY) from error

    async def _provider(self, *, anew: bool = False) -> _Provider:
        """Return what the provider says of itself, asked for at most once an hour."""
        known = self._known
        if known is not None and known.until > monotonic() and not anew:
            return known
        issuer = self._client.issuer
        metadata = await self._get(issuer.rstrip("/") + "/.well-known/openid-configuration")
        wanted = ("authorization_endpoint", "token_endpoint", "jwks_uri")
        if metadata.get("issuer") != issuer or not all(
            isinstance(metadata.get(name), str) for name in wanted
        ):
            log.error("the provider names another issuer, or lacks an address", issuer=issuer)
            raise RemoteFailed(AWAY)
        keys = await self._get(metadata["jwks_uri"])
        try:
            key_set = KeySet.import_key_set(cast("Any", keys))
        except (JoseError, ValueError, KeyError, TypeError) as error:
            raise RemoteFailed(AWAY) from error
        self._known = _Provider(metadata, key_set, monotonic() + KEEP_SECONDS)
        return self._known

    async def _get(self, url: str) -> dict[str, Any]:
        async with self._open() as http:
            reply = await http.request("GET", url, withhold_token=True)
            reply.raise_for_status()
            found: Any = reply.json()
        if not isinstance(found, dict):
            raise RemoteFailed(AWAY)
        return cast("dict[str, Any]", found)

    async def _check(self, token: dict[str, Any], nonce: str) -> dict[str, Any]:
        """Return the claims of an id token whose signature and every claim is right."""
        written = token.get("id_token")
        if not isinstance(written, str):
            log.warning("the provider sent no id token")
            raise AccessError(REFUSED)
        try:
            read = await self._verify(written)
            claims = CodeIDToken(
                read.claims,
                read.header,
                {
                    "iss": {"essential": True, "values": [self._client.issuer]},
                    "aud": {"essential": True, "values": [self._client.client_id]},
                    "exp": {"essential": True},
                },
                {
                    "nonce": nonce,
                    "client_id": self._client.client_id,
                    "access_token": token.get("access_token"),
                },
            )
            claims.validate(leeway=LEEWAY_SECONDS)  # pyright: ignore[reportUnknownMemberType]
        except (JoseError, ValueError, TypeError) as error:
            log.warning("an id token was refused", why=type(error).__name__, claim=str(error))
            raise AccessError(REFUSED) from error
        return _checked_subject(dict(cast("dict[str, Any]", claims)))

    async def _verify(self, written: str) -> jwt.Token:
        registry = JWSRegistry(algorithms=ALGORITHMS, strict_check_header=False)
        try:
            return jwt.decode(written, (await self._provider()).keys, registry=registry)
        except InvalidKeyIdError:
            # The provider signs with a new key since it was asked.
            keys = (await self._provider(anew=True)).keys
            return jwt.decode(written, keys, registry=registry)

    async def _ask_more(self, token: dict[str, Any], subject: str) -> dict[str, Any]:
        """Return what the provider tells of somebody beside the id token."""
        provider = await self._provider()
        async with self._open() as http:
            reply = await http.request(
                "GET",
                provider.metadata["userinfo_endpoint"],
                withhold_token=True,
                headers={"Authorization": f"Bearer {token.get('access_token')}"},
            )
            reply.raise_for_status()
            found: Any = reply.json()
        if not isinstance(found, dict) or cast("dict[str, Any]", found).get("sub") != subject:
            log.warning("the provider told of somebody else than the id token")
            raise AccessError(REFUSED)
        return cast("dict[str, Any]", found)


def _checked_subject(claims: dict[str, Any]) -> dict[str, Any]:
    subject = claims["sub"]
    if (
        not isinstance(subject, str)
        or not 0 < len(subject) <= MOST_SUBJECT_CHARACTERS
        or _stored(subject) != subject
    ):
        log.warning("an id token was refused", why="its subject cannot be stored")
        raise AccessError(REFUSED)
    return claims


def _groups(claim: object) -> tuple[str, ...]:
    """Return the groups of a claim: a list of names, or one name; what is neither is left out."""
    given = cast("list[object]", claim if isinstance(claim, list) else [claim])
    names = [
        item
        for item in given
        if isinstance(item, str)
        and 0 < len(item) <= MOST_GROUP_CHARACTERS
        and _stored(item) == item
    ]
    return tuple(names[:MOST_GROUPS])


def _stored(value: str) -> str:
    """Return a text without what PostgreSQL cannot hold."""
    return value.replace("\0", "").encode("utf-8", "ignore").decode()
