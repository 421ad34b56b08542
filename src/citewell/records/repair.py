"""Put right what the checker found: recount, queue again, read anew; what cannot be is left."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from citewell.domain import DocumentId, WorkspaceId
from citewell.errors import NotFound
from citewell.ports import BlobStore
from citewell.records.audit import add_audit
from citewell.records.blobs import remove_unused_blobs
from citewell.records.invariants import INVARIANTS
from citewell.records.session import Database
from citewell.records.statements import text
from citewell.records.uploads import add_reindex
from citewell.records.verify import Check


@dataclass(frozen=True, slots=True)
class Repair:
    """What was done about one broken invariant: a sentence, and how often."""

    invariant: str
    breaches: int
    what: str


async def repair(database: Database, blobs: BlobStore, checks: Sequence[Check]) -> list[Repair]:
    """Cure each breach that can be cured; documents that need it are queued to be read anew.

    Holds:   statements count and end only; texts and chunks are never edited, but made anew.
    """
    repairs: list[Repair] = []
    reread: set[tuple[WorkspaceId, DocumentId]] = set()
    for check in checks:
        if not check.breaches:
            continue
        what = (
            "It cannot be repaired from what is stored. Upload these files again, or make these "
            "exports anew."
        )
        if check.cure == "statement":
            async with database.system_transaction() as connection:
                await connection.execute(text("SET LOCAL statement_timeout = 0"))
                invariant = INVARIANTS[check.invariant]
                if invariant.lock:
                    await connection.execute(text(invariant.lock))
                await connection.execute(text(invariant.statement))
            what = "The rows were put right."
        elif check.cure == "files":
            await remove_unused_blobs(database, blobs, [str(row[0]) for row in check.found])
            what = "The files were removed."
        elif check.cure == "reindex":
            for workspace_id, document_id in check.found:
                reread.add(
                    (WorkspaceId(UUID(str(workspace_id))), DocumentId(UUID(str(document_id))))
                )
            what = "The documents were queued to be read anew; a worker does it."
        elif check.invariant in INVARIANTS:
            what = "The audit log is never changed. Find out who wrote to the tables."
        repairs.append(Repair(check.invariant, check.breaches, what))
    for workspace_id, document_id in sorted(reread):
        await _reread(database, workspace_id, document_id)
    return repairs


async def _reread(database: Database, workspace_id: WorkspaceId, document_id: DocumentId) -> None:
    """Queue a document to be read anew, unless it was deleted meanwhile."""
    try:
        async with database.transaction(workspace_id) as connection:
            added = await add_reindex(connection, workspace_id, document_id, None)
            if added.changed:
                await add_audit(
                    connection, workspace_id, "document.reindex", str(document_id), None
                )
    except NotFound:
        return
