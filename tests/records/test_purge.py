"""A purge goes in batches, goes on after a crash, waits for who holds a row, and leaves nothing."""

import asyncio
import hashlib
from typing import Any

import pytest
from sqlalchemy import text

from citewell.adapters.local_blobs import LocalBlobStore
from citewell.domain import AnswerId, WorkspaceId
from citewell.errors import LeaseLost, NotFound, Unavailable
from citewell.records import purge
from citewell.records.answers import add_answer
from citewell.records.archiving import archive_workspaces, request_purge, restore_workspaces
from citewell.records.purge import purge_due
from citewell.records.purge_tables import EMPTIED, KEPT
from citewell.records.session import Database
from citewell.records.tables import metadata
from citewell.records.verify import verify
from records.rows import (
    A,
    add_document,
    add_workspace,
    claim,
    count,
    publish_claim,
    snapshot,
    upload,
    value,
)
from records.test_workspace_isolation import OWNED, fill_rest


@pytest.fixture(autouse=True)
def _small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(purge, "BATCH_ROWS", 2)


async def fill(database: Database, blobs: LocalBlobStore) -> WorkspaceId:
    """Make a workspace with rows in every table and files, some of them also another's."""
    workspace = await add_workspace(database, "going")
    for number in range(5):
        await add_document(
            database, workspace, f"{number}.txt", [f"text {number}", "more"], blobs=blobs
        )
    await add_document(database, A, "0.txt", ["text 0", "more"], blobs=blobs)
    async with database.transaction(workspace) as connection:
        await add_answer(connection, workspace, AnswerId(workspace), "Q?", False, [], {"a": 1})
        await fill_rest(connection, workspace)
    return workspace


async def doom(database: Database, workspace: WorkspaceId, days: int = 0) -> None:
    async with database.system_transaction() as connection:
        await archive_workspaces(connection, [workspace], "over")
        await request_purge(connection, workspace, "going", days)


async def left_of(database: Database, workspace: WorkspaceId) -> dict[str, int]:
    async with database.system_transaction() as connection:
        return {
            name: await count(connection, name, f"workspace_id = '{workspace}'")
            for name in [*OWNED, "memberships"]
        }


def test_every_table_that_names_a_workspace_is_emptied_children_first() -> None:
    names = [each.name for each in EMPTIED]
    named = {name for name, table in metadata.tables.items() if "workspace_id" in table.columns}
    assert set(names) == named - KEPT
    assert names[:2] == ["exports", "jobs"]
    for name in names:
        for constraint in metadata.tables[name].foreign_key_constraints:
            parent = constraint.referred_table.name
            if parent in names[1:] and parent != name:
                assert names.index(name) < names.index(parent)


async def test_all_rows_go_and_are_counted_and_those_of_others_stay(
    database: Database, blobs: LocalBlobStore
) -> None:
    workspace = await fill(database, blobs)
    before = await left_of(database, workspace)
    assert min(count for name, count in before.items() if name != "memberships") > 0
    others = {
        name: [row for row in rows if str(workspace) not in row]
        for name, rows in (await snapshot(database, *OWNED)).items()
    }
    await doom(database, workspace)
    assert await purge_due(database, blobs, 60) == [workspace]
    after = await left_of(database, workspace)
    assert after["audit_log"] > before["audit_log"]
    assert {rows for name, rows in after.items() if name not in KEPT} == {0}
    removed: Any = await value(database, "SELECT rows_removed FROM purges")
    assert removed == {
        **{name: n for name, n in before.items() if n and name not in KEPT}, "workspaces": 1
    }  # fmt: skip
    now = await snapshot(database, *[name for name in OWNED if name not in KEPT])
    assert now == {name: rows for name, rows in others.items() if name not in KEPT}
    names = {hashlib.sha256(f"text {n}\n\nmore".encode()).hexdigest() for n in range(5)}
    assert len(names & set(await blobs.list_hashes(-1))) == 1
    assert await value(database, "SELECT blobs_removed FROM purges") == 4
    assert await value(database, "SELECT blobs_left FROM purges") == 0
    assert [c.invariant for c in await verify(database, blobs) if c.breaches] == []
    assert await purge_due(database, blobs, 60) == []


async def test_a_worker_whose_workspace_is_purged_publishes_nothing(
    database: Database, blobs: LocalBlobStore
) -> None:
    workspace = await fill(database, blobs)
    added = await upload(database, workspace, "runs.txt", b"runs", blobs=blobs)
    held = await claim(database, workspace, added.job_id)
    assert held is not None
    await doom(database, workspace)
    assert await purge_due(database, blobs, 60) == [workspace]
    with pytest.raises(LeaseLost):
        await publish_claim(database, workspace, held, ["runs"])
    after = await left_of(database, workspace)
    assert {rows for name, rows in after.items() if name not in KEPT} == {0}


async def test_a_row_that_somebody_holds_is_left_to_the_next_round(
    database: Database, blobs: LocalBlobStore
) -> None:
    workspace = await fill(database, blobs)
    added = await upload(database, workspace, "runs.txt", b"runs", blobs=blobs)
    await doom(database, workspace)
    async with database.transaction(workspace) as connection:
        await connection.execute(
            text("SELECT 1 FROM jobs WHERE id = :id FOR UPDATE"), {"id": added.job_id}
        )
        async with asyncio.timeout(10):
            assert await purge_due(database, blobs, 60) == []
        assert (await left_of(database, workspace))["documents"] == 6
    assert await purge_due(database, blobs, 60) == [workspace]


async def test_what_a_request_wrote_meanwhile_goes_too_and_later_ones_are_refused(
    database: Database, blobs: LocalBlobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = await fill(database, blobs)
    await doom(database, workspace)
    real, late = purge._finish, []

    async def finish(connection: Any, held: Any) -> bool:
        if not late:
            late.append(1)
            async with database.transaction(workspace) as other:
                await add_answer(other, workspace, AnswerId(A), "late?", True, [], {})
        return await real(connection, held)

    monkeypatch.setattr(purge, "_finish", finish)
    assert await purge_due(database, blobs, 60) == [workspace]
    assert await value(database, "SELECT (rows_removed ->> 'answers')::int FROM purges") == 2
    with pytest.raises(NotFound):
        async with database.transaction(workspace) as other:
            await add_answer(other, workspace, AnswerId(A), "late?", True, [], {})


async def test_a_purge_that_was_cut_short_goes_on_and_counts_once(
    database: Database, blobs: LocalBlobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = await fill(database, blobs)
    before = await left_of(database, workspace)
    await doom(database, workspace)

    async def away(sha256: str) -> None:
        raise Unavailable

    with monkeypatch.context() as patch:
        patch.setattr(blobs, "remove", away)
        with pytest.raises(Unavailable):
            await purge_due(database, blobs, 60)
    assert await value(database, "SELECT finished_at FROM purges") is None
    rounds = 0
    while not await purge_due(database, blobs, 0):
        rounds += 1
        assert rounds < 500
    assert rounds > 1
    removed: Any = await value(database, "SELECT rows_removed FROM purges")
    assert removed["versions"] == before["versions"]
    assert removed["chunks"] == before["chunks"]
    assert await value(database, "SELECT blobs_removed FROM purges") == 4


async def test_two_processes_purge_together_and_count_once(
    database: Database, blobs: LocalBlobStore
) -> None:
    workspace = await fill(database, blobs)
    before = await left_of(database, workspace)
    await doom(database, workspace)
    gone = [each for each in await asyncio.gather(
        *(purge_due(database, blobs, 60) for _ in range(3))) if each]  # fmt: skip
    assert gone in ([[workspace]], [])
    if not gone:
        assert await purge_due(database, blobs, 60) == [workspace]
    removed: Any = await value(database, "SELECT rows_removed FROM purges")
    assert removed["chunks"] == before["chunks"]
    assert await value(database, "SELECT count(*) FROM purges") == 1


async def test_nothing_is_purged_before_its_time_nor_after_it_was_restored(
    database: Database, blobs: LocalBlobStore
) -> None:
    workspace = await fill(database, blobs)
    before = await left_of(database, workspace)
    await doom(database, workspace, days=30)
    assert await purge_due(database, blobs, 60) == []
    assert await value(
        database, "SELECT purge_after > now() + interval '29 days' FROM workspaces "
        "WHERE name = 'going'",
    )  # fmt: skip
    async with database.system_transaction() as connection:
        await restore_workspaces(connection, [workspace])
    await value(database, "UPDATE workspaces SET purge_after = purge_after - interval '31 days'")
    assert await purge_due(database, blobs, 60) == []
    assert await left_of(database, workspace) == before


async def test_a_purge_that_has_begun_cannot_be_called_off(
    database: Database, blobs: LocalBlobStore
) -> None:
    workspace = await fill(database, blobs)
    await doom(database, workspace)
    assert await purge_due(database, blobs, 0) == []
    async with database.system_transaction() as connection:
        assert await restore_workspaces(connection, [workspace]) == {workspace: "not_found"}
    assert await purge_due(database, blobs, 60) == [workspace]
