"""citewell audit: who changed what; whether the log of it is whole."""

import asyncio
import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated
from uuid import UUID

import typer

from citewell import embedded
from citewell.cli.client import connect, list_all
from citewell.cli.options import DataOption, JsonOption, UrlOption, load_settings
from citewell.cli.show import console, show_table
from citewell.domain import WorkspaceId
from citewell.errors import InputError

if TYPE_CHECKING:
    from citewell.records.audit_chain import Broken, Chain

audit = typer.Typer(
    help="The audit log: who changed what, what was denied.", no_args_is_help=True, name="audit"
)
FAULTS = {
    "changed": "the row or its link was changed",
    "missing": "the row or its link is gone",
    "inserted": "the row was never chained",
    "cut": "the chain ends before its head says",
    "head": "the head is gone, or names another end",
    "rewritten": "the anchor is not in this chain",
}
SHOWN = 200


@audit.command("list")
def list_rows(  # noqa: PLR0913, PLR0917 - a command has as many options
    action: Annotated[str | None, typer.Option("--action", help="Such as document.upload.")] = None,
    actor: Annotated[str | None, typer.Option("--actor", help="Such as key:cw_….")] = None,
    outcome: Annotated[str | None, typer.Option("--outcome", help="done or denied.")] = None,
    target: Annotated[str | None, typer.Option("--target", help="An id or a name.")] = None,
    request: Annotated[str | None, typer.Option("--request", help="A request's id.")] = None,
    since: Annotated[str | None, typer.Option("--from", help="From this time on.")] = None,
    until: Annotated[str | None, typer.Option("--to", help="Before this time.")] = None,
    installation: Annotated[
        bool, typer.Option("--installation", help="What concerns no workspace; owners only.")
    ] = False,
    everything: Annotated[
        bool, typer.Option("--all", help=f"All of it, not only the last {SHOWN}.")
    ] = False,
    data: DataOption = None,
    url: UrlOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the audit log, the last first."""
    given = {
        "action": action,
        "actor": actor,
        "outcome": outcome,
        "target": target,
        "request_id": request,
        "from": since,
        "to": until,
        "installation": "true" if installation else None,
    }
    query = {name: value for name, value in given.items() if value is not None}
    with connect(load_settings(data), url) as client:
        if everything:
            found = list_all(client, "/audit", "entries", query)
        else:
            found = client.send("GET", "/audit", params={**query, "limit": SHOWN})["entries"]
    if as_json:
        typer.echo(json.dumps(found))
        return
    show_table(
        "Audit log",
        ["position", "at", "actor", "action", "target", "outcome", "request"],
        [[e["position"], e["created_at"], e["actor"], e["action"], e["target"], e["outcome"],
          e["request_id"]] for e in found],
    )  # fmt: skip


@audit.command("verify")
def verify(
    workspace: Annotated[
        str | None, typer.Option("--workspace", "-w", help="A workspace's id; all if absent.")
    ] = None,
    expect: Annotated[
        list[str] | None,
        typer.Option(
            "--expect",
            metavar="POSITION:HASH",
            help="An anchor that an earlier run printed; can be given several times.",
        ),
    ] = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Walk the audit log's chains and print each head as an anchor; exit 1 where one is broken."""
    from citewell.cli.ledger import check_audit  # noqa: PLC0415 - only this command pays for it

    wanted = None if workspace is None else _workspace(workspace)
    with embedded.attach(load_settings(data)) as ready:
        chains = asyncio.run(check_audit(ready, wanted, expect or []))
    if as_json:
        typer.echo(json.dumps([asdict(chain) | _anchor(chain) for chain in chains], default=str))
    else:
        for chain in chains:
            _show(chain)
    if any(chain.broken for chain in chains):
        raise typer.Exit(1)


def _workspace(given: str) -> WorkspaceId:
    try:
        return WorkspaceId(UUID(given))
    except ValueError as error:
        raise InputError(
            "A workspace's id looks like a UUID. GET /workspaces lists them."
        ) from error


def _anchor(chain: "Chain") -> dict[str, str]:
    return {"anchor": f"{chain.workspace_id}:{chain.length}:{chain.hash}"}


def _show(chain: "Chain") -> None:
    mark = "[red]broken[/red]" if chain.broken else "[green]whole[/green] "
    console.print(f"{mark} {chain.workspace_id}, {chain.length:,} rows")
    for broken in chain.broken:
        console.print(f"       {_place(broken)}: {FAULTS[broken.fault]}")
    console.print(f"       anchor {_anchor(chain)['anchor']}", style="dim")


def _place(broken: "Broken") -> str:
    parts = [] if broken.position is None else [f"position {broken.position}"]
    return ", ".join(parts + ([] if broken.audit_id is None else [f"row {broken.audit_id}"]))
