"""citewell demo: everything once, on a folder that is gone afterwards."""

import json
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape

import citewell
from citewell import embedded
from citewell.cli.client import Client
from citewell.cli.files import find_files, ingest_files
from citewell.cli.operate import verify_data
from citewell.cli.options import load_settings
from citewell.cli.show import console, show_answer, show_error
from citewell.errors import CitewellError, InputError

QUESTIONS_FILE = "questions.jsonl"


def demo(
    examples: Annotated[
        Path | None, typer.Option("--examples", help="Folder of documents and questions.jsonl.")
    ] = None,
) -> None:
    """Ingest the examples, answer their demo questions, check every citation, clean up."""
    from citewell.cli.stack import open_stack  # noqa: PLC0415 - other commands do without it

    folder = examples or find_examples()
    questions = [item for item in read_questions(folder) if item["demo"]]
    with temporary_data() as data:
        settings = load_settings(data)
        started = time.monotonic()
        console.print("Starting PostgreSQL, Valkey, workers and the API …")
        with open_stack(settings, worker=True) as stack:
            console.print(f"  [dim]ready after {time.monotonic() - started:.1f} s[/dim]")
            client = Client(stack.url, stack.settings.auth.local_key)
            try:
                _ingest(client, folder)
                answered, refused = _ask_all(client, questions)
            finally:
                client.close()
            _verify(stack.settings)
    console.print(f"demo: {answered} answered, {refused} refused, every citation exact")


def find_examples() -> Path:
    """Return the examples: beside the package in a wheel, at the top of a checkout.

    Raises:  InputError – they are in neither place.
    """
    package = Path(citewell.__file__).parent
    for folder in (package / "examples", package.parents[1] / "examples"):
        if (folder / QUESTIONS_FILE).is_file():
            return folder
    raise InputError("The examples are not installed. Name a folder with --examples.")


def read_questions(folder: Path) -> list[dict[str, Any]]:
    """Read the folder's question set."""
    lines = (folder / QUESTIONS_FILE).read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines if line.strip()]


@contextmanager
def temporary_data() -> Generator[Path]:
    """Make a data folder, and remove it with all its servers' files at the end."""
    folder = Path(tempfile.mkdtemp(prefix="citewell-demo-"))
    try:
        yield folder
    finally:
        embedded.remove_data(folder)


def _ingest(client: Client, folder: Path) -> None:
    started = time.monotonic()
    files = [
        file for file in find_files([folder]) if file.name not in {QUESTIONS_FILE, "README.md"}
    ]
    outcome = ingest_files(client, files)
    for item in outcome:
        if item["status"] != "done":
            raise CitewellError(f"{item['name']} was not indexed: {item['message']}")
    console.print(f"Indexed {len(files)} documents in {time.monotonic() - started:.1f} s:")
    for item in outcome:
        document = client.send("GET", f"/documents/{item['document_id']}")
        report = document["report"]
        pages = f", {report['pages']} pages" if report["pages"] else ""
        console.print(
            f"  [dim]{escape(item['name'])}: {report['characters']:,} characters{pages}, "
            f"{report['sections']} sections, {report['chunks']} chunks[/dim]"
        )


def _ask_all(client: Client, questions: list[dict[str, Any]]) -> tuple[int, int]:
    answered = refused = 0
    for item in questions:
        console.print(f"\n[bold]{escape(item['question'])}[/bold]")
        reply = client.send("POST", "/query", json={"question": item["question"]})
        show_answer(reply)
        if reply["refused"] == item["answerable"]:
            raise CitewellError("This question had the wrong outcome. Please report it.")
        refused += reply["refused"]
        answered += not reply["refused"]
        for citation in reply["citations"]:
            _require_exact(client, citation)
    console.print()
    return answered, refused


def _require_exact(client: Client, citation: dict[str, Any]) -> None:
    """Compare a citation with the canonical text, as any reader could.

    Raises:  CitewellError – the quote is not what stands there.
    """
    text = client.send(
        "GET",
        f"/documents/{citation['document_id']}/text",
        params={"version_id": citation["version_id"]},
    )
    if text[citation["start"] : citation["end"]] != citation["quote"]:
        raise CitewellError(f"A citation of {citation['document_name']} is not exact.")


def _verify(settings: Any) -> None:
    broken = [check["invariant"] for check in verify_data(settings)[0] if check["breaches"]]
    for invariant in broken:
        show_error(f"broken: {invariant}")
    if broken:
        raise CitewellError("The checker found breaches after the demo. Please report them.")
    console.print("[dim]verify: every invariant holds[/dim]")
