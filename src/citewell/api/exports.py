"""/exports: files of records, made by a worker, kept for some days, downloaded by admins."""

import re
from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Depends, Path, Request
from fastapi.responses import FileResponse, Response

from citewell.api.context import request_id
from citewell.api.deps import (
    CallerDep,
    CursorQuery,
    LimitQuery,
    ServicesDep,
    WorkspaceDep,
    known_uuid,
)
from citewell.api.export_schemas import Export, ExportPage
from citewell.api.export_schemas import NewExport as Asked
from citewell.api.once import Accepted, AttemptDep, do_once
from citewell.domain import ExportId, JobId
from citewell.errors import AccessError, Conflict, NotFound
from citewell.records.audit import add_audit
from citewell.records.blobs import remove_unused_blobs
from citewell.records.export_rows import OF_INSTALLATION
from citewell.records.exports import (
    UNKNOWN,
    ExportFormat,
    ExportRow,
    NewExport,
    add_export,
    get_export,
    list_exports,
    remove_export,
    retry_export,
)
from citewell.records.session import Connection

router = APIRouter(prefix="/exports", tags=["exports"])

MEDIA_TYPES: dict[ExportFormat, str] = {"jsonl": "application/jsonl", "csv": "text/csv"}
RANGE = re.compile(r"bytes=(?:(\d{1,18})-(\d{0,18})|-(\d{1,18}))")


async def export_id(export_id: Annotated[str, Path(description="The export's id.")]) -> ExportId:
    """Read an export's id; a malformed one is unknown."""
    return ExportId(known_uuid(export_id))


async def visible_export(
    services: ServicesDep,
    caller: CallerDep,
    workspace_id: WorkspaceDep,
    named: Annotated[ExportId, Depends(export_id)],
) -> ExportId:
    """Return an export's id; what holds rows of the installation is known to owners only."""
    if not caller.principal.is_owner:
        async with services.database.transaction(workspace_id) as connection:
            row = await get_export(connection, workspace_id, named)
        if row.filters.get(OF_INSTALLATION):
            raise NotFound(UNKNOWN)
    return named


ExportIdDep = Annotated[ExportId, Depends(visible_export)]


@router.post("", status_code=202, response_model=Export)
async def make(
    services: ServicesDep,
    caller: CallerDep,
    workspace_id: WorkspaceDep,
    attempt: AttemptDep,
    body: Asked,
) -> Response:
    """Have records written to a file; a worker does it. An archived workspace has exports too."""
    filters = body.filters.to_json()
    if filters.get(OF_INSTALLATION) and not caller.principal.is_owner:
        raise AccessError("Only an owner exports what concerns the whole installation.")
    new = NewExport(body.kind, body.format, filters, services.settings.exports.keep_days)

    async def effect(connection: Connection) -> Accepted:
        made = await add_export(connection, workspace_id, new, request_id())
        await add_audit(connection, workspace_id, "export.add", str(made), request_id())
        row = await get_export(connection, workspace_id, made)
        return Accepted(_wire(row), [JobId(made)], f"/exports/{made}", task="export")

    content = [body.kind, body.format, filters]
    reply, _ = await do_once(services, workspace_id, attempt, content, 202, effect)
    return reply


@router.get("")
async def list_all(
    services: ServicesDep,
    caller: CallerDep,
    workspace_id: WorkspaceDep,
    limit: LimitQuery = 50,
    cursor: CursorQuery = None,
) -> ExportPage:
    """List exports, newest first."""
    async with services.database.transaction(workspace_id) as connection:
        page = await list_exports(
            connection, workspace_id, limit, cursor, of_installation=caller.principal.is_owner
        )
    return ExportPage(exports=[_wire(row) for row in page.items], next_cursor=page.next_cursor)


@router.get("/{export_id}")
async def get_one(
    services: ServicesDep, workspace_id: WorkspaceDep, export_id: ExportIdDep
) -> Export:
    """Return one export: how far it is, and what became of it."""
    async with services.database.transaction(workspace_id) as connection:
        return _wire(await get_export(connection, workspace_id, export_id))


@router.get(
    "/{export_id}/download",
    response_class=FileResponse,
    responses={200: {"content": {name: {} for name in MEDIA_TYPES.values()}}, 206: {}},
)
async def download(
    services: ServicesDep, workspace_id: WorkspaceDep, export_id: ExportIdDep, request: Request
) -> FileResponse:
    """Download an export's file, or one range of its bytes."""
    async with services.database.transaction(workspace_id) as connection:
        row = await get_export(connection, workspace_id, export_id)
        sha256 = _file_of(row)
        path = await services.blobs.find_path(sha256)
        if path is None:
            raise NotFound("The export's file is no longer stored. Make a new export.")
        await add_audit(connection, workspace_id, "export.download", str(export_id), request_id())
    _keep_usable_range(request, row.size_bytes or 0)
    return FileResponse(
        path,
        media_type=MEDIA_TYPES[row.format],
        filename=f"{row.kind}-{row.created_at:%Y%m%dT%H%M%SZ}.{row.format}",
        headers={"ETag": f'"{sha256}"', "Cache-Control": "private, no-store"},
    )


@router.post("/{export_id}/retry", status_code=202, response_model=Export)
async def retry(
    services: ServicesDep, workspace_id: WorkspaceDep, export_id: ExportIdDep, attempt: AttemptDep
) -> Response:
    """Try a failed export again, from its start; it has the rows that it had then."""

    async def effect(connection: Connection) -> Accepted:
        keep_days = services.settings.exports.keep_days
        job = await retry_export(connection, workspace_id, export_id, keep_days)
        await add_audit(connection, workspace_id, "export.retry", str(export_id), request_id())
        row = await get_export(connection, workspace_id, export_id)
        return Accepted(_wire(row), [job], f"/exports/{export_id}", task="export")

    reply, _ = await do_once(services, workspace_id, attempt, None, 202, effect)
    return reply


@router.delete("/{export_id}", status_code=204)
async def delete(
    services: ServicesDep, workspace_id: WorkspaceDep, export_id: ExportIdDep
) -> Response:
    """Delete an export with its file; one that is not ready yet is not made."""
    async with services.database.transaction(workspace_id) as connection:
        files = await remove_export(connection, workspace_id, export_id)
        await add_audit(connection, workspace_id, "export.delete", str(export_id), request_id())
    await remove_unused_blobs(services.database, services.blobs, files)
    return Response(status_code=204)


def _wire(row: ExportRow) -> Export:
    fields = {name: getattr(row, name) for name in Export.model_fields if name != "share"}
    return Export.model_validate({**fields, "share": _share(row)})


def _share(row: ExportRow) -> float:
    if row.status == "succeeded":
        return 1.0
    done, total = row.progress.get("done"), row.progress.get("total")
    if row.status != "running" or not done or not total:
        return 0.0
    return min(done / total, 1.0)


def _file_of(row: ExportRow) -> str:
    """Return the sha256 of an export's file.

    Raises:  Conflict – there is none yet.  NotFound – its time is over.
    """
    if row.expires_at <= datetime.now(UTC):
        raise NotFound("This export has expired. Make a new one.")
    if row.status != "succeeded" or row.sha256 is None:
        raise Conflict(
            "This export has no file: it is not ready yet, or it failed. GET /exports/{export_id} "
            "says which."
        )
    return row.sha256


def _keep_usable_range(request: Request, size_bytes: int) -> None:
    """Leave out a Range header that names no single range of the file: all of it is sent then."""
    found = RANGE.fullmatch(request.headers.get("range", ""))
    if found is not None:
        start, end, last = found.groups()
        if (
            int(last) > 0
            if start is None
            else int(start) < size_bytes and (not end or int(end) >= int(start))
        ):
            return
    headers = request.scope["headers"]
    request.scope["headers"] = [(name, value) for name, value in headers if name != b"range"]
