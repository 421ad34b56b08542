"""Chunks that were there before languages were told are found in their language after it."""

from uuid import uuid4

from alembic import command
from sqlalchemy import Connection, text

from citewell.domain import PUBLIC_WORKSPACE, Scope
from citewell.records.lexical import search_lexical
from citewell.records.schema import alembic_config, migrate
from citewell.records.session import Database
from records.databases import Servers

GERMAN = (
    "Die Häuser in der Straße sind alt, und die Verträge wurden nicht unterschrieben: XR-2000-B."
)
ENGLISH = "The keepers of the lighthouses were mending their clocks, and they knew XR-2000-C."
OLD = """
INSERT INTO documents (workspace_id, id, collection_id, name, source, active_version_id,
    chunk_count)
SELECT workspace_id, :document, id, :name, :name, :version, 1 FROM collections
WHERE name = 'default';
INSERT INTO versions (workspace_id, id, document_id, number, sha256, size_bytes, media_type, text)
VALUES (:workspace, :version, :document, 1, 'x', 1, 'text/plain', :body);
INSERT INTO chunks (workspace_id, id, collection_id, document_id, version_id, ordinal, start, "end",
    text, context, page_breaks, tokens)
SELECT workspace_id, :chunk, collection_id, id, :version, 0, 0, 1, :body, '', '{}', 1
FROM documents WHERE id = :document;
INSERT INTO chunk_terms (workspace_id, chunk_id, collection_id, document_id, keys, bm25)
SELECT workspace_id, :chunk, collection_id, id,
    citewell_term_keys(collection_id, to_tsvector('english', :body)),
    citewell_bm25(to_tsvector('english', :body))
FROM documents WHERE id = :document;
UPDATE collections SET chunk_count = chunk_count + 1
"""


def upgrade_to_exports(connection: Connection) -> None:
    config = alembic_config()
    config.attributes["connection"] = connection
    command.upgrade(config, "0009")


async def test_old_chunks_are_analysed_anew(servers: Servers) -> None:
    name = f"before_{uuid4().hex[:8]}"
    servers.execute(f"CREATE DATABASE {name}")
    database = Database(servers.database_url(name), 2)
    async with database.engine.begin() as connection:
        await connection.run_sync(upgrade_to_exports)
    chunks = {}
    for body in (GERMAN, ENGLISH):
        chunks[body] = uuid4()
        values = {
            "workspace": PUBLIC_WORKSPACE, "document": uuid4(), "version": uuid4(),
            "chunk": chunks[body], "body": body, "name": str(uuid4()),
        }  # fmt: skip
        async with database.system_transaction() as connection:
            for statement in OLD.split(";"):
                await connection.execute(text(statement), values)
    assert await migrate(database.engine)
    async with database.transaction(PUBLIC_WORKSPACE) as connection:
        for question, body in (
            ("Haus", GERMAN), ("Strasse", GERMAN), ("lighthouse", ENGLISH), ("XR-2000-B", GERMAN),
        ):  # fmt: skip
            found = await search_lexical(connection, PUBLIC_WORKSPACE, question, Scope(), 10)
            assert next(iter(found.scores)) == chunks[body], question
        languages = await connection.scalars(text("SELECT language FROM documents ORDER BY 1"))
        assert list(languages) == ["english", "german"]
        assert await connection.scalar(text("SELECT count(*) FROM lexemes")) > 0
    async with database.engine.begin() as connection:  # as the owner, who still sees nothing
        assert await connection.scalar(text("SELECT count(*) FROM documents")) == 0
    await database.close()
    servers.execute(f"DROP DATABASE {name}")
