"""citewell ask, search, replay: questions."""

import json
from typing import Annotated

import typer
from rich.markup import escape

from citewell.cli.client import connect
from citewell.cli.options import CollectionOption, DataOption, JsonOption, UrlOption, load_settings
from citewell.cli.show import console, place_of, show_answer


def ask(
    question: Annotated[str, typer.Argument(help="The question.", show_default=False)],
    collection: CollectionOption = None,
    data: DataOption = None,
    url: UrlOption = None,
    as_json: JsonOption = False,
) -> None:
    """Answer a question from the documents, with the exact place of every sentence, or refuse."""
    with connect(load_settings(data), url) as client:
        reply = client.send("POST", "/query", json={"question": question, "collection": collection})
    if as_json:
        typer.echo(json.dumps(reply))
    else:
        show_answer(reply)


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


def search(
    query: Annotated[str, typer.Argument(help="What to look for.", show_default=False)],
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=200, help="Results.")] = 5,
    collection: CollectionOption = None,
    data: DataOption = None,
    url: UrlOption = None,
    as_json: JsonOption = False,
) -> None:
    """Find the chunks that fit best, by meaning and by words."""
    with connect(load_settings(data), url) as client:
        reply = client.send(
            "POST", "/search", json={"query": query, "limit": limit, "collection": collection}
        )
    if as_json:
        typer.echo(json.dumps(reply))
        return
    for number, result in enumerate(reply["results"], 1):
        legs = " ".join(f"{leg} {score:.2f}" for leg, score in result["scores"].items())
        console.print(
            f"[bold]{number}.[/bold] {escape(place_of(result))} "
            f"[dim]score {result['score']:.2f} ({legs})[/dim]"
        )
        console.print(f"   {escape(' '.join(result['text'].split())[:300])}")
    if not reply["results"]:
        console.print("Nothing was found. Add documents with `citewell ingest`.")
