"""Every table. Each row belongs to a workspace: it is part of every key and every foreign key.

Row-level security is forced on each of them (migration 0001): under the role ``citewell_app`` a
transaction sees the one workspace that its first statement names.
"""

from typing import Any

from pgvector.sqlalchemy import HALFVEC, SPARSEVEC
from sqlalchemy import (
    ARRAY,
    BigInteger,
    Boolean,
    Column,
    Date,
    DateTime,
    Double,
    ForeignKeyConstraint,
    Identity,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

LEXICAL_DIMENSION = 536_870_912
"""Term hashes are sparse-vector positions: 1 … 2²⁹."""

metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(referred_table_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    }
)


def _workspace() -> Column[object]:
    return Column("workspace_id", Uuid, nullable=False)


def _created() -> Column[object]:
    return Column("created_at", DateTime(timezone=True), nullable=False, server_default=func.now())


def _json(name: str) -> Column[object]:
    return Column(name, JSONB, nullable=False, server_default=text("'{}'::jsonb"))


def _documents(name: str) -> Column[object]:
    return Column(name, ARRAY(Uuid), nullable=False, server_default=text("'{}'::uuid[]"))


def _count(name: str) -> Column[object]:
    return Column(name, BigInteger, nullable=False, server_default="0")


def _belongs_to(parent: str, column: str, ondelete: str = "CASCADE") -> ForeignKeyConstraint:
    return ForeignKeyConstraint(
        ["workspace_id", column],
        [f"{parent}.workspace_id", f"{parent}.id"],
        ondelete=ondelete,
    )


def _chunk_columns() -> list[Column[Any]]:
    """Return what a chunk is made of, staged or searchable."""
    return [
        Column("start", Integer, nullable=False),
        Column("end", Integer, nullable=False),
        Column("text", Text, nullable=False),
        Column("context", Text, nullable=False),
        Column("section", Integer),
        Column("page", Integer),
        Column("page_breaks", ARRAY(Integer), nullable=False),
        Column("tokens", Integer, nullable=False),
    ]


workspaces = Table(
    "workspaces",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("name", Text, nullable=False, unique=True),
    _created(),
    _json("policy"),
    Column("archived_at", DateTime(timezone=True)),
    Column("description", Text, nullable=False, server_default=text("''")),
    Column("archived_reason", Text),
    Column("purge_after", DateTime(timezone=True)),
    Column("purge_requested_at", DateTime(timezone=True)),
    Column("purge_requested_by", Text),
    Column("purging", Boolean, nullable=False, server_default=text("false")),
    Index("ix_workspaces_created", "created_at", "id"),
)

collections = Table(
    "collections",
    metadata,
    _workspace(),
    Column("id", Uuid, nullable=False),
    Column("name", Text, nullable=False),
    Column("chunk_count", BigInteger, nullable=False, server_default="0"),
    Column("lexical_chunk_count", BigInteger, nullable=False, server_default="0"),
    Column("lexical_pending", BigInteger, nullable=False, server_default="0"),
    _created(),
    Column("generation", BigInteger, nullable=False, server_default="0"),
    Column("languages", ARRAY(Text), nullable=False, server_default=text("'{}'::text[]")),
    Column("stamp", Uuid, nullable=False, server_default=text("gen_random_uuid()")),
    PrimaryKeyConstraint("workspace_id", "id"),
    UniqueConstraint("workspace_id", "name"),
    ForeignKeyConstraint(["workspace_id"], ["workspaces.id"], ondelete="CASCADE"),
)

documents = Table(
    "documents",
    metadata,
    _workspace(),
    Column("id", Uuid, nullable=False),
    Column("collection_id", Uuid, nullable=False),
    Column("name", Text, nullable=False),
    Column("source", Text, nullable=False),
    Column("active_version_id", Uuid),
    Column("chunk_count", Integer, nullable=False, server_default="0"),
    _json("metadata"),
    _created(),
    Column("updated_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("size_bytes", BigInteger, nullable=False, server_default="0"),
    Column("readers", ARRAY(Text)),
    Column("language", Text),
    PrimaryKeyConstraint("workspace_id", "id"),
    UniqueConstraint("workspace_id", "collection_id", "source"),
    _belongs_to("collections", "collection_id"),
    Index("ix_documents_created", "workspace_id", "created_at", "id"),
    Index(
        "ix_documents_readers",
        "workspace_id",
        "readers",
        postgresql_where=text("readers IS NOT NULL"),
    ),
)

versions = Table(
    "versions",
    metadata,
    _workspace(),
    Column("id", Uuid, nullable=False),
    Column("document_id", Uuid, nullable=False),
    Column("number", Integer, nullable=False),
    Column("sha256", Text, nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
    Column("media_type", Text, nullable=False),
    Column("title", Text),
    Column("text", Text),
    Column("page_starts", ARRAY(Integer), nullable=False, server_default=text("'{}'::integer[]")),
    _json("metadata"),
    _json("report"),
    _created(),
    Column("published_at", DateTime(timezone=True)),
    Column("staged_at", DateTime(timezone=True)),
    Column("language", Text),
    PrimaryKeyConstraint("workspace_id", "id"),
    UniqueConstraint("workspace_id", "document_id", "number"),
    _belongs_to("documents", "document_id"),
    Index("ix_versions_sha256", "sha256", "workspace_id"),
)

sections = Table(
    "sections",
    metadata,
    _workspace(),
    Column("version_id", Uuid, nullable=False),
    Column("ordinal", Integer, nullable=False),
    Column("parent", Integer),
    Column("level", Integer, nullable=False),
    Column("number", Text),
    Column("cited_number", Text),
    Column("title", Text, nullable=False),
    Column("anchor", Text),
    Column("path", ARRAY(Text), nullable=False),
    Column("start", Integer, nullable=False),
    Column("body_start", Integer, nullable=False),
    Column("end", Integer, nullable=False),
    PrimaryKeyConstraint("workspace_id", "version_id", "ordinal"),
    _belongs_to("versions", "version_id"),
)

chunks = Table(
    "chunks",
    metadata,
    _workspace(),
    Column("id", Uuid, nullable=False),
    Column("collection_id", Uuid, nullable=False),
    Column("document_id", Uuid, nullable=False),
    Column("version_id", Uuid, nullable=False),
    Column("ordinal", Integer, nullable=False),
    *_chunk_columns(),
    PrimaryKeyConstraint("workspace_id", "id"),
    UniqueConstraint("workspace_id", "version_id", "ordinal"),
    _belongs_to("documents", "document_id"),
    _belongs_to("versions", "version_id"),
    Index("ix_chunks_document", "workspace_id", "document_id", "ordinal"),
)

chunk_terms = Table(
    "chunk_terms",
    metadata,
    _workspace(),
    Column("chunk_id", Uuid, nullable=False),
    Column("collection_id", Uuid, nullable=False),
    Column("document_id", Uuid, nullable=False),
    Column("keys", ARRAY(BigInteger), nullable=False),
    Column("bm25", SPARSEVEC(LEXICAL_DIMENSION), nullable=False),
    PrimaryKeyConstraint("workspace_id", "chunk_id"),
    _belongs_to("chunks", "chunk_id"),
    Index("ix_chunk_terms_keys", "keys", postgresql_using="gin"),
    Index("ix_chunk_terms_document", "workspace_id", "document_id"),
    Index("ix_chunk_terms_collection", "workspace_id", "collection_id"),
)

lexemes = Table(
    "lexemes",
    metadata,
    _workspace(),
    Column("collection_id", Uuid, nullable=False),
    Column("key", BigInteger, nullable=False),
    Column("chunk_frequency", Integer, nullable=False),
    PrimaryKeyConstraint("workspace_id", "collection_id", "key"),
    _belongs_to("collections", "collection_id"),
)

vectors_384 = Table(
    "vectors_384",
    metadata,
    _workspace(),
    Column("chunk_id", Uuid, nullable=False),
    Column("collection_id", Uuid, nullable=False),
    Column("document_id", Uuid, nullable=False),
    Column("model", Text, nullable=False),
    Column("embedding", HALFVEC(384), nullable=False),
    PrimaryKeyConstraint("workspace_id", "chunk_id"),
    _belongs_to("chunks", "chunk_id"),
    Index("ix_vectors_384_document", "workspace_id", "document_id"),
    Index("ix_vectors_384_collection", "workspace_id", "collection_id"),
    Index("ix_vectors_384_model", "model"),
)

jobs = Table(
    "jobs",
    metadata,
    _workspace(),
    Column("id", Uuid, nullable=False),
    Column("kind", Text, nullable=False),
    Column("document_id", Uuid),
    Column("version_id", Uuid),
    Column("status", Text, nullable=False, server_default="queued"),
    Column("reason", Text),
    Column("message", Text),
    Column("attempt", Integer, nullable=False, server_default="0"),
    Column("lease_token", Uuid),
    Column("lease_until", DateTime(timezone=True)),
    Column("run_after", DateTime(timezone=True)),
    Column("sent_at", DateTime(timezone=True)),
    _json("progress"),
    Column("request_id", Text),
    _created(),
    Column("started_at", DateTime(timezone=True)),
    Column("finished_at", DateTime(timezone=True)),
    Column("task", Text, nullable=False, server_default="ingest"),
    Column("parent_id", Uuid),
    Column("part", Integer),
    Column("part_count", Integer, nullable=False, server_default="0"),
    Column("open_parts", Integer, nullable=False, server_default="0"),
    Column("failed_parts", Integer, nullable=False, server_default="0"),
    Column("password", Text),
    _json("payload"),
    Column("readers", ARRAY(Text)),
    PrimaryKeyConstraint("workspace_id", "id"),
    ForeignKeyConstraint(["workspace_id"], ["workspaces.id"], ondelete="CASCADE"),
    _belongs_to("jobs", "parent_id"),
    Index(
        "ix_jobs_parent",
        "workspace_id",
        "parent_id",
        "part",
        postgresql_where=text("parent_id IS NOT NULL"),
    ),
    Index("ix_jobs_created", "workspace_id", "created_at", "id"),
    Index("ix_jobs_document", "workspace_id", "document_id"),
    Index(
        "ix_jobs_open",
        "status",
        "lease_until",
        postgresql_where=text("status IN ('queued', 'running')"),
    ),
)

answers = Table(
    "answers",
    metadata,
    _workspace(),
    Column("id", Uuid, nullable=False),
    Column("question", Text, nullable=False),
    Column("refused", Boolean, nullable=False),
    Column("document_ids", ARRAY(Uuid), nullable=False),
    _json("result"),
    _created(),
    Column("session_id", Uuid),
    Column("status", Text, nullable=False, server_default="complete"),
    _json("manifest"),
    _documents("other_document_ids"),
    PrimaryKeyConstraint("workspace_id", "id"),
    ForeignKeyConstraint(["workspace_id"], ["workspaces.id"], ondelete="CASCADE"),
    Index("ix_answers_created", "created_at"),
    Index("ix_answers_keep", "workspace_id", "created_at"),
)

suggestions = Table(
    "suggestions",
    metadata,
    _workspace(),
    Column("id", BigInteger, Identity(always=True), nullable=False),
    Column("collection_id", Uuid),
    Column("document_id", Uuid),
    Column("answer_id", Uuid),
    Column("kind", Text, nullable=False),
    Column("text", Text, nullable=False),
    Column("key", Text(collation="C"), nullable=False),
    Column("place", Integer, nullable=False),
    Column("uses", Integer, nullable=False, server_default="1"),
    Column("section", Text),
    Column("principal_id", Uuid),
    Column("shared", Boolean, nullable=False, server_default=text("true")),
    PrimaryKeyConstraint("workspace_id", "id"),
    _belongs_to("documents", "document_id"),
    _belongs_to("answers", "answer_id"),
    Index("ix_suggestions_key", "workspace_id", "key"),
    Index("ix_suggestions_whole", "workspace_id", "key", postgresql_where=text("place = 1")),
    Index("ix_suggestions_document", "workspace_id", "document_id"),
    Index(
        "ix_suggestions_answer",
        "workspace_id",
        "answer_id",
        postgresql_where=text("answer_id IS NOT NULL"),
    ),
)

audit_log = Table(
    "audit_log",
    metadata,
    _workspace(),
    Column("id", BigInteger, Identity(always=True), nullable=False),
    Column("action", Text, nullable=False),
    Column("target", Text, nullable=False),
    Column("actor", Text, nullable=False),
    Column("request_id", Text),
    Column("outcome", Text, nullable=False),
    _created(),
    Column("principal_id", Uuid),
    PrimaryKeyConstraint("workspace_id", "id"),
    Index("ix_audit_log_id", "id"),
)

audit_chain = Table(
    "audit_chain",
    metadata,
    _workspace(),
    Column("position", BigInteger, nullable=False),
    Column("audit_id", BigInteger, nullable=False),
    Column("hash", LargeBinary, nullable=False),
    PrimaryKeyConstraint("workspace_id", "position"),
    UniqueConstraint("workspace_id", "audit_id"),
)

audit_heads = Table(
    "audit_heads",
    metadata,
    _workspace(),
    Column("position", BigInteger, nullable=False),
    Column("hash", LargeBinary, nullable=False),
    PrimaryKeyConstraint("workspace_id"),
)

chat_logs = Table(
    "chat_logs",
    metadata,
    _workspace(),
    Column("answer_id", Uuid, nullable=False),
    _created(),
    Column("actor", Text, nullable=False),
    Column("principal_id", Uuid),
    Column("request_id", Text),
    Column("channel", Text, nullable=False),
    Column("session_id", Uuid),
    Column("mode", Text, nullable=False),
    Column("model", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("refused", Boolean, nullable=False),
    Column("reason", Text),
    Column("citation_count", Integer, nullable=False),
    Column("input_tokens", Integer, nullable=False),
    Column("output_tokens", Integer, nullable=False),
    Column("cost_usd", Double),
    _json("timings_ms"),
    Column("redaction", Text, nullable=False),
    PrimaryKeyConstraint("workspace_id", "answer_id"),
    ForeignKeyConstraint(["workspace_id"], ["workspaces.id"], ondelete="CASCADE"),
    Index("ix_chat_logs_created", "workspace_id", "created_at", "answer_id"),
    Index(
        "ix_chat_logs_session",
        "workspace_id",
        "session_id",
        postgresql_where=text("session_id IS NOT NULL"),
    ),
)

staged_texts = Table(
    "staged_texts",
    metadata,
    _workspace(),
    Column("version_id", Uuid, nullable=False),
    Column("part", Integer, nullable=False),
    Column("text", Text, nullable=False),
    PrimaryKeyConstraint("workspace_id", "version_id", "part"),
    _belongs_to("versions", "version_id"),
)

staged_chunks = Table(
    "staged_chunks",
    metadata,
    _workspace(),
    Column("version_id", Uuid, nullable=False),
    Column("ordinal", Integer, nullable=False),
    Column("chunk_id", Uuid, nullable=False),
    *_chunk_columns(),
    PrimaryKeyConstraint("workspace_id", "version_id", "ordinal"),
    _belongs_to("versions", "version_id"),
)

staged_embeddings = Table(
    "staged_embeddings",
    metadata,
    _workspace(),
    Column("version_id", Uuid, nullable=False),
    Column("ordinal", Integer, nullable=False),
    Column("model", Text, nullable=False),
    Column("embedding", HALFVEC(), nullable=False),
    Column("keys", ARRAY(BigInteger), nullable=False),
    Column("bm25", SPARSEVEC(LEXICAL_DIMENSION), nullable=False),
    PrimaryKeyConstraint("workspace_id", "version_id", "ordinal"),
    _belongs_to("versions", "version_id"),
)

idempotency_keys = Table(
    "idempotency_keys",
    metadata,
    _workspace(),
    Column("key", Text, nullable=False),
    Column("fingerprint", Text, nullable=False),
    Column("status", Integer),
    _json("reply"),
    _created(),
    PrimaryKeyConstraint("workspace_id", "key"),
    ForeignKeyConstraint(["workspace_id"], ["workspaces.id"], ondelete="CASCADE"),
    Index("ix_idempotency_keys_created", "created_at"),
)

webhooks = Table(
    "webhooks",
    metadata,
    _workspace(),
    Column("id", Uuid, nullable=False),
    Column("url", Text, nullable=False),
    Column("secret", Text, nullable=False),
    _created(),
    PrimaryKeyConstraint("workspace_id", "id"),
    ForeignKeyConstraint(["workspace_id"], ["workspaces.id"], ondelete="CASCADE"),
)

webhook_deliveries = Table(
    "webhook_deliveries",
    metadata,
    _workspace(),
    Column("id", Uuid, nullable=False),
    Column("webhook_id", Uuid, nullable=False),
    Column("job_id", Uuid, nullable=False),
    Column("event", Text, nullable=False),
    Column("status", Text, nullable=False, server_default="waiting"),
    Column("attempt", Integer, nullable=False, server_default="0"),
    Column("run_after", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("message", Text),
    _created(),
    Column("finished_at", DateTime(timezone=True)),
    PrimaryKeyConstraint("workspace_id", "id"),
    _belongs_to("webhooks", "webhook_id"),
    Index(
        "ix_webhook_deliveries_waiting",
        "run_after",
        postgresql_where=text("status = 'waiting'"),
    ),
)

workers = Table(
    "workers",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("host", Text, nullable=False),
    Column("pid", Integer, nullable=False),
    Column("queues", ARRAY(Text), nullable=False),
    Column("concurrency", Integer, nullable=False),
    Column("started_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("seen_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
)

principals = Table(
    "principals",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("is_owner", Boolean, nullable=False, server_default=text("false")),
    Column("groups", ARRAY(Text), nullable=False, server_default=text("'{}'::text[]")),
    Column("lookup", Text, unique=True),
    Column("digest", LargeBinary),
    Column("origin", Text, nullable=False),
    Column("issuer", Text),
    Column("subject", Text),
    _created(),
    Column("created_by", Text, nullable=False),
    Column("expires_at", DateTime(timezone=True)),
    Column("last_used_at", DateTime(timezone=True)),
    Column("revoked_at", DateTime(timezone=True)),
    Column("replaced_by", Uuid),
    UniqueConstraint("issuer", "subject"),
    Index("ix_principals_created", "created_at", "id"),
)

memberships = Table(
    "memberships",
    metadata,
    _workspace(),
    Column("principal_id", Uuid, nullable=False),
    Column("role", Text, nullable=False),
    _created(),
    PrimaryKeyConstraint("workspace_id", "principal_id"),
    ForeignKeyConstraint(["workspace_id"], ["workspaces.id"], ondelete="CASCADE"),
    ForeignKeyConstraint(["principal_id"], ["principals.id"], ondelete="CASCADE"),
    Index("ix_memberships_principal_id", "principal_id"),
)

browser_sessions = Table(
    "browser_sessions",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("principal_id", Uuid, nullable=False),
    Column("digest", LargeBinary, nullable=False, unique=True),
    Column("csrf_digest", LargeBinary, nullable=False),
    _created(),
    Column("expires_at", DateTime(timezone=True), nullable=False),
    ForeignKeyConstraint(["principal_id"], ["principals.id"], ondelete="CASCADE"),
    Index("ix_browser_sessions_expires", "expires_at"),
)

sign_ins = Table(
    "sign_ins",
    metadata,
    Column("digest", LargeBinary, primary_key=True),
    _created(),
    Column("expires_at", DateTime(timezone=True), nullable=False),
    Index("ix_sign_ins_expires", "expires_at"),
)

exports = Table(
    "exports",
    metadata,
    _workspace(),
    Column("id", Uuid, nullable=False),
    Column("kind", Text, nullable=False),
    Column("format", Text, nullable=False),
    _json("filters"),
    Column("row_count", BigInteger),
    Column("size_bytes", BigInteger),
    Column("sha256", Text),
    Column("created_by", Text, nullable=False),
    _created(),
    Column("expires_at", DateTime(timezone=True), nullable=False),
    PrimaryKeyConstraint("workspace_id", "id"),
    ForeignKeyConstraint(["workspace_id"], ["workspaces.id"], ondelete="CASCADE"),
    _belongs_to("jobs", "id"),
    Index("ix_exports_created", "workspace_id", "created_at", "id"),
    Index("ix_exports_expires", "expires_at"),
    Index("ix_exports_sha256", "sha256"),
)

eval_runs = Table(
    "eval_runs",
    metadata,
    _workspace(),
    Column("id", Uuid, nullable=False),
    Column("name", Text, nullable=False, server_default=text("''")),
    Column("dataset_sha256", Text, nullable=False),
    Column("collection", Text),
    Column("retrieval_only", Boolean, nullable=False),
    Column("settings_sha256", Text),
    _json("settings"),
    Column("question_count", Integer, nullable=False),
    _json("figures"),
    Column("created_by", Text, nullable=False),
    _created(),
    Column("finished_at", DateTime(timezone=True)),
    PrimaryKeyConstraint("workspace_id", "id"),
    ForeignKeyConstraint(["workspace_id"], ["workspaces.id"], ondelete="CASCADE"),
    Index("ix_eval_runs_created", "workspace_id", "created_at", "id"),
)

eval_questions = Table(
    "eval_questions",
    metadata,
    _workspace(),
    Column("run_id", Uuid, nullable=False),
    Column("ordinal", Integer, nullable=False),
    _json("question"),
    Column("result", JSONB),
    PrimaryKeyConstraint("workspace_id", "run_id", "ordinal"),
    _belongs_to("eval_runs", "run_id"),
)

eval_guards = Table(
    "eval_guards",
    metadata,
    _workspace(),
    Column("dataset_sha256", Text, nullable=False),
    Column("collection", Text),
    Column("tolerance", Double, nullable=False),
    _json("questions"),
    Column("created_by", Text, nullable=False),
    _created(),
    PrimaryKeyConstraint("workspace_id"),
    ForeignKeyConstraint(["workspace_id"], ["workspaces.id"], ondelete="CASCADE"),
)

sessions = Table(
    "sessions",
    metadata,
    _workspace(),
    Column("id", Uuid, nullable=False),
    Column("title", Text),
    _created(),
    Column("updated_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("expires_at", DateTime(timezone=True), nullable=False),
    Column("turn_token", Uuid),
    Column("turn_until", DateTime(timezone=True)),
    PrimaryKeyConstraint("workspace_id", "id"),
    ForeignKeyConstraint(["workspace_id"], ["workspaces.id"], ondelete="CASCADE"),
    Index("ix_sessions_updated", "workspace_id", "updated_at", "id"),
    Index("ix_sessions_expires", "expires_at"),
)

messages = Table(
    "messages",
    metadata,
    _workspace(),
    Column("session_id", Uuid, nullable=False),
    Column("ordinal", Integer, nullable=False),
    Column("role", Text, nullable=False),
    Column("content", Text, nullable=False),
    Column("answer_id", Uuid),
    _created(),
    PrimaryKeyConstraint("workspace_id", "session_id", "ordinal"),
    _belongs_to("sessions", "session_id"),
    Index("ix_messages_answer", "workspace_id", "answer_id"),
)

feedback = Table(
    "feedback",
    metadata,
    _workspace(),
    Column("answer_id", Uuid, nullable=False),
    Column("rating", SmallInteger, nullable=False),
    Column("comment", Text),
    Column("question", Text, nullable=False),
    _created(),
    Column("updated_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    _documents("document_ids"),
    PrimaryKeyConstraint("workspace_id", "answer_id"),
    ForeignKeyConstraint(["workspace_id"], ["workspaces.id"], ondelete="CASCADE"),
    Index("ix_feedback_created", "workspace_id", "created_at", "answer_id"),
)

purges = Table(
    "purges",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("workspace_id", Uuid, nullable=False, unique=True),
    Column("name_sha256", Text, nullable=False),
    Column("requested_by", Text, nullable=False),
    Column("requested_at", DateTime(timezone=True), nullable=False),
    _created(),
    Column("finished_at", DateTime(timezone=True)),
    _json("rows_removed"),
    _json("bytes_removed"),
    _json("rows_left"),
    _json("blobs_pending"),
    Column("blobs_removed", BigInteger, nullable=False, server_default="0"),
    Column("blob_bytes_removed", BigInteger, nullable=False, server_default="0"),
    Column("blobs_left", BigInteger),
    Column("keys_revoked", BigInteger, nullable=False, server_default="0"),
    Index("ix_purges_created", "created_at", "id"),
)

quotas = Table(
    "quotas",
    metadata,
    _workspace(),
    Column(
        "collection_id",
        Uuid,
        nullable=False,
        server_default="00000000-0000-0000-0000-000000000000",
    ),
    Column("documents", BigInteger),
    Column("bytes", BigInteger),
    Column("chunks", BigInteger),
    Column("tokens_per_day", BigInteger),
    Column("micro_usd_per_day", BigInteger),
    Column("updated_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    PrimaryKeyConstraint("workspace_id", "collection_id"),
    ForeignKeyConstraint(["workspace_id"], ["workspaces.id"], ondelete="CASCADE"),
)

usage_ledger = Table(
    "usage_ledger",
    metadata,
    _workspace(),
    Column("kind", Text, nullable=False),
    Column("reference", Uuid, nullable=False),
    Column(
        "collection_id",
        Uuid,
        nullable=False,
        server_default="00000000-0000-0000-0000-000000000000",
    ),
    Column("principal_id", Uuid),
    _count("input_tokens"),
    _count("output_tokens"),
    _count("micro_usd"),
    _count("documents"),
    _count("bytes"),
    _count("chunks"),
    Column("at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    PrimaryKeyConstraint("workspace_id", "kind", "reference"),
    ForeignKeyConstraint(["workspace_id"], ["workspaces.id"], ondelete="CASCADE"),
    Index("ix_usage_ledger_at", "workspace_id", "at"),
)

usage_days = Table(
    "usage_days",
    metadata,
    _workspace(),
    Column("day", Date, nullable=False),
    Column("collection_id", Uuid, nullable=False),
    Column("shard", SmallInteger, nullable=False),
    _count("questions"),
    _count("input_tokens"),
    _count("output_tokens"),
    _count("micro_usd"),
    _count("documents"),
    _count("bytes"),
    _count("chunks"),
    PrimaryKeyConstraint("workspace_id", "day", "collection_id", "shard"),
    ForeignKeyConstraint(["workspace_id"], ["workspaces.id"], ondelete="CASCADE"),
)
