"""Where a version's parts go: into the ledger, small documents together in one transaction."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import structlog

from citewell.domain import Chunk, JobId, Json, ParsedPart, Task, VersionId, WorkspaceId
from citewell.errors import DocumentRejected, LeaseLost, Unavailable
from citewell.ports import Vectors
from citewell.records.blobs import remove_unused_blobs
from citewell.records.chunks import find_vectors
from citewell.records.jobs import mark_sent
from citewell.records.leases import Claim, finish_jobs, hold_jobs
from citewell.records.lexical import refresh_lexemes
from citewell.records.publish import Outcome, Publication, publish
from citewell.records.quotas import take_turn
from citewell.records.staging import begin_staging, end_staging, fan_out, stage_part
from citewell.records.usage import book_published
from citewell.records.version_rows import vector_literal
from citewell.wiring import Services
from citewell.worker.group import Grouped

log = structlog.get_logger(__name__)

MOST_PUBLISHED = 64
"""Documents in one transaction."""


@dataclass(frozen=True, slots=True)
class Finished:
    """A small document that is ready; ``last_word`` says what its job took so far."""

    claim: Claim
    publication: Publication
    last_word: Callable[[], Json]


class PublicationGroup:
    """Publishes what several jobs have ready in one transaction, and clears up after it."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._group = Grouped(self._publish, MOST_PUBLISHED)

    async def submit(self, finished: Finished) -> None:
        """Publish one document and end its job.

        Holds:   the next documents are published while the first one's submitter clears up.
        Raises:  LeaseLost – the job is another worker's, or the document is gone.
                 DocumentRejected – no quota has room for its chunks.
        """
        published, refused, outcome = await self._group.submit(finished)
        if outcome is not None:
            await self.clear_up(finished.claim.workspace_id, outcome)
        if refused is not None:
            raise DocumentRejected("quota_exceeded", refused)
        if not published:
            raise LeaseLost

    async def clear_up(self, workspace_id: WorkspaceId, outcome: Outcome) -> None:
        """Count terms anew and remove files, after the commit; the reconciler does it otherwise."""
        services = self._services
        for collection_id in outcome.stale:
            async with services.database.transaction(workspace_id) as connection:
                await refresh_lexemes(connection, workspace_id, collection_id)
        if outcome.unused:
            await remove_unused_blobs(services.database, services.blobs, outcome.unused)

    async def _publish(
        self, group: Sequence[Finished]
    ) -> list[tuple[bool, str | None, Outcome | None]]:
        """Return of each whether it is published, or why it is refused; and what is left.

        What is left is told once for each workspace.
        """
        by_workspace: dict[WorkspaceId, list[Finished]] = defaultdict(list)
        for finished in group:
            by_workspace[finished.claim.workspace_id].append(finished)
        done: set[JobId] = set()
        refused: dict[VersionId, str] = {}
        left: dict[WorkspaceId, Outcome] = {}
        for workspace_id, items in by_workspace.items():
            published, left[workspace_id] = await self._publish_in(workspace_id, items)
            done |= published
            refused |= left[workspace_id].refused
        return [
            (
                finished.claim.job_id in done,
                refused.get(finished.claim.version_id),
                left.pop(finished.claim.workspace_id, None),
            )
            for finished in group
        ]

    async def _publish_in(
        self, workspace_id: WorkspaceId, items: Sequence[Finished]
    ) -> tuple[set[JobId], Outcome]:
        services = self._services
        async with services.database.transaction(workspace_id) as connection:
            quotas = await take_turn(connection, workspace_id, "chunks")
            held = await hold_jobs(connection, workspace_id, [item.claim for item in items])
            kept = [item for item in items if item.claim.job_id in held]
            outcome = await publish(
                connection,
                workspace_id,
                [item.publication for item in kept],
                services.settings.versions.keep,
                quotas,
            )
            unpublished = outcome.gone | outcome.refused.keys()
            done = {
                item.claim.job_id: item.last_word()
                for item in kept
                if item.claim.version_id not in unpublished
            }
            await finish_jobs(connection, workspace_id, done)
            await book_published(connection, workspace_id, outcome.published)
        return set(done), outcome


class JobPublisher:
    """One job's way into the ledger (``ingest.pipeline.Publisher``)."""

    def __init__(
        self,
        services: Services,
        group: PublicationGroup,
        claim: Claim,
        last_word: Callable[[], Callable[[], Json]],
    ) -> None:
        self._services = services
        self._group = group
        self._claim = claim
        self._last_word = last_word
        self._cited: dict[int, str | None] = {}

    async def find_vectors(self, chunks: Sequence[Chunk]) -> Mapping[int, Vectors]:
        """Return the vectors of chunks that the document's active version has as well."""
        claim = self._claim
        if not claim.published:
            return {}
        async with self._services.database.transaction(claim.workspace_id) as connection:
            return await find_vectors(
                connection,
                claim.workspace_id,
                claim.document_id,
                self._services.embedder.name,
                chunks,
                self._services.embedder.dimension,
            )

    async def publish(self, part: ParsedPart, vectors: Vectors) -> None:
        """Publish a small version and end its job."""
        claim = self._claim
        publication = Publication(
            document_id=claim.document_id,
            version_id=claim.version_id,
            head=part.head,
            text=part.text,
            sections=part.sections,
            chunks=part.chunks,
            vectors=[vector_literal(row) for row in vectors],
            model=self._services.embedder.name,
        )
        await self._group.submit(Finished(claim, publication, self._last_word()))

    async def stage(self, number: int, part: ParsedPart) -> None:
        """Keep one part of a large version."""
        async with self._services.database.transaction(self._claim.workspace_id) as connection:
            if number == 0:
                await begin_staging(connection, self._claim)
            self._cited = await stage_part(connection, self._claim, number, part, self._cited)
            if part.last:
                await end_staging(connection, self._claim, part.head)

    async def fan_out(self) -> None:
        """Queue the jobs that embed what is staged, and send them."""
        claim, services = self._claim, self._services
        async with services.database.transaction(claim.workspace_id) as connection:
            parts = await fan_out(
                connection,
                claim,
                services.embedder.name,
                self._last_word()(),
                dimension=services.embedder.dimension,
            )
        if parts:
            await send(services, claim.workspace_id, parts, "embed")
        else:
            await send(services, claim.workspace_id, [claim.job_id], "publish")


async def send(
    services: Services, workspace_id: WorkspaceId, jobs: list[JobId], task: Task
) -> None:
    """Tell the workers; when the broker is away the reconciler does it later."""
    try:
        await services.queue.send(task, [(workspace_id, job) for job in jobs])
        async with services.database.transaction(workspace_id) as connection:
            await mark_sent(connection, workspace_id, jobs)
    except Unavailable as error:
        log.warning("jobs are sent later", count=len(jobs), why=error.message)
