"""Look again at the places that a stored answer cites: are they there, and is the text the same."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncConnection

from citewell.domain import DocumentId, VersionId, WorkspaceId
from citewell.records.statements import columns, text


@dataclass(frozen=True, slots=True)
class CitedSpan:
    """A span of a version, and the text that was there when it was cited."""

    document_id: DocumentId
    version_id: VersionId
    start: int
    end: int
    quote: str


@dataclass(frozen=True, slots=True)
class SpanState:
    """What is at a cited span now.

    ``text`` is what the version has there, None where the version is gone. ``moved_to`` is where
    the active version, another one, has the quote first.
    """

    document_exists: bool
    text: str | None
    active_version_id: VersionId | None
    moved_to: int | None


_READ = """
SELECT d.id IS NOT NULL, CASE WHEN v.text IS NOT NULL
           THEN substring(v.text FROM s.first + 1 FOR s.last - s.first) END,
       d.active_version_id,
       CASE WHEN d.active_version_id <> s.version THEN nullif(strpos(a.text, s.quote), 0) - 1 END
FROM unnest(CAST(:document AS uuid[]), CAST(:version AS uuid[]), CAST(:first AS int[]),
            CAST(:last AS int[]), CAST(:quote AS text[]))
     WITH ORDINALITY AS s (document, version, first, last, quote, place)
LEFT JOIN documents d ON d.workspace_id = :workspace AND d.id = s.document
LEFT JOIN versions v ON v.workspace_id = d.workspace_id AND v.id = s.version
     AND v.document_id = d.id
LEFT JOIN versions a ON a.workspace_id = d.workspace_id AND a.id = d.active_version_id
     AND a.id <> s.version AND s.quote <> ''
ORDER BY s.place
"""


async def read_spans(
    connection: AsyncConnection, workspace_id: WorkspaceId, spans: Sequence[CitedSpan]
) -> list[SpanState]:
    """Return for each span what is there now, in the same order.

    Cost:    one statement; it reads the text of each version that is cited.
    """
    rows = [
        {
            "document": span.document_id,
            "version": span.version_id,
            "first": span.start,
            "last": max(span.start, span.end),
            "quote": span.quote,
        }
        for span in spans
    ]
    if not rows:
        return []
    found = await connection.execute(text(_READ), {"workspace": workspace_id, **columns(rows)})
    return [
        SpanState(row[0], row[1], None if row[2] is None else VersionId(row[2]), row[3])
        for row in found
    ]
