"""First tables, roles, row-level security, and BM25 inside PostgreSQL."""

from alembic import op

from citewell.domain import DEFAULT_COLLECTION, PUBLIC_WORKSPACE
from citewell.records.migrations.bm25 import BM25_FUNCTIONS, LEXICAL_SEARCH

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

TABLES = """
CREATE TABLE workspaces (
    id uuid CONSTRAINT pk_workspaces PRIMARY KEY,
    name text NOT NULL CONSTRAINT uq_workspaces_name UNIQUE,
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE collections (
    workspace_id uuid NOT NULL
        CONSTRAINT fk_collections_workspaces REFERENCES workspaces ON DELETE CASCADE,
    id uuid NOT NULL,
    name text NOT NULL,
    chunk_count bigint NOT NULL DEFAULT 0,
    lexical_chunk_count bigint NOT NULL DEFAULT 0,
    lexical_pending bigint NOT NULL DEFAULT 0,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT pk_collections PRIMARY KEY (workspace_id, id),
    CONSTRAINT uq_collections_workspace_id_name UNIQUE (workspace_id, name)
);
CREATE TABLE documents (
    workspace_id uuid NOT NULL,
    id uuid NOT NULL,
    collection_id uuid NOT NULL,
    name text NOT NULL,
    source text NOT NULL,
    active_version_id uuid,
    chunk_count integer NOT NULL DEFAULT 0,
    metadata jsonb NOT NULL DEFAULT '{}'::jsonb,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT pk_documents PRIMARY KEY (workspace_id, id),
    CONSTRAINT uq_documents_workspace_id_collection_id_source
        UNIQUE (workspace_id, collection_id, source),
    CONSTRAINT fk_documents_collections FOREIGN KEY (workspace_id, collection_id)
        REFERENCES collections ON DELETE CASCADE
);
CREATE INDEX ix_documents_created ON documents (workspace_id, created_at, id);
CREATE TABLE versions (
    workspace_id uuid NOT NULL,
    id uuid NOT NULL,
    document_id uuid NOT NULL,
    number integer NOT NULL,
    sha256 text NOT NULL,
    size_bytes bigint NOT NULL,
    media_type text NOT NULL,
    title text,
    text text,
    page_starts integer[] NOT NULL DEFAULT '{}'::integer[],
    metadata jsonb NOT NULL DEFAULT '{}'::jsonb,
    report jsonb NOT NULL DEFAULT '{}'::jsonb,
    created_at timestamptz NOT NULL DEFAULT now(),
    published_at timestamptz,
    CONSTRAINT pk_versions PRIMARY KEY (workspace_id, id),
    CONSTRAINT uq_versions_workspace_id_document_id_number
        UNIQUE (workspace_id, document_id, number),
    CONSTRAINT fk_versions_documents FOREIGN KEY (workspace_id, document_id)
        REFERENCES documents ON DELETE CASCADE
);
CREATE INDEX ix_versions_sha256 ON versions (sha256, workspace_id);
CREATE TABLE sections (
    workspace_id uuid NOT NULL,
    version_id uuid NOT NULL,
    ordinal integer NOT NULL,
    parent integer,
    level integer NOT NULL,
    number text,
    cited_number text,
    title text NOT NULL,
    anchor text,
    path text[] NOT NULL,
    start integer NOT NULL,
    body_start integer NOT NULL,
    "end" integer NOT NULL,
    CONSTRAINT pk_sections PRIMARY KEY (workspace_id, version_id, ordinal),
    CONSTRAINT fk_sections_versions FOREIGN KEY (workspace_id, version_id)
        REFERENCES versions ON DELETE CASCADE
);
CREATE TABLE chunks (
    workspace_id uuid NOT NULL,
    id uuid NOT NULL,
    collection_id uuid NOT NULL,
    document_id uuid NOT NULL,
    version_id uuid NOT NULL,
    ordinal integer NOT NULL,
    start integer NOT NULL,
    "end" integer NOT NULL,
    text text NOT NULL,
    context text NOT NULL,
    section integer,
    page integer,
    page_breaks integer[] NOT NULL,
    tokens integer NOT NULL,
    CONSTRAINT pk_chunks PRIMARY KEY (workspace_id, id),
    CONSTRAINT uq_chunks_workspace_id_version_id_ordinal
        UNIQUE (workspace_id, version_id, ordinal),
    CONSTRAINT fk_chunks_documents FOREIGN KEY (workspace_id, document_id)
        REFERENCES documents ON DELETE CASCADE,
    CONSTRAINT fk_chunks_versions FOREIGN KEY (workspace_id, version_id)
        REFERENCES versions ON DELETE CASCADE
);
CREATE INDEX ix_chunks_document ON chunks (workspace_id, document_id, ordinal);
CREATE TABLE chunk_terms (
    workspace_id uuid NOT NULL,
    chunk_id uuid NOT NULL,
    collection_id uuid NOT NULL,
    document_id uuid NOT NULL,
    keys bigint[] NOT NULL,
    bm25 sparsevec(536870912) NOT NULL,
    CONSTRAINT pk_chunk_terms PRIMARY KEY (workspace_id, chunk_id),
    CONSTRAINT fk_chunk_terms_chunks FOREIGN KEY (workspace_id, chunk_id)
        REFERENCES chunks ON DELETE CASCADE
);
ALTER TABLE chunk_terms ALTER keys SET STORAGE EXTERNAL, ALTER bm25 SET STORAGE MAIN;
CREATE INDEX ix_chunk_terms_keys ON chunk_terms USING gin (keys) WITH (fastupdate = off);
CREATE INDEX ix_chunk_terms_document ON chunk_terms (workspace_id, document_id);
CREATE INDEX ix_chunk_terms_collection ON chunk_terms (workspace_id, collection_id);
CREATE TABLE lexemes (
    workspace_id uuid NOT NULL,
    collection_id uuid NOT NULL,
    key bigint NOT NULL,
    chunk_frequency integer NOT NULL,
    CONSTRAINT pk_lexemes PRIMARY KEY (workspace_id, collection_id, key),
    CONSTRAINT fk_lexemes_collections FOREIGN KEY (workspace_id, collection_id)
        REFERENCES collections ON DELETE CASCADE
);
CREATE TABLE vectors_384 (
    workspace_id uuid NOT NULL,
    chunk_id uuid NOT NULL,
    collection_id uuid NOT NULL,
    document_id uuid NOT NULL,
    model text NOT NULL,
    embedding halfvec(384) NOT NULL,
    CONSTRAINT pk_vectors_384 PRIMARY KEY (workspace_id, chunk_id),
    CONSTRAINT fk_vectors_384_chunks FOREIGN KEY (workspace_id, chunk_id)
        REFERENCES chunks ON DELETE CASCADE
);
ALTER TABLE vectors_384 ALTER embedding SET STORAGE PLAIN;
CREATE INDEX ix_vectors_384_document ON vectors_384 (workspace_id, document_id);
CREATE INDEX ix_vectors_384_collection ON vectors_384 (workspace_id, collection_id);
CREATE TABLE jobs (
    workspace_id uuid NOT NULL
        CONSTRAINT fk_jobs_workspaces REFERENCES workspaces ON DELETE CASCADE,
    id uuid NOT NULL,
    kind text NOT NULL,
    document_id uuid,
    version_id uuid,
    status text NOT NULL DEFAULT 'queued'
        CHECK (status IN ('queued', 'running', 'done', 'failed', 'cancelled')),
    reason text,
    message text,
    attempt integer NOT NULL DEFAULT 0,
    lease_token uuid,
    lease_until timestamptz,
    run_after timestamptz,
    sent_at timestamptz,
    progress jsonb NOT NULL DEFAULT '{}'::jsonb,
    request_id text,
    created_at timestamptz NOT NULL DEFAULT now(),
    started_at timestamptz,
    finished_at timestamptz,
    CONSTRAINT pk_jobs PRIMARY KEY (workspace_id, id)
);
CREATE INDEX ix_jobs_created ON jobs (workspace_id, created_at, id);
CREATE INDEX ix_jobs_document ON jobs (workspace_id, document_id);
CREATE INDEX ix_jobs_open ON jobs (status, lease_until) WHERE status IN ('queued', 'running');
CREATE TABLE answers (
    workspace_id uuid NOT NULL
        CONSTRAINT fk_answers_workspaces REFERENCES workspaces ON DELETE CASCADE,
    id uuid NOT NULL,
    question text NOT NULL,
    refused boolean NOT NULL,
    document_ids uuid[] NOT NULL,
    result jsonb NOT NULL DEFAULT '{}'::jsonb,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT pk_answers PRIMARY KEY (workspace_id, id)
);
CREATE INDEX ix_answers_created ON answers (created_at);
CREATE TABLE audit_log (
    workspace_id uuid NOT NULL
        CONSTRAINT fk_audit_log_workspaces REFERENCES workspaces ON DELETE CASCADE,
    id bigint GENERATED ALWAYS AS IDENTITY,
    action text NOT NULL,
    target text NOT NULL,
    actor text NOT NULL,
    request_id text,
    outcome text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT pk_audit_log PRIMARY KEY (workspace_id, id)
);
"""

ROLES = """
DO $$ BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'citewell_app') THEN
        CREATE ROLE citewell_app NOLOGIN;
    END IF;
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'citewell_system') THEN
        CREATE ROLE citewell_system NOLOGIN;
    END IF;
    -- Without INHERIT the login role itself sees nothing until it chooses one of the two.
    EXECUTE format('GRANT citewell_app, citewell_system TO %I %s', current_user,
        CASE WHEN current_setting('server_version_num')::int >= 160000
        THEN 'WITH INHERIT FALSE, SET TRUE' ELSE '' END);
    EXECUTE format('GRANT CREATE, USAGE ON SCHEMA %I TO citewell_system', current_schema());
    EXECUTE format('GRANT USAGE ON SCHEMA %I TO citewell_app', current_schema());
END $$;
"""

POLICIES = """
DO $$ DECLARE name text; BEGIN
    FOREACH name IN ARRAY ARRAY['collections', 'documents', 'versions', 'sections', 'chunks',
        'chunk_terms', 'lexemes', 'vectors_384', 'jobs', 'answers', 'audit_log', 'workspaces']
    LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', name);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', name);
        EXECUTE format(
            'CREATE POLICY one_workspace ON %I TO citewell_app USING (%I = citewell_workspace())',
            name, CASE name WHEN 'workspaces' THEN 'id' ELSE 'workspace_id' END);
        EXECUTE format('CREATE POLICY every_workspace ON %I TO citewell_system USING (true)', name);
        EXECUTE format('GRANT SELECT ON %I TO citewell_app, citewell_system', name);
        CONTINUE WHEN name = 'workspaces';
        EXECUTE format('GRANT INSERT ON %I TO citewell_app, citewell_system', name);
        CONTINUE WHEN name = 'audit_log';
        EXECUTE format('GRANT UPDATE, DELETE ON %I TO citewell_app, citewell_system', name);
    END LOOP;
    GRANT INSERT ON workspaces TO citewell_system;
END $$;
"""

CURRENT_WORKSPACE = """
CREATE FUNCTION citewell_workspace() RETURNS uuid LANGUAGE sql STABLE PARALLEL SAFE AS
$$ SELECT nullif(current_setting('citewell.workspace_id', true), '')::uuid $$;
"""

FIRST_ROWS = f"""
SET LOCAL ROLE citewell_system;
INSERT INTO workspaces (id, name) VALUES ('{PUBLIC_WORKSPACE}', 'public');
INSERT INTO collections (workspace_id, id, name)
VALUES ('{PUBLIC_WORKSPACE}', gen_random_uuid(), '{DEFAULT_COLLECTION}');
RESET ROLE;
"""


def upgrade() -> None:
    op.execute("CREATE EXTENSION IF NOT EXISTS vector")
    for statements in (TABLES, ROLES, CURRENT_WORKSPACE, POLICIES, BM25_FUNCTIONS, LEXICAL_SEARCH):
        op.execute(statements)
    op.execute(FIRST_ROWS)
