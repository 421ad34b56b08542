"""The index's own dense leg keeps the vector store's contract on real PostgreSQL."""

from contextlib import suppress

import pytest
from sqlalchemy import text

from citewell.domain import Json, Scope, WorkspaceId
from citewell.errors import Conflict
from citewell.ports import Vectors
from citewell.records.collections import add_collection
from citewell.records.session import Database
from citewell.records.vector_index import ensure_vector_index, index_name
from contracts.vector_store import A, Stored, VectorStoreContract, World
from records.dense_leg import DenseLeg
from records.rows import add_document, add_workspace, random_vectors

MODEL = "all-MiniLM-L6-v2"


class PgWorld(World):
    def __init__(self, database: Database, other: WorkspaceId) -> None:
        self.database = database
        self.other = other

    def store(self, exact_below_chunks: int = 20_000) -> DenseLeg:
        return DenseLeg(self.database, MODEL, exact_below_chunks, 400)

    async def add(
        self,
        name: str,
        vectors: Vectors,
        *,
        workspace_id: WorkspaceId = A,
        collection: str = "default",
        metadata: Json | None = None,
    ) -> Stored:
        if collection != "default":
            async with self.database.transaction(workspace_id) as connection:
                with suppress(Conflict):
                    await add_collection(connection, workspace_id, collection)
        made = await add_document(
            self.database,
            workspace_id,
            name,
            [f"{name} {n}" for n in range(len(vectors))],
            collection=collection,
            metadata=metadata,
            vectors=vectors,
        )
        by_id = dict(zip(made.chunk_ids, vectors, strict=True))
        return Stored(made.document_id, made.collection_id, by_id)


@pytest.fixture
async def world(database: Database) -> PgWorld:
    return PgWorld(database, await add_workspace(database))


class TestDenseLeg(VectorStoreContract):
    async def test_vectors_of_another_model_are_not_compared(self, world: PgWorld) -> None:
        await world.add("a", random_vectors(3))
        store = DenseLeg(world.database, "another-model", 20_000, 400)
        assert dict((await store.search(A, random_vectors(1)[0], Scope(), 5)).scores) == {}


async def test_the_index_is_built_once_a_workspace_outgrows_exact_search(
    database: Database, world: PgWorld
) -> None:
    stored = await world.add("many", random_vectors(600))
    assert not await ensure_vector_index(database, 600)
    assert await index_definition(database) is None
    assert await ensure_vector_index(database, 599)
    assert "hnsw" in str(await index_definition(database))
    assert not await ensure_vector_index(database, 599)
    (query,) = random_vectors(1)
    found = await world.store(exact_below_chunks=0).search(A, query, Scope(), 20)
    exact = await world.store().search(A, query, Scope(), 20)
    assert len(found.scores.keys() & exact.scores.keys()) >= 19
    assert set(found.scores) <= set(stored.vectors)


async def index_definition(database: Database) -> str | None:
    async with database.system_transaction() as connection:
        return await connection.scalar(
            text("SELECT indexdef FROM pg_indexes WHERE indexname = :name"),
            {"name": index_name(384)},
        )
