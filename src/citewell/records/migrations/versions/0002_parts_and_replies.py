"""Large documents in parts, jobs of jobs, webhooks, replies kept by their idempotency key."""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

JOBS = """
ALTER TABLE jobs
    ADD COLUMN task text NOT NULL DEFAULT 'ingest',
    ADD COLUMN parent_id uuid,
    ADD COLUMN part integer,
    ADD COLUMN part_count integer NOT NULL DEFAULT 0,
    ADD COLUMN open_parts integer NOT NULL DEFAULT 0,
    ADD COLUMN failed_parts integer NOT NULL DEFAULT 0,
    ADD COLUMN password text,
    ADD CONSTRAINT fk_jobs_jobs FOREIGN KEY (workspace_id, parent_id)
        REFERENCES jobs ON DELETE CASCADE;
CREATE INDEX ix_jobs_parent ON jobs (workspace_id, parent_id, part) WHERE parent_id IS NOT NULL;
ALTER TABLE versions ADD COLUMN staged_at timestamptz;
"""

STAGED = """
CREATE TABLE staged_texts (
    workspace_id uuid NOT NULL,
    version_id uuid NOT NULL,
    part integer NOT NULL,
    text text NOT NULL,
    CONSTRAINT pk_staged_texts PRIMARY KEY (workspace_id, version_id, part),
    CONSTRAINT fk_staged_texts_versions FOREIGN KEY (workspace_id, version_id)
        REFERENCES versions ON DELETE CASCADE
);
CREATE TABLE staged_chunks (
    workspace_id uuid NOT NULL,
    version_id uuid NOT NULL,
    ordinal integer NOT NULL,
    chunk_id uuid NOT NULL,
    start integer NOT NULL,
    "end" integer NOT NULL,
    text text NOT NULL,
    context text NOT NULL,
    section integer,
    page integer,
    page_breaks integer[] NOT NULL,
    tokens integer NOT NULL,
    CONSTRAINT pk_staged_chunks PRIMARY KEY (workspace_id, version_id, ordinal),
    CONSTRAINT fk_staged_chunks_versions FOREIGN KEY (workspace_id, version_id)
        REFERENCES versions ON DELETE CASCADE
);
CREATE TABLE staged_embeddings (
    workspace_id uuid NOT NULL,
    version_id uuid NOT NULL,
    ordinal integer NOT NULL,
    model text NOT NULL,
    embedding halfvec(384) NOT NULL,
    keys bigint[] NOT NULL,
    bm25 sparsevec(536870912) NOT NULL,
    CONSTRAINT pk_staged_embeddings PRIMARY KEY (workspace_id, version_id, ordinal),
    CONSTRAINT fk_staged_embeddings_versions FOREIGN KEY (workspace_id, version_id)
        REFERENCES versions ON DELETE CASCADE
);
"""

REPLIES = """
CREATE TABLE idempotency_keys (
    workspace_id uuid NOT NULL
        CONSTRAINT fk_idempotency_keys_workspaces REFERENCES workspaces ON DELETE CASCADE,
    key text NOT NULL,
    fingerprint text NOT NULL,
    status integer,
    reply jsonb NOT NULL DEFAULT '{}'::jsonb,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT pk_idempotency_keys PRIMARY KEY (workspace_id, key)
);
CREATE INDEX ix_idempotency_keys_created ON idempotency_keys (created_at);
"""

WEBHOOKS = """
CREATE TABLE webhooks (
    workspace_id uuid NOT NULL
        CONSTRAINT fk_webhooks_workspaces REFERENCES workspaces ON DELETE CASCADE,
    id uuid NOT NULL,
    url text NOT NULL,
    secret text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT pk_webhooks PRIMARY KEY (workspace_id, id)
);
CREATE TABLE webhook_deliveries (
    workspace_id uuid NOT NULL,
    id uuid NOT NULL,
    webhook_id uuid NOT NULL,
    job_id uuid NOT NULL,
    event text NOT NULL,
    status text NOT NULL DEFAULT 'waiting'
        CHECK (status IN ('waiting', 'delivered', 'failed')),
    attempt integer NOT NULL DEFAULT 0,
    run_after timestamptz NOT NULL DEFAULT now(),
    message text,
    created_at timestamptz NOT NULL DEFAULT now(),
    finished_at timestamptz,
    CONSTRAINT pk_webhook_deliveries PRIMARY KEY (workspace_id, id),
    CONSTRAINT fk_webhook_deliveries_webhooks FOREIGN KEY (workspace_id, webhook_id)
        REFERENCES webhooks ON DELETE CASCADE
);
CREATE INDEX ix_webhook_deliveries_waiting ON webhook_deliveries (run_after)
    WHERE status = 'waiting';
"""

WORKERS = """
CREATE TABLE workers (
    id uuid CONSTRAINT pk_workers PRIMARY KEY,
    host text NOT NULL,
    pid integer NOT NULL,
    queues text[] NOT NULL,
    concurrency integer NOT NULL,
    started_at timestamptz NOT NULL DEFAULT now(),
    seen_at timestamptz NOT NULL DEFAULT now()
);
ALTER TABLE workers ENABLE ROW LEVEL SECURITY;
ALTER TABLE workers FORCE ROW LEVEL SECURITY;
CREATE POLICY every_worker ON workers TO citewell_system USING (true);
GRANT SELECT, INSERT, UPDATE, DELETE ON workers TO citewell_system;
"""

POLICIES = """
DO $$ DECLARE name text; BEGIN
    FOREACH name IN ARRAY ARRAY['staged_texts', 'staged_chunks', 'staged_embeddings',
        'idempotency_keys', 'webhooks', 'webhook_deliveries']
    LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', name);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', name);
        EXECUTE format('CREATE POLICY one_workspace ON %I TO citewell_app '
            'USING (workspace_id = citewell_workspace())', name);
        EXECUTE format('CREATE POLICY every_workspace ON %I TO citewell_system USING (true)', name);
        EXECUTE format(
            'GRANT SELECT, INSERT, UPDATE, DELETE ON %I TO citewell_app, citewell_system', name);
    END LOOP;
END $$;
"""

# However a job ends, those that count on it learn of it in the same transaction.
JOB_ENDED = """
CREATE FUNCTION citewell_job_ended() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.task = 'embed' THEN
        IF NEW.status = 'done' THEN
            UPDATE jobs SET open_parts = open_parts - 1,
                status = CASE WHEN open_parts = 1 THEN 'queued' ELSE status END,
                task = CASE WHEN open_parts = 1 THEN 'publish' ELSE task END,
                attempt = CASE WHEN open_parts = 1 THEN 0 ELSE attempt END,
                run_after = CASE WHEN open_parts = 1 THEN now() ELSE run_after END,
                sent_at = CASE WHEN open_parts = 1 THEN NULL ELSE sent_at END
            WHERE workspace_id = NEW.workspace_id AND id = NEW.parent_id AND status = 'running'
                AND lease_token IS NULL;
        ELSE
            UPDATE jobs SET status = NEW.status, reason = NEW.reason, message = NEW.message,
                finished_at = now(), open_parts = 0, password = NULL
            WHERE workspace_id = NEW.workspace_id AND id = NEW.parent_id AND status = 'running'
                AND lease_token IS NULL;
        END IF;
        RETURN NULL;
    END IF;
    IF NEW.part_count > 0 AND NEW.task <> 'wait' THEN
        -- One that is locked is ending, and waits for this row: it is left to end without effect.
        DELETE FROM jobs WHERE workspace_id = NEW.workspace_id AND id IN (
            SELECT id FROM jobs WHERE workspace_id = NEW.workspace_id AND parent_id = NEW.id
            AND task = 'embed' ORDER BY id FOR UPDATE SKIP LOCKED);
    END IF;
    IF NEW.parent_id IS NOT NULL THEN
        UPDATE jobs SET open_parts = open_parts - 1,
            failed_parts = failed_parts + (NEW.status <> 'done')::int,
            status = CASE WHEN open_parts > 1 THEN status
                WHEN failed_parts + (NEW.status <> 'done')::int < part_count THEN 'done'
                ELSE 'failed' END,
            reason = CASE WHEN open_parts = 1
                AND failed_parts + (NEW.status <> 'done')::int = part_count
                THEN 'all_failed' END,
            message = CASE WHEN open_parts = 1
                AND failed_parts + (NEW.status <> 'done')::int = part_count
                THEN 'Not one of its jobs succeeded. Look at each of them for the reason.' END,
            finished_at = CASE WHEN open_parts = 1 THEN now() END
        WHERE workspace_id = NEW.workspace_id AND id = NEW.parent_id AND status = 'running';
    END IF;
    -- Locked here, since one that is being removed would fail the foreign key, and the job with it.
    INSERT INTO webhook_deliveries (workspace_id, id, webhook_id, job_id, event)
    SELECT NEW.workspace_id, gen_random_uuid(), id, NEW.id, 'job.' || NEW.status
    FROM webhooks WHERE workspace_id = NEW.workspace_id FOR KEY SHARE;
    RETURN NULL;
END $$;
CREATE TRIGGER job_ended AFTER UPDATE OF status ON jobs FOR EACH ROW
WHEN (NEW.status IN ('done', 'failed', 'cancelled') AND OLD.status IN ('queued', 'running'))
EXECUTE FUNCTION citewell_job_ended();
"""


def upgrade() -> None:
    for statements in (JOBS, STAGED, REPLIES, WEBHOOKS, WORKERS, POLICIES, JOB_ENDED):
        op.execute(statements)
