"""citewell workspace, against a real server; and which workspace the other commands work in."""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Callable
from io import StringIO
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner

from api.keyring import LOCAL_KEY, open_guarded
from api.scripted import served
from citewell.cli import show
from citewell.cli.app import app
from citewell.cli.client import in_commands
from citewell.errors import CitewellError, InputError
from citewell.ingest.pipeline import IngestPipeline
from citewell.settings import Settings, WorkspaceSettings

Run = Callable[..., Any]


@pytest.fixture
async def run(
    database_url: str,
    make_settings: Callable[..., Settings],
    ingest: IngestPipeline,
    tmp_path: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> AsyncIterator[Run]:
    """Run a command beside a server that purges at the next round; return what it printed."""
    settings = make_settings(database_url, tmp_path, workspaces=WorkspaceSettings(purge_days=0))
    async with open_guarded(settings, ingest) as opened, served(opened) as client:
        monkeypatch.setenv("CITEWELL_URL", str(client.base_url))
        monkeypatch.setenv("CITEWELL_KEY", LOCAL_KEY)

        async def command(*words: str) -> str:
            done = await asyncio.to_thread(CliRunner().invoke, app, list(words))
            if isinstance(done.exception, CitewellError):
                raise done.exception
            assert done.exit_code == 0, done.output
            return done.output

        command.reconcile = opened.services.reconciler.run  # pyright: ignore
        yield command


async def test_a_workspace_from_its_making_to_the_proof_of_its_end(run: Any) -> None:
    name = "Wissen für Müller"
    made = json.loads(await run("workspace", "create", name, "--description", "x", "--json"))
    assert name in await run("workspace", "list", "--search", "wissen")
    assert made["id"] in await run("workspace", "show", name)
    assert json.loads(await run("workspace", "show", made["id"], "--json"))["collections"] == 1
    await run("-w", name, "collections", "--add", "papers")
    assert json.loads(await run("workspace", "show", name, "--json"))["collections"] == 2
    assert "papers" not in await run("collections")
    with pytest.raises(InputError, match="There is no workspace with that id here"):
        await run("-w", "Wissen", "collections")
    with pytest.raises(InputError, match="There is no workspace with that name here"):
        await run("workspace", "show", "Wissen")
    await run("workspace", "rename", name, "Clocks", "--description", "All about clocks.")
    assert "All about clocks." in await run("workspace", "list")
    with pytest.raises(InputError, match="Archive it first"):
        await run("workspace", "delete", "Clocks", "--confirm", "Clocks")
    assert "is archived." in await run("workspace", "archive", "Clocks", "--reason", "over")
    assert "already" in await run("workspace", "archive", "Clocks", "--reason", "over")
    assert "Clocks" not in await run("workspace", "list", "--status", "active")
    assert "active again" in await run("workspace", "restore", "Clocks")
    await run("workspace", "archive", "Clocks", "--reason", "over")
    with pytest.raises(InputError, match="letter by letter"):
        await run("workspace", "delete", "Clocks", "--confirm", "clocks")
    assert "is purged after" in await run("workspace", "delete", "Clocks", "--confirm", "Clocks")
    await run.reconcile()
    (proof,) = json.loads(await run("workspace", "purges", "--json"))
    assert (proof["workspace_id"], proof["blobs_left"]) == (made["id"], 0)
    assert "Clocks" not in await run("workspace", "list")
    assert "local" in await run("workspace", "purges")


async def test_ids_can_be_copied_and_sentences_name_commands(run: Any) -> None:
    made = json.loads(await run("workspace", "create", "A team", "--json"))
    await run("-w", "A team", "key", "create", "x" * 150, "--workspace", "A team")
    key = json.loads(await run("key", "create", "y", "--workspace", made["id"], "--json"))
    assert list(key["roles"]) == [made["id"]]
    listed = await run("key", "list")
    assert key["id"] in listed
    assert "x" * 150 in listed, "a pipe has no width"
    shown = await run("workspace", "show", "A team")
    assert "used today" in shown
    assert "0 questions, 0 tokens, 0.0000 US dollars" in shown
    with pytest.raises(InputError, match="`citewell documents` lists them"):
        await run("documents", made["id"])
    with pytest.raises(InputError, match="`citewell workspace list` lists yours"):
        await run("-w", "nobody", "documents")


def test_a_header_is_an_option_on_the_command_line() -> None:
    said = in_commands("Your key belongs to several workspaces. Name one in X-Workspace-ID.")
    assert said.endswith("Name one with -w NAME before the command, or in CITEWELL_WORKSPACE.")
    assert in_commands("GET /jobs/{job_id} says") == "GET /jobs/{job_id} says"


def test_a_narrow_terminal_breaks_no_id(monkeypatch: pytest.MonkeyPatch) -> None:
    narrow = Console(file=StringIO(), force_terminal=True, width=80, highlight=False)
    monkeypatch.setattr(show, "console", narrow)
    found = "018f2d4e-0000-7000-8000-000000000000"
    show.show_table("Keys", ["id", "name", "note"], [[found, "a long name " * 9, "text " * 20]])
    printed = narrow.file.getvalue()  # type: ignore[attr-defined]
    assert found in printed
    plain = re.sub(r"\x1b\[[0-9;]*m", "", printed)
    assert {len(line) for line in plain.splitlines()} == {80}


async def test_the_workspace_comes_from_the_option_before_the_setting(
    run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("one", "two"):
        await run("workspace", "create", name)
        await run("-w", name, "collections", "--add", f"of-{name}")
    monkeypatch.setenv("CITEWELL_WORKSPACE", "one")
    assert "of-one" in await run("collections")
    assert "of-two" in await run("--workspace", "two", "collections")
