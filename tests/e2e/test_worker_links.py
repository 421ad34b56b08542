"""A worker whose connections died without a word takes the next jobs all the same."""

import asyncio
import os
import signal
import subprocess
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from api.faulty_proxy import (
    broker_through,
    database_through,
    open_proxy,
    postgres_socket,
    valkey_socket,
)
from api.stage import Api, open_api
from citewell.ingest.pipeline import IngestPipeline
from citewell.settings import Settings
from e2e.processes import COMMAND, QUICK_JOBS, environment
from records.databases import Servers

REDIS_NUMBER = 10


@asynccontextmanager
async def worker(**variables: str) -> AsyncIterator[None]:
    process = subprocess.Popen(  # noqa: ASYNC220 - it runs beside the test
        [COMMAND, "worker"], env=environment(**QUICK_JOBS, **variables), start_new_session=True
    )
    try:
        yield
        assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(process.wait, 20) == 0
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


async def _index(api: Api, names: Sequence[str], seconds: float) -> None:
    """Upload files, and wait until they are indexed."""
    reply = await api.upload(*((name, f"The clock of {name}.".encode()) for name in names))
    assert reply.status_code == 202
    waiting = [item["job_id"] for item in reply.json()["documents"]]
    async with asyncio.timeout(seconds):
        while waiting:
            await asyncio.sleep(0.1)
            jobs = [(await api.client.get(f"/jobs/{job}")).json() for job in waiting]
            waiting = [job["job_id"] for job in jobs if job["status"] != "done"]


@pytest.mark.timeout(120)
async def test_half_open_links_are_replaced(
    database_url: str,
    servers: Servers,
    make_settings: Callable[..., Settings],
    ingest: IngestPipeline,
    tmp_path: Path,
) -> None:
    redis_url = servers.redis_url(REDIS_NUMBER)
    async with (
        open_proxy(postgres_socket(servers)) as postgres,
        open_proxy(valkey_socket(servers)) as valkey,
        open_api(make_settings(database_url, tmp_path, redis_url=redis_url), ingest) as api,
        worker(
            CITEWELL_DATABASE_URL=database_through(database_url, postgres),
            CITEWELL_REDIS_URL=broker_through(redis_url, valkey),
            CITEWELL_DATA=str(tmp_path),
        ),
    ):
        await _index(api, ["first.txt"], 60)
        postgres.deafen()
        valkey.deafen()
        # 5 to 8 s as a rule; 20 s more when the dead connection took a message with it.
        await _index(api, ["second.txt", "third.txt"], 45)
