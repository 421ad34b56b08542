"""The HTTP client that providers' SDKs get: bounded replies, nothing from the environment."""

from collections.abc import AsyncIterator

import httpx2

from citewell.errors import ProviderBadReply

CONNECT_SECONDS = 5.0
MOST_REPLY_BYTES = 16 * 1024 * 1024
"""No reply to one question is near this: it bounds the memory that a broken server can take."""

LIMITS = httpx2.Limits(max_connections=None, max_keepalive_connections=20)
"""The client's own, 100 connections, would quietly hold back the calls beyond them."""


def open_http_client(most_reply_bytes: int = MOST_REPLY_BYTES) -> httpx2.AsyncClient:
    """Open a client whose replies end by the caller's deadline, not by time-outs of its own.

    How many calls there are at once, the caller limits; the client keeps to no limit of its own.
    """
    return httpx2.AsyncClient(
        transport=BoundedTransport(most_reply_bytes),
        timeout=httpx2.Timeout(None, connect=CONNECT_SECONDS),
        trust_env=False,
        follow_redirects=False,
    )


class BoundedTransport(httpx2.AsyncBaseTransport):
    """Sends requests, and breaks off a reply that is longer than ``most_bytes``.

    Compressed replies are refused, for their true length is not known before they fill the memory.

    Raises:  ProviderBadReply – the reply is too long or compressed.
    """

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._wrapped = httpx2.AsyncHTTPTransport(trust_env=False, limits=LIMITS)

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send one request; the reply's body is read later."""
        request.headers["Accept-Encoding"] = "identity"
        response = await self._wrapped.handle_async_request(request)
        if response.headers.get("Content-Encoding", "identity").lower() != "identity":
            await response.aclose()
            raise ProviderBadReply(
                "The model's server compresses its replies although it was asked not to; "
                "switch that off there."
            )
        if isinstance(response.stream, httpx2.AsyncByteStream):
            response.stream = _BoundedStream(response.stream, self._most_bytes)
        return response

    async def aclose(self) -> None:
        """Close all connections."""
        await self._wrapped.aclose()


class _BoundedStream(httpx2.AsyncByteStream):
    def __init__(self, stream: httpx2.AsyncByteStream, most_bytes: int) -> None:
        self._stream = stream
        self._left = most_bytes

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for piece in self._stream:
            self._left -= len(piece)
            if self._left < 0:
                raise ProviderBadReply(
                    "The model's reply is far too long and was broken off; try again, or choose "
                    "another model."
                )
            yield piece

    async def aclose(self) -> None:
        await self._stream.aclose()
