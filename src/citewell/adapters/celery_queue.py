"""Celery over Valkey: messages are job ids in JSON; acknowledged late, never trusted to survive."""

import asyncio
from collections import defaultdict
from collections.abc import Iterator, Sequence
from time import monotonic
from typing import Any, cast

import redis.asyncio
from celery import Celery
from kombu.exceptions import OperationalError
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from citewell.domain import QUEUES, JobId, Task, WorkspaceId
from citewell.errors import Unavailable
from citewell.ports import task_name

KEY_PREFIX = "citewell."
ROUTES: dict[Task, str] = {
    "ingest": "document",
    "embed": "vectorstore",
    "publish": "vectorstore",
    "answer": "rag",
    "export": "default",
    "evaluate": "default",
}
MESSAGE_JOBS = 16
"""Jobs that one message may tell of."""
SOCKET_TIMEOUT_SECONDS = 2
SEND_SECONDS = 3
PAUSE_SECONDS = 2
"""So long nobody tries to send after the broker did not answer: threads are few."""


def make_celery(redis_url: str) -> Celery:
    """Make the Celery app that API processes send with and workers consume with."""
    app = Celery("citewell", broker=_kombu_url(redis_url))
    cast("Any", app).conf.update(
        task_serializer="json",
        accept_content=["json"],
        task_ignore_result=True,
        task_acks_late=True,
        task_reject_on_worker_lost=True,
        task_default_queue="default",
        task_routes={task_name(task): {"queue": queue} for task, queue in ROUTES.items()},
        worker_prefetch_multiplier=1,
        worker_hijack_root_logger=False,
        worker_enable_remote_control=False,
        worker_send_task_events=False,
        broker_connection_retry_on_startup=True,
        broker_transport_options={
            "global_keyprefix": KEY_PREFIX,
            "socket_timeout": SOCKET_TIMEOUT_SECONDS,
            "socket_connect_timeout": SOCKET_TIMEOUT_SECONDS,
            "max_retries": 0,
            "health_check_interval": 3,
        },
    )
    return app


class CeleryQueue:
    """Sends job ids by task name; knows no task's code."""

    def __init__(self, redis_url: str) -> None:
        self._app: Any = make_celery(redis_url)
        self._away_until = 0.0
        self._redis = redis.asyncio.from_url(  # pyright: ignore[reportUnknownMemberType]
            redis_url,
            socket_timeout=SOCKET_TIMEOUT_SECONDS,
            socket_connect_timeout=SOCKET_TIMEOUT_SECONDS,
            retry=Retry(NoBackoff(), 0),
        )

    async def send(self, task: Task, jobs: Sequence[tuple[WorkspaceId, JobId]]) -> None:
        """Send a message for each job."""
        if monotonic() < self._away_until:
            raise Unavailable("The broker did not answer a moment ago.")
        try:
            async with asyncio.timeout(SEND_SECONDS):
                await asyncio.to_thread(self._send, task, jobs)
        except (OperationalError, RedisError, OSError) as error:
            self._away_until = monotonic() + PAUSE_SECONDS
            raise Unavailable(
                "The broker does not answer; the jobs wait in the database."
            ) from error

    async def count_waiting(self, queues: Sequence[str] = QUEUES) -> int:
        """Count messages in these queues that no worker took yet."""
        try:
            lengths = [await self._redis.llen(KEY_PREFIX + queue) for queue in queues]
        except (RedisError, OSError) as error:
            raise Unavailable("The broker does not answer.") from error
        self._away_until = 0.0
        return sum(lengths)

    async def close(self) -> None:
        """Close every connection."""
        await self._redis.aclose()
        self._app.close()

    def _send(self, task: Task, jobs: Sequence[tuple[WorkspaceId, JobId]]) -> None:
        with self._app.producer_or_acquire() as producer:
            for workspace_id, job_ids in _messages(jobs):
                self._app.send_task(
                    task_name(task),
                    args=[str(workspace_id), job_ids],
                    producer=producer,
                    retry=False,
                )


def _messages(jobs: Sequence[tuple[WorkspaceId, JobId]]) -> Iterator[tuple[WorkspaceId, list[str]]]:
    """Put a workspace's jobs together, so that many small ones cost the broker little."""
    by_workspace: dict[WorkspaceId, list[str]] = defaultdict(list)
    for workspace_id, job_id in jobs:
        by_workspace[workspace_id].append(str(job_id))
    for workspace_id, job_ids in by_workspace.items():
        for first in range(0, len(job_ids), MESSAGE_JOBS):
            yield workspace_id, job_ids[first : first + MESSAGE_JOBS]


def _kombu_url(url: str) -> str:
    """Translate redis-py's ``unix://:password@/path?db=0`` to kombu's form; others stay."""
    if not url.startswith("unix://"):
        return url
    return url.replace("unix://", "redis+socket://", 1).replace("?db=", "?virtual_host=")
