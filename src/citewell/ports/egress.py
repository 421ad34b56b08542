"""Requests to addresses that users name."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class RemoteReply:
    """A status, and the first bytes of the body; ``cut`` when there were more."""

    status: int
    body: bytes
    cut: bool


class Egress(Protocol):
    """Requests to addresses that a user named: public hosts only, no redirects, small replies."""

    enabled: bool

    def require_enabled(self) -> None:
        """Do nothing, successfully.

        Raises:  AccessError – switched off; the message names the setting.
        """
        ...

    async def check(self, url: str) -> None:
        """Look whether ``send`` would go there now.

        Raises:  AccessError – switched off.  Unprocessable – the address may not be called.
        """
        ...

    async def send(
        self,
        url: str,
        headers: Mapping[str, str],
        content: bytes,
        *,
        deadline_seconds: float,
        most_reply_bytes: int,
    ) -> RemoteReply:
        """POST ``content``; a redirect is a reply like any other.

        Raises:  AccessError – switched off.  Unprocessable – the address may not be called.
                 RemoteFailed – no connection, no trust, no whole reply before the deadline.
        """
        ...
