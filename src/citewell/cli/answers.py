"""citewell ask, replay, feedback: questions and what became of them."""

import json
from collections.abc import Iterator
from typing import Annotated, Any

import typer
from rich.markup import escape

from citewell.cli.client import connect
from citewell.cli.options import CollectionOption, DataOption, JsonOption, UrlOption, load_settings
from citewell.cli.show import console, show_end, show_part
from citewell.errors import InputError

NEW_SESSION = "new"


def ask(
    question: Annotated[str, typer.Argument(help="The question.", show_default=False)],
    collection: CollectionOption = None,
    mode: Annotated[
        str | None, typer.Option("--mode", help="How to answer, as in crag or crag+structured.")
    ] = None,
    session: Annotated[
        str | None,
        typer.Option("--session", help="A session's id, to ask on in it, or new to begin one."),
    ] = None,
    data: DataOption = None,
    url: UrlOption = None,
    as_json: JsonOption = False,
) -> None:
    """Answer a question from the documents, with the exact place of every sentence, or refuse.

    Sentences are printed as they come; with --json the whole reply at its end.
    """
    body: dict[str, Any] = {"question": question, "collection": collection, "mode": mode}
    with connect(load_settings(data), url) as client:
        if session == NEW_SESSION:
            body["session_id"] = client.send("POST", "/session")["session_id"]
        elif session is not None:
            client.send("GET", f"/chat/sessions/{session}")
            body["session_id"] = session
        if as_json:
            typer.echo(json.dumps(client.send("POST", "/query", json=body)))
        else:
            _show_stream(client.stream("/query/stream", body))


def _show_stream(events: Iterator[tuple[str, Any]]) -> None:
    """Print sentences, or words, as they come; then where they are from."""
    begun = False
    for name, data in events:
        if name in {"sentence", "token"}:
            show_part(data, first=not begun, whole=name == "sentence")
            begun = True
        elif name == "done":
            if begun:
                console.print()
            show_end(data)


def feedback(
    action: Annotated[str, typer.Argument(help="export: print it as JSON lines.")],
    rating: Annotated[str | None, typer.Option("--rating", help="Only up, or only down.")] = None,
    since: Annotated[str | None, typer.Option("--since", help="Only from this time on.")] = None,
    data: DataOption = None,
    url: UrlOption = None,
) -> None:
    """Print what users said of answers, newest first, one JSON a line."""
    if action != "export":
        raise InputError(f"feedback does not know {action!r}. Write `citewell feedback export`.")
    query = {"rating": rating, "since": since}
    with connect(load_settings(data), url) as client:
        lines = client.send(
            "GET", "/feedback/export", params={key: value for key, value in query.items() if value}
        )
    typer.echo(lines or "", nl=False)


def replay(
    answer_id: Annotated[str, typer.Argument(help="The answer's id.", show_default=False)],
    data: DataOption = None,
    url: UrlOption = None,
    as_json: JsonOption = False,
) -> None:
    """Do an answer's search once more; say whether it finds the same, and what changed since."""
    with connect(load_settings(data), url) as client:
        reply = client.send("POST", f"/answers/{answer_id}/replay")
    if as_json:
        typer.echo(json.dumps(reply))
        return
    console.print(escape(reply["message"]))
    for how in ("missing", "added", "rescored"):
        for chunk_id in reply[how]:
            console.print(f"  [dim]{how:<8} {chunk_id}[/dim]")
