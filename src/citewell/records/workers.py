"""The worker processes that live: each has a row, and says now and then that it still works."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID, uuid4

from sqlalchemy.ext.asyncio import AsyncConnection

from citewell.records.statements import text


@dataclass(frozen=True, slots=True)
class WorkerRow:
    """A worker process; ``up_seconds`` counts from its start, ``silent_seconds`` from its word."""

    host: str
    pid: int
    queues: list[str]
    concurrency: int
    up_seconds: float
    silent_seconds: float


async def register_worker(
    connection: AsyncConnection, host: str, pid: int, queues: Sequence[str], concurrency: int
) -> UUID:
    """Note that a worker process started; return its id. Needs a system transaction."""
    worker_id = uuid4()
    await connection.execute(
        text(
            "INSERT INTO workers (id, host, pid, queues, concurrency) "
            "VALUES (:id, :host, :pid, CAST(:queues AS text[]), :concurrency)"
        ),
        {
            "id": worker_id,
            "host": host,
            "pid": pid,
            "queues": list(queues),
            "concurrency": concurrency,
        },
    )
    return worker_id


async def touch_worker(connection: AsyncConnection, worker_id: UUID) -> bool:
    """Note that it still works; False when its row is gone. Needs a system transaction."""
    touched = await connection.execute(
        text("UPDATE workers SET seen_at = now() WHERE id = :id"), {"id": worker_id}
    )
    return touched.rowcount > 0


async def forget_worker(connection: AsyncConnection, worker_id: UUID) -> None:
    """Note that it stopped; needs a system transaction."""
    await connection.execute(text("DELETE FROM workers WHERE id = :id"), {"id": worker_id})


async def list_workers(connection: AsyncConnection, seen_within_seconds: float) -> list[WorkerRow]:
    """List the workers that spoke lately, by host and pid; needs a system transaction."""
    rows = await connection.execute(
        text(
            "SELECT host, pid, queues, concurrency, "
            "extract(epoch FROM now() - started_at)::float, "
            "extract(epoch FROM now() - seen_at)::float FROM workers "
            "WHERE seen_at >= now() - make_interval(secs => :within) ORDER BY host, pid, id"
        ),
        {"within": seen_within_seconds},
    )
    return [WorkerRow(*row) for row in rows]


async def remove_old_workers(connection: AsyncConnection, silent_seconds: float) -> int:
    """Remove the rows of workers that are long silent; needs a system transaction."""
    removed = await connection.execute(
        text("DELETE FROM workers WHERE seen_at < now() - make_interval(secs => :silent)"),
        {"silent": silent_seconds},
    )
    return removed.rowcount
