"""The Celery door: claim a job, take its file along ingest's path, publish, or say why not."""

import asyncio
import os
import signal
import threading
import warnings
from collections.abc import Coroutine
from concurrent.futures import Future
from contextlib import AsyncExitStack
from time import monotonic
from typing import Any
from uuid import UUID

import structlog
from celery import Celery
from celery.exceptions import SecurityWarning

from citewell.domain import JobId, Json, WorkspaceId
from citewell.errors import CitewellError, DocumentRejected, LeaseLost, Unavailable
from citewell.ingest.pipeline import IngestPipeline
from citewell.records.chunks import Publication, publish
from citewell.records.jobs import Claim, claim_job, finish_job, release_job, renew_lease, return_job
from citewell.records.lexical import refresh_lexemes
from citewell.settings import Settings
from citewell.wiring import Services, open_celery, open_ingest, open_services

log = structlog.get_logger(__name__)

CLAIM_PAUSES_SECONDS = (0.5, 1.0, 2.0, 4.0)
"""After the last one the message is dropped, and the reconciler sends it again."""

PROGRESS_SECONDS = 1.0
"""Progress is written at most this often."""


class Worker:
    """One process's services on an event loop of its own, shared by Celery's threads."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._loop = asyncio.new_event_loop()
        self._closing = asyncio.Event()
        self._opened: Future[tuple[Services, IngestPipeline]] = Future()
        self._running: set[JobRun] = set()
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
        self._loop.call_soon_threadsafe(self._closing.set)
        self._thread.join(timeout=10)

    def hand_back(self) -> None:
        """Stop working at once: every running job is queued again for another worker."""
        self._loop.call_soon_threadsafe(self._hand_back)

    def ingest(self, workspace_id: WorkspaceId, job_id: JobId) -> None:
        """Run one job to its end, in the calling thread."""
        self._wait(self._ingest(workspace_id, job_id))

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

    async def _serve(self) -> None:
        async with AsyncExitStack() as stack:
            services = await stack.enter_async_context(
                open_services(
                    self._settings, embedder_threads=1, embedder_parallel=os.cpu_count() or 1
                )
            )
            pipeline = await stack.enter_async_context(open_ingest(services))
            self._opened.set_result((services, pipeline))
            reconciling = asyncio.create_task(
                services.reconciler.run_forever(self._settings.jobs.reconcile_seconds)
            )
            await self._closing.wait()
            reconciling.cancel()

    async def _ingest(self, workspace_id: WorkspaceId, job_id: JobId) -> None:
        services, pipeline = self._opened.result()
        if self._handing_back:
            return
        claim = await self._claim(services, workspace_id, job_id)
        if claim is None:
            return
        with structlog.contextvars.bound_contextvars(
            job_id=str(job_id), request_id=claim.request_id
        ):
            run = JobRun(services, pipeline, workspace_id, claim)
            self._running.add(run)
            if self._handing_back:
                run.hand_back()
            try:
                await run.run()
            finally:
                self._running.discard(run)

    async def _claim(
        self, services: Services, workspace_id: WorkspaceId, job_id: JobId
    ) -> Claim | None:
        """Take the job; a database that is just starting again is waited for."""
        for pause in CLAIM_PAUSES_SECONDS:
            try:
                async with services.database.transaction(workspace_id) as connection:
                    return await claim_job(
                        connection, workspace_id, job_id, self._settings.jobs.lease_seconds
                    )
            except Unavailable as error:
                log.warning("the job could not be taken", why=error.message)
                await asyncio.sleep(pause)
        return None


class JobRun:
    """One claimed job: its heartbeat, its progress, its end."""

    def __init__(
        self,
        services: Services,
        pipeline: IngestPipeline,
        workspace_id: WorkspaceId,
        claim: Claim,
    ) -> None:
        self._services = services
        self._pipeline = pipeline
        self._workspace_id = workspace_id
        self._claim = claim
        self._progress: Json = {"stage": "parse"}
        self._written = monotonic()
        self._work_task = asyncio.create_task(self._work())
        self._handed_back = False

    def hand_back(self) -> None:
        """Stop the work; the job is queued again, and this try does not count."""
        self._handed_back = True
        self._work_task.cancel()

    async def run(self) -> None:
        """Take the job to done or failed, or give it back for another try."""
        heartbeat = asyncio.create_task(self._beat())
        work = self._work_task
        try:
            await asyncio.wait({heartbeat, work}, return_when=asyncio.FIRST_COMPLETED)
            if not work.done():
                work.cancel()
            await self._settle(work)
        finally:
            heartbeat.cancel()

    async def _settle(self, work: asyncio.Task[None]) -> None:
        """End the job as the work ended; every way out writes the ledger or has lost the lease."""
        try:
            await work
            log.info("document published", document=self._claim.name)
        except asyncio.CancelledError:
            if self._handed_back:
                await self._return()
        except LeaseLost:
            log.info("the job was taken over or cancelled", document=self._claim.name)
        except DocumentRejected as error:
            log.info("document rejected", document=self._claim.name, reason=error.reason)
            await self._fail(error.reason, error.message)
        except CitewellError as error:
            log.warning("job will be tried again", reason=error.reason, why=error.message)
            await self._release(error.reason, error.message)
        except Exception:  # a door: a bug must end in the ledger, not in a lost job
            log.exception("a bug stopped the job")
            await self._release("internal", "A fault in Citewell stopped this job; see its log.")

    async def _work(self) -> None:
        claim, services = self._claim, self._services
        path = await services.blobs.find_path(claim.sha256)
        if path is None:
            raise DocumentRejected(
                "blob_missing", "The uploaded file is no longer stored. Upload it again."
            )
        indexed = await self._pipeline.run(path, claim.name, claim.media_type, self._tell)
        publication = Publication(
            document_id=claim.document_id,
            version_id=claim.version_id,
            parsed=indexed.parsed,
            chunks=indexed.chunks,
            vectors=indexed.vectors,
            model=services.embedder.name,
        )
        async with services.database.transaction(self._workspace_id) as connection:
            await finish_job(connection, self._workspace_id, claim, "done")
            stale = await publish(connection, self._workspace_id, publication)
        if stale is not None:
            async with services.database.transaction(self._workspace_id) as connection:
                await refresh_lexemes(connection, self._workspace_id, stale)

    async def _tell(self, progress: Json) -> None:
        self._progress = progress
        if monotonic() - self._written > PROGRESS_SECONDS:
            await self._renew()

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(self._services.settings.jobs.heartbeat_seconds)
            try:
                await self._renew()
            except LeaseLost:
                return
            except CitewellError as error:
                log.warning("heartbeat failed", why=error.message)

    async def _renew(self) -> None:
        self._written = monotonic()
        async with self._services.database.transaction(self._workspace_id) as connection:
            await renew_lease(
                connection,
                self._workspace_id,
                self._claim,
                self._services.settings.jobs.lease_seconds,
                self._progress,
            )

    async def _fail(self, reason: str, message: str) -> None:
        try:
            async with self._services.database.transaction(self._workspace_id) as connection:
                await finish_job(
                    connection, self._workspace_id, self._claim, "failed", reason, message
                )
        except LeaseLost:
            log.info("the job was taken over before it could be marked failed")

    async def _return(self) -> None:
        try:
            async with self._services.database.transaction(self._workspace_id) as connection:
                await return_job(connection, self._workspace_id, self._claim)
        except CitewellError as error:
            log.warning("the job waits for its lease to run out", why=error.message)

    async def _release(self, reason: str, message: str) -> None:
        try:
            async with self._services.database.transaction(self._workspace_id) as connection:
                await release_job(
                    connection,
                    self._workspace_id,
                    self._claim,
                    self._services.settings.jobs.max_attempts,
                    reason,
                    message,
                )
        except CitewellError as error:
            log.warning("the job waits for its lease to run out", why=error.message)


def make_app(settings: Settings, worker: Worker) -> Celery:
    """Register the tasks; a message holds a workspace's id and a job's id, nothing else."""
    app: Any = open_celery(settings)

    @app.task(name="citewell.ingest")
    def ingest(workspace_id: str, job_id: str) -> None:  # pyright: ignore[reportUnusedFunction]
        worker.ingest(WorkspaceId(UUID(workspace_id)), JobId(UUID(job_id)))

    return app


def run_worker(settings: Settings, supervisor_pipe: int | None = None) -> None:
    """Consume jobs until SIGTERM; then finish those that run, and stop."""
    worker = Worker(settings)
    worker.start()
    if supervisor_pipe is not None:
        _stop_with_supervisor(supervisor_pipe, worker)
    # Messages are JSON ids, never pickle, so that a root worker is no danger by its broker.
    warnings.simplefilter("ignore", SecurityWarning)
    app: Any = make_app(settings, worker)
    try:
        app.Worker(
            pool="threads",
            concurrency=settings.jobs.concurrency,
            queues=["document", "default"],
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
