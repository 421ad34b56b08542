"""A round of reconciling puts right what crashes left behind."""

import asyncio
import io
import os
import time
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import UUID

import pytest
from sqlalchemy import text

from citewell.adapters.celery_queue import CeleryQueue
from citewell.adapters.local_blobs import LocalBlobStore
from citewell.domain import AnswerId
from citewell.records.answers import add_answer
from citewell.records.jobs import mark_sent
from citewell.records.reconcile import RECONCILE_LOCK, Reconciler
from citewell.records.session import Database
from records.databases import Servers
from records.rows import A, add_document, claim, upload, value

REDIS_NUMBER = 7


@pytest.fixture
async def queue(servers: Servers) -> AsyncIterator[CeleryQueue]:
    opened = CeleryQueue(servers.redis_url(REDIS_NUMBER))
    await opened._redis.flushdb()
    yield opened
    await opened._redis.flushdb()
    await opened.close()


@pytest.fixture
def reconciler(database: Database, blobs: LocalBlobStore, queue: CeleryQueue) -> Reconciler:
    return Reconciler(database, queue, blobs, 5, 30, 30, exact_below_chunks=10_000, dimension=384)


async def test_a_job_that_was_never_sent_is_sent_once(
    database: Database, queue: CeleryQueue, reconciler: Reconciler
) -> None:
    await upload(database, A, "a.txt")
    await reconciler.run()
    assert await queue.count_waiting() == 0, "the API still has its seconds to send it"
    await value(database, "UPDATE jobs SET created_at = now() - interval '31 seconds'")
    await reconciler.run()
    assert await queue.count_waiting() == 1
    await reconciler.run()
    assert await queue.count_waiting() == 1


async def test_messages_that_the_broker_forgot_are_sent_again(
    database: Database, queue: CeleryQueue, reconciler: Reconciler
) -> None:
    added = await upload(database, A, "a.txt")
    async with database.transaction(A) as connection:
        await mark_sent(connection, A, [added.job_id])
    await value(database, "UPDATE jobs SET sent_at = now() - interval '31 seconds'")
    await reconciler.run()
    assert await queue.count_waiting() == 1


async def test_a_lost_workers_job_is_back_in_the_queue_after_one_round(
    database: Database, queue: CeleryQueue, reconciler: Reconciler
) -> None:
    added = await upload(database, A, "a.txt")
    assert await claim(database, A, added.job_id)
    await value(
        database,
        "UPDATE jobs SET lease_until = now() - interval '1 second', "
        "created_at = now() - interval '1 minute'",
    )
    await reconciler.run()
    assert await value(database, "SELECT status FROM jobs") == "queued"
    assert await queue.count_waiting() == 1


async def test_lost_jobs_do_not_wait_for_the_removal_of_old_rows(
    database: Database, reconciler: Reconciler
) -> None:
    added = await upload(database, A, "a.txt")
    assert await claim(database, A, added.job_id)
    await value(database, "UPDATE jobs SET lease_until = now() - interval '1 second'")
    async with database.transaction(A) as connection:
        await add_answer(connection, A, AnswerId(UUID(int=1)), "old?", True, [], {})
    await value(database, "UPDATE answers SET created_at = now() - interval '31 days'")
    async with database.transaction(A) as connection:
        await connection.execute(text("SELECT 1 FROM answers FOR UPDATE"))
        round_ = asyncio.create_task(reconciler.run())
        async with asyncio.timeout(5):
            while await value(database, "SELECT status FROM jobs") != "queued":
                pass
    await round_
    assert await value(database, "SELECT count(*) FROM answers") == 0


async def test_an_absent_broker_stops_nothing_else(
    database: Database, blobs: LocalBlobStore, tmp_path: Path
) -> None:
    absent = CeleryQueue(f"unix://:x@{tmp_path}/none.sock?db=0")
    try:
        await add_document(database, A, "a.txt", ["one two"])
        await value(database, "UPDATE collections SET lexical_pending = 1")
        await value(database, "DELETE FROM lexemes")
        await upload(database, A, "b.txt")
        await value(database, "UPDATE jobs SET created_at = now() - interval '1 minute'")
        await Reconciler(
            database, absent, blobs, 5, 30, 30, exact_below_chunks=10_000, dimension=384
        ).run()
    finally:
        await absent.close()
    assert await value(database, "SELECT count(*) FROM lexemes") == 2
    assert await value(database, "SELECT count(*) FROM jobs WHERE sent_at IS NOT NULL") == 0


async def test_only_old_files_without_a_version_are_removed(
    database: Database, blobs: LocalBlobStore, reconciler: Reconciler
) -> None:
    await upload(database, A, "a.txt", b"named", blobs=blobs)
    stray, _ = await blobs.add(io.BytesIO(b"stray"))
    young, _ = await blobs.add(io.BytesIO(b"young"))
    for sha256 in await blobs.list_hashes(-1):
        path = await blobs.find_path(sha256)
        assert path is not None
        if sha256 != young:
            os.utime(path, (0, time.time() - 25 * 3600))
    await reconciler.run()
    left = await blobs.list_hashes(-1)
    assert stray not in left
    assert young in left
    assert len(left) == 2


async def test_old_answers_are_removed(database: Database, reconciler: Reconciler) -> None:
    async with database.transaction(A) as connection:
        for number, days in ((1, 29), (2, 31)):
            answer_id = AnswerId(UUID(int=number))
            await add_answer(connection, A, answer_id, "Q?", False, [], {})
            await connection.execute(
                text(
                    "UPDATE answers SET created_at = now() - make_interval(days => :d) "
                    "WHERE id = :i"
                ),
                {"d": days, "i": answer_id},
            )
    await reconciler.run()
    assert await value(database, "SELECT count(*) FROM answers") == 1


async def test_one_process_reconciles_at_a_time(
    database: Database, queue: CeleryQueue, reconciler: Reconciler
) -> None:
    await upload(database, A, "a.txt")
    await value(database, "UPDATE jobs SET created_at = now() - interval '1 minute'")
    async with database.system_transaction() as connection:
        await connection.execute(
            text("SELECT pg_advisory_xact_lock(:key)"), {"key": RECONCILE_LOCK}
        )
        await reconciler.run()
        assert await queue.count_waiting() == 0
    await reconciler.run()
    assert await queue.count_waiting() == 1
