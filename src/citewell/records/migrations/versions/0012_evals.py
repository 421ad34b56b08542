"""Runs of evaluations with each question's figures, and the datasets that guard a workspace."""

from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

ACTOR = "coalesce(nullif(current_setting('citewell.actor', true), ''), 'system')"

# How far a run is, its job says: the same id. A run outlives its job.
RUNS = f"""
CREATE TABLE eval_runs (
    workspace_id uuid NOT NULL
        CONSTRAINT fk_eval_runs_workspaces REFERENCES workspaces ON DELETE CASCADE,
    id uuid NOT NULL,
    name text NOT NULL DEFAULT '',
    dataset_sha256 text NOT NULL,
    collection text,
    retrieval_only boolean NOT NULL,
    settings_sha256 text,
    settings jsonb NOT NULL DEFAULT '{{}}'::jsonb,
    question_count integer NOT NULL,
    figures jsonb NOT NULL DEFAULT '{{}}'::jsonb,
    created_by text NOT NULL DEFAULT {ACTOR},
    created_at timestamptz NOT NULL DEFAULT now(),
    finished_at timestamptz,
    CONSTRAINT pk_eval_runs PRIMARY KEY (workspace_id, id)
);
CREATE INDEX ix_eval_runs_created ON eval_runs (workspace_id, created_at, id);
CREATE TABLE eval_questions (
    workspace_id uuid NOT NULL,
    run_id uuid NOT NULL,
    ordinal integer NOT NULL,
    question jsonb NOT NULL DEFAULT '{{}}'::jsonb,
    result jsonb,
    CONSTRAINT pk_eval_questions PRIMARY KEY (workspace_id, run_id, ordinal),
    CONSTRAINT fk_eval_questions_eval_runs FOREIGN KEY (workspace_id, run_id)
        REFERENCES eval_runs ON DELETE CASCADE
);
CREATE TABLE eval_guards (
    workspace_id uuid NOT NULL
        CONSTRAINT fk_eval_guards_workspaces REFERENCES workspaces ON DELETE CASCADE,
    dataset_sha256 text NOT NULL,
    collection text,
    tolerance double precision NOT NULL,
    questions jsonb NOT NULL DEFAULT '{{}}'::jsonb,
    created_by text NOT NULL DEFAULT {ACTOR},
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT pk_eval_guards PRIMARY KEY (workspace_id)
);
"""

SECURE = """
ALTER TABLE {name} ENABLE ROW LEVEL SECURITY;
ALTER TABLE {name} FORCE ROW LEVEL SECURITY;
CREATE POLICY one_workspace ON {name} TO citewell_app
    USING (workspace_id = citewell_workspace());
CREATE POLICY every_workspace ON {name} TO citewell_system USING (true);
GRANT SELECT, INSERT, UPDATE, DELETE ON {name} TO citewell_app, citewell_system;
"""

# An evaluation's tokens and money count against the day's quotas, but it is no reader's question.
USAGE = """
ALTER TABLE usage_ledger DROP CONSTRAINT usage_ledger_kind_check;
ALTER TABLE usage_ledger ADD CONSTRAINT usage_ledger_kind_check
    CHECK (kind IN ('question', 'failure', 'upload', 'publish', 'embedding', 'evaluation'));
"""


def upgrade() -> None:
    op.execute(RUNS)
    for name in ("eval_runs", "eval_questions", "eval_guards"):
        op.execute(SECURE.format(name=name))
    op.execute(USAGE)
