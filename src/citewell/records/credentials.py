"""API keys: how they look, and what is kept of them.

A key is ``cw_`` + 12 characters that name it + 43 that are secret (256 random bits) + 6 that check
the rest for typing errors, all of them letters and digits. Only the name and an HMAC are stored.
"""

import hashlib
import hmac
import re
import secrets
import string
import zlib
from dataclasses import dataclass

from pydantic import SecretStr

from citewell.errors import InputError

PREFIX = "cw_"
NAME_CHARACTERS, SECRET_CHARACTERS, CHECK_CHARACTERS = 12, 43, 6
DIGITS = string.digits + string.ascii_letters
_KEY = re.compile(
    rf"{PREFIX}([0-9A-Za-z]{{{NAME_CHARACTERS}}})"
    rf"([0-9A-Za-z]{{{SECRET_CHARACTERS}}})([0-9A-Za-z]{{{CHECK_CHARACTERS}}})"
)


@dataclass(frozen=True, slots=True, repr=False)
class Credential:
    """A key that is well formed: its public name, and its whole text."""

    lookup: str
    text: str


def new_credential() -> Credential:
    """Make a key of 256 random bits."""
    lookup = "".join(secrets.choice(DIGITS) for _ in range(NAME_CHARACTERS))
    body = f"{PREFIX}{lookup}{_written(secrets.randbits(256), SECRET_CHARACTERS)}"
    return Credential(lookup, body + _check(body))


def read_credential(given: str) -> Credential | None:
    """Read a key; None when it cannot be one, or has a typing error."""
    found = _KEY.fullmatch(given)
    if found is None:
        return None
    body, check = given[:-CHECK_CHARACTERS], found[3]
    return Credential(found[1], given) if hmac.compare_digest(_check(body), check) else None


def digest_of(secret: str, pepper: SecretStr | None) -> bytes:
    """Return what is stored of a secret: HMAC-SHA-256 under the pepper.

    Raises:  InputError – there is no pepper.
    """
    if pepper is None:
        raise InputError(
            "CITEWELL_AUTH__PEPPER is not set, so keys cannot be checked. Set it to 32 random "
            "characters or more, the same for every process."
        )
    return hmac.digest(pepper.get_secret_value().encode(), secret.encode(), hashlib.sha256)


def _check(body: str) -> str:
    return _written(zlib.crc32(body.encode()), CHECK_CHARACTERS)


def _written(number: int, characters: int) -> str:
    digits: list[str] = []
    for _ in range(characters):
        number, digit = divmod(number, len(DIGITS))
        digits.append(DIGITS[digit])
    return "".join(reversed(digits))
