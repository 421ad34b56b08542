"""What is real in these tests: PostgreSQL, Valkey, the model, the parsers and the middleware.

One start of the embedded servers serves the whole run. The schema is migrated once, into a
template database; each test works on a clone of its own.
"""

import logging
import os
import socket
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest
import structlog
from pydantic import SecretStr

for _name in [name for name in os.environ if name.startswith("CITEWELL_")]:
    if _name != "CITEWELL_CACHE":
        del os.environ[_name]

# Each process that a test starts would compile every module anew, and so would each run of tests.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

pytest.register_assert_rewrite("contracts", "records.rows", "api.stage", "e2e.processes")

from canaries import hide, take_seen, watch_log  # noqa: E402 - it loads structlog only
from citewell import embedded  # noqa: E402 - its settings must not see this shell's
from citewell.adapters.local_blobs import LocalBlobStore  # noqa: E402
from citewell.adapters.minilm import MiniLMEmbedder  # noqa: E402
from citewell.domain import Chunking  # noqa: E402
from citewell.ingest.pipeline import IngestPipeline  # noqa: E402
from citewell.ingest.sandbox import ParserPool  # noqa: E402
from citewell.records.schema import migrate  # noqa: E402
from citewell.records.session import Database  # noqa: E402
from citewell.settings import JobSettings, Settings  # noqa: E402
from records.databases import Servers, new_folder, open_database  # noqa: E402

TEMPLATE = "citewell_template"
_real_connect, _real_connect_ex = socket.socket.connect, socket.socket.connect_ex


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--mutations", type=int, default=500, help="how many damaged files to read")
    parser.addoption("--worlds", type=int, default=100, help="how many random workspaces to search")


@pytest.fixture
def mutations(request: pytest.FixtureRequest) -> int:
    return int(request.config.getoption("--mutations"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the whole-program tests first: they wait a lot, and the others fill the gaps."""
    items.sort(key=lambda item: not {"e2e", "chaos"}.intersection(item.path.parts))


def _require_loopback(family: int, address: Any) -> None:
    if family in {socket.AF_INET, socket.AF_INET6}:
        host = str(address[0])
        if host not in {"localhost", "::1"} and not host.startswith("127."):
            raise RuntimeError(f"A test tried to reach {host}: only loopback is on.")


@pytest.fixture(scope="session", autouse=True)
def _network_is_off() -> Iterator[None]:
    """Refuse every connection that would leave this machine."""

    def connect(self: socket.socket, address: Any) -> None:
        _require_loopback(self.family, address)
        _real_connect(self, address)

    def connect_ex(self: socket.socket, address: Any) -> int:
        _require_loopback(self.family, address)
        return _real_connect_ex(self, address)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", connect)
        patch.setattr(socket.socket, "connect_ex", connect_ex)
        yield


@pytest.fixture(autouse=True)
def _short_logs() -> None:
    """Show a warning or a bug as a plain traceback, beside the test that it belongs to."""
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.DEBUG),
        processors=[
            watch_log,
            structlog.stdlib.add_log_level,
            structlog.dev.ConsoleRenderer(
                colors=False, exception_formatter=structlog.dev.plain_traceback
            ),
        ],
    )


@pytest.fixture(autouse=True)
def _secrets_are_not_shown() -> Iterator[None]:
    """Fail the test in which a log line or a reply held a secret."""
    yield
    assert take_seen() == []


@pytest.fixture(scope="session")
def servers() -> Iterator[Servers]:
    """PostgreSQL and Valkey, once for the whole run."""
    with new_folder() as folder:
        with embedded.start(Settings(data=folder / "data")) as settings:
            opened = Servers(settings)
            hide(str(opened.url.password))
            hide(str(urlsplit(opened.redis_url()).password))
            yield opened
        embedded.remove_data(folder / "data")


@pytest.fixture(scope="session")
async def template(servers: Servers) -> str:
    """A migrated database that nobody is connected to."""
    servers.execute(f"CREATE DATABASE {TEMPLATE}")
    database = Database(servers.database_url(TEMPLATE), 2)
    assert await migrate(database.engine)
    await database.close()
    return TEMPLATE


@pytest.fixture(scope="session")
def clone(servers: Servers, template: str) -> Iterator[Callable[..., Any]]:
    """Make a context that yields the URL of a fresh migrated database, or a copy of another one."""
    numbers = count(1)
    # Nobody waits for a DROP: now and then it waits a minute for PostgreSQL's other processes. What
    # is left at the end goes with the server's folder.
    dropping = ThreadPoolExecutor(1, "drop")

    def drop(name: str) -> None:
        with suppress(psycopg.Error):  # its vacuum may still run, or the server is stopping
            servers.execute(f"DROP DATABASE {name} WITH (FORCE)")

    @contextmanager
    def cloned(of: str = template) -> Iterator[str]:
        name = f"test_{next(numbers)}"
        servers.execute(f"CREATE DATABASE {name} TEMPLATE {of} STRATEGY {servers.copying}")
        try:
            yield servers.database_url(name)
        finally:
            dropping.submit(drop, name)

    yield cloned
    dropping.shutdown(wait=False, cancel_futures=True)


@pytest.fixture
def database_url(clone: Callable[[], Any]) -> Iterator[str]:
    with clone() as url:
        yield url


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """A fresh migrated database."""
    async with open_database(database_url) as opened:
        yield opened


@pytest.fixture
def blobs(tmp_path: Path) -> LocalBlobStore:
    return LocalBlobStore(tmp_path / "blobs")


@pytest.fixture(scope="session")
def embedder() -> MiniLMEmbedder:
    """The real model, loaded once."""
    return MiniLMEmbedder(Settings().cache, threads=2)


@pytest.fixture(scope="session")
async def ingest(embedder: MiniLMEmbedder) -> AsyncIterator[IngestPipeline]:
    """A file's real path, with parser processes that stay warm for the whole run."""
    settings = Settings()
    parser = ParserPool(
        chunking=Chunking(settings.chunk.size_tokens, settings.chunk.overlap_tokens, 256),
        count_tokens="citewell.adapters.minilm_tokenizer:count_tokens",
    )
    try:
        yield IngestPipeline(parser, embedder)
    finally:
        await parser.close()


@pytest.fixture(scope="session")
def make_settings(servers: Servers) -> Callable[..., Settings]:
    """Settings on these servers; the reconciler runs once, at the start."""

    def made(database_url: str, data: Path, **changes: object) -> Settings:
        values: dict[str, object] = {
            "data": data,
            "database_url": SecretStr(database_url),
            "redis_url": SecretStr(servers.redis_url()),
            "database_pool": 5,
            "jobs": JobSettings(reconcile_seconds=3600),
        }
        return Settings(**(values | changes))  # pyright: ignore

    return made
