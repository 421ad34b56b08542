"""Filters in SQL keep the same chunks as the same filters written down plainly in Python."""

import random
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any

import pytest
from sqlalchemy import text

from citewell.api.filters import read_filters
from citewell.domain import ChunkId
from citewell.errors import Unprocessable
from citewell.records.lexical import search_lexical
from citewell.records.scope import resolve_scope
from citewell.records.session import Database
from citewell.records.vector_index import ensure_vector_index
from records.databases import open_database
from records.dense_leg import DenseLeg
from records.rows import MODEL, A, add_document, random_vectors

DOCUMENTS, FILTERS = 80, 400
LAYOUTS: list[list[tuple[str | None, str, int | None]]] = [
    [("1", "Introduction", None), ("2", "The Pendulum", None), ("2.1", "Clocks", 1)],
    [("2", "Anchors", None), (None, "Huygens’ clock", 0), ("20", "The Pendulum", None)],
    [("II", "Part", None), ("5", "The Pendulum", 0), (None, "Introduction", 1)],
    [("2", "Clocks", None), ("2.1", "Anchors", None), ("2.10", "100 %_\\", None)],
    [(None, "Straße", None), ("A.2", "Ähren", 0), ("A.2.1", "Clocks", None)],
]
YEARS: list[Any] = [1999, 2020, 2020.5, -3, "2021", " 7 ", "1e3", "n/a", "", None, True,
                    [2019, "x"], [], {"from": 2000}, 10**30, "²"]  # fmt: skip
TEAMS: list[Any] = ["a", "b", ["a", "c"], ["b"], [], None, "A"]
TITLES: list[Any] = [
    "100 % sure",
    "a_b",
    "back\\slash",
    "Große Ähre",
    "x",
    5,
    ["one", "Two x"],
    "x'y",
]
DATES: list[Any] = ["2023-01-31", "2023-02-30", "2023-05-31T10:00:00+02:00", "2023-05-31 08:00Z",
                    "2023-05-31T08:30", "2024-02-29T23:59:59.999999", "31.5.2023", "0000-01-01",
                    "2023", ["2020-01-01", "2025-01-01"], None, "9999-12-31T23:59-14"]  # fmt: skip
PLACES: list[Any] = [{"city": "Paris"}, {"city": "Leiden", "n": 1}, {"city": ["Paris"]}, "Paris"]
FIELDS = {"year": YEARS, "team": TEAMS, "title": TITLES, "when": DATES, "place": PLACES,
          "draft": [True, False, "true"]}  # fmt: skip
FIRST = datetime(2024, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Paper:
    """What is known of a document; one chunk for each of its sections."""

    document_id: str
    name: str
    media_type: str
    metadata: dict[str, Any]
    created: datetime
    updated: datetime
    sections: list[tuple[str | None, str, int | None]]
    chunk_ids: list[ChunkId]


@pytest.fixture(scope="module")
async def shelf(clone: Callable[[], Any]) -> AsyncIterator[tuple[Database, list[Paper]]]:
    with clone() as url:
        async with open_database(url) as database:
            drawn = random.Random(5)
            yield database, [await add_paper(database, drawn, n) for n in range(DOCUMENTS)]


async def add_paper(database: Database, drawn: random.Random, number: int) -> Paper:
    metadata = {key: drawn.choice(values) for key, values in FIELDS.items() if drawn.random() < 0.7}
    layout = drawn.choice(LAYOUTS)
    texts = [f"common {number} {place}" for place in range(len(layout))]
    made = await add_document(
        database, A, f"{number}.txt", texts, metadata=metadata, vectors=random_vectors(3, number)
    )
    created = FIRST + timedelta(days=drawn.randrange(30), hours=drawn.randrange(24))
    paper = Paper(
        str(made.document_id), f"{number}.txt",
        drawn.choice(["text/html", "text/plain", "application/pdf"]), metadata, created,
        created + timedelta(days=drawn.randrange(30)), layout, made.chunk_ids,
    )  # fmt: skip
    async with database.system_transaction() as connection:
        for ordinal, (section, title, parent) in enumerate(layout):
            await connection.execute(
                text(
                    "UPDATE sections SET number = :number, title = :title, parent = :parent "
                    "WHERE version_id = :version AND ordinal = :ordinal"
                ),
                {"number": section, "title": title, "parent": parent, "ordinal": ordinal,
                 "version": made.version_id},
            )  # fmt: skip
        await connection.execute(
            text("UPDATE documents SET created_at = :c, updated_at = :u WHERE id = :id"),
            {"c": paper.created, "u": paper.updated, "id": made.document_id},
        )
        await connection.execute(
            text("UPDATE versions SET media_type = :type WHERE id = :id"),
            {"type": paper.media_type, "id": made.version_id},
        )
    return paper


def same(stored: Any, wanted: Any) -> bool:
    """Say whether PostgreSQL's containment holds for a field's value."""
    if isinstance(wanted, dict):
        return isinstance(stored, dict) and all(
            key in stored and same(stored[key], value) for key, value in wanted.items()
        )
    if isinstance(wanted, list):
        return isinstance(stored, list) and all(any(same(s, w) for s in stored) for w in wanted)
    return isinstance(stored, bool) == isinstance(wanted, bool) and stored == wanted


def equals(metadata: dict[str, Any], key: str, choices: list[Any]) -> bool:
    return key in metadata and any(
        same(metadata[key], choice) or same(metadata[key], [choice]) for choice in choices
    )


def number_of(item: Any) -> Decimal | None:
    if isinstance(item, bool) or not isinstance(item, int | float | str):
        return None
    try:
        return Decimal(str(item).strip()) if str(item).isascii() else None
    except InvalidOperation:
        return None


def moment_of(item: Any) -> datetime | None:
    if not isinstance(item, str) or len(item) < 10:
        return None
    try:
        read = datetime.fromisoformat(item)
    except ValueError:
        return None
    return read if read.tzinfo else read.replace(tzinfo=UTC)


def compare(found: Any, operator: str, wanted: Any) -> bool:
    if found is None:
        return False
    return {"gt": found > wanted, "gte": found >= wanted, "lt": found < wanted,
            "lte": found <= wanted}[operator]  # fmt: skip


def field_holds(metadata: dict[str, Any], key: str, operator: str, wanted: Any) -> bool:
    if operator in {"eq", "in"}:
        return equals(metadata, key, wanted if operator == "in" else [wanted])
    if operator in {"ne", "nin"}:
        return not equals(metadata, key, wanted if operator == "nin" else [wanted])
    if operator == "exists":
        return (key in metadata) is wanted
    stored = metadata.get(key)
    items = stored if isinstance(stored, list) else [stored]
    if operator == "contains":
        return any(isinstance(item, str) and wanted.lower() in item.lower() for item in items)
    if isinstance(wanted, str):
        moment = moment_of(wanted)
        return any(compare(moment_of(item), operator, moment) for item in items)
    return any(compare(number_of(item), operator, number_of(wanted)) for item in items)


def in_section(paper: Paper, place: int, wanted: str) -> bool:
    at: int | None = place
    while at is not None:
        number, title, parent = paper.sections[at]
        if title.lower() == wanted.lower() or (
            number and f"{number.lower()}.".startswith(f"{wanted.lower()}.")
        ):
            return True
        at = parent
    return False


def holds(paper: Paper, place: int, filters: dict[str, Any]) -> bool:  # noqa: C901, PLR0912 - a branch for each kind
    """Say whether a chunk is among what the filters keep."""
    for key, wanted in filters.items():
        choices = wanted if isinstance(wanted, list) else [wanted]
        if key == "any":
            kept = any(holds(paper, place, part) for part in wanted)
        elif key == "all":
            kept = all(holds(paper, place, part) for part in wanted)
        elif key == "not":
            kept = not holds(paper, place, wanted)
        elif key == "document_id":
            kept = paper.document_id in choices
        elif key == "document_name":
            kept = paper.name in choices
        elif key == "media_type":
            family = paper.media_type.split("/", maxsplit=1)[0] + "/*"
            kept = paper.media_type in choices or family in choices
        elif key == "section":
            kept = any(in_section(paper, place, each) for each in choices)
        elif key in {"created", "updated"}:
            date = paper.created if key == "created" else paper.updated
            kept = all(compare(date, name, moment_of(each)) for name, each in wanted.items())
        elif key == "metadata":
            kept = holds(paper, place, wanted)
        elif isinstance(wanted, dict) and set(wanted) & {"eq", "ne", "in", "nin", "gt", "gte", "lt",
                                                         "lte", "exists", "contains"}:  # fmt: skip
            kept = all(field_holds(paper.metadata, key, *each) for each in wanted.items())
        else:
            kept = equals(paper.metadata, key, choices)
        if not kept:
            return False
    return True


def draw_comparison(drawn: random.Random, values: list[Any]) -> dict[str, Any]:
    operator = drawn.choice(["eq", "ne", "in", "nin", "gt", "gte", "lt", "lte", "exists",
                             "contains"])  # fmt: skip
    if operator in {"eq", "ne"}:
        return {operator: drawn.choice(values)}
    if operator in {"in", "nin"}:
        return {operator: drawn.sample(values, drawn.randrange(min(4, len(values) + 1)))}
    if operator == "exists":
        return {operator: drawn.random() < 0.5}
    if operator == "contains":
        return {operator: drawn.choice(["%", "_", "\\", "ä", "X", "a", "o", "'", "paris", "202"])}
    bounds: list[Any] = [0, 1999, 2020.5, 10**30, "2023-01-31", "2023-05-31T08:00Z", "2024-02-29"]
    return {operator: drawn.choice(bounds)}


def draw_filters(drawn: random.Random, papers: list[Paper], depth: int = 0) -> dict[str, Any]:
    """Draw a request's filters, as a client writes them."""
    filters: dict[str, Any] = {}
    for _ in range(drawn.randint(1, 2)):
        key = drawn.choice(["plain", "metadata", "compared", "section", "dates", "media", "name",
                            "any", "all", "not"][: 10 if depth < 3 else 7])  # fmt: skip
        field = drawn.choice([*FIELDS, "missing"])
        values = FIELDS.get(field, [1])
        if key == "plain":
            filters[field] = drawn.choice([v for v in values if not isinstance(v, dict)])
        elif key == "metadata":
            filters["metadata"] = {field: draw_comparison(drawn, values)}
        elif key == "compared":
            filters[field] = draw_comparison(drawn, values)
        elif key == "section":
            named = [
                "2",
                "2.1",
                "5",
                "ii",
                "A.2",
                "the pendulum",
                "Straße",
                "CLOCKS",
                "100 %_\\",
                "%",
            ]
            filters["section"] = drawn.choice([drawn.choice(named), drawn.sample(named, 2)])
        elif key == "dates":
            name = drawn.choice(["created", "updated"])
            day = f"2024-01-{drawn.randint(10, 31)}"
            filters[name] = {drawn.choice(["gt", "gte", "lt", "lte"]): day}
        elif key == "media":
            filters["media_type"] = drawn.choice(["text/html", "text/*", ["application/*", "x"]])
        elif key == "name":
            some = drawn.sample(papers, 5)
            name = drawn.choice(["name", "document_id"])
            filters[name.replace("name", "document_name")] = [getattr(p, name) for p in some]
        elif key == "not":
            filters["not"] = draw_filters(drawn, papers, depth + 1)
        else:
            filters[key] = [
                draw_filters(drawn, papers, depth + 1) for _ in range(drawn.randint(1, 3))
            ]
    return filters


def expected(papers: list[Paper], filters: dict[str, Any]) -> set[ChunkId]:
    return {
        chunk
        for paper in papers
        for place, chunk in enumerate(paper.chunk_ids)
        if holds(paper, place, filters)
    }


async def test_random_filters_keep_what_a_plain_reading_keeps(
    shelf: tuple[Database, list[Paper]],
) -> None:
    database, papers = shelf
    drawn, some, none, every = random.Random(11), 0, 0, DOCUMENTS * 3
    for _ in range(FILTERS):
        filters = draw_filters(drawn, papers)
        kept = expected(papers, filters)
        async with database.transaction(A) as connection:
            space = await resolve_scope(connection, A, read_filters(filters))
            rows = await connection.scalars(
                text(f"SELECT chunk_id FROM chunk_terms WHERE true {space.documents_sql}"),
                {"workspace": A, **space.values},
            )
            assert set(rows) == kept, filters
        assert space.chunk_count == len(kept), filters
        some += 0 < len(kept) < every
        none += not kept
    assert some > FILTERS / 3, "most draws part the chunks"
    assert none > 10, "some keep nothing"


@pytest.mark.parametrize("exact_below", [0, 20_000])
async def test_both_legs_search_among_the_same_chunks(
    shelf: tuple[Database, list[Paper]], exact_below: int
) -> None:
    database, papers = shelf
    if not exact_below:
        assert await ensure_vector_index(database, 100)
    store = DenseLeg(database, MODEL, exact_below, 400)
    drawn = random.Random(3)
    for _ in range(40):
        filters = draw_filters(drawn, papers)
        scope, kept = read_filters(filters), expected(papers, filters)
        dense = await store.search(A, random_vectors(1, 99)[0], scope, 1000)
        assert set(dense.scores) == kept, filters
        async with database.transaction(A) as connection:
            lexical = await search_lexical(connection, A, "common", scope, 1000)
        assert set(lexical.scores) == kept, filters


@pytest.mark.parametrize(
    ("filters", "said"),
    [
        ({"metadata": {"year": {"gte": 1, "lq": 2}}}, "filters.year has no operator 'lq'"),
        ({"year": {"gte": "soon"}}, "filters.year.gte must be a number"),
        ({"year": {"gte": True}}, "filters.year.gte"),
        ({"year": {"gte": "2023-02-30"}}, "filters.year.gte"),
        ({"year": {"gt": None}}, "filters.year.gt"),
        ({"year": {"in": 5}}, "filters.year.in must be a list"),
        ({"year": {"exists": "yes"}}, "filters.year.exists"),
        ({"title": {"contains": ""}}, "filters.title.contains"),
        ({"title": {"contains": "x" * 1001}}, "filters.title.contains"),
        ({"created": "2024-01-01"}, "filters.created"),
        ({"created": {}}, "filters.created"),
        ({"updated": {"eq": "2024-01-01"}}, "filters.updated"),
        ({"updated": {"gte": 5}}, "filters.updated.gte must be a date"),
        ({"section": ""}, "filters.section"),
        ({"section": {"a": 1}}, "filters.section"),
        ({"section": True}, "filters.section"),
        ({"media_type": 5}, "filters.media_type"),
        ({"any": []}, "filters.any"),
        ({"any": {"year": 1}}, "filters.any"),
        ({"all": [5]}, "filters.all[0]"),
        ({"not": [1]}, "filters.not"),
        ({"any": [{"document_id": "x"}]}, "filters.any[0].document_id must hold ids"),
        ({"any": [{"metadata": 5}]}, "filters.any[0].metadata"),
        ({"any": [{"year": 1}, {"created": {"gte": "x"}}]}, "filters.any[1].created.gte"),
        ({"not": {"not": {"not": {"not": {"not": {}}}}}}, "nested too deep"),
        ({"any": [{f"f{n}": 1} for n in range(51)]}, "too many filters"),
        ({"any": [{"x": list(range(600))}, {"y": list(range(600))}]}, "too many filters"),
        ({"x": {"in": list(range(1001))}}, "too many filters"),
        ({"y" * 500: {"gte": []}}, "filters.yyy"),
    ],
)  # fmt: skip
def test_a_wrong_filter_is_named(filters: dict[str, Any], said: str) -> None:
    with pytest.raises(Unprocessable, match=r".") as refused:
        read_filters(filters)
    assert said in refused.value.message
    assert len(refused.value.message) < 300
