"""Where a request comes from: the connection's other end, or what a trusted proxy says of it."""

import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Interface, IPv6Network

from starlette.datastructures import Headers

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

FORWARDED = ("forwarded", "x-forwarded-for", "x-real-ip", "via")
"""Headers of a proxy: a request that has one does not come from this machine."""
UNKNOWN = "unknown"
SUBSCRIBER_BITS = 64
"""One subscriber has a whole IPv6 network of this size, and all the addresses in it."""
_WITH_PORT = re.compile(r"\[([^\]]+)\](?::\d+)?|([^:]+):\d+")


@dataclass(frozen=True, slots=True)
class Client:
    """Who is at the other end: what to count a caller by, and whether it is this machine itself."""

    bucket: str
    is_local: bool


def client_of(peer: str | None, headers: Headers, proxies: Sequence[Network]) -> Client:
    """Return where a request comes from.

    Holds:   X-Forwarded-For is believed as far as trusted proxies wrote it: from its right end to
             the first address that is none of theirs. Nothing else in a request moves its bucket.
    """
    address = _read(peer or "")
    if address is None:
        return Client(UNKNOWN, is_local=False)
    forwarded = any(name in headers for name in FORWARDED)
    if not _is_trusted(address, proxies):
        return Client(_bucket(address), address.is_loopback and not forwarded)
    given = ",".join(headers.getlist("x-forwarded-for")).split(",")
    while given and _is_trusted(address, proxies):
        before = _read(given.pop())
        if before is None:
            break
        address = before
    local = address.is_loopback and not forwarded
    return Client(_bucket(address), local)


def _read(written: str) -> Address | None:
    """Read an address, with or without its port; None when it is none."""
    written = written.strip()
    match = _WITH_PORT.fullmatch(written)
    if match:
        written = match[1] or match[2]
    try:
        address = ipaddress.ip_address(written)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


def _is_trusted(address: Address, proxies: Sequence[Network]) -> bool:
    return any(address in network for network in proxies)


def _bucket(address: Address) -> str:
    if isinstance(address, IPv4Address):
        return str(address)
    return str(IPv6Interface((address.packed, SUBSCRIBER_BITS)).network)
