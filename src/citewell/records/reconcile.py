"""Put right what a crash left behind; runs in every API and worker process, one at a time."""

import asyncio
from collections import defaultdict
from dataclasses import dataclass
from time import monotonic

import structlog

from citewell.domain import JobId, Task, WorkspaceId
from citewell.errors import CitewellError, Unavailable
from citewell.ports import BlobStore, Queue
from citewell.records.answers import remove_old_answers, remove_orphaned_answers
from citewell.records.blobs import ORPHAN_SECONDS, remove_unused_blobs
from citewell.records.browser_sessions import remove_ended_sessions
from citewell.records.chat_logs import remove_old_chat_logs
from citewell.records.dense import DenseSearch
from citewell.records.exports import remove_expired_exports
from citewell.records.idempotency import remove_old_keys
from citewell.records.jobs import count_open_jobs, list_unsent, mark_sent
from citewell.records.leases import requeue_expired
from citewell.records.lexical import list_stale_collections, refresh_lexemes
from citewell.records.purge import purge_due
from citewell.records.recall_canary import LEAST_RECALL, measure_recall
from citewell.records.session import Database
from citewell.records.sessions import remove_expired_sessions
from citewell.records.statements import text
from citewell.records.vector_index import ensure_vector_index
from citewell.telemetry import DENSE_RECALL, OPEN_JOBS

RECONCILE_LOCK = 4_129_889_002
"""Advisory lock: one process reconciles at a time."""
SEND_AT_ONCE = 500
ORPHAN_CHECK_SECONDS = RECALL_CHECK_SECONDS = 3600.0

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class Reconciler:
    """What a round needs, and its limits."""

    database: Database
    queue: Queue
    blobs: BlobStore
    max_attempts: int
    unsent_after_seconds: float
    keep_answers_days: int
    exact_below_chunks: int
    dimension: int
    dense: DenseSearch | None = None
    """What the canary of the vector index searches with."""
    orphans_due: float = 0.0
    recall_due: float = 0.0

    async def run(self) -> None:
        """Do one round: what is expired or old, unsent jobs, term statistics, orphan blobs, purges.

        Raises:  Unavailable – PostgreSQL does not answer; the next round tries again.
        """
        if not await self._requeue():
            return
        await self._send_waiting()
        await self._remove_old()
        await self._refresh_statistics()
        await ensure_vector_index(self.database, self.exact_below_chunks, self.dimension)
        await self._remove_orphans()
        await purge_due(self.database, self.blobs)
        await self._measure_recall()

    async def run_forever(self, pause_seconds: float) -> None:
        """Do a round now and then; one that fails is logged, and the next one tries again."""
        while True:
            try:
                await self.run()
            except CitewellError as error:
                log.warning("reconciling failed", why=error.message)
            except Exception:  # a door: whatever one round meets, the next one has to come
                log.exception("a bug stopped a round of reconciling")
            await asyncio.sleep(pause_seconds)

    async def _requeue(self) -> bool:
        async with self.database.system_transaction() as connection:
            if not await connection.scalar(
                text("SELECT pg_try_advisory_xact_lock(:key)"), {"key": RECONCILE_LOCK}
            ):
                return False
            if lost := await requeue_expired(connection, self.max_attempts):
                log.warning("jobs of lost workers were queued again", count=lost)
            for status, count in (await count_open_jobs(connection)).items():
                OPEN_JOBS.labels(status).set(count)
        return True

    async def _send_waiting(self) -> None:
        try:
            broker_empty = await self.queue.count_waiting() == 0
            async with self.database.system_transaction() as connection:
                waiting = await list_unsent(
                    connection, self.unsent_after_seconds, SEND_AT_ONCE, broker_empty
                )
            by_task: dict[Task, list[tuple[WorkspaceId, JobId]]] = defaultdict(list)
            for workspace_id, job_id, task in waiting:
                by_task[task].append((workspace_id, job_id))
            for task, jobs in by_task.items():
                await self.queue.send(task, jobs)
                await self._mark_sent(jobs)
        except Unavailable as error:
            log.warning("waiting jobs could not be sent", why=error.message)

    async def _mark_sent(self, jobs: list[tuple[WorkspaceId, JobId]]) -> None:
        by_workspace: dict[WorkspaceId, list[JobId]] = defaultdict(list)
        for workspace_id, job_id in jobs:
            by_workspace[workspace_id].append(job_id)
        for workspace_id, job_ids in by_workspace.items():
            async with self.database.transaction(workspace_id) as connection:
                await mark_sent(connection, workspace_id, job_ids)

    async def _remove_old(self) -> None:
        async with self.database.system_transaction() as connection:
            await connection.execute(text("SET LOCAL statement_timeout = 0"))
            await remove_expired_sessions(connection)
            await remove_orphaned_answers(connection)
            await remove_old_answers(connection, self.keep_answers_days)
            await remove_old_chat_logs(connection, self.keep_answers_days)
            await remove_old_keys(connection)
            await remove_ended_sessions(connection)
            expired = await remove_expired_exports(connection)
        await remove_unused_blobs(self.database, self.blobs, expired)

    async def _refresh_statistics(self) -> None:
        async with self.database.system_transaction() as connection:
            stale = await list_stale_collections(connection)
        for workspace_id, collection_id in stale:
            async with self.database.transaction(workspace_id) as connection:
                await refresh_lexemes(connection, workspace_id, collection_id)

    async def _measure_recall(self) -> None:
        if self.dense is None or monotonic() < self.recall_due:
            return
        self.recall_due = monotonic() + RECALL_CHECK_SECONDS
        recall = await measure_recall(self.database, self.dense)
        if recall is None:
            return
        DENSE_RECALL.set(recall)
        if recall < LEAST_RECALL:
            log.warning(
                "the vector index misses near chunks; raise CITEWELL_RETRIEVAL__HNSW_EF_SEARCH",
                recall=round(recall, 3),
            )

    async def _remove_orphans(self) -> None:
        if monotonic() < self.orphans_due:
            return
        self.orphans_due = monotonic() + ORPHAN_CHECK_SECONDS
        await self.blobs.remove_unfinished(ORPHAN_SECONDS)
        old = await self.blobs.list_hashes(ORPHAN_SECONDS)
        await remove_unused_blobs(self.database, self.blobs, old)
