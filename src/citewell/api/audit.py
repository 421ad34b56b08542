"""/audit: who changed what, and what was denied; the last first."""

from datetime import UTC, datetime
from typing import Annotated, Literal
from uuid import UUID

from fastapi import APIRouter, Depends, Query

from citewell.api.deps import (
    CallerDep,
    CleanText,
    CursorQuery,
    LimitQuery,
    ServicesDep,
    WorkspaceDep,
)
from citewell.api.schemas import Wire
from citewell.domain import INSTALLATION
from citewell.errors import AccessError
from citewell.records.audit import AuditFilter, list_audit

router = APIRouter(tags=["audit"])

Name = Annotated[CleanText | None, Query(max_length=300)]
Moment = Annotated[datetime | None, Query(description="UTC if it names no zone.")]


class AuditEntry(Wire):
    """One row: who did what to which target, and its link in the chain."""

    id: int
    position: int
    created_at: datetime
    action: str
    target: str
    outcome: Literal["done", "denied"]
    actor: str
    principal_id: UUID | None
    request_id: str | None
    hash: str


class AuditPage(Wire):
    """One page of the audit log, the last committed first."""

    entries: list[AuditEntry]
    next_cursor: str | None


def in_utc(moment: datetime | None) -> datetime | None:
    """Read a time that names no zone as UTC."""
    return moment.replace(tzinfo=UTC) if moment is not None and moment.tzinfo is None else moment


async def get_filter(
    action: Name = None,
    actor: Name = None,
    outcome: Annotated[Literal["done", "denied"] | None, Query()] = None,
    request_id: Name = None,
    target: Name = None,
    since: Annotated[Moment, Query(alias="from", description="From this time on.")] = None,
    until: Annotated[Moment, Query(alias="to", description="Before this time.")] = None,
) -> AuditFilter:
    """Read which rows are wanted."""
    return AuditFilter(action, actor, outcome, request_id, target, in_utc(since), in_utc(until))


@router.get("/audit")
async def list_all(
    services: ServicesDep,
    caller: CallerDep,
    workspace_id: WorkspaceDep,
    wanted: Annotated[AuditFilter, Depends(get_filter)],
    installation: Annotated[
        bool, Query(description="What concerns no workspace: owners' keys, and the like.")
    ] = False,
    limit: LimitQuery = 50,
    cursor: CursorQuery = None,
) -> AuditPage:
    """List who changed what and what was denied, the last first."""
    if installation:
        if not caller.principal.is_owner:
            raise AccessError("Only an owner reads what concerns the whole installation.")
        workspace_id = INSTALLATION
    async with services.database.transaction(workspace_id) as connection:
        page = await list_audit(connection, workspace_id, wanted, limit, cursor)
    return AuditPage(
        entries=[AuditEntry.model_validate(row) for row in page.items],
        next_cursor=page.next_cursor,
    )
