"""/usage and /quotas: what was used by day, what may be used, and what of it is left."""

from datetime import UTC, date, datetime, timedelta
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Path, Query
from pydantic import Field

from citewell.api.context import request_id
from citewell.api.deps import CallerDep, CleanText, ServicesDep, WorkspaceDep
from citewell.api.schemas import Request, Wire
from citewell.domain import WorkspaceId
from citewell.errors import AccessError, NotFound, Unprocessable
from citewell.records.audit import add_audit
from citewell.records.collections import get_collection_id
from citewell.records.quotas import Quota, QuotaRow, list_quotas, set_quota
from citewell.records.session import current_visitor
from citewell.records.usage import MICRO, NO_COLLECTION, DayRow, list_days
from citewell.wiring import Services

router = APIRouter(tags=["usage"])

MOST_DAYS = 366
USUAL_DAYS = 30
MOST = 2**53
Count = Annotated[int, Field(ge=0, le=MOST)]
Dollars = Annotated[float, Field(ge=0, le=MOST / MICRO)]
CollectionPath = Annotated[CleanText, Path(description="The collection's name.")]


class QuotaRequest(Request):
    """The most of each; what is absent or null has no limit. It replaces the quota before."""

    documents: Count | None = None
    bytes: Count | None = None
    chunks: Count | None = None
    tokens_per_day: Count | None = None
    cost_usd_per_day: Dollars | None = None


class Amounts(Wire):
    """Totals of what is held, and what questions used today (UTC)."""

    documents: int | None
    bytes: int | None
    chunks: int | None
    tokens_per_day: int | None
    cost_usd_per_day: float | None


class QuotaReply(Wire):
    """A quota, what is used of it, and what is left where there is a limit.

    ``collection`` is null for the workspace as a whole. ``used`` and ``left`` are null for callers
    who may not see every document.
    """

    collection: str | None
    allowed: Amounts
    used: Amounts | None
    left: Amounts | None


class Quotas(Wire):
    """The workspace's quota, and those of its collections."""

    workspace: QuotaReply
    collections: list[QuotaReply]


class UsageDay(Wire):
    """What one day (UTC) used, of one collection; null is what was asked of all of them.

    ``removed`` says that the collection is not there any more.
    """

    workspace_id: UUID
    day: date
    collection: str | None
    removed: bool
    questions: int
    input_tokens: int
    output_tokens: int
    cost_usd: float
    documents: int
    bytes: int
    chunks: int


class Usage(Wire):
    """What was used from one day to another, newest first; and what quotas leave.

    ``quotas`` is null when all workspaces are shown.
    """

    first: date
    last: date
    days: list[UsageDay]
    quotas: Quotas | None


@router.get("/usage")
async def read_usage(
    services: ServicesDep,
    caller: CallerDep,
    first: Annotated[
        date | None, Query(alias="from", description="First day (UTC); 30 days if absent.")
    ] = None,
    last: Annotated[
        date | None, Query(alias="to", description="Last day; today if absent.")
    ] = None,
    of_all: Annotated[
        bool, Query(alias="all", description="Of every workspace; for owners.")
    ] = False,
) -> Usage:
    """Return what the workspace used by day and collection, and what its quotas leave."""
    last = last or datetime.now(UTC).date()
    first = first or last - timedelta(days=min(USUAL_DAYS - 1, last.toordinal() - 1))
    if not 0 <= (last - first).days < MOST_DAYS:
        raise Unprocessable(
            f"The days from and to must be at most {MOST_DAYS} days apart, the earlier first."
        )
    if of_all:
        if not caller.principal.is_owner:
            raise AccessError("Only an owner of this installation may see every workspace.")
        async with services.database.system_transaction() as connection:
            rows = await list_days(connection, None, first, last)
        return Usage(first=first, last=last, days=[_wire_day(row) for row in rows], quotas=None)
    async with services.database.transaction(caller.workspace_id) as connection:
        rows = await list_days(connection, caller.workspace_id, first, last)
        quotas = _wire_quotas(await list_quotas(connection, caller.workspace_id))
    return Usage(first=first, last=last, days=[_wire_day(row) for row in rows], quotas=quotas)


@router.get("/quotas")
async def read_quotas(services: ServicesDep, workspace_id: WorkspaceDep) -> Quotas:
    """Return what the workspace and its collections may hold and use, and what is left of it."""
    return await _read(services, workspace_id)


@router.put("/quotas")
async def replace_workspace_quota(
    services: ServicesDep, workspace_id: WorkspaceDep, body: QuotaRequest
) -> QuotaReply:
    """Replace the workspace's quota; what it holds already stays."""
    async with services.database.transaction(workspace_id) as connection:
        await set_quota(connection, workspace_id, NO_COLLECTION, _quota(body))
        await add_audit(connection, workspace_id, "quota.change", str(workspace_id), request_id())
    return (await _read(services, workspace_id)).workspace


@router.get("/collections/{name}/quota")
async def read_collection_quota(
    services: ServicesDep, workspace_id: WorkspaceDep, name: CollectionPath
) -> QuotaReply:
    """Return what a collection may hold and use, and what is left of it."""
    async with services.database.transaction(workspace_id) as connection:
        await get_collection_id(connection, workspace_id, name)
    return _find(await _read(services, workspace_id), name)


@router.put("/collections/{name}/quota")
async def replace_collection_quota(
    services: ServicesDep, workspace_id: WorkspaceDep, name: CollectionPath, body: QuotaRequest
) -> QuotaReply:
    """Replace a collection's quota; what it holds already stays."""
    async with services.database.transaction(workspace_id) as connection:
        collection_id = await get_collection_id(
            connection, workspace_id, name, lock="FOR KEY SHARE"
        )
        await set_quota(connection, workspace_id, collection_id, _quota(body))
        await add_audit(connection, workspace_id, "quota.change", name, request_id())
    return _find(await _read(services, workspace_id), name)


async def _read(services: Services, workspace_id: WorkspaceId) -> Quotas:
    async with services.database.transaction(workspace_id) as connection:
        return _wire_quotas(await list_quotas(connection, workspace_id))


def _find(quotas: Quotas, name: str) -> QuotaReply:
    for quota in quotas.collections:
        if quota.collection == name:
            return quota
    raise NotFound(f"The collection {name!r} was deleted meanwhile. GET /collections lists them.")


def _quota(body: QuotaRequest) -> Quota:
    dollars = body.cost_usd_per_day
    return Quota(
        documents=body.documents,
        bytes=body.bytes,
        chunks=body.chunks,
        tokens_per_day=body.tokens_per_day,
        micro_usd_per_day=None if dollars is None else round(dollars * MICRO),
    )


def _wire_quotas(rows: list[QuotaRow]) -> Quotas:
    # How much there is tells of documents that are not for every reader.
    open_to_caller = current_visitor().tags is None
    workspace, *collections = [_wire_quota(row, open_to_caller=open_to_caller) for row in rows]
    return Quotas(workspace=workspace, collections=collections)


def _wire_quota(row: QuotaRow, *, open_to_caller: bool) -> QuotaReply:
    allowed, used = _amounts(row.allowed), _amounts(row.used)
    left = {
        name: None if most is None else max(most - getattr(used, name), 0)
        for name, most in allowed.model_dump().items()
    }
    return QuotaReply(
        collection=row.collection,
        allowed=allowed,
        used=used if open_to_caller else None,
        left=Amounts.model_validate(left) if open_to_caller else None,
    )


def _amounts(quota: Quota) -> Amounts:
    micro = quota.micro_usd_per_day
    return Amounts(
        documents=quota.documents,
        bytes=quota.bytes,
        chunks=quota.chunks,
        tokens_per_day=quota.tokens_per_day,
        cost_usd_per_day=None if micro is None else micro / MICRO,
    )


def _wire_day(row: DayRow) -> UsageDay:
    return UsageDay(
        workspace_id=row.workspace_id,
        day=row.day,
        collection=row.collection,
        removed=row.removed,
        questions=row.questions,
        input_tokens=row.input_tokens,
        output_tokens=row.output_tokens,
        cost_usd=row.micro_usd / MICRO,
        documents=row.documents,
        bytes=row.bytes,
        chunks=row.chunks,
    )
