"""A workspace's policy: what it wants of its answers, over the settings' defaults."""

import json
from dataclasses import fields
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from citewell.domain import AnswerPolicy, CollectionId, Json, WorkspaceId
from citewell.records.collections import get_collection_id
from citewell.records.statements import text
from citewell.settings import AnswerSettings

FIELDS = tuple(field.name for field in fields(AnswerPolicy))


def merge_policy(settings: AnswerSettings, own: Json) -> AnswerPolicy:
    """Return the policy of a workspace that set ``own`` fields; the settings give the others."""
    merged: dict[str, Any] = {
        "mode": settings.mode,
        "citations": settings.citations,
        "delivery": settings.delivery,
        "rewriting": settings.rewriting,
        "min_similarity": settings.min_similarity,
        "keep_days": settings.keep_days,
        **{name: value for name, value in own.items() if name in FIELDS},
    }
    merged["off_topics"] = tuple(merged.get("off_topics", ()))
    return AnswerPolicy(**merged)


async def get_policy(connection: AsyncConnection, workspace_id: WorkspaceId) -> Json:
    """Return the fields that the workspace set itself."""
    own = await connection.scalar(
        text("SELECT policy FROM workspaces WHERE id = :workspace"), {"workspace": workspace_id}
    )
    return own or {}


async def set_policy(connection: AsyncConnection, workspace_id: WorkspaceId, own: Json) -> None:
    """Replace the fields that the workspace set itself."""
    await connection.execute(
        text("UPDATE workspaces SET policy = CAST(:policy AS jsonb) WHERE id = :workspace"),
        {"workspace": workspace_id, "policy": json.dumps(own)},
    )


async def read_rules(
    connection: AsyncConnection, workspace_id: WorkspaceId, collection: str | None
) -> tuple[Json, CollectionId | None]:
    """Return the workspace's own policy and a collection's id, in one round trip.

    Raises:  NotFound – no such collection in this workspace.
    """
    row = (
        await connection.execute(
            text(
                "SELECT w.policy, c.id FROM workspaces w LEFT JOIN collections c "
                "ON c.workspace_id = w.id AND c.name = CAST(:name AS text) WHERE w.id = :workspace"
            ),
            {"workspace": workspace_id, "name": collection},
        )
    ).one()
    if collection is not None and row.id is None:
        return row.policy, await get_collection_id(connection, workspace_id, collection)
    return row.policy, None if row.id is None else CollectionId(row.id)
