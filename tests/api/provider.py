"""A small OpenID provider on loopback: it signs with its own key, and lies where a test wants."""

import base64
import hashlib
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

from joserfc import jwt
from joserfc.jwk import RSAKey
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from api.served import serve

CLIENT_ID, CLIENT_SECRET = "citewell", "the client's secret at the provider"
Claims = dict[str, Any]


@dataclass
class Provider:
    """What the provider knows, and how it behaves."""

    issuer: str = ""
    served_at: str = ""
    claims: Claims = field(default_factory=lambda: {"sub": "ada-1", "name": "Ada", "groups": []})
    change: Callable[[Claims], Claims] = lambda claims: claims
    userinfo: Claims | None = None
    key: RSAKey = field(default_factory=lambda: RSAKey.generate_key(2048, {"kid": "one"}))
    signing: RSAKey | None = None
    header: dict[str, Any] = field(default_factory=lambda: {"alg": "RS256", "kid": "one"})
    token_reply: Response | None = None
    codes: dict[str, dict[str, str]] = field(default_factory=dict)
    asked: int = 0

    def allow(self, url: str) -> dict[str, str]:
        """Act as somebody who signs in; return what the browser brings back."""
        query = {name: value[0] for name, value in parse_qs(urlsplit(url).query).items()}
        assert query["response_type"] == "code"
        assert query["client_id"] == CLIENT_ID
        assert query["code_challenge_method"] == "S256"
        assert "openid" in query["scope"].split()
        code = f"code-{len(self.codes)}"
        self.codes[code] = query
        return {"state": query["state"], "code": code}

    async def discover(self, request: Request) -> Response:
        self.asked += 1
        found = {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.issuer}/authorize",
            "token_endpoint": f"{self.issuer}/token",
            "jwks_uri": f"{self.issuer}/jwks",
        }
        if self.userinfo is not None:
            found["userinfo_endpoint"] = f"{self.issuer}/userinfo"
        return JSONResponse(found)

    async def list_keys(self, request: Request) -> Response:
        return JSONResponse({"keys": [self.key.as_dict(private=False)]})

    async def give_token(self, request: Request) -> Response:
        if self.token_reply is not None:
            return self.token_reply
        expected = base64.b64encode(f"{CLIENT_ID}:{CLIENT_SECRET}".encode()).decode()
        form = {name: str(value) for name, value in (await request.form()).items()}
        query = self.codes.pop(form["code"], None)  # a code works once
        verifier = hashlib.sha256(form["code_verifier"].encode()).digest()
        if (
            query is None
            or request.headers["authorization"] != f"Basic {expected}"
            or form["redirect_uri"] != query["redirect_uri"]
            or base64.urlsafe_b64encode(verifier).decode().rstrip("=") != query["code_challenge"]
        ):
            return JSONResponse({"error": "invalid_grant"}, 400)
        now = int(time.time())
        claims = {"iss": self.issuer, "aud": CLIENT_ID, "iat": now, "exp": now + 300,
                  "nonce": query["nonce"], **self.claims}  # fmt: skip
        signed = jwt.encode(self.header, self.change(claims), self.signing or self.key)
        return JSONResponse({"access_token": "a", "token_type": "Bearer", "id_token": signed})

    async def tell_more(self, request: Request) -> Response:
        assert request.headers["authorization"] == "Bearer a"
        return JSONResponse(self.userinfo)


@asynccontextmanager
async def open_provider() -> AsyncIterator[Provider]:
    """Serve a provider on loopback."""
    provider = Provider()
    app = Starlette(
        routes=[
            Route("/.well-known/openid-configuration", provider.discover),
            Route("/jwks", provider.list_keys),
            Route("/token", provider.give_token, methods=["POST"]),
            Route("/userinfo", provider.tell_more),
        ]
    )
    async with serve(app) as url:  # pyright: ignore
        provider.issuer = provider.served_at = url
        yield provider
