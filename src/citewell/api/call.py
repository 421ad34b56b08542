"""A request as the gate sees it, before any of its body: its line, its headers, its origin."""

from dataclasses import dataclass

from starlette.datastructures import Headers

from citewell.api.rights import Right

WORKSPACE_HEADER = "x-workspace-id"


@dataclass(frozen=True, slots=True)
class Call:
    """One request. ``address`` is its form in the table of rights, and ``right`` what that needs.

    ``client`` is the connection's other end; ``named`` the workspace that the address names.
    """

    method: str
    headers: Headers
    client: str | None
    address: str
    right: Right
    named: str | None = None

    @property
    def workspace(self) -> str | None:
        """The workspace's id or name that the request tells: names are UTF-8."""
        given = self.headers.get(WORKSPACE_HEADER)
        try:
            return self.named or (given and given.encode("latin-1").decode())
        except UnicodeDecodeError:
            return given

    def credentials(self) -> list[str]:
        """Return every key that the request carries; two different ones are none."""
        given = self.headers.getlist("x-api-key")
        for value in self.headers.getlist("authorization"):
            scheme, _, token = value.partition(" ")
            given.append(token.strip() if scheme.lower() == "bearer" else "")
        return given
