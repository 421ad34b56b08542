"""What was used: one row in the ledger for each thing, booked once, and its sums by day.

Both are written by one statement, in the transaction of what they record. The sums of a day are
sharded by connection, so that many questions at once do not wait for one row.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Literal
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from citewell.domain import Answer, CollectionId, VersionId, WorkspaceId
from citewell.records.statements import columns, text

UsageKind = Literal["question", "failure", "upload", "publish", "embedding", "evaluation"]
"""failure is a question that was not answered, but had spent tokens; evaluation one that
no reader asked."""

NO_COLLECTION = CollectionId(UUID(int=0))
"""Stands for the workspace as a whole: what was asked of all collections."""
MICRO = 1_000_000
SHARDS = 16
MEASURES = ("input_tokens", "output_tokens", "micro_usd", "documents", "bytes", "chunks")


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing that used something; ``reference`` is its own id, by which it is booked once."""

    kind: UsageKind
    reference: UUID
    collection_id: CollectionId = NO_COLLECTION
    input_tokens: int = 0
    output_tokens: int = 0
    micro_usd: int = 0
    documents: int = 0
    bytes: int = 0
    chunks: int = 0


@dataclass(frozen=True, slots=True)
class DayRow:
    """What was used on a day (UTC), of one collection; ``collection`` is None for all at once.

    ``removed`` says that the collection is not there any more.
    """

    workspace_id: WorkspaceId
    day: date
    collection: str | None
    removed: bool
    questions: int
    input_tokens: int
    output_tokens: int
    micro_usd: int
    documents: int
    bytes: int
    chunks: int


BOOK = f"""
WITH added AS (
    INSERT INTO usage_ledger (workspace_id, kind, reference, collection_id, {", ".join(MEASURES)})
    SELECT :workspace, * FROM unnest(CAST(:kind AS text[]), CAST(:reference AS uuid[]),
        CAST(:collection_id AS uuid[]), {", ".join(f"CAST(:{m} AS bigint[])" for m in MEASURES)})
    ON CONFLICT DO NOTHING RETURNING *
)
INSERT INTO usage_days AS u
    (workspace_id, day, collection_id, shard, questions, {", ".join(MEASURES)})
SELECT :workspace, (at AT TIME ZONE 'UTC')::date, collection_id, pg_backend_pid() % {SHARDS},
    count(*) FILTER (WHERE kind = 'question'), {", ".join(f"sum({m})" for m in MEASURES)}
FROM added GROUP BY 2, 3 ORDER BY 2, 3
ON CONFLICT (workspace_id, day, collection_id, shard) DO UPDATE SET
    questions = u.questions + EXCLUDED.questions,
    {", ".join(f"{m} = u.{m} + EXCLUDED.{m}" for m in MEASURES)}
"""


async def book(
    connection: AsyncConnection, workspace_id: WorkspaceId, entries: Sequence[Entry]
) -> None:
    """Write down what was used; what is booked already is left out.

    Holds:   the day's row stays locked until the commit: this is a transaction's last statement.
    """
    if entries:
        rows = [
            {name: getattr(entry, name) for name in Entry.__dataclass_fields__} for entry in entries
        ]
        await connection.execute(text(BOOK), {"workspace": workspace_id, **columns(rows)})


async def book_answer(
    connection: AsyncConnection,
    workspace_id: WorkspaceId,
    answer: Answer,
    *,
    failure: UUID | None = None,
    evaluation: UUID | None = None,
) -> None:
    """Write down what a question used; ``failure`` is the id of a try that brought no answer.

    ``evaluation`` is the id of a question that an evaluation put.
    """
    scope = answer.manifest.get("scope", {})
    named = scope.get("collection_id")
    usage = answer.usage
    entry = Entry(
        "evaluation" if evaluation else "failure" if failure else "question",
        evaluation or failure or answer.answer_id,
        NO_COLLECTION if named is None else CollectionId(UUID(named)),
        input_tokens=usage.input_tokens,
        output_tokens=usage.output_tokens,
        micro_usd=round((usage.cost_usd or 0.0) * MICRO),
    )
    if failure is None or entry.input_tokens or entry.output_tokens:
        await book(connection, workspace_id, [entry])


async def book_published(
    connection: AsyncConnection,
    workspace_id: WorkspaceId,
    published: Mapping[VersionId, tuple[CollectionId, int]],
) -> None:
    """Write down the chunks of versions that became searchable."""
    entries = [
        Entry("publish", version_id, collection_id, chunks=chunks)
        for version_id, (collection_id, chunks) in published.items()
    ]
    await book(connection, workspace_id, entries)


@dataclass(frozen=True, slots=True)
class Used:
    """What questions used; ``micro_usd`` is millionths of a US dollar."""

    questions: int
    input_tokens: int
    output_tokens: int
    micro_usd: int


async def sum_days(
    connection: AsyncConnection, workspace_id: WorkspaceId, days: int
) -> tuple[Used, Used]:
    """Return what the workspace used today (UTC), and in so many days with today."""
    names = tuple(Used.__dataclass_fields__)
    today = "(now() AT TIME ZONE 'UTC')::date"
    sums = [f"coalesce(sum({n}) FILTER (WHERE day = {today}), 0)::bigint" for n in names]
    sums += [f"coalesce(sum({n}), 0)::bigint" for n in names]
    rows = await connection.execute(
        text(
            f"SELECT {', '.join(sums)} FROM usage_days WHERE workspace_id = :workspace "
            f"AND day BETWEEN {today} - CAST(:days AS integer) + 1 AND {today}"
        ),
        {"workspace": workspace_id, "days": days},
    )
    row = rows.one()
    return Used(*row[: len(names)]), Used(*row[len(names) :])


async def list_days(
    connection: AsyncConnection, workspace_id: WorkspaceId | None, first: date, last: date
) -> list[DayRow]:
    """List what was used from one day to another, newest first, by workspace and collection.

    Without a workspace, of all of them: that needs a system transaction.
    """
    rows = await connection.execute(
        text(
            "SELECT u.workspace_id, u.day, c.name, c.id IS NULL AND u.collection_id <> :none, "
            f"sum(u.questions)::bigint, {', '.join(f'sum(u.{m})::bigint' for m in MEASURES)} "
            "FROM usage_days u LEFT JOIN collections c "
            "ON c.workspace_id = u.workspace_id AND c.id = u.collection_id "
            "WHERE (CAST(:workspace AS uuid) IS NULL OR u.workspace_id = :workspace) "
            "AND u.day BETWEEN :first AND :last "
            "GROUP BY u.workspace_id, u.day, u.collection_id, c.id, c.name "
            "ORDER BY u.day DESC, u.workspace_id, c.name NULLS FIRST, u.collection_id"
        ),
        {"workspace": workspace_id, "first": first, "last": last, "none": NO_COLLECTION},
    )
    return [DayRow(*row) for row in rows]


_SUMS = f"""
SELECT workspace_id, day, collection_id, sum(questions) AS questions,
    {", ".join(f"sum({m}) AS {m}" for m in MEASURES)}
FROM (
    SELECT workspace_id, (at AT TIME ZONE 'UTC')::date AS day, collection_id,
        (kind = 'question')::integer AS questions, {", ".join(MEASURES)} FROM usage_ledger
    UNION ALL
    SELECT workspace_id, day, collection_id, -questions, {", ".join(f"-{m}" for m in MEASURES)}
    FROM usage_days
) AS both_sides GROUP BY 1, 2, 3
HAVING {" OR ".join(f"sum({m}) <> 0" for m in ("questions", *MEASURES))}
"""

USAGE_INVARIANTS: Mapping[str, tuple[str, str, str]] = {
    "every day's usage is the sum of its ledger": (
        f"SELECT workspace_id, collection_id FROM ({_SUMS}) AS wrong",
        f"""
INSERT INTO usage_days AS u
    (workspace_id, day, collection_id, shard, questions, {", ".join(MEASURES)})
SELECT workspace_id, day, collection_id, -1, questions, {", ".join(MEASURES)}
FROM ({_SUMS}) AS wrong
ON CONFLICT (workspace_id, day, collection_id, shard) DO UPDATE SET
    questions = u.questions + EXCLUDED.questions,
    {", ".join(f"{m} = u.{m} + EXCLUDED.{m}" for m in MEASURES)}
""",
        "LOCK TABLE usage_days IN SHARE ROW EXCLUSIVE MODE",
    ),
    "every document has the size of its newest version": (
        """
SELECT d.workspace_id, d.id FROM documents d WHERE d.size_bytes <> (SELECT v.size_bytes
FROM versions v WHERE v.workspace_id = d.workspace_id AND v.document_id = d.id
ORDER BY number DESC LIMIT 1)
""",
        """
UPDATE documents d SET size_bytes = v.size_bytes FROM (
    SELECT DISTINCT ON (workspace_id, document_id) workspace_id, document_id, size_bytes
    FROM versions ORDER BY workspace_id, document_id, number DESC) v
WHERE v.workspace_id = d.workspace_id AND v.document_id = d.id AND d.size_bytes <> v.size_bytes
""",
        """
SELECT 1 FROM documents ORDER BY collection_id, source COLLATE "C" FOR NO KEY UPDATE
""",
    ),
}
"""What must hold of usage: a query for breaches, what cures them, and its lock."""
