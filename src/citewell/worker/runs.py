"""One claimed job, from its task to its end: done, failed, tried again, or given back."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import structlog

from citewell.domain import Json, Task
from citewell.errors import CitewellError, DocumentRejected, LeaseLost, SessionBusy
from citewell.ingest.embed import embed
from citewell.ingest.pipeline import IngestPipeline, SourceFile
from citewell.records.leases import (
    Claim,
    Lease,
    fail_job,
    postpone_job,
    release_job,
    return_job,
)
from citewell.records.staging import finish_part, load_part, publish_staged
from citewell.records.version_rows import vector_literal
from citewell.wiring import Services
from citewell.worker.answering import answer_question
from citewell.worker.evaluating import evaluate
from citewell.worker.exporting import make_export
from citewell.worker.holder import JobHolder
from citewell.worker.publishing import JobPublisher, PublicationGroup, send

log = structlog.get_logger(__name__)

BUSY_PAUSE_SECONDS = 3.0
"""So long a question waits whose session is busy; then the reconciler sends it again."""


@dataclass(frozen=True, slots=True)
class Workshop:
    """What every run of this process shares."""

    services: Services
    pipeline: IngestPipeline
    holder: JobHolder
    publications: PublicationGroup


class JobRun:
    """The work on one claim, and how it ends in the ledger."""

    def __init__(self, workshop: Workshop, claim: Lease) -> None:
        self._workshop = workshop
        self._claim = claim
        self._name = claim.name if isinstance(claim, Claim) else None
        self._seconds: dict[str, float] = {}
        self._stage = "parse" if claim.task == "ingest" else claim.task
        self._since = perf_counter()
        self._handed_back = False
        self._work = asyncio.ensure_future(self._begin(claim))

    def hand_back(self) -> None:
        """Stop the work; the job is queued again, and this try does not count."""
        self._handed_back = True
        self._work.cancel()

    def _lose(self) -> None:
        self._work.cancel()

    async def run(self) -> None:
        """Take the job to its end; every way out writes the ledger or has lost the lease."""
        holder = self._workshop.holder
        holder.hold(self._claim, self._lose)
        try:
            await self._work
            log.info("job done", task=self._claim.task, document=self._name)
        except asyncio.CancelledError:
            if self._handed_back:
                await self._end(self._return)
            else:
                log.info("the job was taken over or cancelled", document=self._name)
        except LeaseLost:
            log.info("the job was taken over or cancelled", document=self._name)
        except DocumentRejected as error:
            log.info("document rejected", document=self._name, reason=error.reason)
            await self._end(self._fail, error.reason, error.message)
        except SessionBusy as error:
            await self._end(self._postpone, error.reason, error.message)
        except CitewellError as error:
            await self._give_up(error)
        except Exception:  # a door: a bug must end in the ledger, not in a lost job
            log.exception("a bug stopped the job")
            message = "A fault in Citewell stopped this job; see its log."
            await self._end(self._release, "internal", message)
        finally:
            holder.let_go(self._claim)

    def _begin(self, claim: Lease) -> Coroutine[Any, Any, None]:
        if claim.task == "export":
            return make_export(self._workshop.services, claim, self._note, self._last_word)
        if claim.task == "evaluate":
            return evaluate(self._workshop.services, claim, self._note, self._last_word)
        if not isinstance(claim, Claim):
            return answer_question(self._workshop.services, claim, self._last_word)
        tasks: dict[Task, Callable[[Claim], Coroutine[Any, Any, None]]] = {
            "ingest": self._ingest,
            "embed": self._embed,
            "publish": self._publish,
        }
        return tasks[claim.task](claim)

    async def _give_up(self, error: CitewellError) -> None:
        """Try again what may pass; what is about no file and cannot be is told why."""
        if isinstance(self._claim, Claim) or error.retryable:
            log.warning("job will be tried again", reason=error.reason, why=error.message)
            await self._end(self._release, error.reason, error.message)
        else:
            log.info("job failed", task=self._claim.task, reason=error.reason)
            await self._end(self._fail, error.reason, error.message)

    async def _ingest(self, claim: Claim) -> None:
        services = self._workshop.services
        publisher = JobPublisher(services, self._workshop.publications, claim, self._last_word)
        if claim.staged:
            await publisher.fan_out()
            return
        path = await services.blobs.find_path(claim.sha256)
        if path is None:
            raise DocumentRejected(
                "blob_missing", "The uploaded file is no longer stored. Upload it again."
            )
        file = SourceFile(path, claim.name, claim.media_type, claim.password)
        await self._workshop.pipeline.run(file, publisher, self._tell)

    async def _embed(self, claim: Claim) -> None:
        services = self._workshop.services
        async with services.database.transaction(claim.workspace_id) as connection:
            chunks = await load_part(connection, claim)

        async def embedded(count: int) -> None:
            await self._tell({"stage": "embed", "done": count, "total": len(chunks)})

        vectors = await embed(chunks, services.embedder, embedded)
        self._last_word()
        async with services.database.transaction(claim.workspace_id) as connection:
            last = await finish_part(
                connection,
                claim,
                chunks,
                [vector_literal(row) for row in vectors],
                services.embedder.name,
            )
        if last and claim.parent_id is not None:
            await send(services, claim.workspace_id, [claim.parent_id], "publish")

    async def _publish(self, claim: Claim) -> None:
        services = self._workshop.services
        async with services.database.transaction(claim.workspace_id) as connection:
            outcome = await publish_staged(
                connection, claim, services.settings.versions.keep, self._last_word()
            )
        await self._workshop.publications.clear_up(claim.workspace_id, outcome)

    async def _tell(self, progress: Json) -> None:
        self._note(progress)

    def _note(self, progress: Json) -> None:
        stage = str(progress["stage"])
        if stage != self._stage:
            self._count_stage()
            self._stage = stage
        self._workshop.holder.tell(self._claim, {**progress, "seconds": dict(self._seconds)})

    def _last_word(self) -> Callable[[], Json]:
        """Expect the job's end; return what is written in the transaction that ends it."""
        said = self._workshop.holder.last_word(self._claim)

        def word() -> Json:
            self._count_stage()
            return {**said, "seconds": dict(self._seconds)}

        return word

    def _count_stage(self) -> None:
        now = perf_counter()
        spent = self._seconds.get(self._stage, 0.0) + now - self._since
        self._seconds[self._stage], self._since = round(spent, 4), now

    async def _end(self, change: Callable[..., Awaitable[None]], *said: str) -> None:
        try:
            await change(*said)
        except LeaseLost:
            log.info("the job was taken over before its end was written")
        except CitewellError as error:
            log.warning("the job waits for its lease to run out", why=error.message)

    async def _return(self) -> None:
        async with self._workshop.services.database.transaction(
            self._claim.workspace_id
        ) as connection:
            await return_job(connection, self._claim)

    async def _fail(self, reason: str, message: str) -> None:
        async with self._workshop.services.database.transaction(
            self._claim.workspace_id
        ) as connection:
            await fail_job(connection, self._claim, reason, message)

    async def _postpone(self, reason: str, message: str) -> None:
        async with self._workshop.services.database.transaction(
            self._claim.workspace_id
        ) as connection:
            await postpone_job(connection, self._claim, BUSY_PAUSE_SECONDS, reason, message)

    async def _release(self, reason: str, message: str) -> None:
        services = self._workshop.services
        async with services.database.transaction(self._claim.workspace_id) as connection:
            await release_job(
                connection, self._claim, services.settings.jobs.max_attempts, reason, message
            )
