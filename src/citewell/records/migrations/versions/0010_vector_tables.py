"""Vectors of any dimension may be staged; which models there are is read off an index."""

from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

# The other tables of vectors are made when a model of their dimension is first used
# (records/vector_tables.py).
STATEMENTS = """
ALTER TABLE staged_embeddings ALTER embedding TYPE halfvec;
CREATE INDEX ix_vectors_384_model ON vectors_384 (model);
"""


def upgrade() -> None:
    op.execute(STATEMENTS)
