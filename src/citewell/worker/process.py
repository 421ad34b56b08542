"""One worker process: Celery's threads hand job ids to an event loop that does the work."""

import asyncio
import gc
import os
import signal
import socket
import threading
import warnings
from collections.abc import Coroutine, Sequence
from concurrent.futures import Future
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from time import monotonic
from typing import Any
from uuid import UUID

import structlog
import uvloop
from celery import Celery
from celery.exceptions import SecurityWarning

from citewell.domain import JobId, Task, WorkspaceId
from citewell.errors import Unavailable
from citewell.ports import Queue, task_name
from citewell.settings import Settings
from citewell.wiring import open_celery, open_ingest, open_services
from citewell.worker.holder import JobHolder
from citewell.worker.presence import be_present
from citewell.worker.publishing import PublicationGroup
from citewell.worker.runs import JobRun, Workshop

log = structlog.get_logger(__name__)

PULSE_SECONDS = 1.0
"""How often a supervised worker says that its event loop turns."""
STOP_SECONDS = 10.0
DEAF_SECONDS = 20.0
DEAF_LOOK_SECONDS = 5.0
MOST_THREADS = 16
"""Messages at once: each may tell of several jobs, and all jobs run on the event loop."""
LAST_WORDS_SECONDS = 1.0
"""Time for what runs beside the jobs to write down where it is."""
TASKS: tuple[Task, ...] = ("ingest", "embed", "publish", "answer", "export", "evaluate")


@dataclass(frozen=True, slots=True)
class Supervision:
    """Two pipes to a supervisor: it closes the first to end this process, and reads the second."""

    stop_pipe: int
    pulse_pipe: int


class Worker:
    """One process's services on an event loop of its own, shared by Celery's threads."""

    def __init__(self, settings: Settings, queues: Sequence[str]) -> None:
        self._settings = settings
        self._queues = queues
        self._loop = uvloop.new_event_loop()
        self._closing = asyncio.Event()
        self._opened: Future[Workshop] = Future()
        self._turns = asyncio.Semaphore(settings.jobs.concurrency)
        self._running: set[JobRun] = set()
        self._told = 0
        self._messages = 0
        self._handing_back = False
        self._thread = threading.Thread(target=self._run, name="services", daemon=True)

    def start(self) -> None:
        """Open the services and begin to reconcile.

        Raises:  ProviderError, Unavailable – what the services need is missing.
        """
        self._thread.start()
        self._opened.result()

    def stop(self) -> None:
        """Close the services; jobs that still run lose their lease and are tried again."""
        with suppress(RuntimeError):  # the loop is closed already
            self._loop.call_soon_threadsafe(self._closing.set)
        self._thread.join(timeout=STOP_SECONDS)

    def hand_back(self) -> None:
        """Stop working at once: every running job is queued again for another worker."""
        with suppress(RuntimeError):  # the loop is closed already
            self._loop.call_soon_threadsafe(self._hand_back)

    def do(self, task: Task, workspace_id: WorkspaceId, job_ids: Sequence[JobId]) -> None:
        """Run the task of each job to its end; the calling thread waits for all of them."""
        self._wait(self._do_all(task, workspace_id, job_ids))

    def pulse(self, pipe: int) -> None:
        """Write to the pipe for ever, as long as the event loop turns."""
        self._loop.call_soon_threadsafe(self._pulse, pipe)

    def _pulse(self, pipe: int) -> None:
        try:
            os.write(pipe, b".")
        except BlockingIOError:
            log.warning("the supervisor does not read this worker's pulse")
        except OSError:
            return
        self._loop.call_later(PULSE_SECONDS, self._pulse, pipe)

    def _hand_back(self) -> None:
        self._handing_back = True
        for run in self._running:
            run.hand_back()

    def _wait(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._serve())
        except BaseException as error:  # a door: no thread may wait for ever for a loop that ended
            if self._opened.done():
                log.exception("the services ended unasked; the worker stops")
                os.kill(os.getpid(), signal.SIGTERM)
            else:
                self._opened.set_exception(error)
        finally:
            self._end_tasks()

    def _end_tasks(self) -> None:
        """Cancel what still runs, and close the loop: its callers' threads must not wait for it."""
        if tasks := asyncio.all_tasks(self._loop):
            for task in tasks:
                task.cancel()
            self._loop.run_until_complete(asyncio.wait(tasks, timeout=LAST_WORDS_SECONDS))
        self._loop.close()

    async def _serve(self) -> None:
        settings = self._settings
        async with AsyncExitStack() as stack:
            services = await stack.enter_async_context(open_services(settings, worker=True))
            pipeline = await stack.enter_async_context(open_ingest(services))
            holder = JobHolder(services.database, settings.jobs)
            self._opened.set_result(
                Workshop(services, pipeline, holder, PublicationGroup(services))
            )
            concurrency = settings.jobs.concurrency
            tasks = [
                asyncio.create_task(work)
                for work in (
                    holder.beat_for_ever(),
                    services.reconciler.run_forever(settings.jobs.reconcile_seconds),
                    services.webhooks.run_forever(),
                    be_present(services.database, self._queues, concurrency),
                    self._end_when_deaf(services.queue),
                )
            ]
            await self._closing.wait()
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks, timeout=LAST_WORDS_SECONDS)

    async def _end_when_deaf(self, queue: Queue) -> None:
        """End this process when it is idle although messages wait: another one will hear them.

        A broker that was silent for a while can leave the consumer without room for messages,
        or without a connection that it knows to be dead.
        """
        while True:
            told, silent_since = self._told, monotonic()
            while await self._is_deaf(told, queue):
                if monotonic() - silent_since > DEAF_SECONDS:
                    log.warning("messages wait and none comes in; this worker ends")
                    os.kill(os.getpid(), signal.SIGTERM)
                    return
                await asyncio.sleep(DEAF_LOOK_SECONDS)
            await asyncio.sleep(DEAF_LOOK_SECONDS)

    async def _is_deaf(self, told: int, queue: Queue) -> bool:
        """Say whether messages wait for an idle process; a silent broker leaves that unknown."""
        if told != self._told or self._messages or self._running:
            return False
        try:
            return await queue.count_waiting(self._queues) > 0
        except Unavailable:
            return False

    async def _do_all(
        self, task: Task, workspace_id: WorkspaceId, job_ids: Sequence[JobId]
    ) -> None:
        self._told += 1
        self._messages += 1

        async def do(job_id: JobId) -> None:
            async with self._turns:
                await self._do(task, workspace_id, job_id)

        try:
            await asyncio.gather(*map(do, job_ids))
        finally:
            self._messages -= 1

    async def _do(self, task: Task, workspace_id: WorkspaceId, job_id: JobId) -> None:
        workshop = self._opened.result()
        if self._handing_back:
            return
        claim = await workshop.holder.claim((workspace_id, job_id, task))
        if claim is None:
            return
        with structlog.contextvars.bound_contextvars(
            job_id=str(job_id), request_id=claim.request_id
        ):
            run = JobRun(workshop, claim)
            self._running.add(run)
            if self._handing_back:
                run.hand_back()
            try:
                await run.run()
            finally:
                self._running.discard(run)


def make_app(settings: Settings, worker: Worker) -> Celery:
    """Register the tasks; a message holds a workspace's id and its jobs' ids, nothing else."""
    app: Any = open_celery(settings)

    def register(task: Task) -> None:
        def run(workspace_id: str, job_ids: list[str]) -> None:
            jobs = [JobId(UUID(job_id)) for job_id in job_ids]
            worker.do(task, WorkspaceId(UUID(workspace_id)), jobs)

        app.task(name=task_name(task))(run)

    for task in TASKS:
        register(task)
    return app


def run_worker(
    settings: Settings, queues: Sequence[str], supervision: Supervision | None = None
) -> None:
    """Consume jobs until SIGTERM; then finish those that run, and stop."""
    worker = Worker(settings, queues)
    worker.start()
    if supervision is not None:
        os.set_blocking(supervision.pulse_pipe, False)
        worker.pulse(supervision.pulse_pipe)
        _stop_with_supervisor(supervision.stop_pipe, worker)
    # Messages are JSON ids, never pickle, so that a root worker is no danger by its broker.
    warnings.simplefilter("ignore", SecurityWarning)
    app: Any = make_app(settings, worker)
    gc.collect()
    gc.freeze()  # what is loaded stays; a full collection need not look through it
    try:
        app.Worker(
            pool="threads",
            concurrency=min(MOST_THREADS, settings.jobs.concurrency),
            queues=list(queues),
            hostname=f"citewell-{os.getpid()}@{socket.gethostname()}",
            without_gossip=True,
            without_mingle=True,
            without_heartbeat=True,
            loglevel="WARNING",
            quiet=True,
        ).start()
    finally:
        worker.stop()


def _stop_with_supervisor(pipe: int, worker: Worker) -> None:
    """End this process when the supervisor closes its end of the pipe, or is gone."""

    def watch() -> None:
        os.read(pipe, 1)
        worker.hand_back()
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, name="supervisor-watch", daemon=True).start()
