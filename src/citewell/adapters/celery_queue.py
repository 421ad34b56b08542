"""Celery over Valkey: messages are job ids in JSON; acknowledged late, never trusted to survive."""

import asyncio
from collections.abc import Sequence
from typing import Any, cast

import redis.asyncio
from celery import Celery
from kombu.exceptions import OperationalError
from redis.exceptions import RedisError

from citewell.domain import JobId, WorkspaceId
from citewell.errors import Unavailable

KEY_PREFIX = "citewell."
TASKS = {"ingest": "citewell.ingest"}
QUEUES = {"ingest": "document"}
SOCKET_TIMEOUT_SECONDS = 5


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
        task_routes={TASKS[kind]: {"queue": queue} for kind, queue in QUEUES.items()},
        worker_prefetch_multiplier=1,
        worker_hijack_root_logger=False,
        worker_enable_remote_control=False,
        worker_send_task_events=False,
        broker_connection_retry_on_startup=True,
        broker_transport_options={
            "global_keyprefix": KEY_PREFIX,
            "socket_timeout": SOCKET_TIMEOUT_SECONDS,
            "socket_connect_timeout": SOCKET_TIMEOUT_SECONDS,
            "max_retries": 1,
        },
    )
    return app


class CeleryQueue:
    """Sends job ids by task name; knows no task's code."""

    def __init__(self, redis_url: str) -> None:
        self._app: Any = make_celery(redis_url)
        self._redis = redis.asyncio.from_url(  # pyright: ignore[reportUnknownMemberType]
            redis_url,
            socket_timeout=SOCKET_TIMEOUT_SECONDS,
            socket_connect_timeout=SOCKET_TIMEOUT_SECONDS,
        )

    async def send(self, kind: str, jobs: Sequence[tuple[WorkspaceId, JobId]]) -> None:
        """Send a message for each job."""
        try:
            await asyncio.to_thread(self._send, kind, jobs)
        except (OperationalError, RedisError, OSError) as error:
            raise Unavailable(
                "The broker does not answer; the jobs wait in the database."
            ) from error

    async def count_waiting(self) -> int:
        """Count messages that no worker took yet."""
        try:
            lengths = [await self._redis.llen(KEY_PREFIX + queue) for queue in set(QUEUES.values())]
        except (RedisError, OSError) as error:
            raise Unavailable("The broker does not answer.") from error
        return sum(lengths)

    async def close(self) -> None:
        """Close every connection."""
        await self._redis.aclose()
        self._app.close()

    def _send(self, kind: str, jobs: Sequence[tuple[WorkspaceId, JobId]]) -> None:
        with self._app.producer_or_acquire() as producer:
            for workspace_id, job_id in jobs:
                self._app.send_task(
                    TASKS[kind],
                    args=[str(workspace_id), str(job_id)],
                    producer=producer,
                    retry=False,
                )


def _kombu_url(url: str) -> str:
    """Translate redis-py's ``unix://:password@/path?db=0`` to kombu's form; others stay."""
    if not url.startswith("unix://"):
        return url
    return url.replace("unix://", "redis+socket://", 1).replace("?db=", "?virtual_host=")
