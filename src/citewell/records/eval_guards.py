"""The dataset that a change of the workspace's policy is tried on, before it is made."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncConnection

from citewell.domain import Json, WorkspaceId
from citewell.errors import NotFound
from citewell.records.statements import text


@dataclass(frozen=True, slots=True)
class Guard:
    """A dataset, and by how much a metric's mean may fall."""

    dataset_sha256: str
    collection: str | None
    tolerance: float
    questions: Sequence[Json]
    created_by: str
    created_at: datetime


async def find_guard(connection: AsyncConnection, workspace_id: WorkspaceId) -> Guard | None:
    """Return the workspace's guard; None where changes are not tried."""
    row = (
        await connection.execute(
            text(
                "SELECT dataset_sha256, collection, tolerance, questions, created_by, created_at "
                "FROM eval_guards WHERE workspace_id = :workspace"
            ),
            {"workspace": workspace_id},
        )
    ).one_or_none()
    return None if row is None else Guard(*row)


async def get_guard(connection: AsyncConnection, workspace_id: WorkspaceId) -> Guard:
    """Return the workspace's guard.

    Raises:  NotFound – there is none.
    """
    guard = await find_guard(connection, workspace_id)
    if guard is None:
        raise NotFound("This workspace has no guard. PUT /evals/guard sets one.")
    return guard


async def set_guard(
    connection: AsyncConnection,
    workspace_id: WorkspaceId,
    dataset_sha256: str,
    collection: str | None,
    tolerance: float,
    questions: Sequence[Json],
) -> None:
    """Set the workspace's guard, in the place of the one before."""
    await connection.execute(
        text(
            "INSERT INTO eval_guards "
            "(workspace_id, dataset_sha256, collection, tolerance, questions) "
            "VALUES (:workspace, :sha256, :collection, :tolerance, CAST(:questions AS jsonb)) "
            "ON CONFLICT (workspace_id) DO UPDATE SET dataset_sha256 = excluded.dataset_sha256, "
            "collection = excluded.collection, tolerance = excluded.tolerance, "
            "questions = excluded.questions, created_by = excluded.created_by, created_at = now()"
        ),
        {
            "workspace": workspace_id,
            "sha256": dataset_sha256,
            "collection": collection,
            "tolerance": tolerance,
            "questions": json.dumps(list(questions)),
        },
    )


async def remove_guard(connection: AsyncConnection, workspace_id: WorkspaceId) -> None:
    """Remove the workspace's guard.

    Raises:  NotFound – there is none.
    """
    removed = await connection.execute(
        text("DELETE FROM eval_guards WHERE workspace_id = :workspace"), {"workspace": workspace_id}
    )
    if removed.rowcount == 0:
        raise NotFound("This workspace has no guard. PUT /evals/guard sets one.")
