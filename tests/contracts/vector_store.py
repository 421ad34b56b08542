"""What every vector store must do; an adapter's tests subclass this."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pytest

from citewell.domain import (
    PUBLIC_WORKSPACE,
    ChunkId,
    CollectionId,
    DocumentId,
    Json,
    Scope,
    WorkspaceId,
)
from citewell.ports import Vectors, VectorStore
from records.rows import random_vectors

A = PUBLIC_WORKSPACE


@dataclass(frozen=True, slots=True)
class Stored:
    """One document's chunks and their vectors."""

    document_id: DocumentId
    collection_id: CollectionId
    vectors: Mapping[ChunkId, Vectors] = field(repr=False)


class World(ABC):
    """What an adapter's tests provide: a store, and a way to fill it."""

    other: WorkspaceId

    @abstractmethod
    def store(self, exact_below_chunks: int = 20_000) -> VectorStore: ...

    @abstractmethod
    async def add(
        self,
        name: str,
        vectors: Vectors,
        *,
        workspace_id: WorkspaceId = A,
        collection: str = "default",
        metadata: Json | None = None,
    ) -> Stored: ...


def nearest(query: Vectors, stored: Sequence[Stored], limit: int) -> dict[ChunkId, float]:
    """The plain truth: every cosine, sorted; ties by chunk id."""
    scores = {
        chunk_id: float(
            np.dot(vector.astype(float), query.astype(float))
            / (np.linalg.norm(vector.astype(float)) * np.linalg.norm(query.astype(float)))
        )
        for item in stored
        for chunk_id, vector in item.vectors.items()
    }
    return dict(sorted(scores.items(), key=lambda item: (-item[1], item[0]))[:limit])


class VectorStoreContract:
    """Subclass it with a fixture ``world`` that gives a fresh World."""

    async def test_the_order_is_by_cosine(self, world: World) -> None:
        stored = [
            await world.add("a", random_vectors(60, 1)),
            await world.add("b", random_vectors(40, 2) * 3.0),
        ]
        for query in random_vectors(5, 9):
            found = await world.store().search(A, query, Scope(), 20)
            expected = nearest(query, stored, 20)
            assert list(found.scores) == list(expected)
            assert found.scores == pytest.approx(expected, abs=2e-3)
            assert dict(found.term_idf) == {}

    async def test_a_vector_finds_itself_first(self, world: World) -> None:
        stored = await world.add("a", random_vectors(30, 3))
        for chunk_id, vector in stored.vectors.items():
            (best, score), *_ = (await world.store().search(A, vector, Scope(), 3)).scores.items()
            assert best == chunk_id
            assert score == pytest.approx(1, abs=1e-3)

    async def test_ties_are_broken_by_chunk_id(self, world: World) -> None:
        same = np.repeat(random_vectors(1, 4), 12, axis=0)
        stored = [await world.add("a", same), await world.add("b", same)]
        ids = sorted(chunk_id for item in stored for chunk_id in item.vectors)
        for limit in (5, 24):
            found = await world.store().search(A, same[0], Scope(), limit)
            assert list(found.scores) == ids[:limit]

    async def test_an_empty_store_finds_nothing(self, world: World) -> None:
        for exact_below in (0, 20_000):
            found = await world.store(exact_below).search(A, random_vectors(1)[0], Scope(), 5)
            assert dict(found.scores) == {}

    @pytest.mark.parametrize(
        ("limit", "expected"), [(1, 1), (7, 7), (10, 10), (11, 10), (1000, 10)]
    )
    async def test_the_limit_is_kept(self, world: World, limit: int, expected: int) -> None:
        await world.add("a", random_vectors(10))
        found = await world.store().search(A, random_vectors(1, 8)[0], Scope(), limit)
        assert len(found.scores) == expected

    @pytest.mark.parametrize("exact_below", [0, 20_000])
    async def test_filters_by_document(self, world: World, exact_below: int) -> None:
        stored = [await world.add(f"{n}.txt", random_vectors(8, n)) for n in range(4)]
        query = random_vectors(1, 8)[0]
        ids = tuple(item.document_id for item in stored)
        for scope, kept in (
            (Scope(document_ids=ids[1:2]), stored[1:2]),
            (Scope(document_ids=(ids[3], ids[0])), [stored[0], stored[3]]),
            (Scope(document_names=("2.txt", "unknown")), stored[2:3]),
            (Scope(document_ids=ids[:2], document_names=("1.txt",)), stored[1:2]),
            (Scope(document_ids=()), []),
            (Scope(document_names=("unknown",)), []),
        ):
            found = await world.store(exact_below).search(A, query, scope, 100)
            assert set(found.scores) == set(nearest(query, kept, 100))

    @pytest.mark.parametrize("exact_below", [0, 20_000])
    async def test_filters_by_metadata(self, world: World, exact_below: int) -> None:
        metadata: list[Json] = [
            {"author": "Huygens", "year": 1656, "tags": ["clock"], "place": {"city": "The Hague"}},
            {"author": "Harrison", "year": 1761, "tags": ["clock", "sea"], "draft": True},
            {"author": "Huygens", "year": "1656", "none": None, "place": {"city": "Paris", "n": 1}},
            {},
        ]
        stored = [
            await world.add(f"{n}", random_vectors(3, n), metadata=given)
            for n, given in enumerate(metadata)
        ]
        query = random_vectors(1, 8)[0]
        for wanted, expected in (
            ({"author": "Huygens"}, {0, 2}),
            ({"author": "huygens"}, set[int]()),
            ({"author": ["Huygens", "Harrison"]}, {0, 1, 2}),
            ({"author": []}, set[int]()),
            ({"author": "Huygens", "year": 1656}, {0}),
            ({"year": [1656, 1761]}, {0, 1}),
            ({"year": "1656"}, {2}),
            ({"draft": True}, {1}),
            ({"draft": 1}, set[int]()),
            ({"none": None}, {2}),
            ({"place": {"city": "Paris"}}, {2}),
            ({"place": [{"city": "Paris"}, {"city": "The Hague"}]}, {0, 2}),
            ({"tags": [["clock"]]}, {0, 1}),
            ({"tags": [["sea", "clock"]]}, {1}),
            ({"unknown": "x"}, set[int]()),
            ({"a'b\"c": "x'; DROP TABLE chunks; --"}, set[int]()),
            ({"%(x)s :y": ":z"}, set[int]()),
        ):
            found = await world.store(exact_below).search(A, query, Scope(metadata=wanted), 100)
            kept = [stored[n] for n in expected]
            assert set(found.scores) == set(nearest(query, kept, 100)), wanted

    async def test_filters_by_collection(self, world: World) -> None:
        first = await world.add("a", random_vectors(5, 1))
        second = await world.add("a", random_vectors(5, 2), collection="second")
        query = random_vectors(1, 8)[0]
        for scope, kept in (
            (Scope(), [first, second]),
            (Scope(collection_id=second.collection_id), [second]),
            (Scope(collection_id=first.collection_id), [first]),
            (Scope(first.collection_id, document_ids=(second.document_id,)), []),
            (Scope(second.collection_id, document_names=("a",)), [second]),
            (Scope(collection_id=CollectionId(A)), []),
        ):
            found = await world.store().search(A, query, scope, 100)
            assert set(found.scores) == set(nearest(query, kept, 100))

    @pytest.mark.parametrize("exact_below", [0, 20_000])
    async def test_another_workspace_is_invisible(self, world: World, exact_below: int) -> None:
        query = random_vectors(1, 8)[0]
        theirs = await world.add("a", np.repeat(query[None], 30, axis=0), workspace_id=world.other)
        store = world.store(exact_below)
        for scope in (
            Scope(),
            Scope(document_ids=(theirs.document_id,)),
            Scope(collection_id=theirs.collection_id),
        ):
            assert dict((await store.search(A, query, scope, 10)).scores) == {}
        own = await world.add("a", -random_vectors(3, 7))
        found = await store.search(A, query, Scope(), 10)
        assert set(found.scores) == set(own.vectors)
        found = await store.search(world.other, query, Scope(), 10)
        assert set(found.scores) <= set(theirs.vectors)
        assert len(found.scores) == 10

    async def test_a_large_index_loses_little(self, world: World) -> None:
        stored = [
            await world.add("large", random_vectors(1_900, 1)),
            await world.add("small", random_vectors(60, 2), metadata={"kind": "small"}),
            await world.add("tiny", random_vectors(40, 3)),
        ]
        store = world.store(exact_below_chunks=0)
        for scope, kept, limit in (
            (Scope(), stored, 10),
            (Scope(), stored, 100),
            (Scope(document_ids=(stored[2].document_id,)), stored[2:], 10),
            (Scope(document_ids=(stored[2].document_id,)), stored[2:], 100),
            (Scope(metadata={"kind": "small"}), stored[1:2], 10),
        ):
            hits = wanted = 0
            for query in random_vectors(20, 11):
                expected = nearest(query, kept, limit)
                found = await store.search(A, query, scope, limit)
                assert list(found.scores.values()) == sorted(found.scores.values(), reverse=True)
                hits += len(found.scores.keys() & expected.keys())
                wanted += len(expected)
            assert hits / wanted >= 0.95, (scope, limit, hits / wanted)
