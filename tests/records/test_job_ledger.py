"""Jobs are claimed by lease and token: nothing is lost, doubled, or published by a zombie."""

import pytest

from citewell.domain import JobId, WorkspaceId
from citewell.errors import LeaseLost, NotFound
from citewell.records.documents import remove_document
from citewell.records.jobs import (
    JobFilter,
    JobRow,
    get_job,
    list_jobs,
    list_unsent,
    mark_sent,
)
from citewell.records.leases import (
    Claim,
    fail_job,
    forget_workers,
    release_job,
    renew_leases,
    requeue_expired,
    return_job,
)
from citewell.records.session import Database
from records.rows import (
    A,
    add_document,
    add_workspace,
    claim,
    claim_again,
    publish_claim,
    snapshot,
    upload,
    value,
)

EXPIRE = "UPDATE jobs SET lease_until = now() - interval '1 second' WHERE status = 'running'"
ALL = ("jobs", "documents", "versions", "sections", "chunks", "chunk_terms", "vectors_384",
       "collections")  # fmt: skip


async def job(database: Database, job_id: JobId, workspace_id: WorkspaceId = A) -> JobRow:
    async with database.transaction(workspace_id) as connection:
        return await get_job(connection, workspace_id, job_id)


async def held_job(database: Database, name: str = "a.txt") -> Claim:
    added = await upload(database, A, name, b"bytes of " + name.encode())
    held = await claim(database, A, added.job_id)
    assert held is not None
    return held


async def test_a_claim_carries_the_file_and_is_exclusive(database: Database) -> None:
    added = await upload(database, A, "folder.txt", b"one")
    held = await claim(database, A, added.job_id)
    assert held is not None
    assert (held.attempt, held.name, held.media_type) == (1, "folder.txt", "text/plain")
    assert (held.document_id, held.request_id) == (added.document_id, "a-request")
    assert await claim(database, A, added.job_id) is None
    row = await job(database, added.job_id)
    assert (row.status, row.attempt, row.progress) == ("running", 1, {"stage": "parse"})
    assert row.started_at is not None


async def test_another_workspace_cannot_claim_or_see_it(database: Database) -> None:
    other = await add_workspace(database)
    added = await upload(database, A, "a.txt")
    assert await claim(database, other, added.job_id) is None
    with pytest.raises(NotFound):
        await job(database, added.job_id, other)
    assert (await job(database, added.job_id)).attempt == 0


async def test_renewing_moves_the_lease_and_tells_progress(database: Database) -> None:
    held = await held_job(database)
    left = "SELECT extract(epoch FROM lease_until - now())::float8 FROM jobs"
    async with database.transaction(A) as connection:
        progress = {held: {"stage": "embed", "done": 3, "total": 9}}
        assert await renew_leases(connection, A, progress, 500) == {held.job_id}
    seconds = await value(database, left)
    assert isinstance(seconds, float)
    assert 480 < seconds <= 500
    row = await job(database, held.job_id)
    assert row.progress == {"stage": "embed", "done": 3, "total": 9}
    assert row.status == "running"


async def test_a_zombie_publishes_nothing(database: Database) -> None:
    zombie = await held_job(database)
    await value(database, EXPIRE)
    second = await claim_again(database, A, zombie.job_id)
    assert second.attempt == 2
    before = await snapshot(database, *ALL)
    with pytest.raises(LeaseLost):
        await publish_claim(database, A, zombie, ["from the grave"])
    async with database.transaction(A) as connection:
        assert await renew_leases(connection, A, {zombie: {}}, 60) == set()
    with pytest.raises(LeaseLost):
        async with database.transaction(A) as connection:
            await fail_job(connection, zombie, "no_text", "None.")
    for most in (5, 1):
        with pytest.raises(LeaseLost):
            async with database.transaction(A) as connection:
                await release_job(connection, zombie, most, "internal", "A fault.")
    assert await snapshot(database, *ALL) == before
    await publish_claim(database, A, second, ["from the living"])
    assert await value(database, "SELECT text FROM chunks") == "from the living"
    with pytest.raises(LeaseLost):
        await publish_claim(database, A, second, ["twice"])
    assert await value(database, "SELECT text FROM chunks") == "from the living"


async def test_each_failed_try_waits_twice_as_long(database: Database) -> None:
    added = await upload(database, A, "a.txt")
    for attempt in range(1, 5):
        held = await claim(database, A, added.job_id)
        assert held is not None
        assert held.attempt == attempt
        async with database.transaction(A) as connection:
            await release_job(connection, held, 5, "provider_failed", "The model failed.")
        pause = await value(
            database, "SELECT extract(epoch FROM run_after - now())::float8 FROM jobs"
        )
        assert isinstance(pause, float)
        assert 2**attempt - 1.5 < pause <= 2**attempt
        assert await claim(database, A, added.job_id) is None
        row = await job(database, added.job_id)
        assert (row.status, row.reason, row.message) == (
            "queued", "provider_failed", "The model failed.",
        )  # fmt: skip
        await value(database, "UPDATE jobs SET run_after = now()")
    held = await claim(database, A, added.job_id)
    assert held is not None
    async with database.transaction(A) as connection:
        await release_job(connection, held, 5, "provider_failed", "The model failed.")
    row = await job(database, added.job_id)
    assert (row.status, row.reason, row.attempt) == ("failed", "provider_failed", 5)
    assert row.finished_at is not None
    assert await claim(database, A, added.job_id) is None


async def test_a_silent_workers_job_is_queued_again_then_fails(database: Database) -> None:
    held = await held_job(database)
    async with database.transaction(A) as connection:
        await mark_sent(connection, A, [held.job_id])
    async with database.system_transaction() as connection:
        assert await requeue_expired(connection, 2) == 0, "its lease is alive"
    await value(database, EXPIRE)
    async with database.system_transaction() as connection:
        assert await requeue_expired(connection, 2) == 1
    row = await job(database, held.job_id)
    assert (row.status, row.reason) == ("queued", "worker_lost")
    assert await value(database, "SELECT sent_at FROM jobs") is None
    again = await claim(database, A, held.job_id)
    assert again is not None
    await value(database, EXPIRE)
    async with database.system_transaction() as connection:
        assert await requeue_expired(connection, 2) == 1
    row = await job(database, held.job_id)
    assert (row.status, row.reason) == ("failed", "worker_lost")
    assert row.message
    assert row.finished_at is not None
    with pytest.raises(LeaseLost):
        await publish_claim(database, A, again, ["too late"])


async def test_deleting_the_document_cancels_its_jobs(database: Database) -> None:
    held = await held_job(database)
    waiting = await upload(database, A, "a.txt", b"version two")
    async with database.transaction(A) as connection:
        await remove_document(connection, A, held.document_id)
    for job_id in (held.job_id, waiting.job_id):
        row = await job(database, job_id)
        assert (row.status, row.reason) == ("cancelled", "document_deleted")
        assert row.finished_at is not None
    assert await claim(database, A, waiting.job_id) is None
    with pytest.raises(LeaseLost):
        await publish_claim(database, A, held, ["gone"])
    assert await value(database, "SELECT count(*) FROM chunks") == 0


async def test_a_finished_job_is_not_cancelled_afterwards(database: Database) -> None:
    done = await add_document(database, A, "a.txt", ["text"])
    async with database.transaction(A) as connection:
        await remove_document(connection, A, done.document_id)
    assert (await job(database, done.job_id)).status == "done"


async def test_a_job_that_is_handed_back_costs_no_try(database: Database) -> None:
    held = await held_job(database)
    async with database.transaction(A) as connection:
        await return_job(connection, held)
    row = await job(database, held.job_id)
    assert (row.status, row.attempt) == ("queued", 0)
    async with database.system_transaction() as connection:
        assert len(await list_unsent(connection, 30, 10, False)) == 1
    with pytest.raises(LeaseLost):
        await publish_claim(database, A, held, ["too late"])
    again = await claim(database, A, held.job_id)
    assert again is not None
    assert again.attempt == 1
    with pytest.raises(LeaseLost):
        async with database.transaction(A) as connection:
            await return_job(connection, held)
    assert (await job(database, held.job_id)).status == "running", "a zombie hands nothing back"


async def test_after_a_crash_every_lease_is_over(database: Database) -> None:
    held = await held_job(database)
    async with database.system_transaction() as connection:
        await forget_workers(connection)
    async with database.system_transaction() as connection:
        assert await requeue_expired(connection, 5) == 1
    assert (await job(database, held.job_id)).status == "queued"


async def test_jobs_are_listed_by_status(database: Database) -> None:
    running = await held_job(database)
    queued = await upload(database, A, "b.txt", b"b")
    async with database.transaction(A) as connection:
        for status, expected in (
            ("running", [running.job_id]),
            ("queued", [queued.job_id]),
            ("failed", []),
            (None, [queued.job_id, running.job_id]),
        ):
            page = await list_jobs(connection, A, JobFilter(status), 10, None)
            assert [row.job_id for row in page.items] == expected


@pytest.mark.parametrize(
    ("row", "listed", "listed_when_empty"),
    [
        ("status = 'queued'", False, False),
        ("created_at = now() - interval '1 minute'", True, True),
        ("run_after = now() - interval '1 second'", True, True),
        ("run_after = now() + interval '5 seconds'", False, False),
        ("created_at = now() - interval '1 hour', run_after = now() + interval '5 seconds'", False,
         False),
        ("sent_at = now()", False, False),
        ("sent_at = now() - interval '1 minute'", False, True),
        ("sent_at = now() - interval '1 minute', run_after = now() + interval '5 seconds'", False,
         False),
        ("sent_at = now() - interval '1 minute', status = 'done'", False, False),
        ("created_at = now() - interval '1 minute', status = 'running'", False, False),
    ],
)  # fmt: skip
async def test_jobs_that_no_worker_was_told_of(
    database: Database, row: str, listed: bool, listed_when_empty: bool
) -> None:
    added = await upload(database, A, "a.txt")
    await value(database, f"UPDATE jobs SET {row}")
    for broker_empty, expected in ((False, listed), (True, listed_when_empty)):
        async with database.system_transaction() as connection:
            found = await list_unsent(connection, 30, 10, broker_empty)
        assert found == ([(A, added.job_id, "ingest")] if expected else [])


async def test_unsent_jobs_come_oldest_first_and_sent_ones_no_more(database: Database) -> None:
    added = [await upload(database, A, f"{n}.txt", bytes([n])) for n in range(3)]
    await value(database, "UPDATE jobs SET created_at = created_at - interval '1 minute'")
    async with database.system_transaction() as connection:
        found = await list_unsent(connection, 30, 2, False)
    assert [job_id for _, job_id, _ in found] == [item.job_id for item in added[:2]]
    async with database.transaction(A) as connection:
        await mark_sent(connection, A, [item.job_id for item in added[:2]])
    async with database.system_transaction() as connection:
        found = await list_unsent(connection, 30, 10, False)
    assert [job_id for _, job_id, _ in found] == [added[2].job_id]
