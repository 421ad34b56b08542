"""An export: its rows are written to a file, which is named with the end of its job."""

from collections.abc import Callable

import structlog

from citewell.domain import ExportId, Json
from citewell.errors import CitewellError, LeaseLost, NotFound, Unavailable
from citewell.exports import write_export
from citewell.records.blobs import lock_blobs, remove_unused_blobs
from citewell.records.export_rows import Wanted, count_rows, place_of
from citewell.records.exports import ExportFile, get_export, keep_file
from citewell.records.leases import Lease, finish_jobs, hold_job
from citewell.wiring import Services

log = structlog.get_logger(__name__)


async def make_export(
    services: Services,
    lease: Lease,
    tell: Callable[[Json], None],
    last_word: Callable[[], Callable[[], Json]],
) -> None:
    """Make the export of a job, which has its id; each try begins at the first row.

    Holds:   the file's name and the end of the job are one transaction, which sees whether the job
             is still this worker's: a second try names no second file.
    Raises:  LeaseLost – it is not, or the export was deleted.  Unavailable, InsufficientStorage.
    """
    workspace_id, export_id = lease.workspace_id, ExportId(lease.job_id)
    async with services.database.transaction(workspace_id) as connection:
        try:
            asked = await get_export(connection, workspace_id, export_id)
        except NotFound as error:
            raise LeaseLost from error
    wanted = Wanted(asked.kind, asked.filters, asked.created_at)
    place = place_of(workspace_id, wanted)
    async with services.database.transaction(place) as connection:
        total = await count_rows(connection, place, wanted)

    def told(done: int) -> None:
        tell({"stage": "export", "done": done, "total": total})

    told(0)
    file = await write_export(
        services.database, services.blobs, workspace_id, wanted, asked.format, told
    )
    try:
        await _name(services, lease, file, last_word())
    except CitewellError:
        await _remove(services, file)
        raise


async def _name(
    services: Services, lease: Lease, file: ExportFile, word: Callable[[], Json]
) -> None:
    async with services.database.transaction(lease.workspace_id) as connection:
        await lock_blobs(connection, [file.sha256])
        await hold_job(connection, lease)
        if await services.blobs.find_path(file.sha256) is None:
            raise Unavailable("The file was removed while the export ended; it is tried again.")
        keep_days = services.settings.exports.keep_days
        await keep_file(connection, lease.workspace_id, ExportId(lease.job_id), file, keep_days)
        await finish_jobs(connection, lease.workspace_id, {lease.job_id: word()})


async def _remove(services: Services, file: ExportFile) -> None:
    """Remove a file that no export names; else the reconciler does it later."""
    try:
        await remove_unused_blobs(services.database, services.blobs, [file.sha256])
    except CitewellError as error:
        log.warning("a file that nobody needs is removed later", why=error.message)
