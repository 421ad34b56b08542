"""Lists of readers: set with a document, and what follows from a change of them."""

from collections.abc import Mapping, Sequence

from sqlalchemy.ext.asyncio import AsyncConnection

from citewell.domain import CollectionId, DocumentId, WorkspaceId, is_reader, kept_readers
from citewell.errors import AccessError, NotFound
from citewell.records.audit import add_audits
from citewell.records.documents import get_document
from citewell.records.lexical import refresh_lexemes
from citewell.records.session import current_visitor
from citewell.records.statements import text

SET = """
WITH given AS (
    SELECT id, CAST(written AS text[]) AS readers
    FROM unnest(CAST(:ids AS uuid[]), CAST(:written AS text[])) AS n (id, written)
), old AS MATERIALIZED (
    SELECT d.id, d.collection_id, d.readers, d.chunk_count FROM documents d
    WHERE d.workspace_id = :workspace AND d.id IN (SELECT id FROM given)
    ORDER BY d.collection_id, d.source COLLATE "C" FOR NO KEY UPDATE
), changed AS (
    UPDATE documents d SET readers = g.readers, updated_at = now() FROM old o
    JOIN given g ON g.id = o.id
    WHERE d.workspace_id = :workspace AND d.id = o.id AND o.readers IS DISTINCT FROM g.readers
    RETURNING d.id
)
SELECT o.id, o.collection_id, c.id IS NOT NULL AS changed,
    o.chunk_count > 0 AND (o.readers IS NULL) <> (g.readers IS NULL) AS counted
FROM old o JOIN given g ON g.id = o.id LEFT JOIN changed c ON c.id = o.id
"""


def written_readers(readers: Sequence[str] | None) -> str | None:
    """Write a list as PostgreSQL reads an array; its entries need no quotes."""
    kept = None if readers is None else kept_readers(readers)
    return None if kept is None else "{" + ",".join(kept) + "}"


def require_reader(readers: Sequence[str] | None) -> None:
    """Keep somebody from locking themselves out: an admin would have to open the door again.

    Raises:  AccessError – who acts would not see the document.
    """
    if not is_reader(readers, current_visitor().tags):
        raise AccessError(
            "You would not see this document yourself. Name your role or one of your groups among "
            "its readers, or ask an admin to set them."
        )


async def set_readers(
    connection: AsyncConnection,
    workspace_id: WorkspaceId,
    given: Mapping[DocumentId, Sequence[str] | None],
    request_id: str | None,
) -> None:
    """Say who may read documents, with an audit row for each whose readers change.

    Holds:   from the commit on no search depends on a document that was limited, not even by how
             rare its words are.
    Cost:    terms are counted anew where a document was open and is limited, or the reverse; see
             ``refresh_lexemes``.
    Raises:  NotFound – no such document.  AccessError – who acts would not see it any more.
    """
    if not all(is_reader(readers, current_visitor().tags) for readers in given.values()):
        for document_id in given:
            await get_document(connection, workspace_id, document_id)
    for readers in given.values():
        require_reader(readers)
    rows = (
        await connection.execute(
            text(SET),
            {
                "workspace": workspace_id,
                "ids": list(given),
                "written": [written_readers(readers) for readers in given.values()],
            },
        )
    ).all()
    if len(rows) != len(given):
        raise NotFound("There is no document with that id. GET /documents lists them.")
    changed = sorted(str(row.id) for row in rows if row.changed)
    if changed:
        await add_audits(connection, workspace_id, "document.readers", changed, request_id)
    for collection_id in sorted({row.collection_id for row in rows if row.counted}):
        await refresh_lexemes(connection, workspace_id, CollectionId(collection_id), wait=True)
