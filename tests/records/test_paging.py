"""Pages are stable and complete while rows come and go."""

import base64
from collections.abc import Awaitable, Callable

import pytest

from citewell.domain import DocumentId
from citewell.errors import Unprocessable
from citewell.records.documents import list_documents, remove_document
from citewell.records.jobs import JobFilter, list_jobs
from citewell.records.paging import Page, decode_cursor
from citewell.records.session import Database
from records.rows import A, upload, value


async def _documents(database: Database, limit: int, cursor: str | None) -> Page[DocumentId]:
    async with database.transaction(A) as connection:
        page = await list_documents(connection, A, None, limit, cursor)
    return Page([row.document_id for row in page.items], page.next_cursor)


async def _jobs(database: Database, limit: int, cursor: str | None) -> Page[DocumentId]:
    async with database.transaction(A) as connection:
        page = await list_jobs(connection, A, JobFilter(), limit, cursor)
    return Page([DocumentId(row.document_id) for row in page.items if row.document_id],
                page.next_cursor)  # fmt: skip


@pytest.mark.parametrize("listed", [_documents, _jobs])
async def test_pages_are_complete_while_rows_are_added(
    database: Database, listed: Callable[..., Awaitable[Page[DocumentId]]]
) -> None:
    made = [(await upload(database, A, f"{n}.txt", bytes([n]))).document_id for n in range(17)]
    # Many rows of one instant: the cursor must tell them apart by id.
    for table in ("documents", "jobs"):
        await value(
            database,
            f"UPDATE {table} SET created_at = date_trunc('hour', now()) - interval '1 hour'",
        )
    seen: list[DocumentId] = []
    cursor, pages = None, 0
    while True:
        page = await listed(database, 4, cursor)
        assert len(page.items) <= 4
        seen += page.items
        pages += 1
        await upload(database, A, f"new-{pages}.txt", bytes([200 + pages]))
        cursor = page.next_cursor
        if cursor is None:
            break
    assert pages == 5
    assert len(seen) == len(set(seen))
    assert set(seen) == set(made)


async def test_removing_rows_hides_none_of_the_others(database: Database) -> None:
    made = [(await upload(database, A, f"{n}.txt", bytes([n]))).document_id for n in range(9)]
    first = await _documents(database, 3, None)
    assert first.items == made[:5:-1]
    async with database.transaction(A) as connection:
        await remove_document(connection, A, made[8])
        await remove_document(connection, A, made[6])  # the row that the cursor names
    second = await _documents(database, 3, first.next_cursor)
    assert second.items == [made[5], made[4], made[3]]


async def test_a_full_last_page_has_no_next_one(database: Database) -> None:
    for n in range(4):
        await upload(database, A, f"{n}.txt", bytes([n]))
    assert (await _documents(database, 4, None)).next_cursor is None
    page = await _documents(database, 2, None)
    assert page.next_cursor is not None
    assert (await _documents(database, 2, page.next_cursor)).next_cursor is None
    assert (await _documents(database, 5, None)).next_cursor is None


def _cursor(content: str) -> str:
    return base64.urlsafe_b64encode(content.encode()).decode()


@pytest.mark.parametrize(
    "cursor",
    ["", "x", "é", "AAAA", "=", "////", _cursor("|"), _cursor("today|x"), _cursor(f"x|{A}"),
     _cursor("2026-01-01T00:00:00+00:00|x"), _cursor(f"2026-01-01T00:00:00+00:00{A}"),
     "a" * 200],
)  # fmt: skip
async def test_a_bad_cursor_is_the_callers_mistake(cursor: str) -> None:
    with pytest.raises(Unprocessable):
        decode_cursor(cursor)


@pytest.mark.parametrize("moment", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00",
                                    "2026-01-01"])  # fmt: skip
async def test_a_strange_but_valid_cursor_is_answered(database: Database, moment: str) -> None:
    await upload(database, A, "a.txt")
    try:
        page = await _documents(database, 5, _cursor(f"{moment}|{A}"))
    except Unprocessable:
        return
    assert len(page.items) <= 1
