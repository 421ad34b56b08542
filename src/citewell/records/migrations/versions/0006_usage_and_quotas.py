"""What was used, by whom and when; what a workspace and a collection may use."""

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

NO_COLLECTION = "'00000000-0000-0000-0000-000000000000'"

# A document counts with the bytes of its newest version. Row-level security is forced on the
# tables' owner too, so it is lifted while the old rows get theirs.
SIZES = """
ALTER TABLE documents ADD COLUMN size_bytes bigint NOT NULL DEFAULT 0;
ALTER TABLE documents NO FORCE ROW LEVEL SECURITY;
ALTER TABLE versions NO FORCE ROW LEVEL SECURITY;
UPDATE documents d SET size_bytes = v.size_bytes FROM (
    SELECT DISTINCT ON (workspace_id, document_id) workspace_id, document_id, size_bytes
    FROM versions ORDER BY workspace_id, document_id, number DESC) v
WHERE v.workspace_id = d.workspace_id AND v.document_id = d.id;
ALTER TABLE documents FORCE ROW LEVEL SECURITY;
ALTER TABLE versions FORCE ROW LEVEL SECURITY;
"""

# The id of no collection stands for the workspace as a whole.
QUOTAS = f"""
CREATE TABLE quotas (
    workspace_id uuid NOT NULL
        CONSTRAINT fk_quotas_workspaces REFERENCES workspaces ON DELETE CASCADE,
    collection_id uuid NOT NULL DEFAULT {NO_COLLECTION},
    documents bigint CHECK (documents >= 0),
    bytes bigint CHECK (bytes >= 0),
    chunks bigint CHECK (chunks >= 0),
    tokens_per_day bigint CHECK (tokens_per_day >= 0),
    micro_usd_per_day bigint CHECK (micro_usd_per_day >= 0),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT pk_quotas PRIMARY KEY (workspace_id, collection_id)
);
"""

# Days are sharded, so that transactions at once do not wait for one row. A collection's name is
# kept by nobody: what was used outlives it.
USAGE = f"""
CREATE TABLE usage_ledger (
    workspace_id uuid NOT NULL
        CONSTRAINT fk_usage_ledger_workspaces REFERENCES workspaces ON DELETE CASCADE,
    kind text NOT NULL
        CHECK (kind IN ('question', 'failure', 'upload', 'publish', 'embedding')),
    reference uuid NOT NULL,
    collection_id uuid NOT NULL DEFAULT {NO_COLLECTION},
    principal_id uuid DEFAULT nullif(current_setting('citewell.principal', true), '')::uuid,
    input_tokens bigint NOT NULL DEFAULT 0,
    output_tokens bigint NOT NULL DEFAULT 0,
    micro_usd bigint NOT NULL DEFAULT 0,
    documents bigint NOT NULL DEFAULT 0,
    bytes bigint NOT NULL DEFAULT 0,
    chunks bigint NOT NULL DEFAULT 0,
    at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT pk_usage_ledger PRIMARY KEY (workspace_id, kind, reference)
);
CREATE INDEX ix_usage_ledger_at ON usage_ledger (workspace_id, at);
CREATE TABLE usage_days (
    workspace_id uuid NOT NULL
        CONSTRAINT fk_usage_days_workspaces REFERENCES workspaces ON DELETE CASCADE,
    day date NOT NULL,
    collection_id uuid NOT NULL,
    shard smallint NOT NULL,
    questions bigint NOT NULL DEFAULT 0,
    input_tokens bigint NOT NULL DEFAULT 0,
    output_tokens bigint NOT NULL DEFAULT 0,
    micro_usd bigint NOT NULL DEFAULT 0,
    documents bigint NOT NULL DEFAULT 0,
    bytes bigint NOT NULL DEFAULT 0,
    chunks bigint NOT NULL DEFAULT 0,
    CONSTRAINT pk_usage_days PRIMARY KEY (workspace_id, day, collection_id, shard)
);
"""

POLICIES = """
DO $$ DECLARE name text; BEGIN
    FOREACH name IN ARRAY ARRAY['quotas', 'usage_ledger', 'usage_days']
    LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', name);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', name);
        EXECUTE format('CREATE POLICY one_workspace ON %I TO citewell_app '
            'USING (workspace_id = citewell_workspace())', name);
        EXECUTE format('CREATE POLICY every_workspace ON %I TO citewell_system USING (true)', name);
    END LOOP;
END $$;
GRANT SELECT, INSERT ON usage_ledger TO citewell_app, citewell_system;
GRANT SELECT, INSERT, UPDATE ON usage_days TO citewell_app, citewell_system;
GRANT SELECT, INSERT, UPDATE, DELETE ON quotas TO citewell_app, citewell_system;
GRANT UPDATE, DELETE ON usage_ledger, usage_days TO citewell_system;
"""


def upgrade() -> None:
    for statements in (SIZES, QUOTAS, USAGE, POLICIES):
        op.execute(statements)
