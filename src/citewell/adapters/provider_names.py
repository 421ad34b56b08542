"""Which provider and model ``CITEWELL_ANSWER__CHAT_MODEL`` names; reads words, loads nothing."""

from dataclasses import dataclass
from typing import Literal, get_args
from urllib.parse import urlsplit

from citewell.errors import InputError

Kind = Literal["ollama", "openai", "openai-responses", "anthropic", "google"]
KINDS: tuple[Kind, ...] = get_args(Kind)
OWN_ADDRESSES: dict[Kind, str] = {
    "ollama": "http://localhost:11434/v1",
    "openai": "https://api.openai.com/v1",
    "openai-responses": "https://api.openai.com/v1",
    "anthropic": "https://api.anthropic.com",
    "google": "https://generativelanguage.googleapis.com",
}
SPEAKS_OPENAI = {"ollama", "openai", "openai-responses"}


@dataclass(frozen=True, slots=True, repr=False)
class ProviderChoice:
    """A provider's kind, the model's name there, the address, and the key, never shown."""

    kind: Kind
    model: str
    base_url: str
    api_key: str | None

    @property
    def name(self) -> str:
        """How the settings spell it."""
        return f"{self.kind}:{self.model}"

    @property
    def is_own(self) -> bool:
        """Whether this is the provider's own service, whose features and prices are known."""
        return self.base_url == OWN_ADDRESSES[self.kind]


def read_provider(
    chat_model: str, base_url: str | None, api_key: str | None
) -> ProviderChoice | None:
    """Read the settings' words; None is ``extractive``, which needs no language model.

    Raises:  InputError – a word is misspelt, an address is none, or a key is missing.
    """
    if chat_model == "extractive":
        return None
    kind, _, model = chat_model.partition(":")
    if kind not in KINDS or not model.strip() or model != model.strip():
        raise InputError(
            f"CITEWELL_ANSWER__CHAT_MODEL names no model: {chat_model[:80]!r}. Write extractive, "
            f"or one of {', '.join(f'{known}:NAME' for known in KINDS)}, as in ollama:llama3.2."
        )
    choice = ProviderChoice(kind, model, _read_address(kind, base_url), api_key or None)
    if choice.api_key is None and choice.is_own and kind != "ollama":
        raise InputError(
            f"{choice.name} needs a key. Set CITEWELL_MODEL__API_KEY, or CITEWELL_MODEL__BASE_URL "
            "for a server that needs none."
        )
    return choice


def _read_address(kind: Kind, base_url: str | None) -> str:
    """Return where to call; a server that speaks OpenAI's protocol does it below /v1."""
    if not base_url:
        return OWN_ADDRESSES[kind]
    if not _is_address(base_url):
        raise InputError(
            "CITEWELL_MODEL__BASE_URL is not an address of a model's server. Write one as in "
            "http://localhost:8080/v1; a key goes into CITEWELL_MODEL__API_KEY."
        )
    address = base_url.rstrip("/")
    if kind in SPEAKS_OPENAI and not urlsplit(address).path:
        address += "/v1"
    return address


def _is_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        rest = (parts.username, parts.password, parts.query or None, parts.fragment or None)
        named = bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port or an IPv6 address that is none
        return False
    return parts.scheme in {"http", "https"} and named and rest == (None,) * 4
