"""Principals with their roles, the actor of each change, archived workspaces."""

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

PRINCIPALS = """
CREATE TABLE principals (
    id uuid CONSTRAINT pk_principals PRIMARY KEY,
    kind text NOT NULL CHECK (kind IN ('key', 'person')),
    name text NOT NULL,
    is_owner boolean NOT NULL DEFAULT false,
    groups text[] NOT NULL DEFAULT '{}'::text[],
    lookup text CONSTRAINT uq_principals_lookup UNIQUE,
    digest bytea,
    origin text NOT NULL,
    issuer text,
    subject text,
    created_at timestamptz NOT NULL DEFAULT now(),
    created_by text NOT NULL,
    expires_at timestamptz,
    last_used_at timestamptz,
    revoked_at timestamptz,
    replaced_by uuid,
    CONSTRAINT uq_principals_issuer_subject UNIQUE (issuer, subject),
    CHECK (CASE kind WHEN 'key' THEN lookup IS NOT NULL AND digest IS NOT NULL
        ELSE issuer IS NOT NULL AND subject IS NOT NULL END)
);
CREATE INDEX ix_principals_created ON principals (created_at, id);
CREATE TABLE memberships (
    workspace_id uuid NOT NULL
        CONSTRAINT fk_memberships_workspaces REFERENCES workspaces ON DELETE CASCADE,
    principal_id uuid NOT NULL
        CONSTRAINT fk_memberships_principals REFERENCES principals ON DELETE CASCADE,
    role text NOT NULL CHECK (role IN ('viewer', 'editor', 'admin')),
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT pk_memberships PRIMARY KEY (workspace_id, principal_id)
);
CREATE INDEX ix_memberships_principal_id ON memberships (principal_id);
CREATE TABLE browser_sessions (
    id uuid CONSTRAINT pk_browser_sessions PRIMARY KEY,
    principal_id uuid NOT NULL
        CONSTRAINT fk_browser_sessions_principals REFERENCES principals ON DELETE CASCADE,
    digest bytea NOT NULL CONSTRAINT uq_browser_sessions_digest UNIQUE,
    csrf_digest bytea NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL
);
CREATE INDEX ix_browser_sessions_expires ON browser_sessions (expires_at);
"""

# Credentials are nobody's workspace: only the system role reads them.
POLICIES = """
DO $$ DECLARE name text; BEGIN
    FOREACH name IN ARRAY ARRAY['principals', 'memberships', 'browser_sessions']
    LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', name);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', name);
        EXECUTE format('CREATE POLICY every_workspace ON %I TO citewell_system USING (true)', name);
        EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON %I TO citewell_system', name);
    END LOOP;
END $$;
"""

# Who acts is said once, by the transaction's first statement. The record outlives a workspace, and
# also holds what concerns the installation as a whole.
ACTORS = """
ALTER TABLE audit_log
    DROP CONSTRAINT fk_audit_log_workspaces,
    ADD COLUMN principal_id uuid
        DEFAULT nullif(current_setting('citewell.principal', true), '')::uuid,
    ALTER COLUMN actor
        SET DEFAULT coalesce(nullif(current_setting('citewell.actor', true), ''), 'system');
"""


ARCHIVING = """
ALTER TABLE workspaces ADD COLUMN archived_at timestamptz;
GRANT UPDATE, DELETE ON workspaces TO citewell_system;
"""


def upgrade() -> None:
    for statements in (PRINCIPALS, POLICIES, ACTORS, ARCHIVING):
        op.execute(statements)
