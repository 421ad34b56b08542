"""The command line's HTTP client: every command is a request that anyone could send."""

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import httpx

from citewell.cli.stack import open_stack
from citewell.embedded import read_holder
from citewell.errors import CitewellError
from citewell.settings import Settings

TIMEOUT_SECONDS = 120.0


class Client:
    """Sends requests; a problem becomes an error with the server's own sentence."""

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")
        self._http = httpx.Client(base_url=self.url, timeout=TIMEOUT_SECONDS, trust_env=False)

    def send(self, method: str, path: str, **request: Any) -> Any:
        """Send one request; return the reply's JSON, or its text.

        Raises:  CitewellError – the server's problem, in its words.
        """
        response = self._http.request(method, path, **request)
        kind = response.headers.get("content-type", "")
        if response.is_error:
            known = "json" in kind
            raise CitewellError(
                response.json().get("detail")
                if known
                else f"The server answered {response.status_code}. Check --url."
            )
        if not response.content:
            return None
        return response.json() if "json" in kind else response.text

    def close(self) -> None:
        """Close the connections."""
        self._http.close()


@contextmanager
def connect(settings: Settings, url: str | None, *, worker: bool = False) -> Generator[Client]:
    """Connect to the named server, else to the one that holds the data folder, else to an own one.

    The own one lives as long as the command; it has a worker when the command needs jobs done.
    """
    holder = None if url else read_holder(settings.data)
    if url or (holder and holder.url):
        client = Client(url or str(holder.url))  # pyright: ignore[reportOptionalMemberAccess]
        try:
            yield client
        finally:
            client.close()
        return
    with open_stack(settings, worker=worker) as stack:
        client = Client(stack.url)
        try:
            yield client
        finally:
            client.close()
