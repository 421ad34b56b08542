"""Documents that were there before quotas count with the bytes of their newest version."""

from uuid import uuid4

from alembic import command
from sqlalchemy import Connection, text

from citewell.domain import PUBLIC_WORKSPACE
from citewell.records.schema import alembic_config, migrate
from citewell.records.session import Database
from records.databases import Servers

OLD = """
INSERT INTO documents (workspace_id, id, collection_id, name, source)
SELECT workspace_id, :document, id, 'a.txt', 'a.txt' FROM collections WHERE name = 'default';
INSERT INTO versions (workspace_id, id, document_id, number, sha256, size_bytes, media_type)
SELECT :workspace, gen_random_uuid(), :document, number, 'x', size, 'text/plain'
FROM (VALUES (1, 500), (2, 70)) AS v (number, size)
"""


def upgrade_to_keys(connection: Connection) -> None:
    config = alembic_config()
    config.attributes["connection"] = connection
    command.upgrade(config, "0004")


async def test_old_documents_have_the_size_of_their_newest_version(servers: Servers) -> None:
    name = f"before_{uuid4().hex[:8]}"
    servers.execute(f"CREATE DATABASE {name}")
    database = Database(servers.database_url(name), 2)
    async with database.engine.begin() as connection:
        await connection.run_sync(upgrade_to_keys)
    document = uuid4()
    async with database.system_transaction() as connection:
        for statement in OLD.split(";"):
            values = {"workspace": PUBLIC_WORKSPACE, "document": document}
            await connection.execute(text(statement), values)
    assert await migrate(database.engine)
    async with database.system_transaction() as connection:
        assert await connection.scalar(text("SELECT size_bytes FROM documents")) == 70
    async with database.engine.begin() as connection:  # as the owner, who still sees nothing
        assert await connection.scalar(text("SELECT count(*) FROM documents")) == 0
    await database.close()
    servers.execute(f"DROP DATABASE {name}")
