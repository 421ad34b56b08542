"""citewell collections: named sets of documents."""

import json
from typing import Annotated

import typer

from citewell.cli.client import connect
from citewell.cli.options import DataOption, JsonOption, UrlOption, load_settings
from citewell.cli.show import console, show_table


def collections(
    add: Annotated[str | None, typer.Option("--add", help="Make this collection.")] = None,
    delete: Annotated[
        str | None, typer.Option("--delete", help="Delete this collection with its documents.")
    ] = None,
    data: DataOption = None,
    url: UrlOption = None,
    as_json: JsonOption = False,
) -> None:
    """List collections; make or delete one by its name."""
    with connect(load_settings(data), url) as client:
        if add:
            client.send("POST", "/collections", json={"name": add})
            console.print("Made.")
            return
        if delete:
            client.send("DELETE", f"/collections/{delete}")
            console.print("Deleted.")
            return
        found = client.send("GET", "/collections")["collections"]
    if as_json:
        typer.echo(json.dumps(found))
        return
    show_table(
        f"{len(found)} collections",
        ["name", "documents", "chunks"],
        [[item["name"], item["document_count"], item["chunk_count"]] for item in found],
    )
