"""All of Citewell in one command: embedded servers, schema, a supervised worker, the API."""

import asyncio
import secrets
import threading
import time
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from pydantic import SecretStr

from citewell import embedded
from citewell.cli.ledger import migrate_database
from citewell.cli.server import API_STOP_SECONDS, Server, bind, make_server
from citewell.cli.supervisor import supervised_workers
from citewell.errors import Unavailable
from citewell.records.leases import forget_workers
from citewell.records.session import Database
from citewell.settings import Settings

API_START_SECONDS = 30.0
DEFAULT_MODELS = ("extractive", "standard", "none", "minilm", "onnx")
"""Chat model, mode, reranker and embedder that can only be right."""


@dataclass(frozen=True, slots=True)
class Stack:
    """A running Citewell: its settings with the servers' URLs, and its own address."""

    settings: Settings
    url: str


def require_models(settings: Settings) -> None:
    """Refuse a mode, model or reranker that is not right, before anything is started.

    Raises:  InputError – the message names the variable.
    """
    answer, embedder = settings.answer, settings.embedder
    chosen = (answer.chat_model, answer.mode, settings.rerank.by, embedder.model, embedder.runtime)
    if chosen == DEFAULT_MODELS:
        return
    from citewell.wiring import check_models  # noqa: PLC0415 - loading it overlaps the servers' start

    asyncio.run(check_models(settings))


@contextmanager
def open_backend(settings: Settings) -> Generator[Settings]:
    """Start the servers and migrate; stop them at the end.

    Embedded servers have no workers but ours, so jobs that a crash left running wait for nobody.

    Raises:  InputError – the settings name a mode, model or reranker that is not right.
    """
    require_models(settings)
    with embedded.start(settings) as ready:
        asyncio.run(_prepare_database(ready, alone=settings.database_url is None))
        yield ready


async def _prepare_database(settings: Settings, *, alone: bool) -> None:
    await migrate_database(settings)
    if alone and settings.database_url is not None:
        database = Database(settings.database_url.get_secret_value(), 2)
        try:
            async with database.system_transaction() as connection:
                await forget_workers(connection)
        finally:
            await database.close()


@contextmanager
def open_stack(settings: Settings, *, worker: bool) -> Generator[Stack]:
    """Start a whole Citewell on a free port for the life of one command."""
    with ExitStack() as stack:
        ready = with_local_key(stack.enter_context(open_backend(settings)))
        listener = bind("127.0.0.1", 0)
        server = make_server(ready)
        if worker:
            log_file = settings.data / "logs" / "worker.log"
            stack.enter_context(supervised_workers(ready, server, log_file))
        thread = threading.Thread(
            target=server.run, kwargs={"sockets": [listener]}, name="api", daemon=True
        )
        thread.start()
        try:
            _wait_started(server, thread)
            url = f"http://127.0.0.1:{listener.getsockname()[1]}"
            embedded.announce(settings.data, url)
            yield Stack(ready, url)
        finally:
            server.should_exit = True
            thread.join(timeout=API_STOP_SECONDS + 1)


def with_local_key(settings: Settings) -> Settings:
    """Return the settings with what this run's own requests prove themselves with."""
    made = settings.auth.local_key or SecretStr(secrets.token_urlsafe(32))
    auth = settings.auth.model_copy(update={"local_key": made})
    return settings.model_copy(update={"auth": auth})


def _wait_started(server: Server, thread: threading.Thread) -> None:
    deadline = time.monotonic() + API_START_SECONDS
    while not server.started:
        if not thread.is_alive() or time.monotonic() > deadline:
            raise Unavailable("The API did not start. Run `citewell doctor` to see why.")
        time.sleep(0.01)
