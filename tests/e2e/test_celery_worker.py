"""A real worker process takes its jobs from the broker, and stops when it is told to."""

import asyncio
import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from api.stage import open_api
from citewell.ingest.pipeline import IngestPipeline
from citewell.settings import Settings
from e2e.processes import COMMAND, QUICK_JOBS, environment
from records.databases import Servers

REDIS_NUMBER = 9


@pytest.mark.timeout(120)
async def test_a_worker_indexes_what_the_api_took(
    database_url: str,
    servers: Servers,
    make_settings: Callable[..., Settings],
    ingest: IngestPipeline,
    tmp_path: Path,
) -> None:
    redis_url = servers.redis_url(REDIS_NUMBER)
    settings = make_settings(database_url, tmp_path, redis_url=redis_url)
    variables = {
        "CITEWELL_DATABASE_URL": database_url,
        "CITEWELL_REDIS_URL": redis_url,
        "CITEWELL_DATA": str(tmp_path),
    }
    worker = subprocess.Popen(  # noqa: ASYNC220 - it runs beside this test
        [COMMAND, "worker"], env=environment(**QUICK_JOBS, **variables), start_new_session=True
    )
    try:
        async with open_api(settings, ingest) as api:
            reply = await api.upload(
                ("a.txt", b"A pendulum clock was built in 1656."), ("bad.pdf", b"%PDF-1.4 nothing")
            )
            jobs = [item["job_id"] for item in reply.json()["documents"]]
            assert [job["status"] for job in await _ended(api, jobs)] == ["done", "failed"]
            answer = await api.ask("When was a pendulum clock built?")
            await api.check_citations(answer)
            assert "1656" in answer["answer"]
            assert await api.services.queue.count_waiting() == 0
        worker.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(worker.wait, 20) == 0
    finally:
        if worker.poll() is None:
            os.killpg(worker.pid, signal.SIGKILL)
            worker.wait()


async def _ended(api: object, jobs: list[str]) -> list[dict[str, object]]:
    async with asyncio.timeout(60):
        while True:
            rows = [(await api.client.get(f"/jobs/{job}")).json() for job in jobs]  # pyright: ignore
            if all(row["status"] in {"done", "failed", "cancelled"} for row in rows):
                return rows
            await asyncio.sleep(0.1)
