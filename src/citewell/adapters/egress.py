"""The one way out to addresses that a user named: checked, pinned, direct, bounded."""

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property

import httpx

from citewell.adapters.addresses import host_of, may_call, port_of, read_address, read_url
from citewell.errors import AccessError, RemoteFailed, Unprocessable
from citewell.ports import RemoteReply

CONNECT_SECONDS = 4.0
"""For one of a host's addresses; the deadline is for all of them together."""
RESOLVE_SECONDS = 4.0
RESOLVER_THREADS = 8
MOST_NAMES = 64
"""Names that may be asked for at once; more are refused, so that nothing piles up."""
Resolve = Callable[[str, int], Awaitable[list[str]]]


class SystemResolver:
    """Asks the system's resolver, in threads of its own.

    Holds:   a name server that does not answer takes one thread for each name, however often it is
             asked for, and never one that something else waits for.
    """

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(RESOLVER_THREADS, "resolve")
        self._asked: dict[str, asyncio.Future[list[str]]] = {}

    async def __call__(self, host: str, port: int) -> list[str]:
        """Return a name's addresses.

        Raises:  OSError, UnicodeError – it has none, or too many others are asked for.
        """
        if host not in self._asked:
            if len(self._asked) >= MOST_NAMES:
                raise OSError("too many names wait for an answer")
            loop = asyncio.get_running_loop()
            asked = loop.run_in_executor(self._threads, self._ask, host, port)
            asked.add_done_callback(lambda done: self._forget(host, done))
            self._asked[host] = asked
        return await asyncio.shield(self._asked[host])

    def _ask(self, host: str, port: int) -> list[str]:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        return list(dict.fromkeys(str(entry[4][0]) for entry in found))

    def _forget(self, host: str, done: "asyncio.Future[list[str]]") -> None:
        self._asked.pop(host, None)
        if not done.cancelled():
            done.exception()  # seen, even when nobody waits for it any more


class CheckedEgress:
    """Sends requests by httpx, each over a connection of its own.

    Holds: a name is resolved once; every address that it has must be allowed, and the connection
    goes to one of these very addresses. The certificate is checked against the name all the same.
    No redirect is followed and no proxy is used.
    """

    def __init__(
        self,
        enabled: bool,
        allow_private: bool,
        resolve: Resolve | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.enabled = enabled
        self._allow_private = allow_private
        self._resolve = resolve or SystemResolver()
        self._given_tls = tls

    def require_enabled(self) -> None:
        """Refuse where such calls are switched off."""
        if not self.enabled:
            raise AccessError(
                "Calls to addresses that a user names are switched off. Whoever runs this server "
                "can allow them with CITEWELL_EGRESS__ENABLED=true.",
                code="egress_off",
            )

    async def check(self, url: str) -> None:
        """Look whether ``send`` would go there now."""
        self.require_enabled()
        await self._find_addresses(read_url(url, self._allow_private))

    async def send(
        self,
        url: str,
        headers: Mapping[str, str],
        content: bytes,
        *,
        deadline_seconds: float,
        most_reply_bytes: int,
    ) -> RemoteReply:
        """POST ``content``; a redirect is a reply like any other."""
        self.require_enabled()
        target = read_url(url, self._allow_private)
        try:
            async with asyncio.timeout(deadline_seconds):
                addresses = await self._find_addresses(target)
                return await self._post(target, addresses, headers, content, most_reply_bytes)
        except (TimeoutError, httpx.TimeoutException) as error:
            raise RemoteFailed(f"It did not answer within {deadline_seconds:g} seconds.") from error
        except httpx.ConnectError as error:
            raise RemoteFailed(
                "It takes no connection, or its certificate is not valid."
            ) from error
        except httpx.TransportError as error:
            raise RemoteFailed("It broke the connection off, or did not speak HTTP.") from error

    async def _find_addresses(self, url: httpx.URL) -> list[str]:
        """Resolve a URL's host, once, within four seconds.

        Raises:  Unprocessable – it has no address, or one that may not be called. Both read the
                 same, so that nobody learns which names there are inside.
        """
        host = host_of(url)
        addresses = [host]
        if read_address(host) is None:
            try:
                async with asyncio.timeout(RESOLVE_SECONDS):
                    addresses = await self._resolve(host, port_of(url))
            except (OSError, UnicodeError):
                addresses = []
        parsed = [read_address(address) for address in addresses]
        if not parsed or not all(
            address is not None and may_call(address, self._allow_private) for address in parsed
        ):
            raise Unprocessable(
                "This URL cannot be called. Its host has no address, or one that is not public. "
                "CITEWELL_EGRESS__ALLOW_PRIVATE=true allows those of an intranet.",
                code="url_refused",
            )
        return [str(address) for address in parsed]

    async def _post(
        self,
        url: httpx.URL,
        addresses: list[str],
        headers: Mapping[str, str],
        content: bytes,
        most_reply_bytes: int,
    ) -> RemoteReply:
        """Try the addresses in turn until one takes the connection."""
        for address in addresses[:-1]:
            try:
                return await self._post_to(address, url, headers, content, most_reply_bytes)
            except (httpx.ConnectError, httpx.ConnectTimeout):
                continue
        return await self._post_to(addresses[-1], url, headers, content, most_reply_bytes)

    async def _post_to(
        self,
        address: str,
        url: httpx.URL,
        headers: Mapping[str, str],
        content: bytes,
        most_reply_bytes: int,
    ) -> RemoteReply:
        timeouts = {"connect": CONNECT_SECONDS, "read": None, "write": None, "pool": None}
        request = httpx.Request(
            "POST",
            url,
            headers={**headers, "Accept-Encoding": "identity", "Connection": "close"},
            content=content,
            extensions={"sni_hostname": host_of(url).removesuffix("."), "timeout": timeouts},
        )
        request.url = url.copy_with(host=address)  # the Host header keeps the name
        async with httpx.AsyncHTTPTransport(verify=self._tls, trust_env=False) as transport:
            response = await transport.handle_async_request(request)
            try:
                body = bytearray()
                if most_reply_bytes:
                    async for piece in response.aiter_raw():
                        body += piece
                        if len(body) > most_reply_bytes:
                            break
                cut = len(body) > most_reply_bytes
                return RemoteReply(response.status_code, bytes(body[:most_reply_bytes]), cut)
            finally:
                await response.aclose()

    @cached_property
    def _tls(self) -> ssl.SSLContext:
        return self._given_tls or httpx.create_ssl_context()
