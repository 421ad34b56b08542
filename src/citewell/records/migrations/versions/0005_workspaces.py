"""Workspaces that are described, archived with a reason, and purged with a proof."""

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

WORKSPACES = """
ALTER TABLE workspaces
    ADD COLUMN description text NOT NULL DEFAULT '',
    ADD COLUMN archived_reason text,
    ADD COLUMN purge_after timestamptz,
    ADD COLUMN purge_requested_at timestamptz,
    ADD COLUMN purge_requested_by text,
    ADD COLUMN purging boolean NOT NULL DEFAULT false;
CREATE INDEX ix_workspaces_created ON workspaces (created_at, id);
CREATE INDEX ix_answers_keep ON answers (workspace_id, created_at);
"""

# What is left of a workspace. Its id is no foreign key: the row proves that nothing has that id.
PURGES = """
CREATE TABLE purges (
    id uuid CONSTRAINT pk_purges PRIMARY KEY,
    workspace_id uuid NOT NULL,
    name_sha256 text NOT NULL,
    requested_by text NOT NULL,
    requested_at timestamptz NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    finished_at timestamptz,
    rows_removed jsonb NOT NULL DEFAULT '{}'::jsonb,
    bytes_removed jsonb NOT NULL DEFAULT '{}'::jsonb,
    rows_left jsonb NOT NULL DEFAULT '{}'::jsonb,
    blobs_pending jsonb NOT NULL DEFAULT '{}'::jsonb,
    blobs_removed bigint NOT NULL DEFAULT 0,
    blob_bytes_removed bigint NOT NULL DEFAULT 0,
    blobs_left bigint,
    keys_revoked bigint NOT NULL DEFAULT 0,
    CONSTRAINT uq_purges_workspace_id UNIQUE (workspace_id)
);
CREATE INDEX ix_purges_created ON purges (created_at, id);
ALTER TABLE purges ENABLE ROW LEVEL SECURITY;
ALTER TABLE purges FORCE ROW LEVEL SECURITY;
CREATE POLICY every_workspace ON purges TO citewell_system USING (true);
GRANT SELECT, INSERT, UPDATE ON purges TO citewell_system;
"""


def upgrade() -> None:
    for statements in (WORKSPACES, PURGES):
        op.execute(statements)
