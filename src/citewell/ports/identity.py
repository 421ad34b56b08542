"""Who somebody is, by the word of a provider outside."""

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True, repr=False)
class SignInSecrets:
    """What ties the two halves of one sign-in together: random, and used once."""

    state: str
    nonce: str
    verifier: str


@dataclass(frozen=True, slots=True)
class Identity:
    """Somebody whom the provider vouches for; ``subject`` never changes, the rest may."""

    issuer: str
    subject: str
    name: str
    groups: tuple[str, ...]


class IdentityProvider(Protocol):
    """Signs people in, by OpenID Connect's authorization code flow."""

    async def begin(self, secrets: SignInSecrets) -> str:
        """Return the address where somebody proves who they are.

        Raises:  RemoteFailed – the provider does not answer as it should.
        """
        ...

    async def finish(self, code: str, secrets: SignInSecrets) -> Identity:
        """Return whom the provider vouches for with this code.

        Raises:  RemoteFailed – the provider does not answer as it should.  AccessError – it refuses
                 the code, or what it says cannot be believed.
        """
        ...
