"""citewell workspace, against a real server; and which workspace the other commands work in."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from typer.testing import CliRunner

from api.keyring import LOCAL_KEY, open_guarded
from api.scripted import served
from citewell.cli.app import app
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


async def test_the_workspace_comes_from_the_option_before_the_setting(
    run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("one", "two"):
        await run("workspace", "create", name)
        await run("-w", name, "collections", "--add", f"of-{name}")
    monkeypatch.setenv("CITEWELL_WORKSPACE", "one")
    assert "of-one" in await run("collections")
    assert "of-two" in await run("--workspace", "two", "collections")
