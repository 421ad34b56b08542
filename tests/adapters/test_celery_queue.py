"""CeleryQueue keeps the queue's contract on real Valkey, and its messages hold ids only."""

import base64
import json
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import pytest

from citewell.adapters.celery_queue import MESSAGE_JOBS, CeleryQueue
from citewell.domain import JobId, WorkspaceId
from contracts.job_queue import QueueContract, some_jobs
from records.databases import Servers

REDIS_NUMBER = 8


@pytest.fixture
async def queue(servers: Servers) -> AsyncIterator[CeleryQueue]:
    opened = CeleryQueue(servers.redis_url(REDIS_NUMBER))
    await opened._redis.flushdb()
    yield opened
    await opened._redis.flushdb()
    await opened.close()


@pytest.fixture
async def absent(tmp_path: Path) -> AsyncIterator[CeleryQueue]:
    opened = CeleryQueue(f"unix://:secret@{tmp_path}/none.sock?db=0")
    yield opened
    await opened.close()


class TestCeleryQueue(QueueContract):
    async def test_a_message_is_two_ids(self, queue: CeleryQueue) -> None:
        ((workspace_id, job_id),) = jobs = some_jobs(1)
        await queue.send("ingest", jobs)
        (message,) = await queue._redis.lrange("citewell.document", 0, -1)
        outer = json.loads(message)
        args, kwargs, _ = json.loads(base64.b64decode(outer["body"]))
        assert (args, kwargs) == ([str(workspace_id), [str(job_id)]], {})
        assert outer["headers"]["task"] == "citewell.ingest"

    async def test_many_jobs_share_messages_but_not_with_another_workspace(
        self, queue: CeleryQueue
    ) -> None:
        ours, theirs = some_jobs(MESSAGE_JOBS + 1), [(WorkspaceId(uuid4()), JobId(uuid4()))]
        await queue.send("ingest", [*ours[:3], *theirs, *ours[3:]])
        messages = await queue._redis.lrange("citewell.document", 0, -1)
        told = [json.loads(base64.b64decode(json.loads(each)["body"]))[0] for each in messages]
        assert sorted(len(jobs) for _, jobs in told) == [1, 1, MESSAGE_JOBS]
        pairs = {(workspace, job) for workspace, jobs in told for job in jobs}
        assert pairs == {(str(workspace), str(job)) for workspace, job in [*ours, *theirs]}

    async def test_every_key_is_ours(self, queue: CeleryQueue) -> None:
        await queue.send("ingest", some_jobs(1))
        keys = await queue._redis.keys("*")
        assert keys
        assert all(key.startswith(b"citewell.") for key in keys), keys

    async def test_a_refused_port_is_unavailable(self) -> None:
        opened = CeleryQueue("redis://:secret@127.0.0.1:9/0")
        try:
            await QueueContract().test_an_absent_broker_is_unavailable_soon(opened)
        finally:
            await opened.close()
