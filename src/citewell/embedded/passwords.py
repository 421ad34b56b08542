"""The servers' passwords and the keys' pepper: made once, in ``<data>/secrets.json``, mode 0600."""

import json
import os
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from citewell.embedded.places import write_private
from citewell.errors import Unavailable

_NAMES = ("postgres_superuser", "postgres", "valkey", "pepper")


@dataclass(frozen=True, slots=True, repr=False)
class Passwords:
    """What the superuser, the login role and Valkey's clients prove themselves with.

    API keys are hashed with the ``pepper``.
    """

    superuser: str
    postgres: str
    valkey: str
    pepper: str


def _read(path: Path) -> dict[str, Any]:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    except FileNotFoundError:
        return {}
    with os.fdopen(descriptor, encoding="utf-8") as file:
        if os.fstat(descriptor).st_mode & 0o077:
            os.fchmod(descriptor, 0o600)
        content: object = json.load(file)
    if not isinstance(content, dict):
        raise ValueError("not an object")  # noqa: TRY004 - handled as unreadable below
    return cast("dict[str, Any]", content)


def load_passwords(data: Path, *, cluster_exists: bool) -> Passwords:
    """Read the passwords, making those that are missing; other entries of the file are kept.

    Raises:  Unavailable – the file is unreadable, or lost while its PostgreSQL cluster is there.
    """
    path = data / "secrets.json"
    try:
        content = _read(path)
    except (OSError, ValueError) as error:
        raise Unavailable(
            "The file secrets.json in the data folder cannot be read. Restore it from a backup."
        ) from error
    if cluster_exists and _NAMES[0] not in content:
        raise Unavailable(
            "The file secrets.json in the data folder is lost, and with it the way into "
            "PostgreSQL. Restore it from a backup, or choose another folder with --data."
        )
    missing = [name for name in _NAMES if not isinstance(content.get(name), str)]
    if missing:
        content |= {name: secrets.token_urlsafe(32) for name in missing}
        write_private(path, json.dumps(content, indent=1) + "\n")
    return Passwords(*(str(content[name]) for name in _NAMES))
