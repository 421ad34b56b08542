"""Lists of readers in the database: what they hide, whatever the SQL, and what they leave alone."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from sqlalchemy import text
from sqlalchemy.exc import ProgrammingError
from sqlalchemy.ext.asyncio import AsyncConnection

from citewell.adapters.postgres import PostgresChunkIndex
from citewell.domain import AnswerId, DocumentId, Scope, Visitor
from citewell.errors import AccessError, Conflict, NotFound
from citewell.records.answers import add_answer, get_answer
from citewell.records.chunks import load_chunks, load_neighbours
from citewell.records.collections import list_collections
from citewell.records.dense import DenseSearch
from citewell.records.documents import list_documents, remove_document
from citewell.records.feedback import FeedbackFilter, list_feedback, set_feedback
from citewell.records.jobs import JobFilter, list_jobs
from citewell.records.lexical import search_lexical
from citewell.records.readers import set_readers
from citewell.records.scope import resolve_scope
from citewell.records.session import Database, enter_as, seeing_every_document
from citewell.records.uploads import Upload, add_upload
from citewell.records.vector_index import ensure_vector_index
from records.rows import (
    MODEL,
    A,
    Published,
    add_document,
    add_workspace,
    claim,
    count,
    publish_claim,
    random_vectors,
    snapshot,
    upload,
    value,
)
from records.test_workspace_isolation import fill_rest

STRANGER = Visitor("key:stranger", tags=("role:viewer",))
READER = Visitor("key:reader", tags=("group:red", "role:viewer"))
EDITOR = Visitor("key:editor", tags=("group:red", "role:editor", "role:viewer"))
OF_DOCUMENTS = ["versions", "chunks", "chunk_terms", "vectors_384", "jobs"]
OF_VERSIONS = ["sections", "staged_texts", "staged_chunks", "staged_embeddings"]


@pytest.fixture(autouse=True)
def _as_citewell() -> Iterator[None]:
    """Let Citewell itself act again after each test."""
    yield
    enter_as(Visitor())


@asynccontextmanager
async def acting(database: Database, visitor: Visitor) -> AsyncIterator[AsyncConnection]:
    """Run a transaction as somebody, and be Citewell again."""
    enter_as(visitor)
    try:
        async with database.transaction(A) as connection:
            yield connection
    finally:
        enter_as(Visitor())


async def limit(database: Database, document_id: DocumentId, *readers: str) -> None:
    async with database.transaction(A) as connection:
        await set_readers(connection, A, {document_id: readers}, None)


@pytest.fixture
async def secret(database: Database) -> Published:
    """A limited document beside an open one, with a row in each table that tells of documents."""
    await add_document(database, A, "open.txt", ["the clock of the tower", "and its bell"])
    made = await add_document(database, A, "secret.txt", ["the secret clock", "of the reds"])
    await limit(database, made.document_id, "group:red")
    async with database.transaction(A) as connection:
        answer = AnswerId(made.version_id)
        await add_answer(connection, A, answer, "Q?", False, [made.document_id], {"a": 1})
        await set_feedback(connection, A, answer, "up", "as the secret says")
        await fill_rest(connection, A)
    return made


async def test_whatever_the_sql_says_hidden_rows_are_not_there(
    database: Database, secret: Published
) -> None:
    hidden = dict.fromkeys(OF_DOCUMENTS, f"document_id = '{secret.document_id}'")
    hidden |= dict.fromkeys(OF_VERSIONS, f"version_id = '{secret.version_id}'")
    hidden |= {"documents": f"id = '{secret.document_id}'"}
    hidden |= {"answers": f"id = '{secret.version_id}'"}
    hidden |= {"feedback": f"answer_id = '{secret.version_id}'"}
    for visitor, seen in ((Visitor(), True), (READER, True), (STRANGER, False)):
        async with acting(database, visitor) as connection:
            for name, where in hidden.items():
                assert bool(await count(connection, name, where)) is seen, (name, visitor)
                assert await count(connection, name, f"NOT ({where})") or name == "answers"
            for statement in ("UPDATE documents SET name = 'x'", "DELETE FROM versions"):
                changed = await connection.execute(text(f"{statement} WHERE created_at < now()"))
                assert changed.rowcount == (2 if seen else 1)
            await connection.rollback()


async def test_who_did_not_say_who_acts_sees_what_is_open(
    database: Database, secret: Published
) -> None:
    async with database.engine.begin() as connection:
        await connection.execute(
            text(
                "SELECT set_config('role', 'citewell_app', true), "
                "set_config('citewell.workspace_id', :w, true)"
            ),
            {"w": str(A)},
        )
        assert await count(connection, "documents") == 1
        assert await count(connection, "chunks") == 2


async def test_legs_neighbours_and_lists_leave_hidden_documents_out(
    database: Database, secret: Published
) -> None:
    dense_leg = DenseSearch(MODEL, 20_000, 100)
    for visitor, seen in ((READER, True), (STRANGER, False)):
        async with acting(database, visitor) as connection:
            space = await resolve_scope(connection, A, Scope())
            dense = await dense_leg.search(connection, A, random_vectors(1)[0], space, 10)
            assert len(dense.scores) == (4 if seen else 2)
            found = await search_lexical(connection, A, "secret clock", Scope(), 10)
            assert (secret.chunk_ids[0] in found.scores) is seen
            named = Scope(document_ids=(secret.document_id,))
            exactly = await search_lexical(connection, A, "secret clock", named, 10)
            assert bool(exactly.scores) is seen
            assert bool(await load_chunks(connection, A, secret.chunk_ids)) is seen
            beside = await load_neighbours(connection, A, secret.chunk_ids, 2)
            assert beside == {}  # each chunk is a section of its own
            space = await resolve_scope(connection, A, Scope())
            assert (space.chunk_count, space.hides) == ((4, False) if seen else (2, True))
            (collection,) = await list_collections(connection, A)
            assert collection.chunk_count == (4 if seen else 2)
            assert collection.document_count == (2 if seen else 1)
            assert len((await list_documents(connection, A, None, 9, None)).items) == 1 + seen
            jobs = await list_jobs(connection, A, JobFilter(), 9, None)
            assert len(jobs.items) == 1 + seen


async def test_every_chunk_of_one_section_is_hidden_from_its_neighbours(database: Database) -> None:
    made = await add_document(database, A, "one.txt", ["first", "second", "third"])
    await value(database, "UPDATE chunks SET section = NULL")
    await limit(database, made.document_id, "group:red")
    for visitor, seen in ((READER, 2), (STRANGER, 0)):
        async with acting(database, visitor) as connection:
            beside = await load_neighbours(connection, A, made.chunk_ids[1:2], 1)
            assert sum(map(len, beside.values())) == seen


async def test_terms_are_counted_as_if_limited_documents_never_were(database: Database) -> None:
    texts = ["the clock of the tower", "a bell and a clock"]
    await add_document(database, A, "open.txt", texts)
    never = await snapshot(database, "lexemes")
    late = await add_document(database, A, "late.txt", ["the secret clock of the reds"])
    assert await snapshot(database, "lexemes") != never
    await limit(database, late.document_id, "group:red")
    assert await snapshot(database, "lexemes") == never
    await upload_limited(database, "born limited.txt", ["another secret clock"])
    assert await snapshot(database, "lexemes") == never
    assert await value(database, "SELECT lexical_chunk_count FROM collections") == 2
    async with database.transaction(A) as connection:
        await set_readers(connection, A, {late.document_id: None}, None)
    assert await snapshot(database, "lexemes") != never


async def upload_limited(database: Database, name: str, texts: list[str]) -> DocumentId:
    """Take a document all the way that was limited from its first moment on."""
    before = await value(database, "SELECT lexical_pending FROM collections")
    file = Upload(name, name, name, 9, "text/plain", None, readers=("group:red",))
    async with database.transaction(A) as connection:
        collection = await connection.scalar(text("SELECT id FROM collections"))
        added = await add_upload(connection, A, collection, file, None)
    held = await claim(database, A, added.job_id)
    assert held is not None
    outcome = await publish_claim(database, A, held, texts)
    assert outcome.stale == set()
    assert await value(database, "SELECT lexical_pending FROM collections") == before
    return added.document_id


async def test_a_generation_tells_what_who_looks_can_see(database: Database) -> None:
    await add_document(database, A, "open.txt", ["the clock of the tower"])

    async def seen_by(visitor: Visitor) -> Any:
        async with acting(database, visitor) as connection:
            return (await resolve_scope(connection, A, Scope())).generations

    before = [await seen_by(visitor) for visitor in (STRANGER, READER, Visitor())]
    secret = await upload_limited(database, "secret.txt", ["the secret clock"])
    between = [await seen_by(visitor) for visitor in (STRANGER, READER, Visitor())]
    assert [a == b for a, b in zip(before, between, strict=True)] == [True, False, False]
    await limit(database, secret, "group:blue")
    assert await seen_by(READER) == before[1], "it is hidden from the reds now"
    async with database.transaction(A) as connection:
        await remove_document(connection, A, secret)
    assert await seen_by(Visitor()) == before[2]


async def test_a_large_scope_is_searched_exactly_where_something_is_hidden(
    database: Database,
) -> None:
    question, far = random_vectors(1, seed=2)[0], random_vectors(400, seed=3)
    near = question + random_vectors(400, seed=4)
    near /= np.linalg.norm(near, axis=1, keepdims=True)
    texts = [f"line {n}" for n in range(400)]
    made = await add_document(database, A, "hidden.txt", texts, vectors=near)
    open_one = await add_document(database, A, "open.txt", texts, vectors=far)
    assert await ensure_vector_index(database, 10)
    await limit(database, made.document_id, "group:red")
    distances = {
        chunk: float(question @ vector)
        for chunk, vector in zip(open_one.chunk_ids, far, strict=True)
    }
    best = sorted(distances, key=lambda chunk: -distances[chunk])[:20]
    # So few rows would be sorted whatever the index: planner and pool are told to use it.
    async with database.owner_connection() as connection:
        name = await connection.scalar(text("SELECT current_database()"))
        for what in ("seqscan", "sort", "bitmapscan"):
            await connection.execute(text(f"ALTER DATABASE {name} SET enable_{what} = off"))
        await connection.execute(text(f"ALTER DATABASE {name} SET hnsw.max_scan_tuples = 40"))
    await database.engine.dispose()
    index = PostgresChunkIndex(database, DenseSearch(MODEL, 1, 1, exact_per_walked=0))
    async with index.read(A) as reading:
        walked = await reading.search_dense(question, Scope(), 20)
    assert set(walked.scores) <= set(made.chunk_ids), "a walk from the question meets hidden ones"
    enter_as(STRANGER)
    async with index.read(A) as reading:
        found = await reading.search_dense(question, Scope(), 20)
    assert set(found.scores) == set(best)


async def test_another_workspaces_lists_change_nothing_here(database: Database) -> None:
    other = await add_workspace(database)
    theirs = await add_document(database, other, "theirs.txt", ["the clock"])
    async with database.transaction(other) as connection:
        await set_readers(connection, other, {theirs.document_id: ["group:blue"]}, None)
    await add_document(database, A, "own.txt", ["our clock"])
    async with acting(database, STRANGER) as connection:
        assert not (await resolve_scope(connection, A, Scope())).hides
        assert await connection.scalar(text("SELECT citewell_sees_all()")) is True
        with pytest.raises(NotFound):
            await set_readers(connection, A, {theirs.document_id: ["role:viewer"]}, None)


async def test_many_lists_are_walked_until_one_hides(database: Database) -> None:
    for number in range(12):
        made = await upload(database, A, f"{number}.txt")
        await limit(database, made.document_id, f"group:g{number:02}", "group:all")
    whole = replace(STRANGER, tags=("group:all", "role:viewer"))
    parts = replace(STRANGER, tags=tuple(f"group:g{number:02}" for number in range(11)))
    for visitor, sees_all, hidden in ((whole, True, 0), (parts, False, 1), (STRANGER, False, 12)):
        async with acting(database, visitor) as connection:
            assert await connection.scalar(text("SELECT citewell_sees_all()")) is sees_all
            assert await count(connection, "citewell_hidden_documents()") == hidden


async def test_groups_are_compared_as_they_are_written(database: Database) -> None:
    made = await upload(database, A, "a.txt")
    await limit(database, made.document_id, "group:red")
    odd = ('group:a","group:red', "group:red}", "group:red\\", "*", "group:{red", "", "NULL")
    async with acting(database, Visitor("key:x", tags=odd)) as connection:
        written = await connection.scalar(text("SELECT citewell_reader_tags()"))
        assert written == list(odd)
        assert await count(connection, "documents") == 0


async def test_a_hidden_documents_name_is_taken_and_nothing_of_it_changes(
    database: Database, secret: Published
) -> None:
    tables = ("documents", "versions", "jobs", "audit_log")
    before = await snapshot(database, *tables)
    enter_as(replace(EDITOR, tags=("group:blue", "role:editor", "role:viewer")))
    with pytest.raises(Conflict, match=r"'secret\.txt'.*may not see") as taken:
        await upload(database, A, "secret.txt", b"other bytes")
    assert taken.value.reason == "name_taken"
    assert await snapshot(database, *tables) == before
    assert (await upload(database, A, "new.txt", b"other bytes")).changed
    enter_as(EDITOR)
    assert (await upload(database, A, "secret.txt", b"other bytes")).changed


async def test_nobody_locks_themselves_out(database: Database, secret: Published) -> None:
    for readers in (["group:blue"], [], ["role:admin"]):
        with pytest.raises(AccessError, match="would not see this document yourself"):
            async with acting(database, EDITOR) as connection:
                await set_readers(connection, A, {secret.document_id: readers}, None)
    for readers in (["group:blue", "role:editor"], ["role:viewer"], None):
        async with acting(database, EDITOR) as connection:
            await set_readers(connection, A, {secret.document_id: readers}, None)
    async with acting(database, STRANGER) as connection:
        assert await count(connection, "documents") == 2
    with pytest.raises(ProgrammingError, match="row-level security"):
        async with acting(database, EDITOR) as connection:  # whatever code may forget
            await connection.execute(
                text("UPDATE documents SET readers = '{group:blue}' WHERE name = 'secret.txt'")
            )


async def test_a_job_that_outlives_its_document_stays_among_its_readers(
    database: Database, secret: Published
) -> None:
    async with database.transaction(A) as connection:
        await remove_document(connection, A, secret.document_id)
    for visitor, seen in ((Visitor(), True), (READER, True), (STRANGER, False)):
        async with acting(database, visitor) as connection:
            wanted = JobFilter(document_id=secret.document_id)
            assert bool((await list_jobs(connection, A, wanted, 9, None)).items) is seen
            assert (await resolve_scope(connection, A, Scope())).hides is False


async def test_a_workspace_goes_with_its_limited_documents(
    database: Database, secret: Published
) -> None:
    assert await value(database, "DELETE FROM workspaces WHERE id = :w", w=A) == 1
    for table in ("documents", "jobs", "answers"):
        assert await value(database, f"SELECT count(*) FROM {table}") == 0


async def test_deleted_means_gone_also_where_something_hidden_is_quoted_beside(
    database: Database, secret: Published
) -> None:
    own = await add_document(database, A, "own.txt", ["our own text"])
    answer = AnswerId(own.version_id)
    async with database.transaction(A) as connection:
        both = [own.document_id, secret.document_id]
        await add_answer(connection, A, answer, "Q?", False, both, {"a": 1})
    viewer = replace(STRANGER, tags=("role:editor", "role:viewer"))
    async with acting(database, viewer) as connection:
        with pytest.raises(NotFound):
            await get_answer(connection, A, answer)
        await remove_document(connection, A, own.document_id)
        assert await count(connection, "documents", f"id = '{secret.document_id}'") == 0
    with pytest.raises(NotFound):
        async with database.transaction(A) as connection:
            await get_answer(connection, A, answer)


async def test_an_answer_is_hidden_for_what_was_found_but_not_shown(
    database: Database, secret: Published
) -> None:
    own = await add_document(database, A, "own.txt", ["our own text"])
    found = AnswerId(own.version_id)
    manifest = {"retrieved": [{"chunk_id": str(secret.chunk_ids[0])}]}
    async with database.transaction(A) as connection:
        shown = [own.document_id]
        await add_answer(connection, A, found, "Q?", False, shown, {"a": 1}, manifest=manifest)
    async with acting(database, STRANGER) as connection:
        with pytest.raises(NotFound):
            await get_answer(connection, A, found)
        with pytest.raises(NotFound):
            await set_feedback(connection, A, found, "up", None)
        listed = await list_feedback(connection, A, FeedbackFilter(), 9, None)
        assert [row.question for row in listed.items] == ["secret"], "it is of no known answer"
    async with acting(database, READER) as connection:
        assert await get_answer(connection, A, found) == {"a": 1}
        assert len((await list_feedback(connection, A, FeedbackFilter(), 9, None)).items) == 2


async def test_a_look_at_everything_ends_with_its_block(
    database: Database, secret: Published
) -> None:
    async with acting(database, STRANGER) as connection:
        async with seeing_every_document(connection):
            assert await count(connection, "documents") == 2
        assert await count(connection, "documents") == 1
