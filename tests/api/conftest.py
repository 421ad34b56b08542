"""The application on a database of its own: one per module, or one per test."""

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from api.keyring import open_guarded
from api.stage import EXAMPLES, Api, open_api
from citewell.ingest.pipeline import IngestPipeline
from citewell.settings import Settings

EXAMPLE_FILES = ["atomic-clocks.txt", "book.html", "calendars.docx", "leap-seconds.csv",
                 "longitude.pdf", "time-zones.md"]  # fmt: skip


@pytest.fixture(scope="module")
async def api(
    clone: Callable[[], Any],
    make_settings: Callable[..., Settings],
    ingest: IngestPipeline,
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[Api]:
    """An application that the tests of one module share; each uses names of its own."""
    with clone() as url:
        async with open_api(make_settings(url, tmp_path_factory.mktemp("data")), ingest) as opened:
            yield opened


@pytest.fixture(scope="module")
async def guarded(
    clone: Callable[[], Any],
    make_settings: Callable[..., Settings],
    ingest: IngestPipeline,
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[Api]:
    """An application that asks everybody for a key, shared by the tests of one module."""
    with clone() as url:
        settings = make_settings(url, tmp_path_factory.mktemp("data"))
        async with open_guarded(settings, ingest) as opened:
            yield opened


@pytest.fixture
async def fresh(
    database_url: str,
    make_settings: Callable[..., Settings],
    ingest: IngestPipeline,
    tmp_path: Any,
) -> AsyncIterator[Api]:
    """An empty application for one test."""
    async with open_api(make_settings(database_url, tmp_path), ingest) as opened:
        yield opened


@pytest.fixture(scope="session")
async def library(
    clone: Callable[[], Any],
    make_settings: Callable[..., Settings],
    ingest: IngestPipeline,
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[Api]:
    """The examples, indexed once; tests only read here."""
    with clone() as url:
        async with open_api(make_settings(url, tmp_path_factory.mktemp("data")), ingest) as opened:
            reply = await opened.upload(
                *((name, (EXAMPLES / name).read_bytes()) for name in EXAMPLE_FILES)
            )
            assert reply.status_code == 202, reply.text
            assert await opened.work() == len(EXAMPLE_FILES)
            yield opened
