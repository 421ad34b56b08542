"""Secrets that nobody may see: every log line and reply of the whole run is searched for them."""

import logging
import traceback
from collections.abc import MutableMapping
from typing import Any

import httpx
import structlog

_secrets: set[str] = set()
_seen: list[str] = []


def hide(secret: str) -> str:
    """Watch for a secret from now on; return it."""
    _secrets.add(secret)
    return secret


def take_seen() -> list[str]:
    """Return where a secret was seen since the last call."""
    seen, _seen[:] = list(_seen), []
    return seen


def look(said: str, where: str) -> None:
    """Note where a secret stands in a text."""
    if any(secret in said for secret in _secrets):
        _seen.append(where)


def watch_log(_: Any, method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Look at a log line of any level; let warnings and worse go on to be shown."""
    error = event.get("exc_info")
    told = traceback.format_exception(error) if isinstance(error, BaseException) else []
    look(f"{event} {''.join(told)}", f"log line: {event.get('event')}")
    if getattr(logging, method.upper(), logging.ERROR) < logging.WARNING:
        raise structlog.DropEvent
    return event


async def watch_reply(reply: httpx.Response) -> None:
    """Look at a reply of the application, with its headers."""
    await reply.aread()
    look(f"{reply.headers} {reply.text}", f"reply of {reply.request.method} {reply.request.url}")
