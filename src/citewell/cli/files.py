"""citewell ingest, documents, jobs: files in, and what became of them."""

import contextlib
import json
import math
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, BinaryIO

import httpx
import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from citewell.cli.client import Client, connect
from citewell.cli.options import CollectionOption, DataOption, JsonOption, UrlOption, load_settings
from citewell.cli.show import console, show_error, show_table, stderr
from citewell.errors import CitewellError, InputError

BATCH_FILES = 50
BATCH_BYTES = 32 * 1024 * 1024
POLL_SECONDS = 0.1
HINT_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class LocalFile:
    """A file on this machine, and the name that it gets: its path below the given folder."""

    path: Path
    name: str


def find_files(paths: list[Path]) -> list[LocalFile]:
    """List the given files and the files below the given folders; hidden ones are left out.

    Raises:  InputError – a path is not there, or there is nothing to ingest.
    """
    found: list[LocalFile] = []
    for path in paths:
        if path.is_file():
            found.append(LocalFile(path, _printable(path.name)))
        elif path.is_dir():
            inside = (item.relative_to(path) for item in sorted(path.rglob("*")) if item.is_file())
            found += [
                LocalFile(path / item, _printable(item.as_posix()))
                for item in inside
                if not any(part.startswith(".") for part in item.parts)
            ]
        else:
            raise InputError(f"There is no file or folder {path}. Check the path.")
    if not found:
        raise InputError("There are no files there. Name files, or a folder that holds some.")
    return found


def _printable(name: str) -> str:
    """Write a file name that is not UTF-8 so that it can be sent and shown."""
    return name.encode("utf-8", "replace").decode()


def ingest(
    paths: Annotated[list[Path], typer.Argument(help="Files and folders.", show_default=False)],
    collection: CollectionOption = None,
    metadata: Annotated[
        str | None, typer.Option("--metadata", "-m", help="A JSON object kept with each document.")
    ] = None,
    data: DataOption = None,
    url: UrlOption = None,
    as_json: JsonOption = False,
) -> None:
    """Upload files and folders, and wait until they are searchable. Unchanged ones cost nothing."""
    files = find_files(paths)
    with connect(load_settings(data), url, worker=True) as client:
        ensure_collection(client, collection)
        outcome = ingest_files(client, files, collection, metadata)
    if as_json:
        typer.echo(json.dumps(outcome))
    else:
        show_outcome(outcome)
    if any(item["status"] in {"rejected", "failed", "cancelled"} for item in outcome):
        raise typer.Exit(1)


def ensure_collection(client: Client, name: str | None) -> None:
    """Make the collection when it is not there yet."""
    if name is None:
        return
    known = {item["name"] for item in client.send("GET", "/collections")["collections"]}
    if name not in known:
        client.send("POST", "/collections", json={"name": name})


def ingest_files(
    client: Client, files: list[LocalFile], collection: str | None, metadata: str | None
) -> list[dict[str, Any]]:
    """Upload in batches, wait for the jobs, return what became of each file."""
    uploaded: list[dict[str, Any]] = []
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=stderr,
        transient=True,
    ) as progress:
        sending = progress.add_task("Uploading", total=len(files))
        indexing = progress.add_task("Indexing ", total=len(files))
        for batch in _batches(files):
            replies = _upload(client, batch, collection, metadata)
            uploaded += replies
            progress.advance(sending, len(batch))
            waiting = sum(reply["status"] == "queued" for reply in replies)
            progress.advance(indexing, len(batch) - waiting)
        for item in uploaded:
            if item["status"] == "queued":
                item.update(_wait_for(client, item["job_id"]))
                progress.advance(indexing)
    return uploaded


def _batches(files: list[LocalFile]) -> Iterator[list[LocalFile]]:
    batch: list[LocalFile] = []
    size = 0
    for file in files:
        length = file.path.stat().st_size
        if batch and (len(batch) == BATCH_FILES or size + length > BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(file)
        size += length
    yield batch


def _upload(
    client: Client, batch: list[LocalFile], collection: str | None, metadata: str | None
) -> list[dict[str, Any]]:
    """Upload one batch; when the server refuses all of it, each file gets that reason."""
    form = {"collection": collection, "metadata": metadata}
    with ExitStack() as stack:
        parts: list[tuple[str, tuple[str, BinaryIO]]] = []
        unread: list[dict[str, Any]] = []
        for file in batch:
            try:
                opened = stack.enter_context(file.path.open("rb"))
                opened.peek(1)
            except OSError as error:
                why = f"The file cannot be read: {error.strerror}."
                unread.append({"name": file.name, "status": "rejected", "message": why})
            else:
                parts.append(("files", (file.name, opened)))
        if not parts:
            return unread
        try:
            reply = client.send(
                "POST",
                "/documents/upload",
                files=parts,
                data={key: value for key, value in form.items() if value is not None},
            )
        except CitewellError as error:
            return [
                *unread,
                *(
                    {"name": name, "status": "rejected", "message": error.message}
                    for _, (name, _) in parts
                ),
            ]
    return [*unread, *reply["documents"]]


def _wait_for(client: Client, job_id: str) -> dict[str, Any]:
    """Wait for a job's end, however long; say so when no worker seems to be there."""
    hint_at = time.monotonic() + HINT_SECONDS
    while True:
        with contextlib.suppress(httpx.TimeoutException):
            job = client.send("GET", f"/jobs/{job_id}")
            if job["status"] not in {"queued", "running"}:
                return {key: job[key] for key in ("status", "reason", "message")}
            if job["status"] == "queued" and time.monotonic() > hint_at:
                stderr.print("No worker has taken the next job yet. Is one running? Waiting on.")
                hint_at = math.inf
        time.sleep(POLL_SECONDS)


def show_outcome(outcome: list[dict[str, Any]]) -> None:
    """Print one line per file that failed, and a sum."""
    counts: dict[str, int] = {}
    for item in outcome:
        counts[item["status"]] = counts.get(item["status"], 0) + 1
        if item["status"] in {"rejected", "failed", "cancelled"}:
            show_error(f"{item['name']}: {item['message']}")
    words = {"done": "indexed", "unchanged": "unchanged", "rejected": "rejected"}
    console.print(
        ", ".join(f"{count} {words.get(status, status)}" for status, count in counts.items()) + "."
    )


def documents(
    collection: CollectionOption = None,
    report: Annotated[
        str | None, typer.Option("--report", help="Show this document's truth report.")
    ] = None,
    delete: Annotated[str | None, typer.Option("--delete", help="Delete this document.")] = None,
    data: DataOption = None,
    url: UrlOption = None,
    as_json: JsonOption = False,
) -> None:
    """List documents; show one's truth report, or delete one, by its id."""
    with connect(load_settings(data), url) as client:
        if delete:
            client.send("DELETE", f"/documents/{delete}")
            console.print("Deleted.")
            return
        if report:
            console.print_json(json.dumps(client.send("GET", f"/documents/{report}")))
            return
        query = {} if collection is None else {"collection": collection}
        found = list_all(client, "/documents", "documents", query)
    if as_json:
        typer.echo(json.dumps(found))
        return
    show_table(
        f"{len(found)} documents",
        ["id", "name", "collection", "status", "chunks", "why"],
        [
            [
                item["document_id"],
                item["name"],
                item["collection"],
                item["status"],
                item["chunk_count"],
                item["reason"],
            ]
            for item in found
        ],
    )


def jobs(
    status: Annotated[
        str | None, typer.Option("--status", help="queued, running, done, failed, cancelled.")
    ] = None,
    data: DataOption = None,
    url: UrlOption = None,
    as_json: JsonOption = False,
) -> None:
    """List jobs, newest first."""
    with connect(load_settings(data), url) as client:
        found = list_all(client, "/jobs", "jobs", {"status": status} if status else {})
    if as_json:
        typer.echo(json.dumps(found))
        return
    show_table(
        f"{len(found)} jobs",
        ["id", "document", "status", "tries", "why"],
        [
            [
                item["job_id"],
                item["document_name"],
                item["status"],
                item["attempt"],
                item["message"],
            ]
            for item in found
        ],
    )


def list_all(client: Client, path: str, field: str, query: dict[str, str]) -> list[dict[str, Any]]:
    """Read a list to its last page."""
    found: list[dict[str, Any]] = []
    cursor: str | None = None
    while True:
        page = client.send(
            "GET", path, params={**query, "limit": 200, **({"cursor": cursor} if cursor else {})}
        )
        found += page[field]
        cursor = page["next_cursor"]
        if cursor is None:
            return found
