"""citewell export: have records written to a file, wait for it, fetch it."""

import contextlib
import hashlib
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated, Any

import httpx
import typer
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from citewell.cli.client import Client, connect
from citewell.cli.options import DataOption, JsonOption, UrlOption, load_settings
from citewell.cli.show import stderr
from citewell.cli.waiting import POLL_SECONDS
from citewell.errors import CitewellError, InputError, Unavailable

OPEN = {"pending", "running"}


def export(  # noqa: PLR0913, PLR0917 - typer reads a command's options from its arguments
    kind: Annotated[str, typer.Argument(help="chat_logs, audit, documents, feedback, usage.")],
    file_format: Annotated[str, typer.Option("--format", help="jsonl or csv.")] = "jsonl",
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="File to write; without it, stdout."),
    ] = None,
    since: Annotated[
        str | None, typer.Option("--from", help="Rows from this time on, such as 2026-11-01T00:00.")
    ] = None,
    until: Annotated[str | None, typer.Option("--to", help="Rows before this time.")] = None,
    filters: Annotated[
        list[str] | None,
        typer.Option("--filter", help="NAME=VALUE, as the API names them; can be repeated."),
    ] = None,
    installation: Annotated[
        bool, typer.Option("--installation", help="Of audit: what concerns no workspace; owners.")
    ] = False,
    data: DataOption = None,
    url: UrlOption = None,
    as_json: JsonOption = False,
) -> None:
    """Have records written to a file by a worker, wait for it, and fetch it."""
    wanted: dict[str, Any] = dict(_read_filters(filters or []))
    wanted |= {"installation": True} if installation else {}
    wanted |= {name: value for name, value in (("from", since), ("to", until)) if value}
    body = {"kind": kind, "format": file_format, "filters": wanted}
    if output is not None and not output.absolute().parent.is_dir():
        raise InputError("There is no such folder to write to. Make it, or name another file.")
    with connect(load_settings(data), url, worker=True) as client:
        made = client.send_patiently("POST", "/exports", lambda: {"json": body})
        ended = _follow(client, made["export_id"])
        if ended["status"] == "failed":
            raise CitewellError(ended["message"] or "The export failed. Try it again.")
        _fetch(client, ended, output)
    if as_json and output is not None:
        typer.echo(json.dumps(ended))
    elif output is not None:
        rows = ended["row_count"]
        stderr.print(f"{rows} {'row' if rows == 1 else 'rows'} in {escape(str(output))}.")


def _read_filters(given: list[str]) -> dict[str, str]:
    read: dict[str, str] = {}
    for item in given:
        name, sign, value = item.partition("=")
        if not sign or not name:
            raise typer.BadParameter("--filter needs NAME=VALUE.")
        read[name] = value
    return read


def _follow(client: Client, export_id: str) -> dict[str, Any]:
    """Wait for an export's end and show how much of it is done."""
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[status]}"),
        TimeElapsedColumn(),
        console=stderr,
        transient=True,
    ) as progress:
        bar = progress.add_task("Exporting", total=1.0, status="")
        while True:
            with contextlib.suppress(httpx.TransportError, Unavailable):
                found = client.send("GET", f"/exports/{export_id}")
                progress.update(bar, completed=found["share"], status=found["status"])
                if found["status"] not in OPEN:
                    return found
            time.sleep(POLL_SECONDS)


def _fetch(client: Client, ended: dict[str, Any], output: Path | None) -> None:
    """Write an export's file whole, or not at all.

    Raises:  CitewellError – other bytes came than were stored.
    """
    path, digest = f"/exports/{ended['export_id']}/download", hashlib.sha256()
    if output is None:
        client.download(path, sys.stdout.buffer.write)
        sys.stdout.buffer.flush()
        return
    handle, temporary = tempfile.mkstemp(dir=output.absolute().parent, prefix=".export-")
    try:
        with os.fdopen(handle, "wb") as file:

            def write(part: bytes) -> None:
                digest.update(part)
                file.write(part)

            client.download(path, write)
        if whole := digest.hexdigest() == ended["sha256"]:
            Path(temporary).replace(output)
    finally:
        Path(temporary).unlink(missing_ok=True)
    if not whole:
        raise CitewellError("The file did not come whole. Export it again.")
