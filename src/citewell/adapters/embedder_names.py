"""Which embedder ``CITEWELL_EMBEDDER__MODEL`` names; reads words, loads nothing."""

import hashlib
from dataclasses import dataclass
from typing import Literal, get_args
from urllib.parse import urlsplit

from citewell.errors import InputError

Kind = Literal["minilm", "openai", "ollama", "sentence-transformers"]
KINDS: tuple[Kind, ...] = get_args(Kind)
NAMED = KINDS[1:]
OWN_ADDRESSES = {
    "openai": "https://api.openai.com/v1",
    "ollama": "http://localhost:11434/v1",
}
DIMENSIONS = {
    "openai:text-embedding-3-small": 1536,
    "openai:text-embedding-3-large": 3072,
    "openai:text-embedding-ada-002": 1536,
    "ollama:all-minilm": 384,
    "ollama:bge-m3": 1024,
    "ollama:mxbai-embed-large": 1024,
    "ollama:nomic-embed-text": 768,
    "ollama:snowflake-arctic-embed2": 1024,
}
"""What the models' own pages say; a reply with another one is refused."""


@dataclass(frozen=True, slots=True, repr=False)
class EmbedderChoice:
    """A kind, the model's name there, and for an API its address and key, never shown."""

    kind: Kind
    model: str
    base_url: str
    api_key: str | None

    @property
    def name(self) -> str:
        """How the settings spell it."""
        return self.kind if not self.model else f"{self.kind}:{self.model}"


def read_embedder(model: str, base_url: str | None, api_key: str | None) -> EmbedderChoice:
    """Read the settings' words.

    Raises:  InputError – a word is misspelt, an address is none, or a key is missing.
    """
    if model == "minilm":
        return EmbedderChoice("minilm", "", "", None)
    kind, _, name = model.partition(":")
    if kind not in NAMED or not name.strip() or name != name.strip():
        raise InputError(
            f"CITEWELL_EMBEDDER__MODEL names no model: {model[:80]!r}. Write minilm, or one of "
            f"{', '.join(f'{known}:NAME' for known in NAMED)}, as in ollama:nomic-embed-text."
        )
    if kind == "sentence-transformers":
        return EmbedderChoice(kind, name, "", None)
    choice = EmbedderChoice(kind, name, _read_address(kind, base_url), api_key or None)
    if choice.api_key is None and choice.base_url == OWN_ADDRESSES["openai"]:
        raise InputError(
            f"{choice.name} needs a key. Set CITEWELL_EMBEDDER__API_KEY, or "
            "CITEWELL_EMBEDDER__BASE_URL for a server that needs none."
        )
    return choice


def read_dimension(choice: EmbedderChoice, given: int | None, *, send: bool) -> int:
    """Return how many numbers an API's vectors have: as set, else as known of the model.

    Raises:  InputError – it is not known, or differs from what is known and is not asked for.
    """
    known = DIMENSIONS.get(choice.name.removesuffix(":latest"))
    if given is None and known is None:
        raise InputError(
            f"How many numbers the vectors of {choice.name} have is not known here. Set "
            "CITEWELL_EMBEDDER__DIMENSION; the model's page says it."
        )
    if given is not None and known is not None and given != known and not send:
        raise InputError(
            f"The vectors of {choice.name} have {known} numbers, and not {given}. Correct "
            "CITEWELL_EMBEDDER__DIMENSION, or set CITEWELL_EMBEDDER__SEND_DIMENSION=true."
        )
    return given or known or 0


def vector_name(base: str, *parts: str | int | None) -> str:
    """Return the name that stored vectors bear: another one whenever they would differ.

    ``parts`` are what documents are embedded with beside the model: a prefix, a type, a length.
    """
    if not any(parts):
        return base
    digest = hashlib.sha256("\0".join(str(part or "") for part in parts).encode()).hexdigest()
    return f"{base}#{digest[:8]}"


def _read_address(kind: str, base_url: str | None) -> str:
    """Return the address below which ``/embeddings`` lies."""
    if not base_url:
        return OWN_ADDRESSES[kind]
    try:
        parts = urlsplit(base_url)
        rest = (parts.username, parts.password, parts.query or None, parts.fragment or None)
        right = bool(parts.hostname) and parts.port != 0 and rest == (None,) * 4
    except ValueError:  # a port or an IPv6 address that is none
        right, parts = False, None
    if not right or parts is None or parts.scheme not in {"http", "https"}:
        raise InputError(
            "CITEWELL_EMBEDDER__BASE_URL is not an address of an embedding API. Write one as in "
            "http://localhost:8080/v1; a key goes into CITEWELL_EMBEDDER__API_KEY."
        )
    address = base_url.rstrip("/").removesuffix("/embeddings")
    return address if urlsplit(address).path else address + "/v1"
