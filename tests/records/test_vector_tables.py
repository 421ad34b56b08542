"""Vectors of other dimensions: a table for each, like the first one in all that matters."""

from dataclasses import replace

import numpy as np
import pytest
from sqlalchemy import text
from sqlalchemy.exc import ProgrammingError

from citewell.adapters.local_blobs import LocalBlobStore
from citewell.domain import Scope, WorkspaceId
from citewell.ports import Vectors
from citewell.records.archiving import archive_workspaces, request_purge
from citewell.records.chunks import find_vectors
from citewell.records.leases import finish_jobs, hold_job
from citewell.records.publish import publish
from citewell.records.purge import purge_due
from citewell.records.session import Database
from citewell.records.vector_index import ensure_vector_index, index_name
from citewell.records.vector_tables import (
    ensure_vector_table,
    list_stored_models,
    list_vector_tables,
    vector_table,
)
from citewell.records.verify import verify
from records.dense_leg import DenseLeg
from records.rows import (
    A,
    add_document,
    add_workspace,
    claim,
    count,
    publication,
    random_vectors,
    upload,
    value,
)

OTHER = "another-model"
N = 24

COLUMNS = """
SELECT attname, replace(format_type(atttypid, atttypmod), '({0})', ''), attnotnull, attstorage
FROM pg_attribute WHERE attrelid = 'vectors_{0}'::regclass AND attnum > 0 ORDER BY attnum
"""
KEYS = """
SELECT replace(conname, '{0}', 'n'), replace(pg_get_constraintdef(oid), '{0}', 'n')
FROM pg_constraint WHERE conrelid = 'vectors_{0}'::regclass ORDER BY 1
"""
INDEXES = """
SELECT replace(indexdef, '_{0}', '_n') FROM pg_indexes WHERE tablename = 'vectors_{0}' ORDER BY 1
"""
POLICIES = """
SELECT policyname, permissive, roles, cmd, replace(qual, '_{0}', '_n'), with_check
FROM pg_policies WHERE tablename = 'vectors_{0}' ORDER BY 1
"""
GRANTS = """
SELECT g.privilege_type, g.grantee::regrole::text FROM pg_class c, aclexplode(c.relacl) g
WHERE c.oid = 'vectors_{0}'::regclass ORDER BY 1, 2
"""
FORCED = """
SELECT relrowsecurity, relforcerowsecurity, relowner::regrole::text
FROM pg_class WHERE oid = 'vectors_{0}'::regclass
"""


def drawn(rows: int, seed: int = 1) -> Vectors:
    vectors = np.random.default_rng(seed).standard_normal((rows, N)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors.astype(np.float16).astype(np.float32)


async def add(
    database: Database, workspace: WorkspaceId, name: str, texts: list[str], vectors: Vectors
) -> None:
    """Publish a document that is embedded with another model."""
    added = await upload(database, workspace, name, name.encode())
    held = await claim(database, workspace, added.job_id)
    assert held is not None
    async with database.transaction(workspace) as connection:
        await hold_job(connection, held)
        made = publication(held.document_id, held.version_id, texts, vectors)
        await publish(connection, workspace, [replace(made, model=OTHER)], 3)
        await finish_jobs(connection, workspace, {held.job_id: {}})


@pytest.fixture
async def wide(database: Database) -> Database:
    await ensure_vector_table(database, N)
    return database


@pytest.mark.parametrize("dimension", [1, N, 1536, 4000])
async def test_a_table_is_like_the_first_one(database: Database, dimension: int) -> None:
    for _ in range(2):
        await ensure_vector_table(database, dimension)
    async with database.engine.connect() as connection:
        assert await list_vector_tables(connection) == sorted(
            ["vectors_384", vector_table(dimension)], key=lambda name: (len(name), name)
        )
        for query in (COLUMNS, KEYS, INDEXES, POLICIES, GRANTS, FORCED):
            asked = query.replace(", attstorage", "") if dimension > 1900 else query
            first = list(await connection.execute(text(asked.format(384))))
            assert list(await connection.execute(text(asked.format(dimension)))) == first
            assert first


async def test_a_dimension_that_no_index_takes() -> None:
    for dimension in (0, 4001):
        with pytest.raises(ValueError, match=str(dimension)):
            vector_table(dimension)


async def test_the_widest_vectors_are_kept_and_indexed(database: Database) -> None:
    await ensure_vector_table(database, 4000)
    row = np.full((2, 4000), 4000**-0.5, np.float32)
    await add(database, A, "wide", ["one", "two"], row)
    assert await ensure_vector_index(database, 1, 4000)
    definition = await value(
        database, f"SELECT indexdef FROM pg_indexes WHERE indexname = '{index_name(4000)}'"
    )
    assert "hnsw" in str(definition)
    store = DenseLeg(database, OTHER, 0, 100, 4000)
    assert len((await store.search(A, row[0], Scope(), 5)).scores) == 2


async def test_search_reuse_and_removal_in_the_models_own_table(wide: Database) -> None:
    texts, vectors = ["one", "two", "three"], drawn(3)
    await add(wide, A, "own", texts, vectors)
    await add_document(wide, A, "of minilm", ["four"])
    store = DenseLeg(wide, OTHER, 20_000, 100, N)
    found = await store.search(A, vectors[1], Scope(), 2)
    assert next(iter(found.scores.values())) == pytest.approx(1, abs=1e-3)
    assert found.skipped is None
    document = await value(wide, "SELECT id FROM documents WHERE name = 'own'")
    async with wide.transaction(A) as connection:
        chunks = publication(document, A, texts).chunks
        kept = await find_vectors(connection, A, document, OTHER, chunks, N)
        assert np.allclose(np.stack([kept[n] for n in range(3)]), vectors, atol=1e-3)
        await connection.execute(text("DELETE FROM documents WHERE id = :id"), {"id": document})
        assert await count(connection, "vectors_24") == 0


async def test_each_workspace_sees_its_own_rows_only(wide: Database) -> None:
    other = await add_workspace(wide)
    await add(wide, other, "secret", ["secret"], drawn(1))
    async with wide.transaction(A) as connection:
        assert await count(connection, "vectors_24") == 0
        gone = await connection.execute(text("DELETE FROM vectors_24"))
        assert gone.rowcount == 0
    row = await value(wide, "SELECT to_jsonb(v)::text FROM vectors_24 v")
    with pytest.raises(ProgrammingError, match="row-level security"):
        async with wide.transaction(A) as connection:
            await connection.execute(
                text(
                    "INSERT INTO vectors_24 SELECT (jsonb_populate_record(NULL::vectors_24, "
                    "CAST(:row AS jsonb))).*"
                ),
                {"row": row},
            )
    found = await DenseLeg(wide, OTHER, 20_000, 100, N).search(A, drawn(1)[0], Scope(), 5)
    assert dict(found.scores) == {}
    assert found.skipped is None, "an empty workspace misses nothing"


async def test_another_models_vectors_are_skipped_and_named(wide: Database) -> None:
    await add_document(wide, A, "of minilm", ["one", "two"])
    store = DenseLeg(wide, OTHER, 20_000, 100, N)
    found = await store.search(A, drawn(1)[0], Scope(), 5)
    assert (dict(found.scores), found.skipped) == ({}, "other_model")
    nowhere = await store.search(A, drawn(1)[0], Scope(document_names=("no such",)), 5)
    assert nowhere.skipped is None
    same_size = DenseLeg(wide, "third-model", 20_000, 100)
    assert (await same_size.search(A, random_vectors(1)[0], Scope(), 5)).skipped == "other_model"
    await add(wide, A, "own", ["one"], drawn(1))
    async with wide.system_transaction() as connection:
        assert await list_stored_models(connection) == ["all-MiniLM-L6-v2", OTHER]


async def test_the_checker_and_the_purge_know_the_table(
    wide: Database, blobs: LocalBlobStore
) -> None:
    workspace = await add_workspace(wide, "going")
    await add(wide, workspace, "own", ["one", "two"], drawn(2))

    async def breaches() -> list[str]:
        found = [check.invariant for check in await verify(wide, blobs) if check.breaches]
        return [name for name in found if "vector" in name]

    assert await breaches() == []
    await value(wide, "UPDATE vectors_24 SET document_id = gen_random_uuid() RETURNING 1")
    assert await breaches() == ["every chunk has its vector, and every vector its chunk"]
    async with wide.system_transaction() as connection:
        await archive_workspaces(connection, [workspace], "over")
        await request_purge(connection, workspace, "going", 0)
    assert await purge_due(wide, blobs, 60) == [workspace]
    removed = await value(wide, "SELECT rows_removed ->> 'vectors_24' FROM purges")
    left = await value(wide, "SELECT rows_left ->> 'vectors_24' FROM purges")
    assert (removed, left) == ("2", "0")
