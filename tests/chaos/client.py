"""One who goes on asking until the server answers, as a person's script would."""

import time
from dataclasses import dataclass, field
from typing import Any, Self

import httpx

from chaos.installation import Installation
from e2e.processes import PLAIN

PATIENCE_SECONDS = 150.0
ANSWER_SECONDS = 30.0
PAUSE_SECONDS = 0.1
PASSING = {429, 503, 507}


class GaveUp(AssertionError):
    """The server did not take a request for a long time."""


@dataclass
class Client:
    """Repeats each request until its reply is a wanted one, and starts a killed ``up`` again.

    ``wrong`` lists replies that no fault excuses: a 500, a 4xx to a good request.
    """

    installation: Installation
    wrong: list[str] = field(default_factory=list)
    slowest_seconds: float = 0.0

    def __post_init__(self) -> None:
        self._http = httpx.Client(timeout=ANSWER_SECONDS, **PLAIN)

    def once(self, method: str, path: str, **more: Any) -> httpx.Response:
        """Ask once, and note how long the answer took."""
        started = time.monotonic()
        try:
            return self._http.request(method, self.installation.url + path, **more)
        finally:
            self.slowest_seconds = max(self.slowest_seconds, time.monotonic() - started)

    def ask(self, method: str, path: str, wanted: set[int], **more: Any) -> httpx.Response:
        """Ask until a wanted status comes."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        last = "nothing"
        while time.monotonic() < deadline:
            try:
                reply = self.once(method, path, **more)
            except httpx.TransportError as error:
                last = type(error).__name__
                self.installation.revive()
            else:
                if reply.status_code in wanted:
                    return reply
                last = f"{method} {path}: {reply.status_code} {reply.text[:300]}"
                if reply.status_code not in PASSING:
                    self.wrong.append(last)
            time.sleep(PAUSE_SECONDS)
        raise GaveUp(f"the last answer was {last}")

    def get(self, path: str, **query: Any) -> httpx.Response:
        """Read something that is there."""
        return self.ask("GET", path, {200}, params=query)

    def upload(self, collection: str, files: dict[str, bytes]) -> list[dict[str, Any]]:
        """Upload files; return what the reply says of each."""
        reply = self.ask(
            "POST",
            "/documents/upload",
            {202},
            files=[("files", item) for item in files.items()],
            data={"collection": collection},
        )
        return reply.json()["documents"]

    def pages(self, path: str, key: str, **query: Any) -> list[dict[str, Any]]:
        """Read a whole list."""
        found: list[dict[str, Any]] = []
        cursor = None
        while True:
            more = {} if cursor is None else {"cursor": cursor}
            page = self.get(path, limit=200, **query, **more).json()
            found += page[key]
            cursor = page["next_cursor"]
            if cursor is None:
                return found

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()
