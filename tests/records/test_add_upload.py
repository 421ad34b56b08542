"""Uploads become documents, versions and jobs; the same bytes become nothing new."""

import asyncio
import hashlib
import io

import pytest
from sqlalchemy import text

from citewell.adapters.local_blobs import LocalBlobStore
from citewell.domain import CollectionId
from citewell.errors import NotFound
from citewell.records.blobs import remove_unused_blobs
from citewell.records.collections import add_collection, get_collection_id, remove_collection
from citewell.records.documents import (
    get_document,
    get_text,
    remove_document,
)
from citewell.records.jobs import get_job
from citewell.records.leases import fail_job, release_job
from citewell.records.session import Database
from citewell.records.uploads import Upload, add_uploads
from records.rows import (
    A,
    add_document,
    add_workspace,
    claim,
    publish_claim,
    snapshot,
    upload,
    value,
)


async def test_the_same_bytes_change_nothing(database: Database) -> None:
    first = await upload(database, A, "a.txt", b"one")
    before = await snapshot(database, "versions", "jobs", "audit_log")
    second = await upload(database, A, "a.txt", b"one")
    assert (first.changed, second.changed) == (True, False)
    assert (second.document_id, second.job_id) == (first.document_id, first.job_id)
    held = await claim(database, A, first.job_id)
    assert held is not None
    assert (await upload(database, A, "a.txt", b"one")).changed is False
    await publish_claim(database, A, held, ["one"])
    assert (await upload(database, A, "a.txt", b"one")).changed is False
    after = await snapshot(database, "versions", "jobs", "audit_log")
    assert after["audit_log"] == before["audit_log"]
    assert len(after["versions"]) == len(after["jobs"]) == 1


async def test_other_bytes_are_the_next_version(database: Database) -> None:
    first = await upload(database, A, "a.txt", b"one")
    second = await upload(database, A, "a.txt", b"two")
    back = await upload(database, A, "a.txt", b"one")
    assert second.changed
    assert back.changed
    assert second.document_id == first.document_id == back.document_id
    async with database.transaction(A) as connection:
        numbers = await connection.scalars(text("SELECT number FROM versions ORDER BY number"))
        assert list(numbers) == [1, 2, 3]


async def test_bytes_whose_job_failed_are_queued_again(database: Database) -> None:
    first = await upload(database, A, "a.txt", b"one")
    held = await claim(database, A, first.job_id)
    assert held is not None
    async with database.transaction(A) as connection:
        await fail_job(connection, held, "no_text", "It holds no text.")
    again = await upload(database, A, "a.txt", b"one")
    assert again.changed
    assert again.document_id == first.document_id
    assert again.job_id != first.job_id
    assert await claim(database, A, again.job_id) is not None


async def test_a_job_that_waits_for_its_next_try_is_not_doubled(database: Database) -> None:
    first = await upload(database, A, "a.txt", b"one")
    held = await claim(database, A, first.job_id)
    assert held is not None
    async with database.transaction(A) as connection:
        await release_job(connection, held, 5, "provider_failed", "It failed.")
    again = await upload(database, A, "a.txt", b"one")
    assert (again.changed, again.job_id) == (False, first.job_id)


@pytest.mark.parametrize(("one", "two"), [(b"same", b"same"), (b"one", b"two")])
async def test_two_uploads_at_once_are_one_document(
    database: Database, one: bytes, two: bytes
) -> None:
    for number in range(5):
        name = f"{number}.txt"
        results = await asyncio.gather(
            upload(database, A, name, one), upload(database, A, name, two)
        )
        assert len({item.document_id for item in results}) == 1
        assert sum(item.changed for item in results) == (1 if one == two else 2)
    assert await value(database, "SELECT count(*) FROM documents") == 5
    assert await value(database, "SELECT count(*) FROM versions") == (5 if one == two else 10)


async def test_a_source_is_its_own_document_in_each_collection_and_workspace(
    database: Database,
) -> None:
    async with database.transaction(A) as connection:
        await add_collection(connection, A, "second")
    other = await add_workspace(database)
    added = [
        await upload(database, A, "a.txt", b"one"),
        await upload(database, A, "a.txt", b"one", collection="second"),
        await upload(database, other, "a.txt", b"one"),
    ]
    assert len({item.document_id for item in added}) == 3
    assert all(item.changed for item in added)


async def test_metadata_is_replaced_only_when_given(database: Database) -> None:
    added = await upload(database, A, "a.txt", b"one", metadata={"author": "Huygens"})

    async def stored() -> object:
        async with database.transaction(A) as connection:
            return (await get_document(connection, A, added.document_id)).metadata

    assert await stored() == {"author": "Huygens"}
    await upload(database, A, "a.txt", b"two")
    assert await stored() == {"author": "Huygens"}
    await upload(database, A, "a.txt", b"three", metadata={"year": 1656})
    assert await stored() == {"year": 1656}


async def test_removing_a_document_leaves_no_row_of_it(database: Database) -> None:
    kept = await add_document(database, A, "kept.txt", ["kept one", "kept two"])
    tables = ("documents", "versions", "sections", "chunks", "chunk_terms", "vectors_384")
    before = await snapshot(database, *tables)
    gone = await add_document(database, A, "gone.txt", ["first", "second", "third"])
    await upload(database, A, "gone.txt", b"a later version that waits")
    async with database.transaction(A) as connection:
        hashes = await remove_document(connection, A, gone.document_id)
    assert await snapshot(database, *tables) == before
    assert len(hashes) == 2
    assert await value(database, "SELECT chunk_count FROM collections") == 2
    assert await value(database, "SELECT lexical_pending FROM collections") == 3
    async with database.transaction(A) as connection:
        with pytest.raises(NotFound):
            await get_document(connection, A, gone.document_id)
        with pytest.raises(NotFound):
            await get_text(connection, A, gone.document_id, None)
        with pytest.raises(NotFound):
            await remove_document(connection, A, gone.document_id)
        assert (await get_text(connection, A, kept.document_id, None))[1] == kept.text
        done = await get_job(connection, A, gone.job_id)
        assert (done.status, done.document_name) == ("done", None)


async def test_only_files_that_no_version_names_are_removed(
    database: Database, blobs: LocalBlobStore
) -> None:
    other = await add_workspace(database)
    mine = await upload(database, A, "a.txt", b"shared", blobs=blobs)
    await upload(database, other, "b.txt", b"shared", blobs=blobs)
    own = await upload(database, A, "c.txt", b"only here", blobs=blobs)
    async with database.transaction(A) as connection:
        shared = await remove_document(connection, A, mine.document_id)
        alone = await remove_document(connection, A, own.document_id)
    assert await remove_unused_blobs(database, blobs, [*shared, *alone]) == 1
    assert await blobs.list_hashes(-1) == shared
    assert await remove_unused_blobs(database, blobs, []) == 0


async def test_many_files_are_removed_at_once(database: Database, blobs: LocalBlobStore) -> None:
    hashes = [(await blobs.add(io.BytesIO(str(n).encode())))[0] for n in range(1100)]
    assert await remove_unused_blobs(database, blobs, hashes) == 1100
    assert await blobs.list_hashes(-1) == []


async def test_a_collection_goes_with_all_its_documents(database: Database) -> None:
    async with database.transaction(A) as connection:
        await add_collection(connection, A, "second")
    await add_document(database, A, "a.txt", ["stays"])
    tables = ("documents", "versions", "sections", "chunks", "chunk_terms", "lexemes",
              "vectors_384", "collections")  # fmt: skip
    async with database.transaction(A) as connection:
        await remove_collection(connection, A, "second")
        await add_collection(connection, A, "third")
        third: CollectionId = await get_collection_id(connection, A, "third")
        assert third
        await remove_collection(connection, A, "third")
        await add_collection(connection, A, "second")
    before = await snapshot(database, *tables)
    await add_document(database, A, "b.txt", ["goes"], collection="second")
    waiting = await upload(database, A, "c.txt", b"waits", collection="second")
    async with database.transaction(A) as connection:
        assert len(await remove_collection(connection, A, "second")) == 2
        assert (await get_job(connection, A, waiting.job_id)).status == "cancelled"
    after = await snapshot(database, *tables)
    assert len(after["collections"]) == 1
    assert {**after, "collections": []} == {**before, "collections": []}


async def test_many_files_are_registered_as_one_by_one(database: Database) -> None:
    """Also when a source comes twice in one request: the later file is its second version."""
    await upload(database, A, "known.txt", b"known")
    names = ["z.txt", "a.txt", "known.txt", "a.txt", "a.txt", "m.txt"]
    hashes = ["1", "2", hashlib.sha256(b"known").hexdigest(), "3", "3", "4"]
    files = [
        Upload(name, name, sha256, 1, "text/plain", {"n": place} if place == 5 else None)
        for place, (name, sha256) in enumerate(zip(names, hashes, strict=True))
    ]
    async with database.transaction(A) as connection:
        collection_id = await get_collection_id(connection, A, "default")
        added = await add_uploads(connection, A, collection_id, files, "a-request")
    assert [each.changed for each in added] == [True, True, False, True, False, True]
    assert added[1].document_id == added[3].document_id == added[4].document_id
    assert added[4].job_id == added[3].job_id != added[1].job_id
    async with database.transaction(A) as connection:
        for each, name in zip(added, names, strict=True):
            assert (await get_document(connection, A, each.document_id)).name == name
        last = await get_document(connection, A, added[5].document_id)
        assert last.metadata == {"n": 5}
    versions = "SELECT string_agg(sha256 || number, ' ' ORDER BY sha256, number) FROM versions v "
    assert await value(database, versions + "WHERE length(sha256) = 1") == "11 21 32 41"
    assert await value(database, "SELECT count(*) FROM audit_log") == 5
