"""citewell usage: what was used by day, and what quotas leave."""

import json
from typing import Annotated, Any

import typer

from citewell.cli.client import connect
from citewell.cli.options import DataOption, JsonOption, UrlOption, load_settings
from citewell.cli.show import show_table

MEASURES = ("documents", "bytes", "chunks", "tokens_per_day", "cost_usd_per_day")
TITLES = ("documents", "bytes", "chunks", "tokens today", "US dollars today")


def usage(
    first: Annotated[
        str | None,
        typer.Option("--from", metavar="DAY", help="First day (UTC); 30 days if absent."),
    ] = None,
    last: Annotated[
        str | None, typer.Option("--to", metavar="DAY", help="Last day; today if absent.")
    ] = None,
    of_all: Annotated[bool, typer.Option("--all", help="Of every workspace; for owners.")] = False,
    data: DataOption = None,
    url: UrlOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show what was used by day and collection, and what quotas leave."""
    given = {"from": first, "to": last, "all": "true" if of_all else None}
    query = {name: value for name, value in given.items() if value is not None}
    with connect(load_settings(data), url) as client:
        reply: dict[str, Any] = client.send("GET", "/usage", params=query)
    if as_json:
        typer.echo(json.dumps(reply))
        return
    columns = ["day", "collection", "questions", "tokens", "US dollars", "documents", "bytes"]
    workspace = ["workspace"] if of_all else []
    show_table(
        f"Used from {reply['first']} to {reply['last']}",
        [*workspace, *columns, "chunks"],
        [_day(day, of_all=of_all) for day in reply["days"]],
    )
    if reply["quotas"] is not None:
        _show_quotas(reply["quotas"])


def _day(day: dict[str, Any], *, of_all: bool) -> list[Any]:
    named = "(deleted)" if day["removed"] else day["collection"] or "(all)"
    return [
        *([day["workspace_id"]] if of_all else []),
        day["day"],
        named,
        day["questions"],
        day["input_tokens"] + day["output_tokens"],
        f"{day['cost_usd']:.4f}",
        day["documents"],
        day["bytes"],
        day["chunks"],
    ]


def _show_quotas(quotas: dict[str, Any]) -> None:
    rows = [quotas["workspace"], *quotas["collections"]]
    limited = [row for row in rows if any(most is not None for most in row["allowed"].values())]
    if not limited:
        typer.echo("No quota is set.")
        return
    show_table(
        "Quotas: used of what is allowed",
        ["of", *TITLES],
        [
            [
                row["collection"] or "the workspace",
                *(f"{row['used'][m]} of {_most(row['allowed'][m])}" for m in MEASURES),
            ]
            for row in limited
        ],
    )


def _most(allowed: float | None) -> str:
    return "any" if allowed is None else str(allowed)
