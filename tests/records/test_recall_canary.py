"""The canary tells how much the vector index finds; a scope that the index would serve badly."""

from typing import Any

import pytest
from prometheus_client import REGISTRY

from citewell.adapters.celery_queue import CeleryQueue
from citewell.adapters.local_blobs import LocalBlobStore
from citewell.domain import PUBLIC_WORKSPACE, LegResult, Scope
from citewell.records.dense import DenseSearch
from citewell.records.recall_canary import LEAST_RECALL, measure_recall
from citewell.records.reconcile import Reconciler
from citewell.records.scope import resolve_scope
from citewell.records.session import Database
from citewell.records.statements import text
from citewell.records.vector_index import ensure_vector_index
from records.databases import Servers
from records.rows import add_document, add_workspace, random_vectors

MODEL = "all-MiniLM-L6-v2"
CHUNKS = 200
DENSE = DenseSearch(MODEL, 100, 200, exact_per_walked=0)


async def fill(database: Database) -> None:
    """Have an index over one workspace's chunks."""
    texts = [f"text {n}" for n in range(CHUNKS)]
    await add_document(database, PUBLIC_WORKSPACE, "many", texts, vectors=random_vectors(CHUNKS))
    assert await ensure_vector_index(database, 100)


class Missing(DenseSearch):
    """Misses every second of the nearest where it walks through the index."""

    async def search(self, *given: Any) -> LegResult:
        found = await super().search(*given)
        if self.exact_below_chunks > CHUNKS:
            return found
        return LegResult(dict(list(found.scores.items())[::2]))


async def test_an_index_that_finds_all_has_a_recall_of_one(database: Database) -> None:
    assert await measure_recall(database, DENSE) is None, "nothing is large enough"
    await fill(database)
    recall = await measure_recall(database, DENSE)
    assert recall is not None
    assert recall > 0.99


async def test_an_index_that_misses_is_told_of(
    database: Database, servers: Servers, blobs: LocalBlobStore
) -> None:
    await fill(database)
    missing = Missing(MODEL, 100, 200, exact_per_walked=0)
    assert await measure_recall(database, missing) == pytest.approx(0.5)
    queue = CeleryQueue(servers.redis_url())
    await Reconciler(database, queue, blobs, 5, 30, 30, 10**6, 384, missing).run()
    await queue.close()
    assert (REGISTRY.get_sample_value("citewell_dense_recall") or 1) < LEAST_RECALL


async def test_a_small_part_of_a_large_index_is_searched_exactly(database: Database) -> None:
    await fill(database)
    other = await add_workspace(database)
    await add_document(database, other, "few", ["a", "b"] * 60, vectors=random_vectors(120, 2))
    dense = DenseSearch(MODEL, 100, 200, exact_per_walked=100)
    for workspace, walks in ((PUBLIC_WORKSPACE, True), (other, False)):
        async with database.transaction(workspace) as connection:
            space = await resolve_scope(connection, workspace, Scope())
            assert await dense.walks(connection, space) is walks


async def test_a_walk_is_broader_in_a_larger_index(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    await fill(database)
    monkeypatch.setattr("citewell.records.dense.WIDENED_FROM", CHUNKS / 16)
    dense = DenseSearch(MODEL, 100, 50, exact_per_walked=0)
    assert dense.parameters["hnsw.ef_search"] == "50", "nothing is known of the index yet"
    async with database.owner_connection() as connection:
        await connection.execute(text("ANALYZE vectors_384"))
    asked = text("SELECT current_setting('hnsw.ef_search')")
    async with database.reading(PUBLIC_WORKSPACE, dense.parameters) as reading:
        space = await resolve_scope(reading, PUBLIC_WORKSPACE, Scope())
        await dense.search(reading, PUBLIC_WORKSPACE, random_vectors(1)[0], space, 10)
        assert await reading.scalar(asked, {}) == "528", "in the first search already"
    assert dense.parameters["hnsw.ef_search"] == "528", "16 times the vectors, to the power of .85"
    async with database.reading(PUBLIC_WORKSPACE, dense.parameters) as reading:
        assert await reading.scalar(asked, {}) == "528"
