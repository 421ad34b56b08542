"""The checker and the repair leave alone what is just being worked on."""

import asyncio

from citewell.adapters.local_blobs import LocalBlobStore
from citewell.records.collections import add_collection
from citewell.records.leases import finish_jobs, hold_job, hold_jobs
from citewell.records.publish import publish
from citewell.records.repair import repair
from citewell.records.session import Database
from citewell.records.verify import verify
from records.rows import KEPT, A, add_document, claim, publication, upload, value
from records.test_locks import waits
from records.test_verify import broken

DEAD = "no running job is without a living lease or open parts"
COUNTED = "every collection counts its own chunks"


async def test_a_job_that_is_being_published_for_long_is_alive(
    database: Database, blobs: LocalBlobStore
) -> None:
    added = await upload(database, A, "a.txt", blobs=blobs)
    held = await claim(database, A, added.job_id)
    assert held is not None
    await value(database, "UPDATE jobs SET lease_until = now() - interval '10 minutes'")
    assert await broken(database, blobs) == {DEAD: 1}
    async with database.transaction(A) as connection:
        await hold_job(connection, held)
        assert await broken(database, blobs) == {}
    assert await broken(database, blobs) == {DEAD: 1}
    await value(database, "UPDATE jobs SET lease_until = now() - interval '2 hours'")
    async with database.transaction(A) as connection:
        await hold_job(connection, held)
        assert await broken(database, blobs) == {DEAD: 1}


async def test_repairing_leaves_alone_what_is_being_published(
    database: Database, blobs: LocalBlobStore
) -> None:
    dead, busy = [await upload(database, A, name, name.encode(), blobs=blobs) for name in "ab"]
    assert await claim(database, A, dead.job_id)
    held = await claim(database, A, busy.job_id)
    assert held is not None
    await value(database, "UPDATE jobs SET lease_until = now() - interval '10 minutes'")
    async with database.transaction(A) as connection:
        await hold_job(connection, held)
        async with asyncio.timeout(5):
            await repair(database, blobs, await verify(database, blobs))
        await finish_jobs(connection, A, {held.job_id: {}})
    states = "SELECT string_agg(status, ' ' ORDER BY status) FROM jobs"
    assert await value(database, states) == "done queued"


async def test_counting_anew_does_not_miss_what_is_being_published(
    database: Database, blobs: LocalBlobStore
) -> None:
    async with database.transaction(A) as connection:
        await add_collection(connection, A, "shelf")
    await add_document(database, A, "a.txt", ["one"], collection="shelf", blobs=blobs)
    await value(database, "UPDATE collections SET chunk_count = 7 WHERE name = 'shelf'")
    added = await upload(database, A, "b.txt", b"b", blobs=blobs)
    held = await claim(database, A, added.job_id)
    assert held is not None
    made = publication(held.document_id, held.version_id, ["two", "three"])
    checks = await verify(database, blobs)
    async with database.transaction(A) as connection:
        assert await hold_jobs(connection, A, [held])
        await publish(connection, A, [made], KEPT)
        repairing = asyncio.create_task(repair(database, blobs, checks))
        await waits(database)
        await finish_jobs(connection, A, {held.job_id: {}})
    await repairing
    assert await broken(database, blobs) == {}
