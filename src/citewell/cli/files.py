"""citewell ingest: files in, those that are known left out, and what became of the others."""

import hashlib
import json
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, BinaryIO

import httpx
import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from citewell.cli.client import Client, connect
from citewell.cli.options import (
    CollectionOption,
    DataOption,
    JsonOption,
    PasswordOption,
    UrlOption,
    load_settings,
)
from citewell.cli.show import console, show_error, stderr
from citewell.cli.waiting import wait_for_job
from citewell.errors import CitewellError, InputError

BATCH_FILES = 50
BATCH_BYTES = 32 * 1024 * 1024
ASKED_AT_ONCE = 500
LONGEST_SOURCE = 1024
LOST = {"rejected", "failed", "cancelled"}


@dataclass(frozen=True, slots=True)
class LocalFile:
    """A file on this machine, and the name that it gets: its path below the given folder."""

    path: Path
    name: str


@dataclass(frozen=True, slots=True)
class UploadForm:
    """What goes with all files of one command."""

    collection: str | None = None
    metadata: str | None = None
    password: str | None = None
    readers: str | None = None

    def fields(self) -> dict[str, str]:
        """Return the form's fields that are filled in."""
        given = {
            "collection": self.collection,
            "metadata": self.metadata,
            "password": self.password,
            "readers": self.readers,
        }
        return {key: value for key, value in given.items() if value is not None}


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
    password: PasswordOption = None,
    readers: Annotated[
        list[str] | None,
        typer.Option(
            "--readers", help="Who may see the files: group:NAME or role:ROLE. May be repeated."
        ),
    ] = None,
    data: DataOption = None,
    url: UrlOption = None,
    as_json: JsonOption = False,
) -> None:
    """Upload files and folders, and wait until they are searchable. Unchanged ones cost nothing."""
    files = find_files(paths)
    with connect(load_settings(data), url, worker=True) as client:
        ensure_collection(client, collection)
        limited = json.dumps(readers) if readers else None
        form = UploadForm(collection, metadata, password, limited)
        outcome = ingest_files(client, files, form)
    if as_json:
        typer.echo(json.dumps(outcome))
    else:
        show_outcome(outcome)
    if any(item["status"] in LOST for item in outcome):
        raise typer.Exit(1)


def ensure_collection(client: Client, name: str | None) -> None:
    """Make the collection when it is not there yet."""
    if name is None:
        return
    known = {item["name"] for item in client.send("GET", "/collections")["collections"]}
    if name not in known:
        client.send("POST", "/collections", json={"name": name})


def ingest_files(
    client: Client, files: list[LocalFile], form: UploadForm | None = None
) -> list[dict[str, Any]]:
    """Upload in batches what is new, wait for the jobs, return what became of each file."""
    form = form or UploadForm()
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
        # Metadata and readers that are given anew have to be sent with known files too.
        anew = form.metadata is not None or form.readers is not None
        outcome = [] if anew else _find_known(client, files, form.collection)
        progress.advance(sending, len(outcome))
        known = {item["name"] for item in outcome}
        for batch in _batches([file for file in files if file.name not in known]):
            outcome += _upload(client, batch, form)
            progress.advance(sending, len(batch))
        for item in outcome:
            if item["status"] in {"queued", "unchanged"} and "chunk_count" not in item:
                item.update(_end_of(item, wait_for_job(client, item["job_id"])))
            progress.advance(indexing)
    return outcome


def _find_known(
    client: Client, files: list[LocalFile], collection: str | None
) -> list[dict[str, Any]]:
    """Ask which files the server has already, byte by byte the same."""
    known: list[dict[str, Any]] = []
    where = {} if collection is None else {"collection": collection}
    for first in range(0, len(files), ASKED_AT_ONCE):
        hashes: list[dict[str, str]] = []
        for file in files[first : first + ASKED_AT_ONCE]:
            sha256 = _sha256_of(file.path) if len(file.name) <= LONGEST_SOURCE else None
            if sha256 is not None:
                hashes.append({"source": file.name, "sha256": sha256})
        reply = client.send("POST", "/documents/known", json={**where, "files": hashes})
        known += [_known(item) for item in reply["files"]]
    return known


def _known(item: dict[str, Any]) -> dict[str, Any]:
    """Return what becomes of a known file: nothing, or the end of the job that it waits for."""
    found = {"name": item["source"], "document_id": item["document_id"], "job_id": item["job_id"]}
    if item["status"] == "done":
        return {**found, "status": "unchanged", "chunk_count": item["chunk_count"]}
    return {**found, "status": "queued"}


def _sha256_of(path: Path) -> str | None:
    """Return a file's sha256; None when it cannot be read, which its upload will say."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return None


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
    if batch:
        yield batch


def _upload(client: Client, batch: list[LocalFile], form: UploadForm) -> list[dict[str, Any]]:
    """Upload one batch; when the server takes none of it, each file gets the reason."""
    with ExitStack() as stack:
        opened: list[tuple[str, BinaryIO]] = []
        unread: list[dict[str, Any]] = []
        for file in batch:
            try:
                stream = stack.enter_context(file.path.open("rb"))
                stream.peek(1)
            except OSError as error:
                why = f"The file cannot be read: {error.strerror}."
                unread.append({"name": file.name, "status": "rejected", "message": why})
            else:
                opened.append((file.name, stream))
        if not opened:
            return unread

        def request() -> dict[str, Any]:
            for _, stream in opened:
                stream.seek(0)
            parts = [("files", (name, stream)) for name, stream in opened]
            return {"files": parts, "data": form.fields()}

        try:
            reply = client.send_patiently("POST", "/documents/upload", request)
        except InputError as error:
            return unread + [_lost(name, "rejected", error.message) for name, _ in opened]
        except CitewellError as error:
            return unread + [_lost(name, "failed", error.message) for name, _ in opened]
        except httpx.TransportError:
            why = "The server does not answer. Run the same command again when it does."
            return unread + [_lost(name, "failed", why) for name, _ in opened]
    return unread + [
        {**item, "name": name} for item, (name, _) in zip(reply["documents"], opened, strict=True)
    ]


def _lost(name: str, status: str, message: str) -> dict[str, Any]:
    return {"name": name, "status": status, "message": message}


def _end_of(item: dict[str, Any], job: dict[str, Any]) -> dict[str, Any]:
    """Return how a file's job ended; a file that needed none stays unchanged."""
    ended = {key: job[key] for key in ("status", "reason", "message", "chunk_count")}
    if item["status"] == "unchanged" and job["status"] == "done":
        ended["status"] = "unchanged"
    return ended


def show_outcome(outcome: list[dict[str, Any]]) -> None:
    """Print one line per file that failed, and a sum."""
    counts: dict[str, int] = {}
    for item in outcome:
        counts[item["status"]] = counts.get(item["status"], 0) + 1
        if item["status"] in LOST:
            show_error(f"{item['name']}: {item['message']}")
    words = {"done": "indexed", "unchanged": "unchanged", "rejected": "rejected"}
    files = ", ".join(f"{count} {words.get(status, status)}" for status, count in counts.items())
    held = {item["document_id"]: item.get("chunk_count") or 0 for item in outcome
            if item.get("document_id")}  # fmt: skip
    chunks = sum(held.values())
    console.print(f"{files}; {chunks:,} {'chunk' if chunks == 1 else 'chunks'}.")
