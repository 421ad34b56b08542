"""What exports hold: a source of rows for each kind, read in batches, oldest first.

A further kind is one more ``Source`` here, and its filters in ``api/exports.py``.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from sqlalchemy.ext.asyncio import AsyncConnection

from citewell.domain import INSTALLATION, Json, WorkspaceId
from citewell.records.statements import text

OF_INSTALLATION = "installation"
"""The filter that asks for what concerns no workspace; for owners."""
ExportKind = Literal["chat_logs", "audit", "documents", "feedback", "usage"]


@dataclass(frozen=True, slots=True)
class Source:
    """Where a kind's rows come from, as SQL.

    ``fields`` are the columns of the file, each with its expression; ``key`` orders the rows, and
    no two have the same; ``time`` is when a row was made; ``filters`` are clauses by their names.
    """

    fields: Mapping[str, str]
    tables: str
    key: Sequence[str]
    time: str
    filters: Mapping[str, str]


def _result(*names: str) -> dict[str, str]:
    return {name: f"a.result -> '{name}'" for name in names}


SOURCES: Mapping[ExportKind, Source] = {
    "chat_logs": Source(
        fields={
            name: f"l.{name}"
            for name in ("answer_id", "created_at", "actor", "principal_id", "request_id")
        }
        | {
            "channel": "l.channel",
            "session_id": "l.session_id",
            "status": "l.status",
            "question": "a.question",
            **_result("standalone", "answer"),
            "refused": "l.refused",
            "reason": "l.reason",
            "message": "a.result -> 'message'",
            "mode": "l.mode",
            "model": "l.model",
            **_result("confidence", "citations"),
            **{name: f"l.{name}" for name in ("timings_ms", "input_tokens", "output_tokens")},
            "cost_usd": "l.cost_usd",
        },
        # The text goes with the documents that it quotes; the log of it stays.
        tables="""chat_logs l
LEFT JOIN answers a ON a.workspace_id = l.workspace_id AND a.id = l.answer_id
WHERE l.workspace_id = :workspace""",
        key=("l.created_at", "l.answer_id"),
        time="l.created_at",
        filters={
            "session_id": "l.session_id = CAST(:session_id AS uuid)",
            **{name: f"l.{name} = :{name}" for name in ("refused", "status", "mode", "actor")},
        },
    ),
    "audit": Source(
        fields={
            name: f"l.{name}"
            for name in ("id", "created_at", "actor", "principal_id", "action", "target", "outcome")
        }
        | {
            "request_id": "l.request_id",
            "position": "c.position",
            "hash": "encode(c.hash, 'hex')",
        },
        tables="""audit_chain c
JOIN audit_log l ON l.workspace_id = c.workspace_id AND l.id = c.audit_id
WHERE c.workspace_id = :workspace""",
        key=("c.position",),
        time="l.created_at",
        filters={
            name: f"l.{name} = :{name}" for name in ("action", "actor", "outcome", "request_id")
        },
    ),
    "documents": Source(
        fields={
            "document_id": "d.id",
            "created_at": "d.created_at",
            "updated_at": "d.updated_at",
            "name": "d.name",
            "source": "d.source",
            "collection": "c.name",
            "status": "CASE WHEN j.status = 'done' THEN 'ready' "
            "ELSE coalesce(j.status, 'ready') END",
            "reason": "j.reason",
            "title": "v.title",
            "version": "v.number",
            "versions": "(SELECT count(*) FROM versions n WHERE n.workspace_id = d.workspace_id "
            "AND n.document_id = d.id)",
            "media_type": "v.media_type",
            "size_bytes": "v.size_bytes",
            "sha256": "v.sha256",
            "chunk_count": "d.chunk_count",
            "metadata": "coalesce(v.metadata, '{}') || d.metadata",
            # Who may read it, where documents have such a list.
            "readers": "to_jsonb(d) -> 'readers'",
        },
        tables="""documents d
JOIN collections c ON c.workspace_id = d.workspace_id AND c.id = d.collection_id
LEFT JOIN versions v ON v.workspace_id = d.workspace_id AND v.id = d.active_version_id
LEFT JOIN LATERAL (SELECT o.status, o.reason FROM jobs o JOIN versions n
    ON n.workspace_id = o.workspace_id AND n.id = o.version_id AND o.task <> 'embed'
    WHERE o.workspace_id = d.workspace_id AND o.document_id = d.id
    ORDER BY n.number DESC, o.created_at DESC LIMIT 1) j ON true
WHERE d.workspace_id = :workspace""",
        key=("d.created_at", "d.id"),
        time="d.created_at",
        filters={"collection": "c.name = :collection"},
    ),
    "feedback": Source(
        fields={
            "answer_id": "f.answer_id",
            "created_at": "f.created_at",
            "updated_at": "f.updated_at",
            "rating": "CASE f.rating WHEN 1 THEN 'up' ELSE 'down' END",
            "comment": "f.comment",
            "question": "f.question",
        },
        tables="feedback f WHERE f.workspace_id = :workspace",
        key=("f.created_at", "f.answer_id"),
        time="f.created_at",
        filters={"rating": "f.rating = CASE :rating WHEN 'up' THEN 1 ELSE -1 END"},
    ),
    "usage": Source(
        fields={
            "at": "u.at",
            "kind": "u.kind",
            "reference": "u.reference",
            "collection": "c.name",
            "principal_id": "u.principal_id",
            **{name: f"u.{name}" for name in ("documents", "bytes", "chunks")},
            **{name: f"u.{name}" for name in ("input_tokens", "output_tokens")},
            "cost_usd": "CAST(u.micro_usd AS float8) / 1000000",
        },
        tables="""usage_ledger u
LEFT JOIN collections c ON c.workspace_id = u.workspace_id AND c.id = u.collection_id
WHERE u.workspace_id = :workspace""",
        key=("u.at", "u.kind", "u.reference"),
        time="u.at",
        filters={"kind": "u.kind = :kind", "collection": "c.name = :collection"},
    ),
}


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which rows: those of a kind that were there when the export was asked for, and filters."""

    kind: ExportKind
    filters: Json
    asked_at: datetime


@dataclass(frozen=True, slots=True)
class Batch:
    """Some rows, and where the next batch begins; None after the last one."""

    rows: list[dict[str, Any]]
    next_key: tuple[Any, ...] | None


def place_of(workspace_id: WorkspaceId, wanted: Wanted) -> WorkspaceId:
    """Return where an export's rows are: in its workspace, or among those of the installation."""
    return INSTALLATION if wanted.filters.get(OF_INSTALLATION) else workspace_id


async def read_rows(
    connection: AsyncConnection,
    workspace_id: WorkspaceId,
    wanted: Wanted,
    after: tuple[Any, ...] | None,
    limit: int,
) -> Batch:
    """Return the rows that follow a key, in the order of their source."""
    source = SOURCES[wanted.kind]
    clauses, values = _conditions(source, wanted)
    names = [f"key_{place}" for place in range(len(source.key))]
    if after is not None:
        given = ", ".join(f":{name}" for name in names)
        clauses += f" AND ({', '.join(source.key)}) > ({given})"
        values |= dict(zip(names, after, strict=True))
    fields = ", ".join((*source.fields.values(), *source.key))
    rows = await connection.execute(
        text(
            f"SELECT {fields} FROM {source.tables}{clauses} "
            f"ORDER BY {', '.join(source.key)} LIMIT :limit"
        ),
        {"workspace": workspace_id, "limit": limit, **values},
    )
    found = rows.all()
    width = len(source.fields)
    return Batch(
        [dict(zip(source.fields, row[:width], strict=True)) for row in found],
        tuple(found[-1][width:]) if len(found) == limit else None,
    )


async def count_rows(connection: AsyncConnection, workspace_id: WorkspaceId, wanted: Wanted) -> int:
    """Count the rows that an export will have."""
    source = SOURCES[wanted.kind]
    clauses, values = _conditions(source, wanted)
    counted = await connection.scalar(
        text(f"SELECT count(*) FROM {source.tables}{clauses}"),
        {"workspace": workspace_id, **values},
    )
    return counted or 0


def _conditions(source: Source, wanted: Wanted) -> tuple[str, dict[str, Any]]:
    clauses = [f"{source.time} <= :asked_at"]
    values: dict[str, Any] = {"asked_at": wanted.asked_at}
    for name, sign in (("from", ">="), ("to", "<")):
        if name in wanted.filters:
            clauses.append(f"{source.time} {sign} :{name}_time")
            values[f"{name}_time"] = datetime.fromisoformat(wanted.filters[name])
    for name, clause in source.filters.items():
        if name in wanted.filters:
            clauses.append(clause)
            values[name] = wanted.filters[name]
    return "".join(f" AND {clause}" for clause in clauses), values
