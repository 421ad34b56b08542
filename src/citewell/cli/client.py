"""The command line's HTTP client: every command is a request that anyone could send."""

import json
import re
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

import httpx
from pydantic import SecretStr

from citewell.embedded import read_holder, read_running
from citewell.errors import (
    CitewellError,
    InputError,
    LimitExceeded,
    QuotaExceeded,
    Unavailable,
)
from citewell.settings import Settings

TIMEOUT_SECONDS = 120.0
PAUSES_SECONDS = (1.0, 2.0, 4.0, 8.0, 15.0, 30.0)
"""How long a server that is busy or starting again is waited for, between the tries."""


SAID_HERE = {
    r"Name one in X-Workspace-ID\b": "Name one with -w NAME before the command, or in "
    "CITEWELL_WORKSPACE",
    r"GET /(documents|collections|jobs)\b(?!/)": r"`citewell \1`",
    r"GET /keys\b(?!/)": "`citewell key list`",
    r"GET /workspaces\b(?!/)": "`citewell workspace list`",
    r"POST /collections makes one": "`citewell collections --add NAME` makes one",
    r"POST /keys\b(?!/)": "`citewell key create`",
}
"""What the API's sentences say, and what the same is on the command line."""


class Client:
    """Sends requests; a problem becomes an error with the server's own sentence."""

    def __init__(
        self, url: str, key: SecretStr | None = None, workspace: str | None = None
    ) -> None:
        self.url = url.rstrip("/")
        # As bytes, since a workspace's name may hold any letters.
        headers: dict[bytes, bytes] = {}
        if key is not None:
            headers[b"Authorization"] = f"Bearer {key.get_secret_value()}".encode()
        if workspace:
            headers[b"X-Workspace-ID"] = workspace.encode()
        self._http = httpx.Client(
            base_url=self.url, timeout=TIMEOUT_SECONDS, trust_env=False, headers=headers
        )

    def send(self, method: str, path: str, **request: Any) -> Any:
        """Send one request; return the reply's JSON, or its text.

        Raises:  InputError – the server refuses the request.  Unavailable, LimitExceeded – it may
                 take it later.  CitewellError – any other problem; always in the server's words.
        """
        response = self._http.request(method, path, **request)
        if response.is_error:
            raise _problem(response)
        if not response.content:
            return None
        kind = response.headers.get("content-type", "").partition(";")[0]
        return response.json() if kind.endswith("json") else response.text

    def download(self, path: str, write: Callable[[bytes], object]) -> None:
        """Send one request; write the reply's bytes as they come.

        Raises:  as ``send`` does.
        """
        with self._http.stream("GET", path) as response:
            if response.is_error:
                response.read()
                raise _problem(response)
            for data in response.iter_bytes():
                write(data)

    def stream(self, path: str, body: dict[str, Any]) -> Generator[tuple[str, Any]]:
        """Send a question; yield each event's name and data as it comes, to the last one.

        Raises:  as ``send`` does, also for an ``error`` event.  CitewellError – the stream broke
                 off before its last event.
        """
        with self._http.stream("POST", path, json=body) as response:
            if response.is_error:
                response.read()
                raise _problem(response)
            name = ""
            for line in response.iter_lines():
                field, _, value = line.partition(": ")
                if field == "event":
                    name = value
                elif field == "data":
                    data = json.loads(value)
                    if name == "error":
                        raise _error_class(data["status"])(in_commands(data["detail"]))
                    yield name, data
                    if name == "done":
                        return
        raise CitewellError("The answer broke off before its end. Ask again.")

    def send_patiently(self, method: str, path: str, request: Callable[[], dict[str, Any]]) -> Any:
        """Send a request, again while the server is away or busy; it has one effect.

        ``request`` makes its parts for each try.
        Raises:  as ``send`` does, when the last try failed as well.
        """
        headers = {"Idempotency-Key": uuid4().hex}
        for pause in PAUSES_SECONDS:
            try:
                return self.send(method, path, headers=headers, **request())
            except (Unavailable, LimitExceeded, httpx.TransportError):
                time.sleep(pause)
        return self.send(method, path, headers=headers, **request())

    def close(self) -> None:
        """Close the connections."""
        self._http.close()


def in_commands(message: str) -> str:
    """Name the option or command where the server's sentence names a header or an address."""
    for said, here in SAID_HERE.items():
        message = re.sub(said, here, message)
    return message


def _problem(response: httpx.Response) -> CitewellError:
    if "json" in response.headers.get("content-type", ""):
        problem = response.json()
        message = in_commands(problem.get("detail") or "The server gave no reason.")
        if problem.get("code") == QuotaExceeded.code:
            return InputError(message)  # to wait for seconds does not help
    else:
        message = f"The server answered {response.status_code}. Check --url."
    return _error_class(response.status_code)(message)


def _error_class(status: int) -> type[CitewellError]:
    if status == 503:
        return Unavailable
    if status == 429:
        return LimitExceeded
    return InputError if status < 500 else CitewellError


def list_all(client: Client, path: str, field: str, query: dict[str, str]) -> list[dict[str, Any]]:
    """Read a list to its last page."""
    found: list[dict[str, Any]] = []
    cursor: str | None = None
    while True:
        page = client.send(
            "GET", path, params={**query, "limit": 200, **({"cursor": cursor} if cursor else {})}
        )
        found += page[field]
        cursor = page["next_cursor"]
        if cursor is None:
            return found


def _local_key(settings: Settings) -> SecretStr | None:
    """Return what the server on this data folder knows its own command line by."""
    try:
        return read_running(settings).auth.local_key
    except (OSError, ValueError):
        return None  # it is just stopping, and says so itself


@contextmanager
def connect(settings: Settings, url: str | None, *, worker: bool = False) -> Generator[Client]:
    """Connect to the named server, else to the one that holds the data folder, else to an own one.

    The own one lives as long as the command; it has a worker when the command needs jobs done.
    """
    holder = None if url else read_holder(settings.data)
    if url or (holder and holder.url):
        key = settings.key if url else settings.key or _local_key(settings)
        address = url or str(holder.url)  # pyright: ignore[reportOptionalMemberAccess]
        client = Client(address, key, settings.workspace)
        try:
            yield client
        finally:
            client.close()
        return
    from citewell.cli.stack import open_stack  # noqa: PLC0415 - a running server needs none of it

    with open_stack(settings, worker=worker) as stack:
        client = Client(stack.url, stack.settings.auth.local_key, settings.workspace)
        try:
            yield client
        finally:
            client.close()
