"""The audit log's chain: sealed at each commit, and broken by any change that came after."""

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text
from sqlalchemy.exc import ProgrammingError

from citewell.domain import INSTALLATION, PrincipalId, Visitor, WorkspaceId
from citewell.errors import InputError, Unprocessable
from citewell.records.audit import AuditFilter, add_audit, add_audits, iterate_audit, list_audit
from citewell.records.audit_chain import Anchor, Broken, Chain, read_anchor, verify_chains
from citewell.records.session import Database, acting_as
from records.rows import A, add_workspace, value


async def add(database: Database, *targets: str, workspace_id: WorkspaceId = A) -> None:
    async with database.transaction(workspace_id) as connection:
        await add_audits(connection, workspace_id, "test.add", targets, "a-request")


async def chain_of(database: Database, workspace_id: WorkspaceId = A, *anchors: Anchor) -> Chain:
    (chain,) = await verify_chains(database, workspace_id, anchors)
    return chain


@asynccontextmanager
async def tampering(database: Database, *tables: str) -> AsyncIterator[object]:
    """Work as the tables' owner does who takes every protection off."""
    async with database.engine.begin() as connection:
        for table in tables:
            for change in ("NO FORCE ROW LEVEL SECURITY", "DISABLE TRIGGER USER"):
                await connection.execute(text(f"ALTER TABLE {table} {change}"))
        yield connection
        for table in tables:
            await connection.execute(text(f"ALTER TABLE {table} ENABLE TRIGGER USER"))
            await connection.execute(text(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY"))


async def tamper(database: Database, table: str, *statements: str) -> None:
    async with tampering(database, table) as connection:
        for statement in statements:
            done = await connection.execute(text(statement))  # type: ignore[attr-defined]
            assert done.rowcount > 0, statement


async def test_links_can_be_made_again_by_anyone(database: Database) -> None:
    """The canonical text is JSON that other programs write to the same byte."""
    visitor = Visitor('key:"cw_ü\n\t\x01', PrincipalId(uuid4()), None)
    with acting_as(visitor):
        await add(database, 'a"b\\c', "ü€😀\u2028", "\x7f\x1f")
    await add(database, "last")
    async with database.system_transaction() as connection:
        rows = await connection.execute(
            text(
                "SELECT workspace_id, id, action, target, actor, principal_id, request_id, "
                "outcome, created_at, c.hash FROM audit_log a "
                "JOIN audit_chain c USING (workspace_id) "
                "WHERE c.audit_id = a.id ORDER BY c.position"
            )
        )
        found = rows.all()
    assert len(found) == 4
    link = bytes(32)
    for workspace, number, *words, at, stored in found:
        micros = (
            round(at.timestamp()) * 1_000_000
            if at.microsecond == 0
            else (int(at.replace(microsecond=0).timestamp()) * 1_000_000 + at.microsecond)
        )
        plain = [word if word is None else str(word) for word in words]
        written = json.dumps([str(workspace), number, *plain, micros], ensure_ascii=False)
        link = hashlib.sha256(link + written.encode()).digest()
        assert link == bytes(stored)
    chain = await chain_of(database)
    assert chain == Chain(A, 4, link.hex(), ())


async def test_crowds_make_one_chain_without_a_gap(database: Database) -> None:
    other = await add_workspace(database)
    await asyncio.gather(
        *(add(database, f"{n}", f"{n} too", workspace_id=(A, other)[n % 2]) for n in range(60))
    )
    for workspace_id in (A, other):
        chain = await chain_of(database, workspace_id)
        assert chain.length == 60
        assert chain.broken == ()


async def test_two_that_write_to_two_chains_never_block_each_other(database: Database) -> None:
    other = await add_workspace(database)

    async def both(first: WorkspaceId, second: WorkspaceId) -> None:
        async with database.system_transaction() as connection:
            await add_audit(connection, first, "test.add", "x", None)
            await add_audit(connection, second, "test.add", "x", None)

    pairs = [(A, other), (other, A), (INSTALLATION, A), (A, INSTALLATION)]
    await asyncio.gather(*(both(*pair) for pair in pairs * 15))
    chains = await verify_chains(database, None, [])
    assert {chain.workspace_id: chain.length for chain in chains} == {
        A: 60,
        other: 30,
        INSTALLATION: 30,
    }
    assert not any(chain.broken for chain in chains)


async def test_what_is_rolled_back_is_not_in_the_chain(database: Database) -> None:
    await add(database, "one")

    async def fail() -> None:
        async with database.transaction(A) as connection:
            await add_audit(connection, A, "test.add", "lost", None)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        await fail()
    await add(database, "two")
    chain = await chain_of(database)
    assert (chain.length, chain.broken) == (2, ())


async def test_many_rows_of_one_change_are_sealed_together(database: Database) -> None:
    async with database.transaction(A) as connection:
        for part in range(5):
            targets = [f"{part}.{n}" for n in range(2000)]
            await add_audits(connection, A, "test.add", targets, None)
    chain = await chain_of(database)
    assert (chain.length, chain.broken) == (10_000, ())


CHANGES = [
    *(
        ("audit_log", f"UPDATE audit_log SET {change} WHERE target = 'three'", "changed", 3)
        for change in (
            "action = 'nothing'", "target = 'four'", "actor = 'nobody'", "outcome = 'denied'",
            "request_id = NULL", "created_at = created_at + interval '1 microsecond'",
            "principal_id = gen_random_uuid()",
        )
    ),
    ("audit_log", "DELETE FROM audit_log WHERE target = 'three'", "missing", 3),
    ("audit_log", "UPDATE audit_log SET workspace_id = gen_random_uuid() WHERE target = 'three'",
     "missing", 3),
    ("audit_log", """INSERT INTO audit_log (workspace_id, action, target, actor, outcome)
     SELECT workspace_id, action, 'new', actor, outcome FROM audit_log LIMIT 1""",
     "inserted", None),
    ("audit_chain", "UPDATE audit_chain SET hash = sha256(hash) WHERE position = 3", "changed", 3),
    ("audit_chain", "DELETE FROM audit_chain WHERE position = 3", "missing", 3),
    ("audit_chain", "DELETE FROM audit_chain WHERE position = 5", "cut", 5),
    ("audit_heads", "UPDATE audit_heads SET hash = sha256(hash)", "head", 5),
    ("audit_heads", "DELETE FROM audit_heads", "head", 5),
]  # fmt: skip


@pytest.mark.parametrize(("table", "statement", "fault", "position"), CHANGES)
async def test_each_way_to_falsify_the_log_is_found_and_placed(
    database: Database, table: str, statement: str, fault: str, position: int | None
) -> None:
    other = await add_workspace(database)
    for target in ("one", "two", "three", "four", "five"):
        await add(database, target)
        await add(database, target + " there", workspace_id=other)
    await tamper(database, table, statement.replace("SELECT workspace_id,", f"SELECT '{A}'::uuid,"))
    chain = await chain_of(database)
    assert chain.broken, statement
    assert (fault, position) in {(b.fault, b.position) for b in chain.broken}
    if table == "audit_log":
        assert len(chain.broken) == 1
        assert (await chain_of(database, other)).broken == ()


async def test_two_rows_that_changed_places_are_found(database: Database) -> None:
    await add(database, "one", "two", "three")
    await tamper(
        database, "audit_chain",
        "UPDATE audit_chain SET audit_id = -audit_id WHERE position IN (1, 2)",
        "UPDATE audit_chain SET audit_id = 2 WHERE audit_id = -1",
        "UPDATE audit_chain SET audit_id = 1 WHERE audit_id = -2",
    )  # fmt: skip
    assert {b.fault for b in (await chain_of(database)).broken} == {"changed"}


async def test_a_chain_that_was_written_anew_is_found_by_an_anchor(database: Database) -> None:
    await add(database, "one", "two")
    before = await chain_of(database)
    anchor = Anchor(before.length, before.hash)
    await add(database, "three")
    assert (await chain_of(database, A, anchor)).broken == ()
    async with tampering(database, "audit_log", "audit_chain", "audit_heads") as connection:
        for statement in (
            "UPDATE audit_log SET target = 'other' WHERE target = 'one'",
            "TRUNCATE audit_chain",
            "TRUNCATE audit_heads",
        ):
            await connection.execute(text(statement))  # type: ignore[attr-defined]
    async with database.system_transaction() as connection:
        await connection.execute(text("SELECT citewell_seal_audit(0)"))
    assert (await chain_of(database)).broken == ()
    assert (await chain_of(database, A, anchor)).broken == (Broken("rewritten", 2, None),)
    named = Anchor(before.length, before.hash, A)
    (chain,) = await verify_chains(database, None, [named])
    assert [b.fault for b in chain.broken] == ["rewritten"]
    far = Anchor(99, before.hash)
    assert [b.position for b in (await chain_of(database, A, far)).broken] == [99]
    with pytest.raises(InputError, match="which workspace"):
        await verify_chains(database, None, [anchor])


@pytest.mark.parametrize("statement", [
    "UPDATE {t} SET position = 0", "DELETE FROM {t}", "TRUNCATE {t}",
])  # fmt: skip
@pytest.mark.parametrize("table", ["audit_log", "audit_chain", "audit_heads"])
async def test_nobody_changes_what_is_sealed(
    database: Database, table: str, statement: str
) -> None:
    await add(database, "one")
    column = "id" if table == "audit_log" else "position"
    wanted = statement.format(t=table).replace("position", column)
    if table == "audit_log":
        wanted = wanted.replace("id = 0", "actor = 'x'")

    async def change(role: str | None) -> None:
        async with database.engine.begin() as connection:
            if role is not None:
                await connection.execute(text(f"SET LOCAL ROLE {role}"))
                named = text("SELECT set_config('citewell.workspace_id', :w, true)")
                await connection.execute(named, {"w": str(A)})
            elif wanted.startswith("UPDATE audit_heads"):
                # The owner sees no rows that a row's trigger could speak for.
                alter = text(f"ALTER TABLE {table} NO FORCE ROW LEVEL SECURITY")
                await connection.execute(alter)
            await connection.execute(text(wanted))

    for role in ("citewell_app", "citewell_system", None):
        with pytest.raises(ProgrammingError, match="permission denied"):
            await change(role)


@pytest.mark.parametrize("role", ["citewell_app"])
@pytest.mark.parametrize("table", ["audit_chain", "audit_heads"])
async def test_the_application_cannot_write_links(
    database: Database, table: str, role: str
) -> None:
    rest = ", 1, '\\x00'" if table == "audit_chain" else ", '\\x00'"
    for statement in (
        f"INSERT INTO {table} VALUES ('{A}', 1{rest})", "SELECT citewell_seal_audit(0)",
    ):  # fmt: skip
        with pytest.raises(ProgrammingError, match="permission denied"):
            async with database.transaction(A) as connection:
                await connection.execute(text(statement))


async def test_earlier_rows_are_chained_in_the_order_of_their_ids(database: Database) -> None:
    """What the migration does with rows that were there before the chain."""
    other = await add_workspace(database)
    await add(database, "one", "two")
    await add(database, "there", workspace_id=other)
    async with tampering(database, "audit_chain", "audit_heads") as connection:
        await connection.execute(text("TRUNCATE audit_chain"))  # type: ignore[attr-defined]
        await connection.execute(text("TRUNCATE audit_heads"))  # type: ignore[attr-defined]
    await value(database, "SELECT citewell_seal_audit(0)")
    chains = await verify_chains(database, None, [])
    assert {chain.workspace_id: chain.length for chain in chains} == {A: 2, other: 1}
    assert not any(chain.broken for chain in chains)


async def test_lists_are_filtered_and_paged(database: Database) -> None:
    with acting_as(Visitor("key:one")):
        await add(database, *(f"t{n}" for n in range(7)))
    with acting_as(Visitor("key:two")):
        async with database.transaction(A) as connection:
            await add_audits(connection, A, "access.denied", ["GET /audit"], "r2", "denied")

    async def read(wanted: AuditFilter, limit: int = 50) -> list[str]:
        found: list[str] = []
        cursor: str | None = None
        while True:
            async with database.transaction(A) as connection:
                page = await list_audit(connection, A, wanted, limit, cursor)
            found += [row.target for row in page.items]
            cursor = page.next_cursor
            if cursor is None:
                return found

    newest_first = ["GET /audit", *(f"t{n}" for n in range(6, -1, -1))]
    assert await read(AuditFilter()) == newest_first
    assert await read(AuditFilter(), 3) == newest_first
    assert await read(AuditFilter(actor="key:one"), 7) == newest_first[1:]
    denied = ["GET /audit"]
    for wanted in (
        AuditFilter(action="access.denied"), AuditFilter(outcome="denied"),
        AuditFilter(request_id="r2"), AuditFilter(target="GET /audit"),
        AuditFilter(actor="key:two", outcome="denied"),
    ):  # fmt: skip
        assert await read(wanted) == denied
    async with database.transaction(A) as connection:
        (last,) = (await list_audit(connection, A, AuditFilter(), 1)).items
    assert await read(AuditFilter(since=last.created_at)) == denied
    assert await read(AuditFilter(until=last.created_at)) == newest_first[1:]
    batches = [b async for b in iterate_audit(database, A, AuditFilter(), 3)]
    assert [len(batch) for batch in batches] == [3, 3, 2]
    assert [row.target for batch in batches for row in batch] == newest_first[::-1]
    assert [row.position for batch in batches for row in batch] == list(range(1, 9))
    with pytest.raises(Unprocessable):
        async with database.transaction(A) as connection:
            await list_audit(connection, A, AuditFilter(), 3, "9" * 30)


def test_anchors_are_read_as_they_are_printed() -> None:
    sha = "ab" * 32
    assert read_anchor(f"12:{sha}") == Anchor(12, sha)
    assert read_anchor(f" {A}:12:{sha.upper()}") == Anchor(12, sha, A)
    wrong: Sequence[str] = ["", "12", sha, f"x:{sha}", f"12:{sha[1:]}", f"{'a' * 36}:1:{sha}"]
    for given in wrong:
        with pytest.raises(InputError, match="POSITION:HASH"):
            read_anchor(given)
    assert UUID(str(A))
