"""Changes that meet at the same rows wait for each other, and never in a circle."""

import asyncio
from contextlib import suppress
from uuid import UUID

import pytest
from sqlalchemy import text

from citewell.domain import JobId, VersionId
from citewell.errors import Conflict, NotFound
from citewell.records.collections import add_collection, remove_collection
from citewell.records.documents import remove_document
from citewell.records.invariants import CLEAR_STAGED
from citewell.records.jobs import cancel_job, get_job, retry_job
from citewell.records.leases import (
    claim_jobs,
    fail_job,
    finish_jobs,
    hold_job,
    hold_jobs,
    renew_leases,
)
from citewell.records.publish import lock_documents, publish
from citewell.records.session import Connection, Database
from citewell.records.uploads import add_reindex
from records.rows import KEPT, A, claim, publication, upload, value
from records.test_staging import TEXTS, embed, finish, held_job, spread, stage

ADD_DOCUMENT = """
WITH document AS (INSERT INTO documents (workspace_id, id, collection_id, name, source)
    SELECT workspace_id, :id, id, :name, :name FROM collections WHERE workspace_id = :workspace)
INSERT INTO versions (workspace_id, id, document_id, number, sha256, size_bytes, media_type)
VALUES (:workspace, :id, :id, 1, 'none', 1, 'text/plain')
"""


async def waits(database: Database) -> None:
    """Return once somebody waits for a lock."""
    for _ in range(200):
        if await value(database, "SELECT count(*) FROM pg_locks WHERE NOT granted"):
            return
        await asyncio.sleep(0.01)
    raise AssertionError("nobody waits")


async def test_a_part_that_fails_leaves_no_password(database: Database) -> None:
    held = await held_job(database)
    await value(database, "UPDATE jobs SET password = 'secret'")
    await stage(database, held)
    first, *_ = await spread(database, held)
    part = await claim(database, A, first, "embed")
    assert part is not None
    async with database.transaction(A) as connection:
        await fail_job(connection, part, "provider_failed", "The model failed.")
    assert await value(database, "SELECT count(*) FROM jobs WHERE password IS NOT NULL") == 0


async def test_removing_a_document_waits_for_its_part(database: Database) -> None:
    held = await held_job(database)
    await stage(database, held)
    # By its id the part would be locked after its parent.
    above = f"UPDATE jobs SET id = '{UUID(int=2**128 - 1)}' WHERE task = 'embed' AND part = 0"
    await spread(database, held)
    await value(database, above)
    part = await claim(database, A, JobId(UUID(int=2**128 - 1)), "embed")
    assert part is not None
    async with database.transaction(A) as connection:
        await hold_job(connection, part)

        async def remove() -> None:
            async with database.transaction(A) as other:
                await remove_document(other, A, held.document_id)

        removing = asyncio.create_task(remove())
        await waits(database)
        await finish_jobs(connection, A, {part.job_id: {}})
    await removing
    assert await value(database, "SELECT count(*) FROM documents") == 0


async def test_removing_a_collection_waits_for_a_publisher(database: Database) -> None:
    async with database.transaction(A) as connection:
        await add_collection(connection, A, "shelf")
    added = await upload(database, A, "a.txt", collection="shelf")
    held = await claim(database, A, added.job_id)
    assert held is not None
    made = publication(held.document_id, held.version_id, ["one"])
    async with database.transaction(A) as connection:
        assert await hold_jobs(connection, A, [held])

        async def remove() -> None:
            async with database.transaction(A) as other:
                await remove_collection(other, A, "shelf")

        removing = asyncio.create_task(remove())
        await waits(database)
        await publish(connection, A, [made], KEPT)
        await finish_jobs(connection, A, {held.job_id: {}})
    await removing


async def test_uploads_and_publishers_lock_documents_in_the_same_order(database: Database) -> None:
    versions = [VersionId(UUID(int=1)), VersionId(UUID(int=2))]
    # By their ids they would be locked the other way around.
    for version, name in zip(versions, ("b.txt", "a.txt"), strict=True):
        await value(database, ADD_DOCUMENT, workspace=A, id=version, name=name)
    touch = "UPDATE documents SET updated_at = now() WHERE source = :source"
    async with database.transaction(A) as connection:
        await connection.execute(text(touch), {"source": "a.txt"})

        async def lock() -> None:
            async with database.transaction(A) as other:
                assert len(await lock_documents(other, A, versions)) == 2

        locking = asyncio.create_task(lock())
        await waits(database)
        await connection.execute(text(touch), {"source": "b.txt"})
    await locking


async def test_a_heartbeat_does_not_wait_for_a_locked_job(database: Database) -> None:
    locked, free = await held_job(database, "a.txt"), await held_job(database, "b.txt", b"b")
    await value(database, "UPDATE jobs SET lease_until = now() + interval '1 second'")
    async with database.transaction(A) as connection:
        await hold_job(connection, locked)
        async with database.transaction(A) as other, asyncio.timeout(2):
            alive = await renew_leases(other, A, {locked: {}, free: {}}, 60)
    assert alive == {locked.job_id, free.job_id}
    left = "SELECT count(*) FROM jobs WHERE lease_until > now() + interval '30 seconds'"
    assert await value(database, left) == 1


async def test_a_claim_does_not_wait_for_a_long_removal(database: Database) -> None:
    going = await upload(database, A, "a.txt", b"a")
    other_job = await upload(database, A, "b.txt", b"b")
    async with database.transaction(A) as connection:
        await remove_document(connection, A, going.document_id)
        async with database.transaction(A) as other, asyncio.timeout(3):
            claims = await claim_jobs(
                other, A, [(going.job_id, "ingest"), (other_job.job_id, "ingest")], 60
            )
    assert set(claims) == {other_job.job_id}


@pytest.mark.parametrize("first", ["removal", "other"])
@pytest.mark.parametrize("other", ["retry", "reindex"])
@pytest.mark.parametrize("what", ["document", "collection"])
async def test_nothing_waits_for_a_document_that_is_gone(
    database: Database, what: str, other: str, first: str
) -> None:
    async with database.transaction(A) as connection:
        await add_collection(connection, A, "shelf")
    added = await upload(database, A, "a.txt", collection="shelf")
    held = await claim(database, A, added.job_id)
    assert held is not None
    async with database.transaction(A) as connection:
        await fail_job(connection, held, "no_text", "No text.")

    async def remove(connection: Connection) -> None:
        if what == "document":
            await remove_document(connection, A, held.document_id)
        else:
            await remove_collection(connection, A, "shelf")

    async def queue(connection: Connection) -> None:
        if other == "retry":
            await retry_job(connection, A, held.job_id)
        else:
            await add_reindex(connection, A, held.document_id, None)

    steps = (remove, queue) if first == "removal" else (queue, remove)

    async def follow() -> None:
        with suppress(Conflict, NotFound):
            async with database.transaction(A) as connection:
                await steps[1](connection)

    async with database.transaction(A) as connection:
        await steps[0](connection)
        following = asyncio.create_task(follow())
        await waits(database)
    await following
    assert await value(database, "SELECT count(*) FROM documents") == 0
    waiting = "SELECT count(*) FROM jobs WHERE status IN ('queued', 'running')"
    assert await value(database, waiting) == 0


async def test_a_part_that_fails_does_not_lock_out_one_that_ends(database: Database) -> None:
    held = await held_job(database)
    await stage(database, held)
    one, two, _ = await spread(database, held)
    failing, ending = await claim(database, A, one, "embed"), await claim(database, A, two, "embed")
    assert failing is not None
    assert ending is not None
    async with database.transaction(A) as connection:
        await hold_job(connection, ending)

        async def fail() -> None:
            async with database.transaction(A) as other:
                await fail_job(other, failing, "provider_failed", "The model failed.")

        failed = asyncio.create_task(fail())
        with suppress(AssertionError):
            await waits(database)
        await finish_jobs(connection, A, {ending.job_id: {}})
    await failed
    async with database.transaction(A) as connection:
        assert (await get_job(connection, A, held.job_id)).status == "failed"


async def test_a_cancelled_document_that_was_staged_can_be_tried_again_after_repairs(
    database: Database,
) -> None:
    held = await held_job(database)
    await stage(database, held)
    async with database.transaction(A) as connection:
        await cancel_job(connection, A, held.job_id)
    await value(database, CLEAR_STAGED)
    async with database.transaction(A) as connection:
        await retry_job(connection, A, held.job_id)
    again = await claim(database, A, held.job_id)
    assert again is not None
    for part in await spread(database, again):
        await embed(database, part)
    await finish(database, held.job_id)
    assert await value(database, "SELECT count(*) FROM chunks") == len(TEXTS)
