"""citewell settings, doctor, verify: look after an installation."""

import asyncio
import json
import os
import shutil
import sys
from collections.abc import Iterator
from typing import Annotated, Any

import typer
from pydantic import BaseModel, SecretStr
from rich.markup import escape

from citewell import embedded
from citewell.cli.options import DataOption, JsonOption, load_settings
from citewell.cli.show import console, show_table
from citewell.errors import CitewellError
from citewell.settings import Settings

LEAST_FREE_BYTES = 1024**3
LEAST_RECALL = 0.95


def settings_rows(group: BaseModel, prefix: str = "CITEWELL_") -> Iterator[tuple[str, str, str]]:
    """List every setting: variable, value (never a secret's), description."""
    for name, field in type(group).model_fields.items():
        value = getattr(group, name)
        if isinstance(value, BaseModel):
            yield from settings_rows(value, f"{prefix}{name.upper()}__")
            continue
        yield f"{prefix}{name.upper()}", _shown(value), field.description or ""


def _shown(value: object) -> str:
    if isinstance(value, SecretStr):
        return "(set)"
    if isinstance(value, tuple):
        return ",".join(map(str, value))  # pyright: ignore[reportUnknownArgumentType]
    return "" if value is None else str(value)


def settings(data: DataOption = None, as_json: JsonOption = False) -> None:
    """Show every setting: its variable, its value now, and what it does. Secrets stay hidden."""
    rows = list(settings_rows(load_settings(data)))
    if as_json:
        typer.echo(json.dumps({name: value for name, value, _ in rows}))
        return
    show_table("Settings", ["variable", "value", "what it does"], [list(row) for row in rows])


def doctor(data: DataOption = None) -> None:
    """Check this installation part by part, and say what to do about what is wrong."""
    failed = False
    for name, problem in _diagnose(load_settings(data)):
        failed = failed or problem is not None
        mark = "[green]ok[/green]   " if problem is None else "[red]wrong[/red]"
        console.print(f"{mark} {escape(name)}" + (f": {escape(problem)}" if problem else ""))
    if failed:
        raise typer.Exit(1)


def _diagnose(settings: Settings) -> Iterator[tuple[str, str | None]]:
    """Yield each part's name, and a sentence when it is wrong."""
    yield f"Python {sys.version.split()[0]}", None
    settings.data.mkdir(parents=True, exist_ok=True, mode=0o700)
    writable = os.access(settings.data, os.W_OK)
    yield "data folder", None if writable else "It cannot be written. Choose one with --data."
    free = shutil.disk_usage(settings.data).free
    yield (
        f"disk space ({free // 1024**2:,} MiB free)",
        None if free > LEAST_FREE_BYTES else "Less than 1 GiB is free. Make room.",
    )
    try:
        with embedded.attach(settings) as ready:
            yield "servers start", None
            yield from asyncio.run(_diagnose_services(ready))
    except CitewellError as error:
        yield "servers", error.message


async def _diagnose_services(settings: Settings) -> list[tuple[str, str | None]]:
    from citewell.cli.ledger import migrate_database  # noqa: PLC0415 - only this command pays
    from citewell.wiring import open_services  # noqa: PLC0415

    await migrate_database(settings)
    async with open_services(settings) as services:
        (vector,) = await services.embedder.embed(["Does the model answer?"], "query")
        facts = await services.read_server_versions()
        ready = await services.check_ready()
        vectors = await services.check_vectors()
        recall = await services.measure_recall()
    return [
        *((name, None if answer == "ok" else answer) for name, answer in ready.items()),
        (f"embedding model ({len(vector)} dimensions)", None),
        ("stored vectors", vectors),
        *_judge_recall(recall),
        *facts,
    ]


def _judge_recall(recall: float | None) -> list[tuple[str, str | None]]:
    if recall is None:
        return []
    problem = (
        None
        if recall >= LEAST_RECALL
        else "Near chunks are missed. Raise CITEWELL_RETRIEVAL__HNSW_EF_SEARCH."
    )
    return [(f"vector index ({recall:.3f} of what exact search finds)", problem)]


def verify(
    repair: Annotated[
        bool, typer.Option("--repair", help="Put right what is broken, where it can be.")
    ] = False,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Check that nothing is lost, doubled, orphaned or misquoted; exit 1 on a breach."""
    checks, repairs = verify_data(load_settings(data), repair=repair)
    if as_json:
        typer.echo(json.dumps({"checks": checks, "repairs": repairs} if repair else checks))
    else:
        _show_checks(checks)
        for item in repairs:
            console.print(f"[yellow]repair[/yellow]  {escape(item['invariant'])}: {item['what']}")
        if repairs:
            console.print("Run `citewell verify` again when the queued jobs are done.")
    if any(check["breaches"] for check in checks):
        raise typer.Exit(1)


def _show_checks(checks: list[dict[str, Any]]) -> None:
    for check in checks:
        mark = "[red]broken[/red]" if check["breaches"] else "[green]holds[/green] "
        count = f" ({check['breaches']} breaches)" if check["breaches"] else ""
        console.print(f"{mark} {escape(check['invariant'])}{count}")
        for example in check["examples"]:
            console.print(f"         {example}", style="dim")


def verify_data(
    settings: Settings, *, repair: bool = False
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Run the checker on the servers of this data folder, running or not; repair when told to."""
    from citewell.cli.ledger import check_records  # noqa: PLC0415 - only this command pays for it

    with embedded.attach(settings) as ready:
        return asyncio.run(check_records(ready, repair=repair))
