"""Diagnostic tasks from the API's side: chain, group and chord sent by name, results looked up."""

import asyncio
import json
from collections.abc import Mapping
from typing import Any, cast
from uuid import uuid4

import redis.asyncio
from celery import Celery, chain, chord
from celery.exceptions import BackendError
from kombu.exceptions import OperationalError
from redis.exceptions import RedisError

from citewell.adapters.celery_queue import KEY_PREFIX, ROUTES, SOCKET_TIMEOUT_SECONDS
from citewell.adapters.diagnostic_tasks import (
    ADD,
    DIVIDE,
    KEEP_SECONDS,
    NAMES,
    PROCESS,
    QUEUE,
    TOTAL,
    DiagnosticFailed,
    keep_results,
)
from citewell.domain import QUEUES, WorkspaceId
from citewell.errors import Unavailable
from citewell.ports import TaskState, Workflow, task_name

GIVEN_OUT = KEY_PREFIX + "diagnostics."
"""Before an id: the steps of a workflow, for as long as results are kept."""
FAULT = "The task failed for a reason of its own; the worker's log has it."
BROKER_AWAY = "The broker does not answer. Try again in a few seconds."
FAULTS = (OperationalError, RedisError, BackendError, OSError)


class CeleryDiagnostics:
    """Sends workflows and reads their states; waits for none."""

    def __init__(self, app: Celery, redis_url: str) -> None:
        keep_results(app)
        self._app: Any = app
        self._redis: Any = redis.asyncio.from_url(  # pyright: ignore[reportUnknownMemberType]
            redis_url,
            socket_timeout=SOCKET_TIMEOUT_SECONDS,
            socket_connect_timeout=SOCKET_TIMEOUT_SECONDS,
        )

    async def start(
        self, workspace_id: WorkspaceId, workflow: Workflow, values: Mapping[str, Any]
    ) -> str:
        """Send a workflow's tasks; return the id under which ``find`` knows it for an hour."""
        work, steps = self._build(workflow, values)
        task_id = steps[-1]
        try:
            # First the id, so that nobody is told of one that is unknown.
            await self._redis.set(_key(workspace_id, task_id), json.dumps(steps), ex=KEEP_SECONDS)
            await asyncio.to_thread(self._send, work)
        except FAULTS as error:
            raise Unavailable(BROKER_AWAY) from error
        return task_id

    async def find(self, workspace_id: WorkspaceId, task_id: str) -> TaskState | None:
        """Return a workflow's state; None for an id that this workspace was not given."""
        try:
            steps = await self._redis.get(_key(workspace_id, task_id))
            if steps is None:
                return None
            return await asyncio.to_thread(self._read, json.loads(steps))
        except FAULTS as error:
            raise Unavailable(BROKER_AWAY) from error

    async def count_waiting(self) -> Mapping[str, int]:
        """Count the messages in each queue that no worker took yet."""
        try:
            return {queue: await self._redis.llen(KEY_PREFIX + queue) for queue in QUEUES}
        except FAULTS as error:
            raise Unavailable(BROKER_AWAY) from error

    def list_tasks(self) -> list[str]:
        """List the names of the tasks that workers know."""
        return sorted({*map(task_name, ROUTES), *NAMES})

    async def close(self) -> None:
        """Close every connection."""
        await self._redis.aclose()
        self._app.close()

    def _build(self, workflow: Workflow, values: Mapping[str, Any]) -> tuple[Any, list[str]]:
        """Make a workflow's canvas, and its steps' ids, the last of which has the result."""
        if workflow == "chain":
            first = self._step(ADD, values["x"], values["y"])
            second = self._step(DIVIDE, values["divisor"])
            return cast("Any", chain)(first, second, app=self._app), _ids(first, second)
        if workflow == "parallel":
            at_once = [
                self._step(ADD, values["x"], values["y"]),
                self._step(DIVIDE, values["x"], values["z"]),
            ]
            last = self._step(TOTAL)
            return chord(at_once, last, app=self._app), _ids(*at_once, last)
        name = {"add": ADD, "divide": DIVIDE, "process": PROCESS}[workflow]
        only = self._step(name, *values.values())
        return only, _ids(only)

    def _step(self, name: str, *values: object) -> Any:
        options = {"task_id": str(uuid4()), "queue": QUEUE}
        return self._app.signature(name, args=values, options=options)

    def _send(self, work: Any) -> None:
        with self._app.producer_or_acquire() as producer:
            work.apply_async(producer=producer, retry=False)

    def _read(self, steps: list[str]) -> TaskState:
        backend = self._app.backend
        metas: list[dict[str, Any]] = [backend.get_task_meta(step, cache=False) for step in steps]
        failures = [meta["result"] for meta in metas if meta["status"] in {"FAILURE", "REVOKED"}]
        if failures:
            said = [str(fault) for fault in failures if isinstance(fault, DiagnosticFailed)]
            return TaskState("failed", error=said[0] if said else FAULT)
        if metas[-1]["status"] == "SUCCESS":
            return TaskState("done", result=cast("object", metas[-1]["result"]))
        begun = any(meta["status"] != "PENDING" for meta in metas)
        return TaskState("started" if begun else "pending")


def _ids(*steps: Any) -> list[str]:
    return [step.options["task_id"] for step in steps]


def _key(workspace_id: WorkspaceId, task_id: str) -> str:
    return f"{GIVEN_OUT}{workspace_id}.{task_id}"
