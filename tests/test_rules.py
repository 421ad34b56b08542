"""The rules of the house that no linter knows."""

import ast
import inspect
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, text
from sqlalchemy import inspect as look_into
from sqlalchemy.ext.asyncio import AsyncConnection

import citewell
from citewell.records.leases import Claim, Lease
from citewell.records.schema import HEAD, migrate, newest_revision
from citewell.records.session import Database
from citewell.records.tables import metadata

SOURCE = Path(citewell.__file__).parent
BENCH = Path(__file__).parents[1] / "bench"
MODULES = sorted(path for path in SOURCE.rglob("*.py") if "versions" not in path.parts)
RECORDS = [path.stem for path in (SOURCE / "records").glob("*.py") if path.stem != "__init__"]
SYSTEM_ONLY = {"principals", "memberships", "browser_sessions", "sign_ins", "purges"}
"""Credentials, and proofs of purges: the application's role may not even read them."""
WITHOUT_WORKSPACE = {"workspaces", "workers"} | SYSTEM_ONLY

OUTLIVING = {"audit_log", "audit_chain", "audit_heads"}
"""They stay when their workspace is gone."""

LIMITED = {"documents", "versions", "sections", "chunks", "chunk_terms", "vectors_384", "jobs",
    "staged_texts", "staged_chunks", "staged_embeddings", "answers", "feedback",
    "suggestions"}  # fmt: skip
"""Rows that tell of a document are hidden from those who are not among its readers."""
TABLES = sorted(name for name in metadata.tables if name not in WITHOUT_WORKSPACE)

WITHOUT_ROWS = {"lock_blobs", "read_server_versions", "seeing_every_document", "find_highlights"}
"""They read and write no row of any workspace: a lock, the servers' versions, a setting, a
parser."""
BROAD_EXCEPT = {"worker/group.py", "worker/holder.py", "worker/process.py", "worker/runs.py",
    "adapters/batching.py", "adapters/onnx_reranker.py", "answer/cite/check.py",
    "api/middleware.py",
    "api/answer_stream.py", "api/openai/chat_completions.py", "ingest/sandbox_child.py",
    "records/reconcile.py", "records/webhook_sender.py"}  # fmt: skip
ENVIRONMENT = {"settings.py", "cli/supervisor.py", "ingest/sandbox.py", "ingest/sandbox_child.py",
               "ingest/confinement.py"}  # fmt: skip


def _name(path: Path) -> str:
    return path.relative_to(SOURCE).as_posix()


def _trees() -> Iterator[tuple[str, ast.Module]]:
    for path in MODULES:
        yield _name(path), ast.parse(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", TABLES)
def test_every_key_holds_the_workspace(name: str) -> None:
    table = metadata.tables[name]
    assert "workspace_id" in table.primary_key.columns
    assert not table.columns["workspace_id"].nullable
    assert table.foreign_key_constraints or name in {"jobs", "answers", *OUTLIVING}
    for constraint in table.foreign_key_constraints:
        assert "workspace_id" in constraint.column_keys
        targets = {element.target_fullname for element in constraint.elements}
        assert targets & {f"{constraint.referred_table.name}.workspace_id", "workspaces.id"}


async def test_every_table_is_behind_forced_row_security(database: Database) -> None:
    async with database.engine.connect() as connection:
        rows = await connection.execute(
            text(
                "SELECT c.relname, c.relrowsecurity, c.relforcerowsecurity, "
                "array(SELECT polname::text FROM pg_policy p WHERE p.polrelid = c.oid) "
                "FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
                "WHERE n.nspname = current_schema() AND c.relkind IN ('r', 'p')"
            )
        )
        found = {row[0]: (row[1], row[2], set(row[3])) for row in rows}
    found.pop("alembic_version")
    policies = {"one_workspace", "every_workspace"}
    assert found.pop("workers") == (True, True, {"every_worker"})
    for name in SYSTEM_ONLY:
        assert found.pop(name) == (True, True, {"every_workspace"})
    rest = metadata.tables.keys() - {"workers"} - SYSTEM_ONLY
    limited = {name: found.pop(name) for name in LIMITED}
    assert limited == dict.fromkeys(LIMITED, (True, True, policies | {"readers"}))
    assert found == dict.fromkeys(rest - LIMITED, (True, True, policies))


async def test_the_application_role_owns_and_overrides_nothing(database: Database) -> None:
    async with database.engine.connect() as connection:
        for role in ("citewell_app", "citewell_system", "citewell"):
            row = await connection.execute(
                text("SELECT rolsuper, rolbypassrls FROM pg_roles WHERE rolname = :r"), {"r": role}
            )
            assert tuple(row.one()) == (False, False)
        owned = await connection.scalar(
            text(
                "SELECT count(*) FROM pg_class WHERE relowner IN (SELECT oid FROM pg_roles "
                "WHERE rolname IN ('citewell_app', 'citewell_system'))"
            )
        )
        assert owned == 0


async def test_the_schema_is_the_newest_migration(database: Database) -> None:
    assert newest_revision() == HEAD
    async with database.engine.connect() as connection:
        assert await connection.scalar(text("SELECT version_num FROM alembic_version")) == HEAD
    assert await migrate(database.engine) is False


async def test_tables_and_migrations_agree(database: Database) -> None:
    def compare(connection: Connection) -> list[object]:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        return list(compare_metadata(context, metadata))

    def nullable(connection: Connection) -> set[tuple[str, str, bool]]:
        inspector = look_into(connection)
        return {
            (table, column["name"], bool(column["nullable"]))
            for table in metadata.tables
            for column in inspector.get_columns(table)
        }

    async with database.engine.connect() as connection:
        assert await connection.run_sync(compare) == []
        assert await connection.run_sync(nullable) == {
            (table.name, column.name, bool(column.nullable))
            for table in metadata.tables.values()
            for column in table.columns
        }


@pytest.mark.parametrize("name", RECORDS)
def test_records_take_the_workspace_second(name: str) -> None:
    module = import_module(f"citewell.records.{name}")
    for function in vars(module).values():
        if not inspect.isfunction(function) or function.__module__ != module.__name__:
            continue
        parameters = list(inspect.signature(function).parameters.values())
        if not parameters or parameters[0].name != "connection":
            continue
        if parameters[0].annotation is not AsyncConnection or function.__name__.startswith("_"):
            continue  # a helper of a function that was checked, or Alembic's own connection
        second = parameters[1].name if len(parameters) > 1 else None
        if parameters[1:] and parameters[1].annotation in {Claim, Lease}:
            continue  # a held job knows its workspace
        said = "system transaction" in (function.__doc__ or "")
        rowless = function.__name__ in WITHOUT_ROWS
        assert second == "workspace_id" or said or rowless, function.__qualname__


def test_no_module_is_named_for_nothing() -> None:
    empty = {"utils", "helpers", "common", "base", "misc", "manager", "handler", "core"}
    names = {
        part for path in MODULES for part in (*path.relative_to(SOURCE).parent.parts, path.stem)
    }
    assert not names & empty


def test_broad_excepts_stand_only_at_the_doors() -> None:
    found = set()
    for name, tree in _trees():
        for node in ast.walk(tree):
            if not isinstance(node, ast.ExceptHandler):
                continue
            caught = node.type.elts if isinstance(node.type, ast.Tuple) else [node.type]
            for kind in caught:
                broad = kind is None or (isinstance(kind, ast.Name) and kind.id == "Exception")
                bare = isinstance(kind, ast.Name) and kind.id == "BaseException"
                raises = any(isinstance(inner, ast.Raise) for inner in ast.walk(node))
                if broad or (bare and not raises):
                    found.add(name)
    assert found <= BROAD_EXCEPT


def test_the_environment_is_read_at_the_doors_only() -> None:
    found = set()
    for name, tree in _trees():
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and node.attr in {"environ", "getenv", "environb"}:
                found.add(name)
    assert {name for name in found if not name.startswith("embedded/")} <= ENVIRONMENT


def test_only_the_session_commits() -> None:
    committing = {
        name
        for name, tree in _trees()
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and node.attr in {"commit", "begin_nested"}
    }
    assert committing <= {"records/session.py"}


def test_the_wheel_and_the_package_agree_on_the_version() -> None:
    written = (SOURCE.parents[1] / "pyproject.toml").read_text(encoding="utf-8")
    assert f'\nversion = "{citewell.__version__}"\n' in written


@pytest.mark.parametrize("name", sorted(path.stem for path in BENCH.glob("[a-z]*.py")))
def test_every_measurement_can_be_imported(name: str) -> None:
    assert import_module(f"bench.{name}").__doc__
