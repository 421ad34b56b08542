"""The servers that streams are tested with, each in a process of its own.

A provider that quotes its evidence slowly, and the application with twenty workspaces or more.
"""

import argparse
import asyncio
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Annotated, Any
from uuid import UUID, uuid5

import httpx
import uvicorn
from fastapi import FastAPI, Header
from sqlalchemy import text

from adapters.scripted_provider import Exchange, Play, ScriptedProvider, answer, scripted_provider
from api.stage import Api
from citewell import embedded
from citewell.api.app import create_app, resources
from citewell.api.deps import get_workspace
from citewell.cli.ledger import migrate_database
from citewell.cli.server import allow_open_files
from citewell.domain import WorkspaceId
from citewell.settings import Settings
from citewell.telemetry import configure_logging
from citewell.wiring import open_ingest
from e2e.processes import PLAIN, PROJECT, environment, wait_until

TOKEN = re.compile(r"\b[a-z]{4,}\d{4}\b")
SOURCE = re.compile(r"BEGIN SOURCE (\d+) \S+\n[^\n]*\n(.*?)\nEND SOURCE", re.DOTALL)
SENTENCES = 3
TELL = "tell"
"""The model that a request names to hear how the provider is."""
HEADER = "X-Workspace"
SPACE = UUID("5f1c6c58-54c5-4b3e-8c5d-2c8f1e0f4a01")


def place_of(number: int) -> str:
    """Return a word that only one document and the questions about it have."""
    syllables = ("kor", "vel", "ran", "dis", "mol", "tup", "zan", "hek", "lir", "bos")
    return "".join(syllables[int(digit)] for digit in f"{number:04}"[-3:]) + f"{number:04}"


def text_of(token: str) -> str:
    """Return a document of one sentence, which is all that can be said about its token."""
    return (
        f"The lighthouse of {token} was built by the mason of {token} in the cold winter of 1817."
    )


def question_of(token: str) -> str:
    return f"Who built the lighthouse of {token}?"


def quoting(pause: float) -> Play:
    """Quote, some times over, the source that speaks of what was asked for."""

    async def play(exchange: Exchange) -> None:
        said = exchange.body["messages"][-1]["content"]
        sources, _, question = said.rpartition("Question: ")
        asked = TOKEN.search(question)
        found = [
            f"{quote} [{number}]"
            for number, quote in SOURCE.findall(sources)
            if asked is not None and asked.group() in quote
        ]
        reply = " ".join(found[:1] * SENTENCES) or "CANNOT_ANSWER"
        await answer(reply, pause=pause)(exchange)

    return play


async def provide(pause: float) -> None:
    """Serve the provider until this process is ended; its first line says where."""
    opened: list[ScriptedProvider] = []
    quote = quoting(pause)

    async def play(exchange: Exchange) -> None:
        provider = opened[0]
        provider.exchanges.clear()
        if exchange.body.get("model") != TELL:
            await quote(exchange)
            return
        told = {"open": provider.open - 1, "most_open": provider.most_open - 1}
        await exchange.reply(json.dumps(told | {"left": len(provider.left_at)}))

    async with scripted_provider(play) as provider:
        opened.append(provider)
        print(json.dumps({"url": provider.base_url}), flush=True)
        await asyncio.Event().wait()


def workspace_of(number: int) -> WorkspaceId:
    return WorkspaceId(uuid5(SPACE, str(number)))


async def add_workspaces(api: Api, count: int) -> None:
    """Make the workspaces, each with one document that has its own word."""
    async with api.services.database.system_transaction() as connection:
        for number in range(count):
            key = {"id": workspace_of(number), "name": f"chaos-{number}", "own": uuid5(SPACE, "c")}
            await connection.execute(
                text("INSERT INTO workspaces (id, name) VALUES (:id, :name)"), key
            )
            await connection.execute(
                text(
                    "INSERT INTO collections (workspace_id, id, name) VALUES (:id, :own, 'default')"
                ),
                key,
            )
    for number in range(count):
        reply = await api.client.post(
            "/ingest",
            json={"texts": [text_of(place_of(number))]},
            headers={HEADER: str(workspace_of(number))},
        )
        assert reply.status_code == 202, reply.text
    assert await api.work() == count


@asynccontextmanager
async def opened_app(settings: Settings, workspaces: int) -> AsyncIterator[FastAPI]:
    """Open an application whose callers name their workspace in a header."""

    def named(x_workspace: Annotated[UUID, Header()]) -> WorkspaceId:
        return WorkspaceId(x_workspace)

    app = create_app(settings)
    resources().dependency_overrides[get_workspace] = named

    @app.get("/chaos/state")
    async def state() -> dict[str, Any]:
        services = app.state.services
        model: Any = services.answers.language_model
        return {
            "live": len(app.state.live_answers._live),
            "turns_taken": model._turns.taken,
            "turns_waiting": model._turns.waiting,
            "connections": services.database.engine.pool.checkedout(),
            "tasks": sorted(task.get_coro().__qualname__ for task in asyncio.all_tasks()),
        }

    async with app.router.lifespan_context(app):
        services = app.state.services
        async with (
            open_ingest(services) as ingest,
            httpx.AsyncClient(
                transport=httpx.ASGITransport(app), base_url="http://127.0.0.1:8000"
            ) as client,
        ):
            await add_workspaces(Api(app, client, services, ingest), workspaces)
        yield app


async def serve_workspaces(settings: Settings, workspaces: int) -> None:
    """Serve such an application until this process is told to stop; its first line says where."""
    await migrate_database(settings)
    async with opened_app(settings, workspaces) as app:
        config = uvicorn.Config(
            app, port=0, log_config=None, access_log=False, proxy_headers=False, lifespan="off",
            timeout_graceful_shutdown=2,
        )  # fmt: skip
        server = uvicorn.Server(config)
        serving = asyncio.create_task(server.serve())
        while not server.started:  # noqa: ASYNC110 - uvicorn sets no event
            await asyncio.sleep(0.01)
        port = server.servers[0].sockets[0].getsockname()[1]
        assert settings.database_url is not None
        told = {"url": f"http://127.0.0.1:{port}",
                "database_url": settings.database_url.get_secret_value()}  # fmt: skip
        print(json.dumps(told), flush=True)
        await serving


@contextmanager
def own_process(*arguments: str, log: Path, **settings: str) -> Iterator[dict[str, Any]]:
    """Have one of these servers run inside the block; yield its first line, and its pid."""
    path = os.pathsep.join([str(PROJECT / "tests"), os.environ.get("PYTHONPATH", "")])
    with log.open("ab") as errors:
        process = subprocess.Popen(
            [sys.executable, "-m", "chaos.stream_servers", *arguments],
            env=environment(PYTHONPATH=path, **settings),
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        assert line, f"{arguments[0]} did not start: {log.read_text()[-2000:]}"
        yield json.loads(line) | {"pid": process.pid}
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()


def tell(provider_url: str) -> dict[str, int]:
    """Ask the provider how many connections to it are open."""
    reply = httpx.post(
        f"{provider_url}/chat/completions", json={"model": TELL, "messages": []},
        timeout=30, **PLAIN,
    )  # fmt: skip
    return reply.json()


def settled(provider_url: str, seconds: float) -> int:
    """Wait until no connection to the provider is open; return how many are left."""
    try:
        wait_until(lambda: tell(provider_url)["open"] == 0, seconds)
    except AssertionError:
        return tell(provider_url)["open"]
    return 0


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("server", choices=["provider", "workspaces"])
    parser.add_argument("--pause", type=float, default=0.1, help="seconds before each word")
    parser.add_argument("--count", type=int, default=20, help="workspaces")
    options = parser.parse_args(arguments)
    allow_open_files()
    if options.server == "provider":
        asyncio.run(provide(options.pause))
        return
    settings = Settings.load()
    configure_logging("warning", "plain")
    with embedded.start(settings) as ready:
        asyncio.run(serve_workspaces(ready, options.count))


if __name__ == "__main__":
    main()
