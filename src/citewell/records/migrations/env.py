"""Alembic's environment: migrates over the connection that records.schema hands in."""

from alembic import context

from citewell.records.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    transaction_per_migration=False,
)
with context.begin_transaction():
    context.run_migrations()
