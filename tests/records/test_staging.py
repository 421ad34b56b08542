"""A large document: staged in parts, embedded in parts, published at once, resumed where it was."""

from collections.abc import Sequence
from dataclasses import replace

import pytest
from sqlalchemy import text

from citewell.domain import JobId, ParsedPart
from citewell.errors import Conflict, LeaseLost
from citewell.records.documents import remove_document
from citewell.records.jobs import JobFilter, cancel_job, get_job, list_jobs, retry_job
from citewell.records.leases import Claim, fail_job, forget_workers, requeue_expired
from citewell.records.publish import Outcome, publish
from citewell.records.session import Database
from citewell.records.staging import (
    PART_CHUNKS,
    begin_staging,
    end_staging,
    fan_out,
    finish_part,
    load_part,
    publish_staged,
    stage_part,
)
from citewell.records.vector_tables import ensure_vector_table
from citewell.records.version_rows import vector_literal
from records.rows import (
    KEPT,
    MODEL,
    A,
    add_document,
    claim,
    claim_again,
    publication,
    random_vectors,
    snapshot,
    upload,
    value,
)

TEXTS = [f"chunk number {n}" for n in range(2 * PART_CHUNKS + 10)]
INDEX = """
SELECT md5(string_agg(concat_ws('|', c.ordinal, c.start, c."end", c.text, c.page, c.section,
    v.embedding::text, (SELECT array_agg(k ORDER BY k)
    FROM unnest(t.keys) k)::text), E'\\n' ORDER BY c.ordinal))
FROM chunks c JOIN vectors_384 v ON v.chunk_id = c.id JOIN chunk_terms t ON t.chunk_id = c.id
WHERE c.collection_id = (SELECT collection_id FROM documents WHERE name = :name LIMIT 1)
AND c.document_id = (SELECT id FROM documents WHERE name = :name)
"""


async def held_job(database: Database, name: str = "book.txt", data: bytes = b"book") -> Claim:
    added = await upload(database, A, name, data)
    held = await claim(database, A, added.job_id)
    assert held is not None
    return held


async def stage(database: Database, held: Claim, texts: Sequence[str] = TEXTS) -> None:
    """Stage a text in two parts, as a parser sends it."""
    made = publication(held.document_id, held.version_id, texts)
    middle = len(made.text) // 2
    whole = ParsedPart(made.head, made.text, tuple(made.sections), tuple(made.chunks), True)
    parts = [
        replace(whole, text=made.text[:middle], sections=(), chunks=whole.chunks[:100], last=False),
        replace(whole, text=made.text[middle:], chunks=whole.chunks[100:]),
    ]
    cited: dict[int, str | None] = {}
    for number, part in enumerate(parts):
        async with database.transaction(A) as connection:
            if number == 0:
                await begin_staging(connection, held)
            cited = await stage_part(connection, held, number, part, cited)
    async with database.transaction(A) as connection:
        await end_staging(connection, held, made.head)


async def spread(database: Database, held: Claim) -> list[JobId]:
    async with database.transaction(A) as connection:
        return await fan_out(connection, held, MODEL, dimension=384)


async def embed(database: Database, job_id: JobId) -> bool:
    """Embed one part as a worker does; return whether it was the last."""
    held = await claim(database, A, job_id, "embed")
    assert held is not None
    async with database.transaction(A) as connection:
        chunks = await load_part(connection, held)
    all_vectors = random_vectors(len(TEXTS))
    vectors = [vector_literal(all_vectors[chunk.ordinal]) for chunk in chunks]
    async with database.transaction(A) as connection:
        return await finish_part(connection, held, chunks, vectors, MODEL)


async def finish(database: Database, job_id: JobId) -> Outcome:
    held = await claim(database, A, job_id, "publish")
    assert held is not None
    async with database.transaction(A) as connection:
        return await publish_staged(connection, held, KEPT, lambda: {"seconds": {}})


async def staged_rows(database: Database) -> object:
    return await value(
        database,
        "SELECT (SELECT count(*) FROM staged_texts) + (SELECT count(*) FROM staged_chunks) "
        "+ (SELECT count(*) FROM staged_embeddings) "
        "+ (SELECT count(*) FROM jobs WHERE task = 'embed')",
    )


async def test_the_staged_way_ends_as_the_short_one(database: Database) -> None:
    await add_document(database, A, "short.txt", TEXTS, vectors=random_vectors(len(TEXTS)))
    held = await held_job(database)
    await stage(database, held)
    parts = await spread(database, held)
    assert len(parts) == 3
    assert await value(database, "SELECT count(*) FROM chunks c JOIN documents d "
                       "ON d.id = c.document_id WHERE d.name = 'book.txt'") == 0  # fmt: skip
    assert [await embed(database, part) for part in parts] == [False, False, True]
    await finish(database, held.job_id)
    short = await value(database, INDEX, name="short.txt")
    assert await value(database, INDEX, name="book.txt") == short
    texts = "SELECT count(DISTINCT text) FROM versions WHERE text IS NOT NULL"
    assert await value(database, texts) == 1
    assert await value(database, "SELECT count(DISTINCT cited_number) FROM sections") == len(TEXTS)
    assert await staged_rows(database) == 0
    async with database.transaction(A) as connection:
        row = await get_job(connection, A, held.job_id)
    assert (row.status, row.part_count, row.open_parts) == ("done", 3, 0)
    assert row.chunk_count == len(TEXTS)


async def test_a_later_try_begins_at_the_missing_part(database: Database) -> None:
    held = await held_job(database)
    await stage(database, held)
    first, *_ = await spread(database, held)
    await embed(database, first)
    await value(database, "UPDATE jobs SET status = 'queued', open_parts = 0, run_after = now() "
                "WHERE task = 'ingest'")  # fmt: skip
    again = await claim(database, A, held.job_id)
    assert again is not None
    assert again.staged
    left = await spread(database, again)
    assert len(left) == 2
    assert [await embed(database, part) for part in left] == [False, True]
    await finish(database, held.job_id)
    assert await value(database, "SELECT count(*) FROM chunks") == len(TEXTS)


async def test_a_killed_parts_worker_costs_that_part_only(database: Database) -> None:
    held = await held_job(database)
    await stage(database, held)
    first, *others = await spread(database, held)
    zombie = await claim(database, A, first, "embed")
    assert zombie is not None
    async with database.system_transaction() as connection:
        await forget_workers(connection)
    async with database.system_transaction() as connection:
        assert await requeue_expired(connection, 5) == 1, "the parent waits for its parts"
    for part in others:
        assert not await embed(database, part)
    with pytest.raises(LeaseLost):
        async with database.transaction(A) as connection:
            await finish_part(connection, zombie, [], [], MODEL)
    assert await embed(database, first)
    await finish(database, held.job_id)
    assert await value(database, "SELECT count(*) FROM chunks") == len(TEXTS)


async def test_a_part_that_fails_fails_the_document_and_retry_resumes(database: Database) -> None:
    held = await held_job(database)
    await stage(database, held)
    first, second, _ = await spread(database, held)
    await embed(database, first)
    part = await claim(database, A, second, "embed")
    assert part is not None
    async with database.transaction(A) as connection:
        await fail_job(connection, part, "provider_failed", "The model failed.")
    async with database.transaction(A) as connection:
        row = await get_job(connection, A, held.job_id)
        listed = await list_jobs(connection, A, JobFilter(), 10, None)
    assert (row.status, row.reason, row.message) == (
        "failed", "provider_failed", "The model failed.",
    )  # fmt: skip
    assert [item.job_id for item in listed.items] == [held.job_id]
    async with database.transaction(A) as connection:
        assert await retry_job(connection, A, held.job_id) == [held.job_id]
    again = await claim(database, A, held.job_id)
    assert again is not None
    left = await spread(database, again)
    assert len(left) == 2, "the first part's vectors are there already"
    for part_id in left:
        await embed(database, part_id)
    await finish(database, held.job_id)
    assert await value(database, "SELECT count(*) FROM chunks") == len(TEXTS)


async def test_unchanged_chunks_keep_their_vectors(database: Database) -> None:
    vectors = random_vectors(len(TEXTS))
    await add_document(database, A, "book.txt", TEXTS, vectors=vectors)
    changed = [*TEXTS]
    changed[200] = "another text"
    held = await held_job(database, data=b"book, second edition")
    assert held.published
    await stage(database, held, changed)
    (only,) = await spread(database, held)
    part = await claim(database, A, only, "embed")
    assert part is not None
    async with database.transaction(A) as connection:
        chunks = await load_part(connection, part)
        assert [(chunk.ordinal, chunk.text) for chunk in chunks] == [(200, "another text")]
        literals = [vector_literal(random_vectors(1, 7)[0])]
        assert await finish_part(connection, part, chunks, literals, MODEL)
    await finish(database, held.job_id)
    await add_document(
        database, A, "clean.txt", changed,
        vectors=[*vectors[:200], random_vectors(1, 7)[0], *vectors[201:]],  # pyright: ignore
    )  # fmt: skip
    clean = await value(database, INDEX, name="clean.txt")
    assert await value(database, INDEX, name="book.txt") == clean


async def test_a_text_that_did_not_change_at_all_is_published_at_once(database: Database) -> None:
    await add_document(database, A, "book.txt", TEXTS)
    held = await held_job(database, data=b"the same words in another file")
    await stage(database, held)
    assert await spread(database, held) == []
    await finish(database, held.job_id)
    assert await value(database, "SELECT count(*) FROM chunks") == len(TEXTS)


async def test_the_old_version_is_found_until_the_new_one_is_whole(database: Database) -> None:
    await add_document(database, A, "book.txt", ["the old text"])
    held = await held_job(database, data=b"second edition")
    tables = ("chunks", "chunk_terms", "vectors_384")
    before = await snapshot(database, *tables)
    await stage(database, held)
    for part in await spread(database, held):
        await embed(database, part)
        assert await snapshot(database, *tables) == before
    await finish(database, held.job_id)
    assert await value(database, "SELECT count(*) FROM chunks") == len(TEXTS)


@pytest.mark.parametrize("end", ["cancel", "delete"])
async def test_ending_the_document_ends_its_parts(database: Database, end: str) -> None:
    held = await held_job(database)
    await stage(database, held)
    first, *_ = await spread(database, held)
    part = await claim(database, A, first, "embed")
    assert part is not None
    async with database.transaction(A) as connection:
        if end == "cancel":
            await cancel_job(connection, A, held.job_id)
        else:
            await remove_document(connection, A, held.document_id)
    with pytest.raises(LeaseLost):
        async with database.transaction(A) as connection:
            await finish_part(connection, part, [], [], MODEL)
    assert await value(database, "SELECT count(*) FROM jobs WHERE task = 'embed'") == 0
    async with database.transaction(A) as connection:
        assert (await get_job(connection, A, held.job_id)).status == "cancelled"
    if end == "delete":
        assert await staged_rows(database) == 0


async def test_work_on_whole_books_has_no_time_limit(database: Database) -> None:
    await add_document(database, A, "short.txt", ["one"])
    short = await held_job(database, "short.txt", b"two")
    book = await held_job(database)
    await stage(database, book)
    limit = text("SHOW statement_timeout")
    async with database.transaction(A) as connection:
        await fan_out(connection, book, MODEL, dimension=384)
        assert await connection.scalar(limit) == "0"
    made = publication(short.document_id, short.version_id, ["two"])
    async with database.transaction(A) as connection:
        await publish(connection, A, [made], KEPT)
        assert await connection.scalar(limit) == "0"


async def test_one_part_alone_cannot_be_cancelled(database: Database) -> None:
    held = await held_job(database)
    await stage(database, held)
    first, *_ = await spread(database, held)
    with pytest.raises(Conflict, match=str(held.job_id)):
        async with database.transaction(A) as connection:
            await cancel_job(connection, A, first)
    open_jobs = "SELECT count(*) FROM jobs WHERE status IN ('queued', 'running')"
    assert await value(database, open_jobs) == 4


async def test_a_zombie_stages_nothing(database: Database) -> None:
    zombie = await held_job(database)
    await value(database, "UPDATE jobs SET lease_until = now() - interval '1 second'")
    await claim_again(database, A, zombie.job_id)
    with pytest.raises(LeaseLost):
        await stage(database, zombie)
    with pytest.raises(LeaseLost):
        await spread(database, zombie)
    assert await staged_rows(database) == 0


async def test_many_documents_are_published_in_one_transaction(database: Database) -> None:
    held = [await held_job(database, f"{n}.txt", bytes([n])) for n in range(5)]
    made = [
        publication(each.document_id, each.version_id, [f"text {n}", f"more {n}"])
        for n, each in enumerate(held)
    ]
    async with database.transaction(A) as connection:
        await remove_document(connection, A, held[3].document_id)
    newer = await held_job(database, "1.txt", b"newer")
    made.append(publication(newer.document_id, newer.version_id, ["the newer one"]))
    async with database.transaction(A) as connection:
        outcome = await publish(connection, A, made, KEPT)
    assert outcome.gone == {held[3].version_id}
    counts = "SELECT string_agg(name || chunk_count, ' ' ORDER BY name) FROM documents"
    assert await value(database, counts) == "0.txt2 1.txt1 2.txt2 4.txt2"
    assert await value(database, "SELECT chunk_count FROM collections") == 7
    assert await value(database, "SELECT count(*) FROM vectors_384") == 7


async def test_earlier_versions_are_kept_and_pruned(database: Database) -> None:
    for n in range(KEPT + 3):
        made = await add_document(database, A, "a.txt", [f"edition {n}"])
    numbers = "SELECT string_agg(number::text, ' ' ORDER BY number) FROM versions"
    assert await value(database, numbers) == "3 4 5"
    held = await held_job(database, "a.txt", b"broken")
    async with database.transaction(A) as connection:
        await fail_job(connection, held, "no_text", "No text.")
    last = await add_document(database, A, "a.txt", ["the last edition"])
    assert last.document_id == made.document_id
    assert await value(database, numbers) == "4 5 7", "a version without a text is not kept"


async def test_parts_of_two_models_are_published_each_in_its_own_table(database: Database) -> None:
    await ensure_vector_table(database, 24)
    held = await held_job(database)
    await stage(database, held)
    jobs = await spread(database, held)
    part = await claim(database, A, jobs[0], "embed")
    assert part is not None
    async with database.transaction(A) as connection:
        chunks = await load_part(connection, part)
    narrow = [vector_literal(row[:24]) for row in random_vectors(len(chunks))]
    async with database.transaction(A) as connection:
        await finish_part(connection, part, chunks, narrow, "another-model")
    for job in jobs[1:]:
        await embed(database, job)
    await finish(database, held.job_id)
    counts = "SELECT (SELECT count(*) FROM vectors_24) || ' ' || (SELECT count(*) FROM vectors_384)"
    assert await value(database, counts) == f"{len(chunks)} {len(TEXTS) - len(chunks)}"
