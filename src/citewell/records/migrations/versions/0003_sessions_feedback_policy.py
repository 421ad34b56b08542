"""Sessions with their messages, feedback, a workspace's policy, questions as jobs, manifests."""

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

SESSIONS = """
CREATE TABLE sessions (
    workspace_id uuid NOT NULL
        CONSTRAINT fk_sessions_workspaces REFERENCES workspaces ON DELETE CASCADE,
    id uuid NOT NULL,
    title text,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL,
    turn_token uuid,
    turn_until timestamptz,
    CONSTRAINT pk_sessions PRIMARY KEY (workspace_id, id)
);
CREATE INDEX ix_sessions_updated ON sessions (workspace_id, updated_at, id);
CREATE INDEX ix_sessions_expires ON sessions (expires_at);
CREATE TABLE messages (
    workspace_id uuid NOT NULL,
    session_id uuid NOT NULL,
    ordinal integer NOT NULL,
    role text NOT NULL CHECK (role IN ('user', 'assistant')),
    content text NOT NULL,
    answer_id uuid,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT pk_messages PRIMARY KEY (workspace_id, session_id, ordinal),
    CONSTRAINT fk_messages_sessions FOREIGN KEY (workspace_id, session_id)
        REFERENCES sessions ON DELETE CASCADE
);
CREATE INDEX ix_messages_answer ON messages (workspace_id, answer_id);
"""

FEEDBACK = """
CREATE TABLE feedback (
    workspace_id uuid NOT NULL
        CONSTRAINT fk_feedback_workspaces REFERENCES workspaces ON DELETE CASCADE,
    answer_id uuid NOT NULL,
    rating smallint NOT NULL CHECK (rating IN (-1, 1)),
    comment text,
    question text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT pk_feedback PRIMARY KEY (workspace_id, answer_id)
);
CREATE INDEX ix_feedback_created ON feedback (workspace_id, created_at, answer_id);
"""

COLUMNS = """
ALTER TABLE answers
    ADD COLUMN session_id uuid,
    ADD COLUMN status text NOT NULL DEFAULT 'complete'
        CHECK (status IN ('complete', 'incomplete')),
    ADD COLUMN manifest jsonb NOT NULL DEFAULT '{}'::jsonb;
ALTER TABLE jobs ADD COLUMN payload jsonb NOT NULL DEFAULT '{}'::jsonb;
ALTER TABLE workspaces ADD COLUMN policy jsonb NOT NULL DEFAULT '{}'::jsonb;
GRANT UPDATE (policy) ON workspaces TO citewell_app;
"""

# Whatever search may find in a collection has changed: an answer's manifest names the generation.
GENERATIONS = """
ALTER TABLE collections ADD COLUMN generation bigint NOT NULL DEFAULT 0;
CREATE FUNCTION citewell_collection_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.generation := OLD.generation + 1;
    RETURN NEW;
END $$;
CREATE TRIGGER collection_changed
BEFORE UPDATE OF chunk_count, lexical_chunk_count ON collections
FOR EACH ROW EXECUTE FUNCTION citewell_collection_changed();
"""

POLICIES = """
DO $$ DECLARE name text; BEGIN
    FOREACH name IN ARRAY ARRAY['sessions', 'messages', 'feedback']
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


def upgrade() -> None:
    for statements in (SESSIONS, FEEDBACK, COLUMNS, GENERATIONS, POLICIES):
        op.execute(statements)
