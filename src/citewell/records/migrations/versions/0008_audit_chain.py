"""The audit log is append-only and chained by hashes; a log of questions that holds no text."""

from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

# A chain for each workspace: each link's hash covers the one before it and its audit row.
CHAIN = """
CREATE TABLE audit_chain (
    workspace_id uuid NOT NULL,
    position bigint NOT NULL,
    audit_id bigint NOT NULL,
    hash bytea NOT NULL,
    CONSTRAINT pk_audit_chain PRIMARY KEY (workspace_id, position),
    CONSTRAINT uq_audit_chain_workspace_id_audit_id UNIQUE (workspace_id, audit_id)
);
CREATE TABLE audit_heads (
    workspace_id uuid CONSTRAINT pk_audit_heads PRIMARY KEY,
    position bigint NOT NULL,
    hash bytea NOT NULL
) WITH (fillfactor = 50);
CREATE INDEX ix_audit_log_id ON audit_log (id);
"""

# The canonical text is JSON: no two rows have the same one, whatever a session's settings are.
HASH = """
CREATE FUNCTION citewell_audit_hash(previous bytea, entry audit_log) RETURNS bytea
LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT sha256(previous || convert_to(jsonb_build_array(
        entry.workspace_id::text, entry.id, entry.action, entry.target, entry.actor,
        entry.principal_id::text, entry.request_id, entry.outcome,
        (extract(epoch FROM entry.created_at) * 1000000)::bigint)::text, 'UTF8'))
$$;
"""

# Runs as citewell_system, so that no other role needs to write links. One call seals all rows of
# the transaction: those of others that can be seen are sealed already. It is told to go by the
# index, because a plan that is made without the number would read the whole log.
SEAL = """
CREATE FUNCTION citewell_seal_audit(first_id bigint) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = {schema}, pg_temp
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off
SET plan_cache_mode = force_generic_plan AS $$
DECLARE
    workspace uuid;
    place bigint;
    link bytea;
    entry audit_log;
BEGIN
    FOR workspace IN SELECT DISTINCT a.workspace_id FROM audit_log a WHERE a.id >= first_id
        AND NOT EXISTS (SELECT FROM audit_chain c
            WHERE c.workspace_id = a.workspace_id AND c.audit_id = a.id) ORDER BY 1
    LOOP
        SELECT h.position, h.hash INTO place, link FROM audit_heads h
        WHERE h.workspace_id = workspace FOR UPDATE;
        IF NOT FOUND THEN
            INSERT INTO audit_heads VALUES (workspace, 0, decode(repeat('00', 32), 'hex'))
            ON CONFLICT DO NOTHING;
            SELECT h.position, h.hash INTO place, link FROM audit_heads h
            WHERE h.workspace_id = workspace FOR UPDATE;
        END IF;
        FOR entry IN SELECT a.* FROM audit_log a
            WHERE a.workspace_id = workspace AND a.id >= first_id AND NOT EXISTS (
                SELECT FROM audit_chain c
                WHERE c.workspace_id = a.workspace_id AND c.audit_id = a.id) ORDER BY a.id
        LOOP
            place := place + 1;
            link := citewell_audit_hash(link, entry);
            INSERT INTO audit_chain VALUES (workspace, place, entry.id, link);
        END LOOP;
        UPDATE audit_heads SET position = place, hash = link WHERE workspace_id = workspace;
    END LOOP;
END $$;
CREATE FUNCTION citewell_audit_added() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = {schema}, pg_temp AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM audit_chain c
        WHERE c.workspace_id = NEW.workspace_id AND c.audit_id = NEW.id) THEN
        PERFORM citewell_seal_audit(NEW.id);
    END IF;
    RETURN NULL;
END $$;
REVOKE EXECUTE ON FUNCTION citewell_seal_audit(bigint) FROM PUBLIC;
ALTER FUNCTION citewell_seal_audit(bigint) OWNER TO citewell_system;
ALTER FUNCTION citewell_audit_added() OWNER TO citewell_system;
"""

# At the commit: the head's row is the last lock that a transaction takes.
SEALING = """
SET LOCAL ROLE citewell_system;
SELECT citewell_seal_audit(0);
RESET ROLE;
CREATE CONSTRAINT TRIGGER audit_added AFTER INSERT ON audit_log DEFERRABLE INITIALLY DEFERRED
FOR EACH ROW EXECUTE FUNCTION citewell_audit_added();
"""

# Also for the tables' owner, who would have to drop these first.
APPEND_ONLY = """
CREATE FUNCTION citewell_refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE insufficient_privilege USING MESSAGE = format('permission denied: %s on table %s, '
        'whose rows are never changed or removed', TG_OP, TG_TABLE_NAME);
END $$;
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_log
FOR EACH STATEMENT EXECUTE FUNCTION citewell_refuse_change();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_chain
FOR EACH STATEMENT EXECUTE FUNCTION citewell_refuse_change();
CREATE TRIGGER append_only BEFORE DELETE OR TRUNCATE ON audit_heads
FOR EACH STATEMENT EXECUTE FUNCTION citewell_refuse_change();
CREATE TRIGGER only_onwards BEFORE UPDATE ON audit_heads FOR EACH ROW
WHEN (NEW.position <= OLD.position OR NEW.workspace_id <> OLD.workspace_id)
EXECUTE FUNCTION citewell_refuse_change();
"""

# What was asked and answered stands in answers, as long as that is kept; here is what may be
# counted even then.
CHAT_LOGS = """
CREATE TABLE chat_logs (
    workspace_id uuid NOT NULL
        CONSTRAINT fk_chat_logs_workspaces REFERENCES workspaces ON DELETE CASCADE,
    answer_id uuid NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    actor text NOT NULL
        DEFAULT coalesce(nullif(current_setting('citewell.actor', true), ''), 'system'),
    principal_id uuid DEFAULT nullif(current_setting('citewell.principal', true), '')::uuid,
    request_id text,
    channel text NOT NULL,
    session_id uuid,
    mode text NOT NULL,
    model text NOT NULL,
    status text NOT NULL CHECK (status IN ('complete', 'incomplete')),
    refused boolean NOT NULL,
    reason text,
    citation_count integer NOT NULL,
    input_tokens integer NOT NULL,
    output_tokens integer NOT NULL,
    cost_usd double precision,
    timings_ms jsonb NOT NULL DEFAULT '{}'::jsonb,
    redaction text NOT NULL CHECK (redaction IN ('off', 'questions', 'all')),
    CONSTRAINT pk_chat_logs PRIMARY KEY (workspace_id, answer_id)
);
CREATE INDEX ix_chat_logs_created ON chat_logs (workspace_id, created_at, answer_id);
CREATE INDEX ix_chat_logs_session ON chat_logs (workspace_id, session_id)
    WHERE session_id IS NOT NULL;
"""

GRANTS = """
DO $$ DECLARE name text; BEGIN
    FOREACH name IN ARRAY ARRAY['audit_chain', 'audit_heads', 'chat_logs']
    LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', name);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', name);
        EXECUTE format('CREATE POLICY one_workspace ON %I TO citewell_app '
            'USING (workspace_id = citewell_workspace())', name);
        EXECUTE format('CREATE POLICY every_workspace ON %I TO citewell_system USING (true)', name);
        EXECUTE format('GRANT SELECT ON %I TO citewell_app, citewell_system', name);
    END LOOP;
    GRANT INSERT ON audit_chain TO citewell_system;
    GRANT INSERT, UPDATE ON audit_heads TO citewell_system;
    GRANT INSERT, UPDATE, DELETE ON chat_logs TO citewell_app, citewell_system;
END $$;
"""

EARLIER_ANSWERS = """
SET LOCAL ROLE citewell_system;
INSERT INTO chat_logs (workspace_id, answer_id, created_at, actor, principal_id, channel,
    session_id, mode, model, status, refused, reason, citation_count, input_tokens, output_tokens,
    cost_usd, timings_ms, redaction)
SELECT workspace_id, id, created_at, 'unknown', NULL, 'api', session_id,
    coalesce(result ->> 'mode', 'unknown'), coalesce(result ->> 'model', 'unknown'), status,
    refused, result ->> 'reason',
    CASE jsonb_typeof(result -> 'citations') WHEN 'array'
        THEN jsonb_array_length(result -> 'citations') ELSE 0 END,
    coalesce((result #>> '{usage,input_tokens}')::integer, 0),
    coalesce((result #>> '{usage,output_tokens}')::integer, 0),
    (result #>> '{usage,cost_usd}')::double precision,
    coalesce(result -> 'timings_ms', '{}'), 'off'
FROM answers;
RESET ROLE;
"""


def upgrade() -> None:
    schema = op.get_bind().exec_driver_sql("SELECT quote_ident(current_schema())").scalar_one()
    seal = SEAL.replace("{schema}", schema)
    for statements in (CHAIN, CHAT_LOGS, GRANTS, HASH, seal, SEALING, APPEND_ONLY):
        op.execute(statements)
    op.execute(EARLIER_ANSWERS)
