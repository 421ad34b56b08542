"""The lexical leg inside PostgreSQL gives the same scores as BM25 written down plainly."""

import math
import random
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import text

from citewell.domain import ChunkId, Scope, Visitor, WorkspaceId
from citewell.records.collections import add_collection
from citewell.records.lexical import search_lexical
from citewell.records.readers import set_readers
from citewell.records.session import Database, acting_as
from citewell.records.version_rows import terms_of
from records.databases import open_database
from records.rows import A, Published, add_document, add_workspace

K1, B, AVERAGE = 1.2, 0.75, 100
WORDS = [
    "pendulum", "clock", "clocks", "escapement", "anchor", "Huygens", "Harrison", "longitude",
    "sea", "watch", "watches", "spring", "balance", "the", "of", "and", "a", "is", "not", "water",
    "vessel", "sundial", "shadow", "noon", "star", "stars", "navigators", "navigating", "accurate",
    "accuracy", "seconds", "1656", "1761", "GMT", "isn't", "ship's", "long-case", "naïve", "e-mail",
    "x_y",
]  # fmt: skip
QUESTIONS = [
    "pendulum clock",
    "Who built the first pendulum clock?",
    "navigation of ships at sea",
    "GMT 1656",
    "stars stars stars",
    "escapement unknownword",
    "long-case clocks isn't naïve",
]
Chunks = dict[ChunkId, tuple[str, str]]


def fold(stem: str) -> str:
    return stem.replace("ï", "i")


def _texts(seed: int, count: int) -> list[str]:
    draw = random.Random(seed)
    return [" ".join(draw.choices(WORDS, k=draw.randint(1, 160))) for _ in range(count)]


class World:
    """Fifty chunks in two collections, and the same texts again in another workspace."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.documents: list[Published] = []
        self.chunks: dict[ChunkId, dict[str, Any]] = {}

    async def fill(self) -> None:
        async with self.database.transaction(A) as connection:
            await add_collection(connection, A, "second")
        self.other: WorkspaceId = await add_workspace(self.database)
        for number in range(10):
            collection = "second" if number % 3 == 2 else "default"
            texts = _texts(number, 5)
            metadata = {"parity": number % 2, "tags": ["even" if number % 2 == 0 else "odd"]}
            made = await add_document(
                self.database, A, f"{number}.txt", texts, collection=collection, metadata=metadata
            )
            await add_document(self.database, self.other, f"{number}.txt", texts)
            self.documents.append(made)
            for chunk_id, body in zip(made.chunk_ids, texts, strict=True):
                self.chunks[chunk_id] = {
                    "collection": made.collection_id,
                    "document": number,
                    "terms": await self.terms(body),
                }

    async def terms(self, body: str) -> Counter[str]:
        async with self.database.transaction(A) as connection:
            rows = await connection.execute(
                text(
                    "SELECT lexeme, cardinality(positions) "
                    "FROM unnest(citewell_terms('english', :words, :identifiers))"
                ),
                terms_of("", body),
            )
            return Counter({row[0]: row[1] for row in rows})

    async def plain_bm25(
        self, question: str, collections: set[Any], documents: set[int] | None = None
    ) -> tuple[dict[ChunkId, float], dict[str, float]]:
        base = {k: c for k, c in self.chunks.items() if c["collection"] in collections}
        idf = {}
        for lexeme in await self.terms(question):
            frequency = sum(lexeme in chunk["terms"] for chunk in base.values())
            idf[lexeme] = math.log(1 + (len(base) - frequency + 0.5) / (frequency + 0.5))
        scores = {}
        for chunk_id, chunk in base.items():
            if documents is not None and chunk["document"] not in documents:
                continue
            length = sum(chunk["terms"].values())
            norm = K1 * (1 - B + B * length / AVERAGE)
            score = sum(
                weight * tf * (K1 + 1) / (tf + norm)
                for lexeme, weight in idf.items()
                if (tf := chunk["terms"][lexeme])
            )
            if score:
                scores[chunk_id] = score
        return scores, idf


@pytest.fixture(scope="module")
async def world(clone: Callable[[], Any]) -> Any:
    with clone() as url:
        async with open_database(url) as database:
            made = World(database)
            await made.fill()
            yield made


async def _search(world: World, question: str, scope: Scope, limit: int = 100) -> Any:
    async with world.database.transaction(A) as connection:
        return await search_lexical(connection, A, question, scope, limit)


def _scopes(world: World) -> list[tuple[Scope, set[Any], set[int] | None]]:
    first, second = world.documents[0].collection_id, world.documents[2].collection_id
    ids = tuple(world.documents[n].document_id for n in (0, 2, 5))
    return [
        (Scope(), {first, second}, None),
        (Scope(collection_id=first), {first}, None),
        (Scope(collection_id=second), {second}, None),
        (Scope(document_ids=ids), {first, second}, {0, 2, 5}),
        (Scope(document_names=("3.txt",)), {first, second}, {3}),
        (Scope(metadata={"parity": 1}), {first, second}, {1, 3, 5, 7, 9}),
        (Scope(metadata={"parity": [0, 7]}), {first, second}, {0, 2, 4, 6, 8}),
        (Scope(collection_id=second, metadata={"tags": [["even"]]}), {second}, {2, 8}),
        (Scope(document_ids=()), {first, second}, set()),
    ]


@pytest.mark.parametrize("question", QUESTIONS)
@pytest.mark.parametrize("scope_number", range(9))
async def test_scores_equal_bm25(world: World, question: str, scope_number: int) -> None:
    scope, collections, documents = _scopes(world)[scope_number]
    expected, idf = await world.plain_bm25(question, collections, documents)
    found = await _search(world, question, scope)
    assert found.scores == pytest.approx(expected, abs=1e-3)
    assert {fold(k): v for k, v in found.term_idf.items()} == pytest.approx(idf, abs=1e-9)
    ranked = list(found.scores.items())
    assert ranked == sorted(ranked, key=lambda item: (-item[1], item[0]))


async def test_the_limit_keeps_the_best(world: World) -> None:
    everything = list((await _search(world, "pendulum clock", Scope())).scores)
    assert len(everything) > 10
    for scope in (Scope(), Scope(document_names=tuple(f"{n}.txt" for n in range(10)))):
        found = await _search(world, "pendulum clock", scope, 5)
        assert list(found.scores) == everything[:5]


@pytest.mark.parametrize("question", ["", "the of and a", "?!…", "   "])
async def test_a_question_without_words_finds_nothing(world: World, question: str) -> None:
    for scope in (Scope(), Scope(document_names=("1.txt",))):
        found = await _search(world, question, scope)
        assert (dict(found.scores), dict(found.term_idf)) == ({}, {})


async def test_words_that_no_chunk_holds_find_nothing(world: World) -> None:
    found = await _search(world, "zymurgy", Scope())
    assert dict(found.scores) == {}
    assert found.term_idf["zymurgi"] == pytest.approx(math.log(1 + 50.5 / 0.5))


async def test_an_empty_workspace_finds_nothing(database: Database) -> None:
    async with database.transaction(A) as connection:
        found = await search_lexical(connection, A, "pendulum clock", Scope(), 10)
    assert dict(found.scores) == {}


@pytest.mark.parametrize(
    "written",
    ["the “clock”", "(clock)", "time—clock—sea", "clock…", "«clock»", "clock’s hands", "‘clock’",
     "clock\u00a0and sea", "clock。"],
)  # fmt: skip
async def test_punctuation_of_any_script_parts_words(database: Database, written: str) -> None:
    made = await add_document(database, A, "a.txt", [written])
    async with database.transaction(A) as connection:
        for question in ("clock", f"What is {written}?"):
            found = await search_lexical(connection, A, question, Scope(), 10)
            assert list(found.scores) == made.chunk_ids


@pytest.mark.parametrize("question", ["'", "a & b | !c", "\\", "%", "x:* <-> y", "日本語の質問 😀",
                                      "word " * 2000])  # fmt: skip
async def test_any_text_is_a_question(world: World, question: str) -> None:
    await _search(world, question, Scope())


@pytest.fixture
def no_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave no room for single words."""
    for name in ("ALL_POSTINGS", "SHARE", "LEAST", "MOST"):
        monkeypatch.setattr(f"citewell.records.lexical_lookup.{name}", 0)


@pytest.mark.parametrize("question", ["clock watch stars noon", "sea navigation water"])
@pytest.mark.usefixtures("no_room")
async def test_pairs_find_chunks_that_have_two_words(world: World, question: str) -> None:
    collections = {each.collection_id for each in world.documents}
    expected, idf = await world.plain_bm25(question, collections)
    several = {
        chunk_id: score
        for chunk_id, score in expected.items()
        if sum(bool(world.chunks[chunk_id]["terms"][lexeme]) for lexeme in idf) > 1
    }
    found = await _search(world, question, Scope(), 20)
    assert len(found.scores) == 20
    assert found.scores == pytest.approx({each: several[each] for each in found.scores}, abs=1e-3)


@pytest.mark.usefixtures("no_room")
async def test_words_that_are_never_together_are_found_alone(database: Database) -> None:
    made = await add_document(database, A, "a.txt", ["a clock"] * 3 + ["the sea"] * 4 + ["noon"])
    async with database.transaction(A) as connection:
        found = await search_lexical(connection, A, "clock or sea or noon", Scope(), 5)
    assert set(found.scores) < set(made.chunk_ids)
    assert len(found.scores) == 5


SEARCH_BY_KEYS = text(
    "SELECT count(*) FROM citewell_search_lexical(CAST(:keys AS bigint[]), ARRAY[:one], "
    "ARRAY[:one], CAST('{1:1}/536870912' AS sparsevec), 100)"
)


@pytest.mark.parametrize("alone", [True, False])
async def test_keys_open_no_other_workspace_and_nothing_hidden(
    database: Database, alone: bool
) -> None:
    other = await add_workspace(database)
    await add_document(database, A, "open.txt", ["the clock"])
    limited = await add_document(database, A, "limited.txt", ["a clock"])
    async with database.transaction(A) as connection:
        await set_readers(connection, A, {limited.document_id: ["group:red"]}, None)
        key = await connection.scalar(
            text("SELECT citewell_term_key(id, 'clock') FROM collections")
        )
    given = {"keys": [key] if alone else [], "one": f"{{{key}}}"}
    stranger = Visitor("key:stranger", tags=("role:viewer",))
    for workspace, visitor, found in ((A, Visitor(), 2), (A, stranger, 1), (other, Visitor(), 0)):
        with acting_as(visitor):
            async with database.transaction(workspace) as connection:
                assert await connection.scalar(SEARCH_BY_KEYS, given) == found
