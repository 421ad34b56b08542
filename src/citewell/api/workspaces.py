"""/workspaces: make, list, describe, archive, restore, delete; the proofs of those that are gone.

The address names the workspace here, not the header: the gate reads it there.
"""

from collections import Counter
from collections.abc import Mapping
from datetime import UTC
from typing import Annotated

from fastapi import APIRouter, Body, Depends, Query
from fastapi.responses import Response

from citewell.api import workspace_schemas as wire
from citewell.api.context import request_id
from citewell.api.deps import (
    CallerDep,
    CleanText,
    CursorQuery,
    GateDep,
    LimitQuery,
    NamedWorkspaceDep,
    ServicesDep,
)
from citewell.api.gate import Caller
from citewell.api.once import Accepted, AttemptDep, do_once_everywhere
from citewell.domain import Json, WorkspaceId, covers
from citewell.errors import Conflict, NotFound, Unprocessable
from citewell.records.archiving import (
    Change,
    archive_workspaces,
    request_purge,
    restore_workspaces,
)
from citewell.records.audit import add_audit
from citewell.records.purges import list_purges
from citewell.records.session import Connection
from citewell.records.usage import MICRO, Used, sum_days
from citewell.records.workspace_counts import count_members, count_workspace
from citewell.records.workspaces import (
    UNKNOWN_WORKSPACE,
    WorkspaceFilter,
    WorkspaceRow,
    add_workspace,
    change_workspace,
    get_workspace,
    list_workspaces,
    lock_workspaces,
)

router = APIRouter(prefix="/workspaces", tags=["workspaces"])

SAMPLE = 10
USUAL_DAYS = 30


async def get_filter(
    caller: CallerDep,
    search: Annotated[
        wire.SearchText | None, Query(description="Words of the name or the description.")
    ] = None,
    status: Annotated[wire.StatusFilter, Query()] = "all",
) -> WorkspaceFilter:
    """Read which workspaces are wanted, of those that the caller has a role in."""
    principal = caller.principal
    return WorkspaceFilter(search, status, None if principal.is_owner else list(principal.roles))


@router.post("", status_code=201, response_model=wire.Workspace)
async def make(services: ServicesDep, body: wire.NewWorkspace, attempt: AttemptDep) -> Response:
    """Make a workspace with its collection ``default``; keys for it come from ``POST /keys``."""

    async def effect(connection: Connection) -> Accepted:
        row = await add_workspace(connection, body.name, body.description)
        await _audit(connection, WorkspaceId(row.id), "workspace.add")
        return Accepted(wire.Workspace.model_validate(row), location=f"/workspaces/{row.id}")

    content = body.model_dump(mode="json")
    reply, _ = await do_once_everywhere(services, attempt, content, 201, effect)
    return reply


@router.get("")
async def list_all(
    services: ServicesDep,
    caller: CallerDep,
    wanted: Annotated[WorkspaceFilter, Depends(get_filter)],
    limit: LimitQuery = 50,
    cursor: CursorQuery = None,
) -> wire.WorkspacePage:
    """List the workspaces that the caller has a role in, newest first."""
    async with services.database.system_transaction() as connection:
        page = await list_workspaces(connection, wanted, limit, cursor)
    return wire.WorkspacePage(
        workspaces=[
            wire.ListedWorkspace.model_validate(_fields(caller, row)) for row in page.items
        ],
        next_cursor=page.next_cursor,
    )


@router.post("/bulk", response_model=wire.BulkReply)
async def change_many(
    services: ServicesDep, gate: GateDep, body: wire.BulkRequest, attempt: AttemptDep
) -> Response:
    """Archive or restore many workspaces in one transaction, by their ids or by a filter.

    By filter: first with ``preview``, which changes nothing and says how many there are; then with
    that number as ``expected_total``. If it is another one meanwhile, nothing is changed.
    """

    async def effect(connection: Connection) -> Accepted:
        return Accepted(await _change_many(connection, body))

    if body.preview:
        async with services.database.system_transaction() as connection:
            reply = await _change_many(connection, body)
        return Response(reply.model_dump_json(), media_type="application/json")
    content = body.model_dump(mode="json")
    response, _ = await do_once_everywhere(services, attempt, content, 200, effect)
    gate.forget()
    return response


@router.get("/purges")
async def list_proofs(
    services: ServicesDep, limit: LimitQuery = 50, cursor: CursorQuery = None
) -> wire.PurgePage:
    """List purged workspaces, newest first: what was removed, and that nothing is left."""
    async with services.database.system_transaction() as connection:
        page = await list_purges(connection, limit, cursor)
    return wire.PurgePage(
        purges=[wire.Purge.model_validate(row) for row in page.items],
        next_cursor=page.next_cursor,
    )


@router.get("/{workspace_id}")
async def get_one(
    services: ServicesDep, caller: CallerDep, workspace_id: NamedWorkspaceDep
) -> wire.WorkspaceDetail:
    """Return a workspace with what it holds, and for its admins with what it used."""
    ruled = covers(caller.principal.role_in(workspace_id), "admin")
    async with services.database.system_transaction() as connection:
        row = await get_workspace(connection, workspace_id)
        members = await count_members(connection, workspace_id)
    async with services.database.transaction(workspace_id) as connection:
        counts = await count_workspace(connection, workspace_id)
        used = await sum_days(connection, workspace_id, USUAL_DAYS) if ruled else None
    usage = used and wire.WorkspaceUsage(today=_used(used[0]), last_30_days=_used(used[1]))
    fields = _fields(caller, row) | counts | members | {"usage": usage}
    return wire.WorkspaceDetail.model_validate(fields)


@router.patch("/{workspace_id}")
async def change(
    services: ServicesDep,
    gate: GateDep,
    workspace_id: NamedWorkspaceDep,
    body: wire.WorkspaceChange,
) -> wire.Workspace:
    """Rename a workspace, or describe it anew."""
    async with services.database.system_transaction() as connection:
        row = await change_workspace(connection, workspace_id, body.name, body.description)
        await _audit(connection, workspace_id, "workspace.change")
    gate.forget()
    return wire.Workspace.model_validate(row)


@router.post("/{workspace_id}/archive")
async def archive(
    services: ServicesDep,
    gate: GateDep,
    workspace_id: NamedWorkspaceDep,
    body: wire.ArchiveRequest,
) -> wire.ChangedWorkspace:
    """Let a workspace be read and not written; jobs that were accepted go on to their end."""
    async with services.database.system_transaction() as connection:
        outcomes = await archive_workspaces(connection, [workspace_id], body.reason)
        row, changed = await _outcome(connection, workspace_id, outcomes, "workspace.archive")
    gate.forget()
    said = "The workspace is archived." if changed else "It was archived already; nothing changed."
    return _changed(row, said, changed=changed)


@router.post("/{workspace_id}/restore")
async def restore(
    services: ServicesDep, gate: GateDep, workspace_id: NamedWorkspaceDep
) -> wire.ChangedWorkspace:
    """Let an archived workspace be written again; if it was to be purged, it no longer is."""
    async with services.database.system_transaction() as connection:
        outcomes = await restore_workspaces(connection, [workspace_id])
        row, changed = await _outcome(connection, workspace_id, outcomes, "workspace.restore")
    gate.forget()
    said = "The workspace is active again." if changed else "It is active; nothing changed."
    return _changed(row, said, changed=changed)


@router.delete("/{workspace_id}", status_code=202)
async def delete(
    services: ServicesDep,
    workspace_id: NamedWorkspaceDep,
    confirm: Annotated[
        CleanText | None, Query(description="The workspace's name, if not in the body.")
    ] = None,
    body: Annotated[wire.PurgeRequest | None, Body()] = None,
) -> wire.ChangedWorkspace:
    """Have an archived workspace removed with all it holds, when its grace is over.

    Until then ``POST /workspaces/{workspace_id}/restore`` calls that off.
    """
    name = confirm if body is None else body.confirm
    if name is None:
        raise Unprocessable("Send the workspace's name as confirm: in the address or the body.")
    days = services.settings.workspaces.purge_days
    async with services.database.system_transaction() as connection:
        row, changed = await request_purge(connection, workspace_id, name, days)
        if changed:
            await _audit(connection, workspace_id, "workspace.delete")
    assert row.purge_after is not None, "a workspace that is to be purged says when"
    when = f"{row.purge_after.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
    said = f"The workspace is purged after {when}; until then it can be restored."
    if not changed:
        said = f"It was deleted already, and is purged after {when}."
    return _changed(row, said, changed=changed)


async def _change_many(connection: Connection, body: wire.BulkRequest) -> wire.BulkReply:
    if body.ids is not None:
        ids = [WorkspaceId(each) for each in dict.fromkeys(body.ids)]
    else:
        wanted = body.filter or wire.BulkFilter()
        rows = await lock_workspaces(connection, WorkspaceFilter(wanted.search, wanted.status))
        if body.preview:
            sample = [wire.Workspace.model_validate(row) for row in rows[:SAMPLE]]
            return wire.BulkReply(total=len(rows), preview=True, sample=sample)
        if len(rows) != body.expected_total:
            raise Conflict(
                f"The field expected_total is {body.expected_total}, but there are "
                f"{len(rows)} now. Look at the preview again.",
                code="total_changed",
            )
        ids = [WorkspaceId(row.id) for row in rows]
    if body.action == "archive":
        outcomes = await archive_workspaces(connection, ids, body.reason or "")
    else:
        outcomes = await restore_workspaces(connection, ids)
    for workspace_id, outcome in outcomes.items():
        if outcome == "done":
            await _audit(connection, workspace_id, f"workspace.{body.action}")
    counts = Counter(outcomes.values())
    return wire.BulkReply(
        total=len(ids),
        preview=False,
        done=counts["done"],
        unchanged=counts["unchanged"],
        not_found=counts["not_found"],
        results=[wire.BulkResult(id=each, outcome=how) for each, how in outcomes.items()],
    )


async def _outcome(
    connection: Connection,
    workspace_id: WorkspaceId,
    outcomes: Mapping[WorkspaceId, Change],
    action: str,
) -> tuple[WorkspaceRow, bool]:
    """Record a change that was made; return the workspace, and whether it was changed."""
    outcome = outcomes[workspace_id]
    if outcome == "not_found":
        raise NotFound(UNKNOWN_WORKSPACE)
    if outcome == "done":
        await _audit(connection, workspace_id, action)
    return await get_workspace(connection, workspace_id), outcome == "done"


async def _audit(connection: Connection, workspace_id: WorkspaceId, action: str) -> None:
    await add_audit(connection, workspace_id, action, str(workspace_id), request_id())


def _changed(row: WorkspaceRow, message: str, *, changed: bool) -> wire.ChangedWorkspace:
    return wire.ChangedWorkspace(
        changed=changed, message=message, workspace=wire.Workspace.model_validate(row)
    )


def _used(used: Used) -> wire.Used:
    return wire.Used(
        questions=used.questions,
        input_tokens=used.input_tokens,
        output_tokens=used.output_tokens,
        cost_usd=used.micro_usd / MICRO,
    )


def _fields(caller: Caller, row: WorkspaceRow) -> Json:
    """Return a workspace with the caller's role in it."""
    role = caller.principal.role_in(WorkspaceId(row.id))
    return {**wire.Workspace.model_validate(row).model_dump(), "role": role}
