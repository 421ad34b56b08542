"""citewell workspace: make, list, rename, archive, restore and delete workspaces."""

import json
from typing import Annotated, Any
from uuid import UUID

import typer
from rich.markup import escape

from citewell.cli.client import Client, connect, list_all
from citewell.cli.options import DataOption, JsonOption, UrlOption, load_settings
from citewell.cli.show import console, show_table
from citewell.errors import InputError

workspaces = typer.Typer(
    help="Workspaces: what each team has for itself.", no_args_is_help=True, name="workspace"
)
WorkspaceArgument = Annotated[
    str, typer.Argument(metavar="WORKSPACE", help="The workspace's name or id.")
]
DescriptionOption = Annotated[str | None, typer.Option("--description", help="What it is for.")]


@workspaces.command("create")
def create(
    name: Annotated[str, typer.Argument(help="Its name, which no other one has.")],
    description: DescriptionOption = None,
    data: DataOption = None,
    url: UrlOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a workspace."""
    body = {"name": name, "description": description or ""}
    with connect(load_settings(data), url) as client:
        made = client.send("POST", "/workspaces", json=body)
    if as_json:
        typer.echo(json.dumps(made))
        return
    console.print(f"Made the workspace {escape(made['name'])}, id {made['id']}.")
    console.print("Make a key for it: citewell key create NAME --workspace NAME --role editor")


@workspaces.command("list")
def list_workspaces(
    search: Annotated[
        str | None, typer.Option("--search", help="Words of the name or the description.")
    ] = None,
    status: Annotated[
        str, typer.Option("--status", help="active, archived, or all of them.")
    ] = "all",
    data: DataOption = None,
    url: UrlOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the workspaces that you have a role in, newest first."""
    query = {"status": status} | ({"search": search} if search else {})
    with connect(load_settings(data), url) as client:
        found = list_all(client, "/workspaces", "workspaces", query)
    if as_json:
        typer.echo(json.dumps(found))
        return
    show_table(
        "Workspaces",
        ["id", "name", "role", "state", "description"],
        [[w["id"], w["name"], w["role"], _state(w), w["description"]] for w in found],
    )


@workspaces.command("show")
def show(
    workspace: WorkspaceArgument,
    data: DataOption = None,
    url: UrlOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show a workspace and what it holds."""
    with connect(load_settings(data), url) as client:
        found = client.send("GET", path_of(client, workspace))
    if as_json:
        typer.echo(json.dumps(found))
        return
    usage: dict[str, dict[str, Any]] = found.pop("usage") or {}
    found |= {f"used_{when}": _used(used) for when, used in usage.items()}
    rows = [[name.replace("_", " "), value] for name, value in found.items() if value is not None]
    show_table(found["name"], ["", ""], rows)


@workspaces.command("rename")
def rename(
    workspace: WorkspaceArgument,
    name: Annotated[str | None, typer.Argument(help="The new name.")] = None,
    description: DescriptionOption = None,
    data: DataOption = None,
    url: UrlOption = None,
) -> None:
    """Give a workspace another name, another description, or both."""
    body = {"name": name, "description": description}
    with connect(load_settings(data), url) as client:
        changed = client.send("PATCH", path_of(client, workspace), json=body)
    console.print(f"The workspace is named {escape(changed['name'])}.")


@workspaces.command("archive")
def archive(
    workspace: WorkspaceArgument,
    reason: Annotated[str, typer.Option("--reason", help="Why; its readers see it.")],
    data: DataOption = None,
    url: UrlOption = None,
) -> None:
    """Let a workspace be read, and no longer changed."""
    with connect(load_settings(data), url) as client:
        path = f"{path_of(client, workspace)}/archive"
        console.print(escape(client.send("POST", path, json={"reason": reason})["message"]))


@workspaces.command("restore")
def restore(workspace: WorkspaceArgument, data: DataOption = None, url: UrlOption = None) -> None:
    """Let an archived workspace be changed again; if it was deleted, it no longer is."""
    with connect(load_settings(data), url) as client:
        path = f"{path_of(client, workspace)}/restore"
        console.print(escape(client.send("POST", path)["message"]))


@workspaces.command("delete")
def delete(
    workspace: WorkspaceArgument,
    confirm: Annotated[
        str, typer.Option("--confirm", help="The workspace's name once more, letter by letter.")
    ],
    data: DataOption = None,
    url: UrlOption = None,
) -> None:
    """Have an archived workspace removed, with all it holds, when its grace is over."""
    with connect(load_settings(data), url) as client:
        path = path_of(client, workspace)
        done = client.send("DELETE", path, params={"confirm": confirm})
    console.print(escape(done["message"]))


@workspaces.command("purges")
def purges(data: DataOption = None, url: UrlOption = None, as_json: JsonOption = False) -> None:
    """List purged workspaces, newest first: what was removed, and that nothing is left."""
    with connect(load_settings(data), url) as client:
        found = list_all(client, "/workspaces/purges", "purges", {})
    if as_json:
        typer.echo(json.dumps(found))
        return
    show_table(
        "Purges",
        ["workspace", "asked by", "finished", "rows removed", "files removed", "left"],
        [[p["workspace_id"], p["requested_by"], p["finished_at"] or "is going on",
          sum(p["rows_removed"].values()), p["blobs_removed"], _left(p)] for p in found],
    )  # fmt: skip


def path_of(client: Client, workspace: str) -> str:
    """Return a workspace's address; a name is looked up among those that the caller sees."""
    try:
        return f"/workspaces/{UUID(workspace)}"
    except ValueError:
        found = list_all(client, "/workspaces", "workspaces", {"search": workspace[:200]})
    for each in found:
        if each["name"] == workspace:
            return f"/workspaces/{each['id']}"
    raise InputError("There is no workspace with that name here. See `citewell workspace list`.")


def _used(used: dict[str, Any]) -> str:
    tokens = used["input_tokens"] + used["output_tokens"]
    return f"{used['questions']:,} questions, {tokens:,} tokens, {used['cost_usd']:.4f} US dollars"


def _state(workspace: dict[str, Any]) -> str:
    after = workspace["purge_after"]
    return f"deleted, purged after {after[:16]}" if after else workspace["status"]


def _left(purge: dict[str, Any]) -> str:
    if purge["finished_at"] is None:
        return ""
    return str(sum(purge["rows_left"].values()) + purge["blobs_left"])
