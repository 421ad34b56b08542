"""Changes of whole groups, collections and answers take their locks in one order."""

import asyncio
from uuid import UUID

import pytest
from sqlalchemy import text

from citewell.domain import AnswerId, JobId, Json
from citewell.records.answers import add_answer
from citewell.records.collections import add_collection, get_collection_id, remove_collection
from citewell.records.documents import remove_document
from citewell.records.jobs import NewJob, add_job, close_group, open_group
from citewell.records.leases import finish_jobs
from citewell.records.lexical import refresh_lexemes
from citewell.records.publish import lock_documents
from citewell.records.readers import set_readers
from citewell.records.session import Database
from citewell.records.uploads import Upload, add_upload
from records.rows import A, add_document, value
from records.test_locks import waits


@pytest.mark.parametrize("turned", [False, True])
async def test_groups_are_told_of_their_parts_in_one_order(
    database: Database, turned: bool
) -> None:
    parts: dict[JobId, JobId] = {}
    for name in ("a.txt", "b.txt"):
        made = await add_document(database, A, name, [name])
        async with database.transaction(A) as connection:
            group = await open_group(connection, A, "texts", None)
            job = NewJob(made.document_id, made.version_id, None, parent_id=group, part=0)
            parts[group] = await add_job(connection, A, job)
            await close_group(connection, A, group, 1)
    first, second = sorted(parts)
    lock = text("SELECT 1 FROM jobs WHERE id = :id FOR UPDATE")
    ended: dict[JobId, Json] = {parts[g]: {} for g in sorted(parts, reverse=turned)}
    async with database.transaction(A) as connection:
        await connection.execute(lock, {"id": first})

        async def finish() -> None:
            async with database.transaction(A) as other:
                await finish_jobs(other, A, ended)

        finishing = asyncio.create_task(finish())
        await waits(database)
        await connection.execute(lock, {"id": second})
    await finishing
    assert await value(database, "SELECT count(*) FROM jobs WHERE status <> 'done'") == 0


async def test_counting_terms_keeps_its_collection(database: Database) -> None:
    async with database.transaction(A) as connection:
        await add_collection(connection, A, "shelf")
    words = " ".join(f"word{n}" for n in range(40))
    made = await add_document(database, A, "a.txt", [words], collection="shelf")
    await value(database, "UPDATE lexemes SET chunk_frequency = 7")

    async def remove() -> None:
        async with database.transaction(A) as other:
            await remove_collection(other, A, "shelf")

    # A term that is held lets the count wait in its middle.
    held = "SELECT 1 FROM lexemes WHERE key = (SELECT max(key) FROM lexemes) FOR UPDATE"
    async with database.transaction(A) as connection:
        await connection.execute(text(held))

        async def count() -> None:
            async with database.transaction(A) as other:
                await refresh_lexemes(other, A, made.collection_id)

        counting = asyncio.create_task(count())
        await waits(database)
        removing = asyncio.create_task(remove())
        await asyncio.sleep(0.2)
    await counting
    await removing
    assert await value(database, "SELECT count(*) FROM documents") == 0


async def test_counting_terms_of_a_large_collection_has_no_time_limit(database: Database) -> None:
    made = await add_document(database, A, "a.txt", ["one"])
    async with database.transaction(A) as connection:
        await refresh_lexemes(connection, A, made.collection_id)
        assert await connection.scalar(text("SHOW statement_timeout")) == "0"


async def test_an_upload_and_the_removal_of_its_collection_take_turns(database: Database) -> None:
    async with database.transaction(A) as connection:
        await add_collection(connection, A, "shelf")
    await add_document(database, A, "a.txt", ["one"], collection="shelf")
    file = Upload("a.txt", "a.txt", "0" * 64, 1, "text/plain", None)

    async def remove() -> None:
        async with database.transaction(A) as other:
            await remove_collection(other, A, "shelf")

    async with database.transaction(A) as connection:
        shelf = await get_collection_id(connection, A, "shelf", lock="FOR KEY SHARE")
        removing = asyncio.create_task(remove())
        await waits(database)
        await add_upload(connection, A, shelf, file, None)
    await removing
    assert await value(database, "SELECT count(*) FROM versions") == 0
    assert await value(database, "SELECT count(*) FROM jobs WHERE status = 'queued'") == 0


async def test_an_answer_never_outlives_its_document(database: Database) -> None:
    made = await add_document(database, A, "a.txt", ["one"])

    async def answer() -> None:
        async with database.transaction(A) as other:
            await add_answer(
                other, A, AnswerId(UUID(int=1)), "one?", False, [made.document_id], {"a": "one"}
            )

    async with database.transaction(A) as connection:
        await remove_document(connection, A, made.document_id)
        async with asyncio.timeout(2):
            await answer()
    assert await value(database, "SELECT count(*) FROM answers") == 0


async def test_an_answer_does_not_wait_for_a_publisher(database: Database) -> None:
    made = await add_document(database, A, "a.txt", ["one"])
    async with database.transaction(A) as connection:
        await lock_documents(connection, A, [made.version_id])
        async with database.transaction(A) as other, asyncio.timeout(2):
            await add_answer(
                other, A, AnswerId(UUID(int=1)), "one?", False, [made.document_id], {"a": "one"}
            )
    assert await value(database, "SELECT count(*) FROM answers") == 1


async def test_readers_are_set_while_terms_are_counted(database: Database) -> None:
    made = await add_document(database, A, "a.txt", ["one", "two"])
    values = {"workspace": A, "collection": made.collection_id}
    async with database.transaction(A) as counting:
        # As refresh_lexemes does, paused before its last statement.
        lock = text("SELECT pg_advisory_xact_lock(uuid_hash_extended(:collection, 1))")
        await counting.execute(lock, values)
        share = "SELECT FROM collections WHERE workspace_id = :workspace AND id = :collection"
        await counting.execute(text(f"{share} FOR KEY SHARE"), values)

        async def limit() -> None:
            async with database.transaction(A) as connection:
                await set_readers(connection, A, {made.document_id: ["role:editor"]}, None)

        limiting = asyncio.create_task(limit())
        await waits(database)
        done = "UPDATE collections SET lexical_pending = 0, lexical_chunk_count = 2"
        await counting.execute(
            text(f"{done} WHERE workspace_id = :workspace AND id = :collection"), values
        )
    await asyncio.wait_for(limiting, 10)
