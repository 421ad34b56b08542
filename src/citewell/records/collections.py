"""Collections: named sets of documents inside a workspace."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal
from uuid import uuid4

from sqlalchemy.ext.asyncio import AsyncConnection

from citewell.domain import DEFAULT_COLLECTION, CollectionId, DocumentId, WorkspaceId
from citewell.errors import Conflict, NotFound
from citewell.records.answers import remove_answers_from
from citewell.records.statements import text

Lock = Literal["", "FOR KEY SHARE", "FOR UPDATE"]


@dataclass(frozen=True, slots=True)
class CollectionRow:
    """A collection with what it holds."""

    id: CollectionId
    name: str
    document_count: int
    chunk_count: int
    created_at: datetime


async def get_collection_id(
    connection: AsyncConnection, workspace_id: WorkspaceId, name: str, *, lock: Lock = ""
) -> CollectionId:
    """Return a collection's id, its row locked against removal or against everything.

    Holds:   who locks it against removal, and documents after it, takes turns with its removal,
             which locks documents before it.
    Raises:  NotFound – the workspace has no collection of that name.
    """
    if lock == "FOR KEY SHARE":
        await _take_turn(connection, workspace_id, name, "_shared")
    found = await connection.scalar(
        text(f"SELECT id FROM collections WHERE workspace_id = :workspace AND name = :name {lock}"),
        {"workspace": workspace_id, "name": name},
    )
    if found is None:
        raise NotFound(
            f"There is no collection named {name!r}. GET /collections lists them; "
            "POST /collections makes one."
        )
    return CollectionId(found)


async def list_collections(
    connection: AsyncConnection, workspace_id: WorkspaceId
) -> list[CollectionRow]:
    """List the workspace's collections by name; documents that the visitor sees are counted."""
    rows = await connection.execute(
        text(
            "SELECT c.id, c.name, count(d.id), CAST(coalesce(sum(d.chunk_count), 0) AS bigint), "
            "c.created_at FROM collections c "
            "LEFT JOIN documents d ON d.workspace_id = c.workspace_id AND d.collection_id = c.id "
            "WHERE c.workspace_id = :workspace "
            "GROUP BY c.id, c.name, c.created_at ORDER BY c.name"
        ),
        {"workspace": workspace_id},
    )
    return [CollectionRow(*row) for row in rows]


async def add_collection(
    connection: AsyncConnection, workspace_id: WorkspaceId, name: str
) -> CollectionRow:
    """Make an empty collection.

    Raises:  Conflict – the name is taken.
    """
    added = (
        await connection.execute(
            text(
                "INSERT INTO collections (workspace_id, id, name) VALUES (:workspace, :id, :name) "
                "ON CONFLICT (workspace_id, name) DO NOTHING RETURNING id, name, created_at"
            ),
            {"workspace": workspace_id, "id": uuid4(), "name": name},
        )
    ).one_or_none()
    if added is None:
        raise Conflict(f"A collection named {name!r} is there already. Choose another name.")
    return CollectionRow(CollectionId(added.id), added.name, 0, 0, added.created_at)


async def remove_collection(
    connection: AsyncConnection, workspace_id: WorkspaceId, name: str
) -> list[str]:
    """Remove a collection with its documents; return the sha256 of the files that it held.

    Raises:  NotFound – no such collection.  Conflict – the default one stays.
    """
    if name == DEFAULT_COLLECTION:
        raise Conflict("The default collection stays. Delete its documents one by one instead.")
    await connection.execute(text("SET LOCAL statement_timeout = 0"))
    await _take_turn(connection, workspace_id, name)
    collection_id = await get_collection_id(connection, workspace_id, name)
    values: dict[str, object] = {"workspace": workspace_id, "collection": collection_id}
    # Parts, jobs, documents and then the collection, as those lock them that publish. What came
    # in before the last lock is locked after it; each statement sees what was there until then.
    await _lock_documents(connection, values)
    await get_collection_id(connection, workspace_id, name, lock="FOR UPDATE")
    await _lock_documents(connection, values)
    hashes = await connection.scalars(
        text(
            "SELECT DISTINCT v.sha256 FROM versions v JOIN documents d "
            "ON d.workspace_id = v.workspace_id AND d.id = v.document_id "
            "WHERE d.workspace_id = :workspace AND d.collection_id = :collection"
        ),
        values,
    )
    removed = list(hashes)
    # Before their parts: those would each write the same row anew, which takes minutes for many.
    await connection.execute(
        text(
            "UPDATE jobs SET status = 'cancelled', finished_at = now(), "
            "reason = 'document_deleted', message = 'The collection was deleted.' "
            "WHERE workspace_id = :workspace AND task = 'wait' AND status = 'running' "
            "AND id IN (SELECT parent_id FROM jobs WHERE workspace_id = :workspace "
            "AND document_id IN (SELECT id FROM documents WHERE workspace_id = :workspace "
            "AND collection_id = :collection))"
        ),
        values,
    )
    await connection.execute(
        text(
            "UPDATE jobs SET status = 'cancelled', finished_at = now(), lease_token = NULL, "
            "reason = 'document_deleted', message = 'The document was deleted.', password = NULL "
            "WHERE workspace_id = :workspace AND status IN ('queued', 'running') "
            "AND task <> 'embed' "
            "AND document_id IN (SELECT id FROM documents WHERE workspace_id = :workspace "
            "AND collection_id = :collection)"
        ),
        values,
    )
    documents = await connection.scalars(
        text(
            "SELECT id FROM documents "
            "WHERE workspace_id = :workspace AND collection_id = :collection"
        ),
        values,
    )
    await remove_answers_from(connection, workspace_id, [DocumentId(row) for row in documents])
    await connection.execute(
        text(
            "WITH unlimited AS (DELETE FROM quotas "
            "WHERE workspace_id = :workspace AND collection_id = :collection) "
            "DELETE FROM collections WHERE workspace_id = :workspace AND id = :collection"
        ),
        values,
    )
    return removed


async def _take_turn(
    connection: AsyncConnection, workspace_id: WorkspaceId, name: str, mode: str = ""
) -> None:
    await connection.execute(
        text(f"SELECT pg_advisory_xact_lock{mode}(hashtextextended(:collection, 3))"),
        {"collection": f"{workspace_id}/{name}"},
    )


async def _lock_documents(connection: AsyncConnection, values: Mapping[str, object]) -> None:
    """Lock a collection's documents and all their jobs until the transaction ends."""
    await connection.execute(
        text(
            "SELECT count(*) FROM (SELECT 1 FROM jobs WHERE workspace_id = :workspace "
            "AND document_id IN (SELECT id FROM documents WHERE workspace_id = :workspace "
            "AND collection_id = :collection) ORDER BY task <> 'embed', id FOR UPDATE) AS locked"
        ),
        values,
    )
    await connection.execute(
        text(
            "SELECT count(*) FROM (SELECT 1 FROM documents WHERE workspace_id = :workspace "
            'AND collection_id = :collection ORDER BY source COLLATE "C" FOR UPDATE) AS locked'
        ),
        values,
    )
