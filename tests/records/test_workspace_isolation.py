"""Row-level security: a transaction sees one workspace, whatever its SQL says."""

import pytest
from sqlalchemy import text
from sqlalchemy.exc import ProgrammingError
from sqlalchemy.ext.asyncio import AsyncConnection

from citewell.domain import AnswerId, Scope, WorkspaceId
from citewell.records.answers import add_answer
from citewell.records.chunks import load_chunks
from citewell.records.session import Database
from citewell.records.tables import metadata
from citewell.records.version_rows import chunk_id
from records.rows import A, add_document, add_workspace, count

SYSTEM_ONLY = ["principals", "memberships", "browser_sessions", "sign_ins", "purges"]
TABLES = sorted(metadata.tables.keys() - {"workers", *SYSTEM_ONLY})
APPEND_ONLY = ["audit_log", "audit_chain", "audit_heads", "usage_ledger", "usage_days"]
OWNED = [name for name in TABLES if name != "workspaces"]
REST = """
INSERT INTO staged_texts SELECT workspace_id, id, 0, 'text' FROM versions WHERE workspace_id = :w;
INSERT INTO staged_chunks SELECT workspace_id, version_id, ordinal, id, start, "end", text, context,
    section, page, page_breaks, tokens FROM chunks WHERE workspace_id = :w;
INSERT INTO staged_embeddings SELECT c.workspace_id, c.version_id, c.ordinal, v.model, v.embedding,
    t.keys, t.bm25 FROM chunks c JOIN vectors_384 v ON v.chunk_id = c.id
    JOIN chunk_terms t ON t.chunk_id = c.id WHERE c.workspace_id = :w;
INSERT INTO idempotency_keys VALUES (:w, 'key', 'fingerprint');
INSERT INTO webhooks VALUES (:w, :w, 'https://example.org', 'secret');
INSERT INTO webhook_deliveries (workspace_id, id, webhook_id, job_id, event)
    VALUES (:w, :w, :w, :w, 'job.done');
INSERT INTO sessions (workspace_id, id, expires_at) VALUES (:w, :w, now() + interval '1 hour');
INSERT INTO messages (workspace_id, session_id, ordinal, role, content)
    VALUES (:w, :w, 0, 'user', 'secret');
INSERT INTO feedback (workspace_id, answer_id, rating, question) VALUES (:w, :w, 1, 'secret');
INSERT INTO chat_logs (workspace_id, answer_id, channel, mode, model, status, refused,
    citation_count, input_tokens, output_tokens, redaction)
    VALUES (:w, :w, 'api', 'standard', 'extractive', 'complete', false, 1, 0, 0, 'off');
INSERT INTO exports (workspace_id, id, kind, format, expires_at)
    SELECT workspace_id, id, 'audit', 'csv', now() FROM jobs WHERE workspace_id = :w;
INSERT INTO eval_runs (workspace_id, id, dataset_sha256, retrieval_only, question_count)
    VALUES (:w, :w, 'sha256', true, 1);
INSERT INTO eval_questions VALUES (:w, :w, 0, '{"question": "secret"}');
INSERT INTO eval_guards (workspace_id, dataset_sha256, tolerance) VALUES (:w, 'sha256', 0.1);
INSERT INTO quotas (workspace_id, documents) VALUES (:w, 1000)
"""


async def fill_rest(connection: AsyncConnection, workspace_id: WorkspaceId) -> None:
    """Put a row into each table that a document on its own way leaves empty."""
    for statement in REST.split(";"):
        await connection.execute(text(statement), {"w": workspace_id})


@pytest.fixture
async def other(database: Database) -> WorkspaceId:
    """A second workspace with rows in every table."""
    workspace_id = await add_workspace(database)
    await add_document(database, workspace_id, "secret.txt", ["the secret recipe", "and more"])
    async with database.transaction(workspace_id) as connection:
        await add_answer(
            connection, workspace_id, AnswerId(workspace_id), "Q?", False, [], {"a": 1}
        )
        await fill_rest(connection, workspace_id)
    return workspace_id


async def test_every_table_hides_another_workspace(database: Database, other: WorkspaceId) -> None:
    await add_document(database, A, "own.txt", ["our own text"])
    async with database.system_transaction() as connection:
        theirs = {t: await count(connection, t, f"workspace_id = '{other}'") for t in OWNED}
        own = {t: await count(connection, t, f"workspace_id = '{A}'") for t in OWNED}
    assert min(theirs.values()) > 0, theirs
    async with database.transaction(A) as connection:
        assert {t: await count(connection, t) for t in OWNED} == own
        assert await count(connection, "workspaces") == 1
    async with database.transaction(other) as connection:
        assert {t: await count(connection, t) for t in OWNED} == theirs


async def test_a_connection_that_named_no_workspace_sees_nothing(
    database: Database, other: WorkspaceId
) -> None:
    async with database.engine.begin() as connection:
        await connection.execute(text("SET LOCAL ROLE citewell_app"))
        assert {t: await count(connection, t) for t in TABLES} == dict.fromkeys(TABLES, 0)


async def test_a_transaction_leaves_nothing_to_the_next_user_of_its_connection(
    database: Database, other: WorkspaceId
) -> None:
    async with database.transaction(other) as connection:
        assert await count(connection, "documents") == 1
    for _ in range(6):  # more than the pool holds
        async with database.engine.begin() as connection:
            assert await connection.scalar(text("SELECT current_user")) == "citewell"
            named = await connection.scalar(
                text("SELECT current_setting('citewell.workspace_id', true)")
            )
            assert not named


@pytest.mark.parametrize("table", TABLES)
async def test_rows_of_another_workspace_cannot_be_written(
    database: Database, other: WorkspaceId, table: str
) -> None:
    column = "id" if table == "workspaces" else "workspace_id"
    async with database.system_transaction() as connection:
        row = await connection.scalar(
            text(f"SELECT to_jsonb(t)::text FROM {table} t WHERE {column} = :w LIMIT 1"),
            {"w": other},
        )
    assert row
    refused = "row-level security|permission denied"
    with pytest.raises(ProgrammingError, match=refused):
        async with database.transaction(A) as connection:
            await connection.execute(
                text(
                    f"INSERT INTO {table} OVERRIDING SYSTEM VALUE SELECT "
                    f"(jsonb_populate_record(NULL::{table}, CAST(:row AS jsonb))).*"
                ),
                {"row": row},
            )


@pytest.mark.parametrize("table", [name for name in OWNED if name not in APPEND_ONLY])
async def test_rows_of_another_workspace_cannot_be_changed_or_taken(
    database: Database, other: WorkspaceId, table: str
) -> None:
    await add_document(database, A, "own.txt", ["our own text"])
    async with database.transaction(A) as connection:
        await add_answer(connection, A, AnswerId(A), "Q?", False, [], {})
        await fill_rest(connection, A)
    async with database.transaction(A) as connection:
        await connection.execute(text("SET CONSTRAINTS ALL DEFERRED"))
        gone = await connection.execute(
            text(f"DELETE FROM {table} WHERE workspace_id = :w"), {"w": other}
        )
        assert gone.rowcount == 0
    with pytest.raises(ProgrammingError, match="row-level security"):
        async with database.transaction(A) as connection:
            await connection.execute(text(f"UPDATE {table} SET workspace_id = :w"), {"w": other})


@pytest.mark.parametrize("table", SYSTEM_ONLY)
async def test_credentials_and_proofs_are_not_read_by_the_application_role(
    database: Database, table: str
) -> None:
    with pytest.raises(ProgrammingError, match="permission denied"):
        async with database.transaction(A) as connection:
            await count(connection, table)


async def test_the_audit_log_is_append_only(database: Database) -> None:
    await add_document(database, A, "a.txt", ["text"])
    async with database.transaction(A) as connection:
        assert await count(connection, "audit_log") == 1
    for statement in (
        "UPDATE audit_log SET action = 'nothing'",
        "DELETE FROM audit_log",
        "TRUNCATE audit_log",
    ):
        for begin in (lambda: database.transaction(A), database.system_transaction):
            with pytest.raises(ProgrammingError, match="permission denied"):
                async with begin() as connection:
                    await connection.execute(text(statement))


async def test_the_usage_ledger_is_append_only(database: Database) -> None:
    await add_document(database, A, "a.txt", ["text"])
    for statement in (
        "UPDATE usage_ledger SET bytes = 0",
        "DELETE FROM usage_ledger",
        "TRUNCATE usage_ledger",
        "DELETE FROM usage_days",
    ):
        with pytest.raises(ProgrammingError, match="permission denied"):
            async with database.transaction(A) as connection:
                await connection.execute(text(statement))
    # The purge of a workspace takes its ledger as well, row by row.
    with pytest.raises(ProgrammingError, match="permission denied"):
        async with database.system_transaction() as connection:
            await connection.execute(text("TRUNCATE usage_ledger"))


async def test_neither_leg_nor_loading_crosses_workspaces(
    database: Database, other: WorkspaceId
) -> None:
    from citewell.records.lexical import search_lexical

    async with database.system_transaction() as connection:
        version = await connection.scalar(text("SELECT id FROM versions"))
    ids = [chunk_id(version, 0), chunk_id(version, 1)]
    async with database.transaction(other) as connection:
        assert set(await load_chunks(connection, other, ids)) == set(ids)
        found = await search_lexical(connection, other, "secret recipe", Scope(), 10)
        assert set(found.scores) == {ids[0]}
    async with database.transaction(A) as connection:
        # Even the other workspace's id as an argument opens nothing.
        for claimed in (A, other):
            assert await load_chunks(connection, claimed, ids) == {}
            found = await search_lexical(connection, claimed, "secret recipe", Scope(), 10)
            assert found.scores == {}
