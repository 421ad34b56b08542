"""Which URLs and which internet addresses a user may have Citewell call; pure rules, no network."""

import re
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

import httpx

from citewell.errors import Unprocessable

MOST_URL_CHARACTERS = 2000
PORTS = {"https": 443, "http": 80}
LABEL = r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9])?"
HOST_NAME = re.compile(rf"(?=.{{1,253}}$){LABEL}(\.{LABEL})*\.?")
NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
"""A last label like this makes a host an IPv4 address in one of its odd spellings."""

PRIVATE = tuple(
    map(
        ip_network,
        ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "127.0.0.0/8", "100.64.0.0/10",
         "::1/128", "fc00::/7"),
    )
)  # fmt: skip
"""Addresses of intranets and of this machine: called only where a setting allows it."""

NEVER = tuple(
    map(
        ip_network,
        ("0.0.0.0/8", "169.254.0.0/16", "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24",
         "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4",
         "100.100.100.200/32", "168.63.129.16/32", "fd00:ec2::/32", "fd20:ce::/32",
         "2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20"),
    )
)  # fmt: skip
"""Unspecified, link-local, reserved, multicast, transition and documentation addresses, and those
under which clouds serve machines their secrets."""

GLOBAL_IPV6 = ip_network("2000::/3")
"""All of IPv6 that is given out; IPv4 inside IPv6, in whichever form, lies outside of it."""


def read_url(written: str, allow_private: bool) -> httpx.URL:
    """Read a URL that a user named.

    Raises:  Unprocessable – its form is not allowed, or not the same to every reader.
    """
    schemes = ("https", "http") if allow_private else ("https",)
    if len(written) > MOST_URL_CHARACTERS:
        raise _refused(f"It is longer than {MOST_URL_CHARACTERS:,} characters.")
    if not re.fullmatch(r"[!-\[\]-~]+", written):
        raise _refused("It holds a space, a backslash or a character beyond ASCII.")
    try:
        url = httpx.URL(written)
    except httpx.InvalidURL as error:
        raise _refused("It is no URL.") from error
    if url.scheme not in schemes:
        raise _refused(f"It must begin with {' or '.join(schemes)}://.")
    if "@" in re.split(r"[/?#]", written.partition("://")[2], maxsplit=1)[0]:
        raise _refused("It must not hold a user or a password.")
    if not 1 <= port_of(url) <= 65535 or not _is_host(host_of(url)):
        raise _refused("Its host or its port is not valid.")
    return url


def host_of(url: httpx.URL) -> str:
    """Return a URL's host as it goes over the wire, small and in ASCII."""
    return url.raw_host.decode("ascii")


def port_of(url: httpx.URL) -> int:
    """Return a URL's port, its scheme's own where it names none."""
    return PORTS[url.scheme] if url.port is None else url.port


def read_address(written: str) -> IPv4Address | IPv6Address | None:
    """Read an address in its usual form; None for a name, and for every other form."""
    try:
        return ip_address(written)
    except ValueError:
        return None


def may_call(address: IPv4Address | IPv6Address, allow_private: bool) -> bool:
    """Return whether a connection to this address is allowed."""
    if isinstance(address, IPv6Address) and address.scope_id is not None:
        return False
    if any(address in network for network in NEVER):
        return False
    if any(address in network for network in PRIVATE):
        return allow_private
    if isinstance(address, IPv6Address) and address not in GLOBAL_IPV6:
        return False
    return address.is_global and not address.is_multicast


def _is_host(host: str) -> bool:
    if read_address(host) is not None:
        return True
    last = host.removesuffix(".").rpartition(".")[2]
    return HOST_NAME.fullmatch(host) is not None and NUMBER.fullmatch(last) is None


def _refused(why: str) -> Unprocessable:
    return Unprocessable(f"This URL cannot be called. {why}", code="url_refused")
