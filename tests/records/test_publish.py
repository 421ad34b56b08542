"""Publishing replaces a document's chunks in one transaction, and counts stay true."""

from collections import Counter

import pytest
from sqlalchemy import text

from citewell.domain import VersionId
from citewell.errors import LeaseLost
from citewell.records.chunks import list_chunks, load_chunks
from citewell.records.collections import list_collections
from citewell.records.documents import get_document, get_text, remove_document
from citewell.records.lexical import list_stale_collections, refresh_lexemes
from citewell.records.publish import Outcome
from citewell.records.session import Database
from citewell.records.version_rows import chunk_id
from records.rows import (
    A,
    add_document,
    claim,
    publish_claim,
    random_vectors,
    snapshot,
    upload,
    value,
)


async def test_a_new_version_replaces_the_old_ones_chunks(database: Database) -> None:
    old = await add_document(database, A, "a.txt", ["old one", "old two", "old three"])
    new = await add_document(database, A, "a.txt", ["new one", "new two"])
    assert new.document_id == old.document_id
    async with database.transaction(A) as connection:
        row = await get_document(connection, A, new.document_id)
        assert (row.version, row.version_id, row.status) == (2, new.version_id, "ready")
        assert row.chunk_count == 2
        chunks = await list_chunks(connection, A, new.document_id, -1, 10)
        assert [chunk.chunk_id for chunk in chunks] == new.chunk_ids
        assert [chunk.text for chunk in chunks] == ["new one", "new two"]
        assert await load_chunks(connection, A, old.chunk_ids) == {}
        assert await get_text(connection, A, new.document_id, None) == (new.version_id, new.text)
        assert (await get_text(connection, A, new.document_id, old.version_id))[1] == old.text
        (collection,) = await list_collections(connection, A)
        assert (collection.document_count, collection.chunk_count) == (1, 2)
    for table in ("chunk_terms", "vectors_384"):
        found = await value(database, f"SELECT count(*) FROM {table}")
        assert found == 2


async def test_an_older_version_that_ends_late_does_not_overwrite(database: Database) -> None:
    first = await upload(database, A, "a.txt", b"one")
    second = await upload(database, A, "a.txt", b"two")
    slow, fast = await claim(database, A, first.job_id), await claim(database, A, second.job_id)
    assert slow is not None
    assert fast is not None
    await publish_claim(database, A, fast, ["the newer text"])
    tables = ("chunks", "chunk_terms", "vectors_384", "collections", "documents")
    before = await snapshot(database, *tables)
    late = await publish_claim(database, A, slow, ["the older text", "and more"])
    assert late == Outcome()
    assert await snapshot(database, *tables) == before
    async with database.transaction(A) as connection:
        assert (await get_text(connection, A, first.document_id, slow.version_id))[1] == (
            "the older text\n\nand more"
        )


async def test_ids_depend_on_version_and_ordinal_only(database: Database) -> None:
    version = VersionId(A)
    assert chunk_id(version, 3) == chunk_id(version, 3)
    assert len({chunk_id(version, n) for n in range(1000)}) == 1000
    first = await add_document(database, A, "a.txt", ["same text", "same text"])
    second = await add_document(database, A, "b.txt", ["same text"])
    assert len({*first.chunk_ids, *second.chunk_ids}) == 3
    assert first.chunk_ids[0] == chunk_id(first.version_id, 0)


async def test_many_chunks_go_in_batches_and_keep_their_vectors(database: Database) -> None:
    texts = [f"chunk number {n}" for n in range(1203)]
    vectors = random_vectors(len(texts), 5)
    made = await add_document(database, A, "a.txt", texts, vectors=vectors)
    async with database.transaction(A) as connection:
        rows = await connection.execute(
            text(
                "SELECT c.ordinal, c.text, v.embedding::text FROM chunks c "
                "JOIN vectors_384 v ON v.chunk_id = c.id"
            )
        )
        stored = {row[0]: (row[1], row[2]) for row in rows}
    assert {n: stored[n][0] for n in stored} == dict(enumerate(texts))
    for n in (0, 499, 500, 1202):
        numbers = [float(number) for number in stored[n][1].strip("[]").split(",")]
        assert numbers == pytest.approx(vectors[n].tolist(), abs=2e-4)
    async with database.transaction(A) as connection:
        assert (await get_document(connection, A, made.document_id)).chunk_count == 1203


async def test_a_document_deleted_meanwhile_is_not_published(database: Database) -> None:
    added = await upload(database, A, "a.txt", b"one")
    held = await claim(database, A, added.job_id)
    assert held is not None
    async with database.transaction(A) as connection:
        await remove_document(connection, A, added.document_id)
    with pytest.raises(LeaseLost):
        await publish_claim(database, A, held, ["x"])


async def test_term_statistics_equal_a_recount(database: Database) -> None:
    await add_document(database, A, "a.txt", ["pendulum clocks", "clocks and clocks", "sundial"])
    await add_document(database, A, "b.txt", ["a clock by Huygens", "the and of"])
    gone = await add_document(database, A, "c.txt", ["zymurgy", "clock"])
    await add_document(database, A, "b.txt", ["a sundial by nobody"])
    async with database.transaction(A) as connection:
        await remove_document(connection, A, gone.document_id)
    async with database.system_transaction() as connection:
        (stale,) = await list_stale_collections(connection)
    async with database.transaction(A) as connection:
        await refresh_lexemes(connection, *stale)
        rows = await connection.execute(
            text(
                "SELECT tsvector_to_array(to_tsvector('english', context || ' ' || text)) "
                "FROM chunks"
            )
        )
        expected = Counter(lexeme for row in rows for lexeme in set(row[0]))
        keys = {}
        for lexeme in expected:
            key = await connection.scalar(
                text("SELECT citewell_term_key(:c, :l)"), {"c": stale[1], "l": lexeme}
            )
            keys[key] = lexeme
        found = await connection.execute(text("SELECT key, chunk_frequency FROM lexemes"))
        assert {keys[row[0]]: row[1] for row in found} == expected
        counts = await connection.execute(
            text("SELECT chunk_count, lexical_chunk_count, lexical_pending FROM collections")
        )
        assert tuple(counts.one()) == (4, 4, 0)
    assert expected["clock"] == 2
    async with database.system_transaction() as connection:
        assert await list_stale_collections(connection) == []


async def test_publishing_says_when_terms_are_stale(database: Database) -> None:
    await add_document(database, A, "a.txt", [f"text {n}" for n in range(100)])
    added = await upload(database, A, "b.txt", b"b")
    held = await claim(database, A, added.job_id)
    assert held is not None
    assert not (await publish_claim(database, A, held, ["one", "two"])).stale
    added = await upload(database, A, "c.txt", b"c")
    held = await claim(database, A, added.job_id)
    assert held is not None
    outcome = await publish_claim(database, A, held, [f"more {n}" for n in range(40)])
    assert outcome.stale == {await value(database, "SELECT id FROM collections")}
