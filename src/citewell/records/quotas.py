"""Quotas: what a workspace, and each of its collections, may hold and may use in a day.

Who adds documents or publishes chunks where a quota says how many takes a turn first, by an
advisory lock that comes before every other lock, and counts afterwards: no two can both use the
last place. Without a quota nobody waits.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal

from sqlalchemy import Row
from sqlalchemy.ext.asyncio import AsyncConnection

from citewell.domain import CollectionId, VersionId, WorkspaceId
from citewell.errors import QuotaExceeded
from citewell.records.session import current_visitor, seeing_every_document
from citewell.records.statements import text
from citewell.records.usage import MICRO, NO_COLLECTION


@dataclass(frozen=True, slots=True)
class Quota:
    """The most of each that is allowed; None is no limit."""

    documents: int | None = None
    bytes: int | None = None
    chunks: int | None = None
    tokens_per_day: int | None = None
    micro_usd_per_day: int | None = None


NAMES = tuple(field.name for field in fields(Quota))


@dataclass(frozen=True, slots=True)
class QuotaRow:
    """A quota and what is used of it; ``collection`` is None for the workspace as a whole."""

    collection: str | None
    allowed: Quota
    used: Quota


Turn = Literal["documents", "chunks"]
_LIMITED: Mapping[Turn, str] = {
    "documents": "documents IS NOT NULL OR bytes IS NOT NULL",
    "chunks": "chunks IS NOT NULL",
}
_WHOSE: Mapping[bool, str] = {True: "The workspace", False: "The collection"}
_WHOM: Mapping[bool, str] = {True: "an owner", False: "an admin"}
"""Who sets the workspace's quota, and who a collection's."""


async def set_quota(
    connection: AsyncConnection,
    workspace_id: WorkspaceId,
    collection_id: CollectionId,
    quota: Quota,
) -> None:
    """Replace a quota; ``NO_COLLECTION`` names the workspace as a whole."""
    values = {name: getattr(quota, name) for name in NAMES}
    await connection.execute(
        text(
            f"INSERT INTO quotas (workspace_id, collection_id, {', '.join(NAMES)}) "
            f"VALUES (:workspace, :collection, {', '.join(f':{name}' for name in NAMES)}) "
            "ON CONFLICT (workspace_id, collection_id) DO UPDATE SET updated_at = now(), "
            f"{', '.join(f'{name} = EXCLUDED.{name}' for name in NAMES)}"
        ),
        {"workspace": workspace_id, "collection": collection_id, **values},
    )


async def list_quotas(connection: AsyncConnection, workspace_id: WorkspaceId) -> list[QuotaRow]:
    """List the workspace's quota, then those of its collections by name, with what is used."""
    rows = await connection.execute(
        text(
            "WITH places AS (SELECT CAST(:none AS uuid) AS id, CAST(NULL AS text) AS name "
            "UNION ALL SELECT id, name FROM collections WHERE workspace_id = :workspace), "
            "held AS (SELECT collection_id, count(*) AS documents, sum(size_bytes) AS bytes "
            "FROM documents WHERE workspace_id = :workspace GROUP BY 1), "
            "cut AS (SELECT id, chunk_count FROM collections WHERE workspace_id = :workspace), "
            "today AS (SELECT collection_id, sum(input_tokens + output_tokens) AS tokens, "
            "sum(micro_usd) AS micro_usd FROM usage_days WHERE workspace_id = :workspace "
            "AND day = (now() AT TIME ZONE 'UTC')::date GROUP BY 1) "
            f"SELECT p.name, {', '.join(f'q.{name}' for name in NAMES)}, "
            "coalesce((SELECT sum(documents) FROM held h WHERE p.name IS NULL "
            "OR h.collection_id = p.id), 0)::bigint, "
            "coalesce((SELECT sum(bytes) FROM held h WHERE p.name IS NULL "
            "OR h.collection_id = p.id), 0)::bigint, "
            "coalesce((SELECT sum(chunk_count) FROM cut WHERE p.name IS NULL "
            "OR cut.id = p.id), 0)::bigint, "
            "coalesce((SELECT sum(tokens) FROM today t WHERE p.name IS NULL "
            "OR t.collection_id = p.id), 0)::bigint, "
            "coalesce((SELECT sum(micro_usd) FROM today t WHERE p.name IS NULL "
            "OR t.collection_id = p.id), 0)::bigint "
            "FROM places p LEFT JOIN quotas q ON q.workspace_id = :workspace "
            "AND q.collection_id = p.id ORDER BY p.name NULLS FIRST"
        ),
        {"workspace": workspace_id, "none": NO_COLLECTION},
    )
    return [QuotaRow(row[0], Quota(*row[1:6]), Quota(*row[6:11])) for row in rows]


async def take_turn(
    connection: AsyncConnection, workspace_id: WorkspaceId, what: Turn
) -> dict[CollectionId, Quota]:
    """Wait for others that add the same, where a quota counts it; return the quotas that do.

    Holds:   comes before the locks of jobs and documents; the turn lasts until the transaction's
             end.
    """
    found = await _list_limiting(connection, workspace_id, what)
    if not found:
        return found
    await connection.execute(
        text("SELECT pg_advisory_xact_lock(hashtextextended(:turn, 6))"),
        {"turn": f"{workspace_id}/{what}"},
    )
    return await _list_limiting(connection, workspace_id, what)


async def check_held(
    connection: AsyncConnection,
    workspace_id: WorkspaceId,
    quotas: Mapping[CollectionId, Quota],
    collection_id: CollectionId,
    grown: tuple[int, int],
) -> None:
    """Refuse what was just added to a collection, where a quota does not allow it.

    ``grown`` is by how many documents, and by how many bytes.
    Raises:  QuotaExceeded – the message says what is used and what is allowed.
    """
    for scope, quota in _of(quotas, collection_id):
        async with seeing_every_document(connection):
            row = await _count_held(connection, workspace_id, scope)
        for name, more in zip(("documents", "bytes"), grown, strict=True):
            most, held = getattr(quota, name), getattr(row, name)
            if most is not None and more > 0 and held > most:
                whose = _WHOSE[scope == NO_COLLECTION]
                if current_visitor().tags is not None:  # the number would tell of hidden ones
                    raise QuotaExceeded(
                        f"{whose} may hold {_counted(most, name)}, and this would be more. "
                        f"Delete documents, or ask {_WHOM[scope == NO_COLLECTION]} for a larger "
                        "quota."
                    )
                raise QuotaExceeded(
                    f"{whose} holds {held - more:,} of {_counted(most, name)} "
                    f"that its quota allows, and this would add {more:,}. Delete documents, or ask "
                    f"{_WHOM[scope == NO_COLLECTION]} for a larger quota."
                )


def _counted(number: int, name: str) -> str:
    return f"{number:,} {name[:-1] if number == 1 else name}"


async def _count_held(
    connection: AsyncConnection, workspace_id: WorkspaceId, collection_id: CollectionId
) -> Row[Any]:
    found = await connection.execute(
        text(
            "SELECT count(*) AS documents, coalesce(sum(size_bytes), 0)::bigint AS bytes "
            "FROM documents WHERE workspace_id = :workspace "
            "AND (:collection = :none OR collection_id = :collection)"
        ),
        {"workspace": workspace_id, "collection": collection_id, "none": NO_COLLECTION},
    )
    return found.one()


@dataclass(frozen=True, slots=True)
class Growth:
    """By how many chunks a version would let its collection grow."""

    version_id: VersionId
    collection_id: CollectionId
    chunks: int


async def refuse_chunks(
    connection: AsyncConnection,
    workspace_id: WorkspaceId,
    quotas: Mapping[CollectionId, Quota],
    wanted: list[Growth],
) -> dict[VersionId, str]:
    """Return of the versions that no quota has room for a sentence that says so; first come first.

    Holds:   one that does not grow is never refused.
    """
    if not quotas:
        return {}
    rows = await connection.execute(
        text("SELECT id, chunk_count FROM collections WHERE workspace_id = :workspace"),
        {"workspace": workspace_id},
    )
    held: dict[CollectionId, int] = {CollectionId(row.id): row.chunk_count for row in rows}
    held[NO_COLLECTION] = sum(held.values())
    refused: dict[VersionId, str] = {}
    for growth in wanted:
        full = [
            (scope, most)
            for scope, quota in _of(quotas, growth.collection_id)
            if (most := quota.chunks) is not None and held[scope] + growth.chunks > most
        ]
        if full and growth.chunks > 0:
            scope, most = full[0]
            whom = _WHOM[scope == NO_COLLECTION]
            refused[growth.version_id] = (
                f"{_WHOSE[scope == NO_COLLECTION]} holds {held[scope]:,} of "
                f"{_counted(most, 'chunks')} that its quota allows, and this document would add "
                f"{growth.chunks:,}. Delete documents, or ask {whom} for a "
                "larger quota, then try the job again."
            )
            continue
        for scope in (growth.collection_id, NO_COLLECTION):
            held[scope] += growth.chunks
    return refused


async def check_day(
    connection: AsyncConnection, workspace_id: WorkspaceId, collection_id: CollectionId | None
) -> None:
    """Refuse a question where a quota for the day (UTC) is used up.

    Holds:   a question is booked at its end: a quota is exceeded by those that are open, at most.
    Raises:  QuotaExceeded – with the seconds until the next day.
    """
    rows = await connection.execute(
        text(
            "SELECT q.collection_id, q.tokens_per_day, q.micro_usd_per_day, "
            "coalesce(sum(u.input_tokens + u.output_tokens), 0)::bigint AS tokens, "
            "coalesce(sum(u.micro_usd), 0)::bigint AS micro_usd, "
            "extract(epoch FROM date_trunc('day', now(), 'UTC') + interval '1 day' - now()) "
            "AS seconds_left "
            "FROM quotas q LEFT JOIN usage_days u ON u.workspace_id = q.workspace_id "
            "AND u.day = (now() AT TIME ZONE 'UTC')::date "
            "AND (q.collection_id = :none OR u.collection_id = q.collection_id) "
            "WHERE q.workspace_id = :workspace AND q.collection_id IN (:none, :collection) "
            "AND (q.tokens_per_day IS NOT NULL OR q.micro_usd_per_day IS NOT NULL) "
            "GROUP BY q.workspace_id, q.collection_id"
        ),
        {
            "workspace": workspace_id,
            "collection": collection_id or NO_COLLECTION,
            "none": NO_COLLECTION,
        },
    )
    for row in rows:
        told = _tell_used_up(row)
        if told is not None:
            whom = _WHOM[row.collection_id == NO_COLLECTION]
            raise QuotaExceeded(
                f"{_WHOSE[row.collection_id == NO_COLLECTION]} has used {told} that its quota "
                f"allows a day. Ask again after midnight UTC, or ask {whom} for a larger quota.",
                retry_after_seconds=float(row.seconds_left),
            )


def _tell_used_up(row: Row[Any]) -> str | None:
    if row.tokens_per_day is not None and row.tokens >= row.tokens_per_day:
        return f"{row.tokens:,} of {row.tokens_per_day:,} tokens"
    if row.micro_usd_per_day is not None and row.micro_usd >= row.micro_usd_per_day:
        used, most = row.micro_usd / MICRO, row.micro_usd_per_day / MICRO
        return f"{used:,.4f} of {most:,.4f} US dollars"
    return None


async def _list_limiting(
    connection: AsyncConnection, workspace_id: WorkspaceId, what: Turn
) -> dict[CollectionId, Quota]:
    rows = await connection.execute(
        text(
            f"SELECT collection_id, {', '.join(NAMES)} FROM quotas "
            f"WHERE workspace_id = :workspace AND ({_LIMITED[what]})"
        ),
        {"workspace": workspace_id},
    )
    return {CollectionId(row[0]): Quota(*row[1:]) for row in rows}


def _of(
    quotas: Mapping[CollectionId, Quota], collection_id: CollectionId
) -> list[tuple[CollectionId, Quota]]:
    """Return the quotas that a collection is under: its own, and the workspace's."""
    scopes = (collection_id, NO_COLLECTION)
    return [(scope, quotas[scope]) for scope in scopes if scope in quotas]
