"""One table of vectors for each dimension, made when an installation first uses such a model.

``vectors_384`` is made by the first migration; each other one is a copy of it in keys, indexes,
policies and grants. A migration that changes one must change all: ``list_vector_tables`` names
them, and ``MAKE`` must then make new ones likewise; a test compares.
"""

from collections.abc import Sequence

from sqlalchemy.ext.asyncio import AsyncConnection

from citewell.records.schema import MIGRATION_LOCK
from citewell.records.session import Database
from citewell.records.statements import text

FIRST_DIMENSION = 384
MOST_DIMENSION = 4000
"""Numbers that pgvector's HNSW takes in half precision."""
PLAIN_UP_TO = 1900
"""Up to here a row stays in its page, two a page at least; longer vectors lie beside it."""


def vector_table(dimension: int) -> str:
    """Return the name of the table for vectors of so many numbers."""
    if not 1 <= dimension <= MOST_DIMENSION:
        raise ValueError(dimension)
    return f"vectors_{dimension}"


async def ensure_vector_table(database: Database, dimension: int) -> None:
    """Make the table for vectors of so many numbers, as the owner, unless it is there.

    Raises:  Unavailable – PostgreSQL does not answer.
    """
    table = vector_table(dimension)
    async with database.owner_connection() as connection:
        if await connection.scalar(text("SELECT to_regclass(:name)"), {"name": table}) is None:
            storage = "PLAIN" if dimension <= PLAIN_UP_TO else "EXTERNAL"
            # One statement, so that all of it is there or none.
            made = MAKE.format(table=table, dimension=dimension, storage=storage)
            await connection.execute(text(made))


async def list_vector_tables(connection: AsyncConnection) -> list[str]:
    """List the tables of vectors that there are, in any role, even without a system transaction."""
    rows = await connection.scalars(
        text(
            "SELECT c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
            "WHERE n.nspname = current_schema() AND c.relkind = 'r' "
            "AND c.relname ~ '^vectors_[0-9]+$' ORDER BY length(c.relname), c.relname"
        )
    )
    return list(rows)


async def list_stored_models(connection: AsyncConnection) -> list[str]:
    """List the models that stored vectors are of, the first and the last by name of each table.

    Cost:    two looks into an index for each table. Needs a system transaction.
    """
    models: set[str] = set()
    for table in await list_vector_tables(connection):
        row = (await connection.execute(text(f"SELECT min(model), max(model) FROM {table}"))).one()
        models |= {model for model in row if model is not None}
    return sorted(models)


def every_vector(tables: Sequence[str]) -> str:
    """Return a query for where each vector belongs, over all tables."""
    return " UNION ALL ".join(
        f"SELECT workspace_id, chunk_id, collection_id, document_id FROM {table}"
        for table in tables
    )


MAKE = f"""
DO $$
DECLARE
    policy record;
    given record;
BEGIN
    PERFORM pg_advisory_xact_lock({MIGRATION_LOCK});
    IF to_regclass('{{table}}') IS NOT NULL THEN
        RETURN;
    END IF;
    CREATE TABLE {{table}} (
        workspace_id uuid NOT NULL,
        chunk_id uuid NOT NULL,
        collection_id uuid NOT NULL,
        document_id uuid NOT NULL,
        model text NOT NULL,
        embedding halfvec({{dimension}}) NOT NULL,
        CONSTRAINT pk_{{table}} PRIMARY KEY (workspace_id, chunk_id),
        CONSTRAINT fk_{{table}}_chunks FOREIGN KEY (workspace_id, chunk_id)
            REFERENCES chunks ON DELETE CASCADE
    );
    ALTER TABLE {{table}} ALTER embedding SET STORAGE {{storage}};
    CREATE INDEX ix_{{table}}_document ON {{table}} (workspace_id, document_id);
    CREATE INDEX ix_{{table}}_collection ON {{table}} (workspace_id, collection_id);
    CREATE INDEX ix_{{table}}_model ON {{table}} (model);
    ALTER TABLE {{table}} ENABLE ROW LEVEL SECURITY;
    ALTER TABLE {{table}} FORCE ROW LEVEL SECURITY;
    FOR policy IN SELECT * FROM pg_policies
        WHERE schemaname = current_schema() AND tablename = 'vectors_{FIRST_DIMENSION}'
    LOOP
        EXECUTE format('CREATE POLICY %I ON {{table}} AS %s FOR %s TO %s', policy.policyname,
                policy.permissive, policy.cmd, array_to_string(policy.roles, ', '))
            || coalesce(' USING (' || replace(policy.qual, 'vectors_{FIRST_DIMENSION}.',
                '{{table}}.') || ')', '')
            || coalesce(' WITH CHECK (' || replace(policy.with_check,
                'vectors_{FIRST_DIMENSION}.', '{{table}}.') || ')', '');
    END LOOP;
    FOR given IN SELECT g.privilege_type, r.rolname FROM pg_class c
        CROSS JOIN aclexplode(c.relacl) g JOIN pg_roles r ON r.oid = g.grantee
        WHERE c.oid = 'vectors_{FIRST_DIMENSION}'::regclass AND g.grantee <> c.relowner
    LOOP
        EXECUTE format('GRANT %s ON {{table}} TO %I', given.privilege_type, given.rolname);
    END LOOP;
END $$
"""
