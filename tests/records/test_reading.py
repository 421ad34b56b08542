"""Transactions straight over psycopg: what one saw ends with it, and a lost one is replaced."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from citewell.domain import PUBLIC_WORKSPACE
from citewell.errors import NotFound
from citewell.records.session import Database
from citewell.records.statements import text
from records.rows import add_document, add_workspace

DOCUMENTS = text("SELECT name FROM documents ORDER BY name")
ROLE = text("SELECT current_user, current_setting('citewell.workspace_id', true)")


@pytest.fixture
async def single(database_url: str) -> AsyncIterator[Database]:
    """A pool of one connection, which every transaction has in turn."""
    opened = Database(database_url, 1)
    yield opened
    await opened.close()


async def read_names(database: Database, workspace: object = PUBLIC_WORKSPACE) -> list[str]:
    async with database.reading(workspace) as reading:  # pyright: ignore[reportArgumentType]
        return [row.name for row in await reading.execute(DOCUMENTS, {})]


async def require_nothing_left(database: Database) -> None:
    async with database.owner_connection() as connection:
        role, workspace = (await connection.execute(ROLE)).one()
        assert role not in {"citewell_app", "citewell_system"}
        assert not workspace


async def test_each_reading_sees_its_own_workspace(single: Database) -> None:
    other = await add_workspace(single)
    await add_document(single, PUBLIC_WORKSPACE, "ours.txt", ["a"])
    await add_document(single, other, "theirs.txt", ["b"])
    assert await read_names(single) == ["ours.txt"]
    assert await read_names(single, other) == ["theirs.txt"]
    await require_nothing_left(single)


async def test_nothing_is_left_of_a_reading_that_failed_or_was_given_up(single: Database) -> None:
    async def fail() -> None:
        async with single.reading(PUBLIC_WORKSPACE) as reading:
            await reading.execute(DOCUMENTS, {})
            raise NotFound("There is no such thing.")

    with pytest.raises(NotFound):
        await fail()
    await require_nothing_left(single)

    async def wait() -> None:
        async with single.reading(PUBLIC_WORKSPACE) as reading:
            await reading.execute(text("SELECT pg_sleep(30)"), {})

    waiting = asyncio.create_task(wait())
    await asyncio.sleep(0.2)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await require_nothing_left(single)


async def test_a_connection_that_was_lost_is_replaced_unseen(
    single: Database, database: Database
) -> None:
    await add_document(single, PUBLIC_WORKSPACE, "ours.txt", ["a"])
    async with single.reading(PUBLIC_WORKSPACE) as reading:
        lost = await reading.scalar(text("SELECT pg_backend_pid()"), {})
    async with database.owner_connection() as connection:
        assert await connection.scalar(text("SELECT pg_terminate_backend(:pid)"), {"pid": lost})
    assert await read_names(single) == ["ours.txt"]
