"""What stands beside a chunk: of its own version and section only."""

from uuid import uuid4

from citewell.adapters.postgres import PostgresChunkIndex
from citewell.domain import PUBLIC_WORKSPACE, ChunkId
from citewell.records.dense import DenseSearch
from citewell.records.session import Database
from records.rows import Published, add_document, add_workspace, value

A = PUBLIC_WORKSPACE
TEXTS = [f"Sentence number {n}." for n in range(8)]


async def _in_sections(database: Database, made: Published, *sections: int | None) -> None:
    """Say which section each of the document's chunks is of."""
    for ordinal, section in enumerate(sections):
        await value(
            database,
            "UPDATE chunks SET section = :section WHERE version_id = :version AND ordinal = :n",
            section=section, version=made.version_id, n=ordinal,
        )  # fmt: skip


async def _ordinals(database: Database, made: Published, reach: int, *of: int) -> list[list[int]]:
    index = PostgresChunkIndex(database, DenseSearch("none", 0, 10))
    ids = [made.chunk_ids[n] for n in of]
    found = await index.neighbours(A, ids, reach)
    return [[each.ordinal for each in found.get(each_id, ())] for each_id in ids]


async def test_neighbours_are_of_the_same_section_and_in_order(database: Database) -> None:
    made = await add_document(database, A, "a.txt", TEXTS)
    await add_document(database, A, "b.txt", TEXTS)
    await _in_sections(database, made, 0, 1, 1, 1, 1, 2, 2, 3)
    assert await _ordinals(database, made, 1, 2, 5) == [[1, 3], [6]]
    assert await _ordinals(database, made, 2, 2, 1, 7) == [[1, 3, 4], [2, 3], []]
    assert await _ordinals(database, made, 5, 4) == [[1, 2, 3]]
    found = await PostgresChunkIndex(database, DenseSearch("none", 0, 10)).neighbours(
        A, [made.chunk_ids[2]], 1
    )
    before = found[made.chunk_ids[2]][0]
    assert before.chunk_id == made.chunk_ids[1]
    assert before.text == made.text[before.start : before.end] == TEXTS[1]
    assert (before.document_name, before.version_id) == ("a.txt", made.version_id)
    assert before.section_title == "S1"
    assert dict(before.scores) == {}


async def test_a_text_without_sections_is_one(database: Database) -> None:
    made = await add_document(database, A, "a.txt", TEXTS)
    await _in_sections(database, made, *[None] * 4, *[0] * 4)
    assert await _ordinals(database, made, 2, 3, 4) == [[1, 2], [5, 6]]


async def test_unknown_ids_and_none_are_left_out(database: Database) -> None:
    made = await add_document(database, A, "a.txt", TEXTS)
    index = PostgresChunkIndex(database, DenseSearch("none", 0, 10))
    assert await index.neighbours(A, [], 1) == {}
    assert await index.neighbours(A, [ChunkId(uuid4()), made.chunk_ids[0]], 1) == {}


async def test_another_workspace_is_invisible(database: Database) -> None:
    other = await add_workspace(database)
    made = await add_document(database, other, "a.txt", TEXTS)
    await _in_sections(database, made, *[0] * 8)
    index = PostgresChunkIndex(database, DenseSearch("none", 0, 10))
    assert await index.neighbours(A, made.chunk_ids, 2) == {}
    assert len(await index.neighbours(other, made.chunk_ids, 2)) == 8
