"""citewell search, suggest: find chunks, and what one might look for."""

import json
import re
from typing import Annotated, Any

import typer
from rich.markup import escape

from citewell.cli.client import connect
from citewell.cli.options import CollectionOption, DataOption, JsonOption, UrlOption, load_settings
from citewell.cli.show import console, place_of
from citewell.errors import InputError

FILTER = re.compile(r"([^<>=!~]+?)\s*(>=|<=|!=|>|<|=|~)\s*(.*)", re.DOTALL)
OPERATORS = {">=": "gte", "<=": "lte", "!=": "ne", ">": "gt", "<": "lt", "~": "contains"}
SHOWN_COPIES = 5
"""Places with the text of a result that are named; the others are counted."""
ONE_OF = frozenset({"document_id", "document_name", "section", "media_type"})


def search(  # noqa: PLR0913, PLR0917 - a command has as many options
    query: Annotated[str, typer.Argument(help="What to look for.", show_default=False)],
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=200, help="Results.")] = 5,
    collection: CollectionOption = None,
    filters: Annotated[
        list[str] | None,
        typer.Option("--filter", help="As team=a, year>=2020, draft!=true, title~clock."),
    ] = None,
    min_similarity: Annotated[
        float, typer.Option("--min-similarity", min=0, max=1, help="Least cosine of a result.")
    ] = 0.0,
    explain: Annotated[bool, typer.Option("--explain", help="Say why each was found.")] = False,
    keep_duplicates: Annotated[
        bool, typer.Option("--keep-duplicates", help="Show each copy of a text by itself.")
    ] = False,
    data: DataOption = None,
    url: UrlOption = None,
    as_json: JsonOption = False,
) -> None:
    """Find the chunks that fit best, by meaning and by words."""
    body: dict[str, Any] = {
        "query": query,
        "limit": limit,
        "collection": collection,
        "filters": read_filters(filters or []),
        "min_similarity": min_similarity,
        "explain": explain,
        "collapse_duplicates": not keep_duplicates,
    }
    with connect(load_settings(data), url) as client:
        reply = client.send("POST", "/search", json=body)
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
        if result["explain"]:
            console.print(f"   [dim]{escape(result['explain']['why'])}[/dim]")
        if result["duplicates"]:
            places = dict.fromkeys(place_of(each) for each in result["duplicates"])
            more = len(places) - SHOWN_COPIES
            shown = "; ".join(list(places)[:SHOWN_COPIES]) + (f"; {more} more" if more > 0 else "")
            console.print(f"   [dim]also in {escape(shown)}[/dim]")
    if not reply["results"]:
        console.print("Nothing was found. Add documents with `citewell ingest`, or filter less.")


def suggest(
    typed: Annotated[str, typer.Argument(help="The beginning of a word.", show_default=False)],
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=50, help="Suggestions.")] = 8,
    collection: CollectionOption = None,
    data: DataOption = None,
    url: UrlOption = None,
    as_json: JsonOption = False,
) -> None:
    """Suggest titles, headings, phrases and answered questions that have a word that begins so."""
    wanted: dict[str, Any] = {"q": typed, "limit": limit}
    if collection is not None:
        wanted["collection"] = collection
    with connect(load_settings(data), url) as client:
        reply = client.send("GET", "/suggest", params=wanted)
    if as_json:
        typer.echo(json.dumps(reply))
        return
    for each in reply["suggestions"]:
        console.print(f"{escape(each['text'])} [dim]{each['kind']}[/dim]")
    if not reply["suggestions"]:
        console.print("Nothing begins so.")


def read_filters(given: list[str]) -> dict[str, Any]:
    """Read filters as they are written on a command line; all of them must hold.

    Raises:  InputError – one of them is none.
    """
    parts: list[dict[str, Any]] = []
    for each in given:
        found = FILTER.fullmatch(each.strip())
        if found is None:
            raise InputError(
                f"--filter {each!r} is not understood. Write it as team=a or year>=2020."
            )
        name, sign, written = found.groups()
        value: Any = written if name in ONE_OF or sign == "~" else _value(written)
        parts.append({name: value if sign == "=" else {OPERATORS[sign]: value}})
    return {"all": parts} if parts else {}


def _value(written: str) -> Any:
    """Return a number, true, false or null as such, anything else as a text."""
    try:
        value: Any = json.loads(written)
    except ValueError:
        return written
    return written if isinstance(value, list | dict) else value
