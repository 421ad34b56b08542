"""citewell key: make, list, replace and revoke API keys; the first key of an installation."""

import json
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import typer
from rich.markup import escape

from citewell.cli.client import connect, list_all
from citewell.cli.options import DataOption, JsonOption, UrlOption, load_settings
from citewell.cli.show import console, show_table

keys = typer.Typer(
    help="API keys: who may do what in which workspace.", no_args_is_help=True, name="key"
)
RoleOption = Annotated[
    str, typer.Option("--role", help="viewer, editor, admin, or owner of the installation.")
]
KeyArgument = Annotated[str, typer.Argument(metavar="ID", help="The key's id, from `key list`.")]


@keys.command("create")
def create(
    name: Annotated[str, typer.Argument(help="Whom or what the key is for.")],
    role: RoleOption = "viewer",
    workspace: Annotated[
        list[str] | None,
        typer.Option("--workspace", "-w", help="A workspace that it is for; can be repeated."),
    ] = None,
    group: Annotated[
        list[str] | None, typer.Option("--group", help="A group; can be given several times.")
    ] = None,
    days: Annotated[
        float | None, typer.Option("--days", min=0, help="It expires after so many days.")
    ] = None,
    data: DataOption = None,
    url: UrlOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a key and show it, this once."""
    expires = None if days is None else datetime.now(UTC) + timedelta(days=days)
    body = {
        "name": name,
        "role": role,
        "workspaces": workspace or None,
        "groups": group or [],
        "expires_at": expires and expires.isoformat(),
    }
    with connect(load_settings(data), url) as client:
        _show_made(client.send("POST", "/keys", json=body), as_json)


@keys.command("list")
def list_keys(data: DataOption = None, url: UrlOption = None, as_json: JsonOption = False) -> None:
    """List the keys of workspaces that you are an admin of, newest first; never their secrets."""
    with connect(load_settings(data), url) as client:
        found = list_all(client, "/keys", "keys", {})
    if as_json:
        typer.echo(json.dumps(found))
        return
    show_table(
        "Keys",
        ["id", "name", "begins with", "role", "state", "last used"],
        [[k["id"], k["name"], k["hint"], _role(k), _state(k), k["last_used_at"] or "never"]
         for k in found],
    )  # fmt: skip


@keys.command("rotate")
def rotate(
    key_id: KeyArgument,
    overlap_hours: Annotated[
        float, typer.Option("--overlap-hours", min=0, help="How long the old one still works.")
    ] = 24.0,
    data: DataOption = None,
    url: UrlOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a new key in the place of one, which works for a while longer."""
    body = {"overlap_seconds": overlap_hours * 3600}
    with connect(load_settings(data), url) as client:
        _show_made(client.send("POST", f"/keys/{key_id}/rotate", json=body), as_json)


@keys.command("revoke")
def revoke(key_id: KeyArgument, data: DataOption = None, url: UrlOption = None) -> None:
    """Revoke a key now."""
    with connect(load_settings(data), url) as client:
        client.send("DELETE", f"/keys/{key_id}")
    console.print("Revoked. Every process refuses it within five seconds.")


@keys.command("generate")
def generate() -> None:
    """Print a new key without storing it, for CITEWELL_AUTH__KEYS of a fleet."""
    from citewell.records.credentials import new_credential  # noqa: PLC0415 - loads the records

    typer.echo(new_credential().text)


def _show_made(made: dict[str, Any], as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(made))
        return
    console.print(f"Made the key {escape(made['name'])} ({_role(made)}), id {made['id']}.")
    console.print("Keep it now; it is not shown again:")
    typer.echo(made["key"])


def _role(key: dict[str, Any]) -> str:
    return "owner" if key["is_owner"] else ", ".join(sorted(set(key["roles"].values())))


def _state(key: dict[str, Any]) -> str:
    if key["revoked_at"]:
        return "revoked"
    if key["expires_at"] and datetime.fromisoformat(key["expires_at"]) <= datetime.now(UTC):
        return "expired"
    return "replaced" if key["replaced_by"] else "valid"
