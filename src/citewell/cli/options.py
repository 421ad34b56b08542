"""Options that several commands share."""

from contextvars import ContextVar
from pathlib import Path
from typing import Annotated

import typer

from citewell.settings import Settings

DataOption = Annotated[
    Path | None,
    typer.Option("--data", help="Data folder.", show_default="~/.local/share/citewell"),
]
UrlOption = Annotated[
    str | None,
    typer.Option(
        "--url",
        envvar="CITEWELL_URL",
        help="A running server; without it, the one that holds the data folder, or an own one.",
    ),
]
CollectionOption = Annotated[str | None, typer.Option("--collection", "-c", help="Collection.")]
PasswordOption = Annotated[
    str | None,
    typer.Option("--password", help="Opens encrypted files; the server forgets it at the end."),
]
_workspace: ContextVar[str | None] = ContextVar("workspace", default=None)
JsonOption = Annotated[bool, typer.Option("--json", help="Print the reply as JSON.")]


def load_settings(data: Path | None, **overrides: object) -> Settings:
    """Read the settings, with what the command line says on top."""
    folder = None if data is None else data.expanduser().absolute()
    return Settings.load(data=folder, workspace=_workspace.get(), **overrides)


def choose_workspace(named: str | None) -> None:
    """Have the command work in this workspace; None leaves it to the settings."""
    _workspace.set(named)
