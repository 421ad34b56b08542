"""Exports with their files; sign-ins that have begun at a provider."""

from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

# How far an export is, its job says: the same row, by the same id.
EXPORTS = """
CREATE TABLE exports (
    workspace_id uuid NOT NULL
        CONSTRAINT fk_exports_workspaces REFERENCES workspaces ON DELETE CASCADE,
    id uuid NOT NULL,
    kind text NOT NULL,
    format text NOT NULL CHECK (format IN ('jsonl', 'csv')),
    filters jsonb NOT NULL DEFAULT '{}'::jsonb,
    row_count bigint,
    size_bytes bigint,
    sha256 text,
    created_by text NOT NULL
        DEFAULT coalesce(nullif(current_setting('citewell.actor', true), ''), 'system'),
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL,
    CONSTRAINT pk_exports PRIMARY KEY (workspace_id, id),
    CONSTRAINT fk_exports_jobs FOREIGN KEY (workspace_id, id) REFERENCES jobs ON DELETE CASCADE
);
CREATE INDEX ix_exports_created ON exports (workspace_id, created_at, id);
CREATE INDEX ix_exports_expires ON exports (expires_at);
CREATE INDEX ix_exports_sha256 ON exports (sha256);
ALTER TABLE exports ENABLE ROW LEVEL SECURITY;
ALTER TABLE exports FORCE ROW LEVEL SECURITY;
CREATE POLICY one_workspace ON exports TO citewell_app
    USING (workspace_id = citewell_workspace());
CREATE POLICY every_workspace ON exports TO citewell_system USING (true);
GRANT SELECT, INSERT, UPDATE, DELETE ON exports TO citewell_app, citewell_system;
"""

# Of a sign-in only a digest is kept, so that each can be ended once.
SIGN_INS = """
CREATE TABLE sign_ins (
    digest bytea CONSTRAINT pk_sign_ins PRIMARY KEY,
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL
);
CREATE INDEX ix_sign_ins_expires ON sign_ins (expires_at);
ALTER TABLE sign_ins ENABLE ROW LEVEL SECURITY;
ALTER TABLE sign_ins FORCE ROW LEVEL SECURITY;
CREATE POLICY every_workspace ON sign_ins TO citewell_system USING (true);
GRANT SELECT, INSERT, UPDATE, DELETE ON sign_ins TO citewell_system;
"""


def upgrade() -> None:
    for statements in (EXPORTS, SIGN_INS):
        op.execute(statements)
