"""Words stemmed in each document's language, identifiers as they are written, quoted phrases."""

import sqlalchemy as sa
from alembic import op

from citewell.records.migrations.reanalysis import reanalyse
from citewell.records.migrations.terms import HOLDERS, TERMS

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

COLUMNS = """
ALTER TABLE documents ADD COLUMN language text;
ALTER TABLE versions ADD COLUMN language text;
ALTER TABLE collections ADD COLUMN languages text[] NOT NULL DEFAULT '{}'::text[];
"""


def upgrade() -> None:
    for statements in (COLUMNS, TERMS, HOLDERS):
        op.execute(sa.text(statements.replace(":", "\\:")))
    reanalyse(op.get_bind())
