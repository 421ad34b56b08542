"""The jobs that this process holds: claimed in groups, kept alive by one heartbeat, given back."""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from time import monotonic

import structlog

from citewell.domain import JobId, Json, Task, WorkspaceId
from citewell.errors import CitewellError, Unavailable
from citewell.records.leases import Lease, claim_jobs, renew_leases
from citewell.records.session import Database
from citewell.settings import JobSettings
from citewell.worker.group import Grouped

log = structlog.get_logger(__name__)

CLAIM_PAUSES_SECONDS = (0.5, 1.0, 2.0, 4.0)
"""After the last one the message is dropped, and the reconciler sends it again."""
MOST_CLAIMS = 64
BEAT_SECONDS = 1.0
"""How often progress is written; a lease without progress is renewed by the setting."""

Wanted = tuple[WorkspaceId, JobId, Task]


@dataclass(slots=True)
class _Held:
    lose: Callable[[], None]
    progress: Json = field(default_factory=dict[str, object])
    told: bool = True
    ending: bool = False
    renewed: float = field(default_factory=monotonic)


class JobHolder:
    """Claims jobs and keeps their leases alive until they are let go."""

    def __init__(self, database: Database, settings: JobSettings) -> None:
        self._database = database
        self._settings = settings
        self._held: dict[Lease, _Held] = {}
        self._claims = Grouped(self._claim, MOST_CLAIMS)

    async def claim(self, wanted: Wanted) -> Lease | None:
        """Take a job; a database that is just starting again is waited for."""
        for pause in CLAIM_PAUSES_SECONDS:
            try:
                return await self._claims.submit(wanted)
            except Unavailable as error:
                log.warning("the job could not be taken", why=error.message)
                await asyncio.sleep(pause)
        return None

    def hold(self, claim: Lease, lose: Callable[[], None]) -> None:
        """Keep a claim's lease alive; ``lose`` is called when it is another's all the same."""
        self._held[claim] = _Held(lose)

    def tell(self, claim: Lease, progress: Json) -> None:
        """Note how far a job is, for the next heartbeat."""
        if held := self._held.get(claim):
            held.progress, held.told = progress, False

    def last_word(self, claim: Lease) -> Json:
        """Return what was told of a claim last, for the transaction that ends its job.

        Holds:   its lease is renewed until that has its turn; that it then ends is no loss.
        """
        held = self._held.get(claim)
        if held is None:
            return {}
        held.told = held.ending = True
        return held.progress

    def let_go(self, claim: Lease) -> None:
        """Stop renewing a claim."""
        self._held.pop(claim, None)

    async def beat_for_ever(self) -> None:
        """Renew leases and write progress, for all jobs of a workspace in one statement."""
        while True:
            await asyncio.sleep(min(BEAT_SECONDS, self._settings.heartbeat_seconds))
            try:
                await self._beat()
            except CitewellError as error:
                log.warning("heartbeat failed", why=error.message)
            except Exception:  # a door: whatever one beat meets, the next one has to come
                log.exception("a bug stopped a heartbeat")

    async def _beat(self) -> None:
        due = monotonic() - self._settings.heartbeat_seconds
        by_workspace: dict[WorkspaceId, dict[Lease, Json]] = defaultdict(dict)
        for claim, held in self._held.items():
            if not held.told or held.renewed < due:
                by_workspace[claim.workspace_id][claim] = held.progress
        for workspace_id, progress in by_workspace.items():
            now = monotonic()
            async with self._database.transaction(workspace_id) as connection:
                alive = await renew_leases(
                    connection, workspace_id, progress, self._settings.lease_seconds
                )
            for claim, said in progress.items():
                held = self._held.get(claim)
                if held is None:
                    continue
                if claim.job_id in alive or held.ending:
                    held.renewed, held.told = now, held.progress is said
                else:
                    held.lose()

    async def _claim(self, wanted: Sequence[Wanted]) -> list[Lease | None]:
        # An old message may tell of another task than a new one: both are tried.
        by_workspace: dict[WorkspaceId, set[tuple[JobId, Task]]] = defaultdict(set)
        for workspace_id, job_id, task in wanted:
            by_workspace[workspace_id].add((job_id, task))
        claims: dict[JobId, Lease] = {}
        for workspace_id, jobs in by_workspace.items():
            async with self._database.transaction(workspace_id) as connection:
                claims |= await claim_jobs(
                    connection, workspace_id, list(jobs), self._settings.lease_seconds
                )
        return [claims.pop(job_id, None) for _, job_id, _ in wanted]
