"""Make versions searchable: all rows of one or many documents in a single transaction.

Small documents are published together, since most of a transaction's cost does not depend on how
many rows it writes. The caller holds the jobs (``leases.hold_jobs``) in the same transaction, so
that only a lease's holder commits.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

from sqlalchemy.ext.asyncio import AsyncConnection

from citewell.domain import (
    Chunk,
    CollectionId,
    DocumentHead,
    DocumentId,
    Section,
    VersionId,
    WorkspaceId,
)
from citewell.domain.languages import DEFAULT_LANGUAGE, known_language
from citewell.records.quotas import Growth, Quota, refuse_chunks
from citewell.records.statements import columns, text
from citewell.records.suggestions import suggest_documents
from citewell.records.version_rows import (
    chunk_values,
    insert_chunks,
    save_sections,
    terms_of,
    version_values,
)

STALE_SHARE = 0.3
"""While documents come in, terms are counted anew when this share of the chunks is new."""


@dataclass(frozen=True, slots=True)
class Publication:
    """All that a version brings into the index.

    Shapes: ``vectors`` one literal for each chunk, as ``vector_literal`` writes it.
    """

    document_id: DocumentId
    version_id: VersionId
    head: DocumentHead
    text: str
    sections: Sequence[Section]
    chunks: Sequence[Chunk]
    vectors: Sequence[str]
    model: str


@dataclass(slots=True)
class Outcome:
    """What a publication left to be done after its commit.

    ``gone`` are versions whose document was deleted meanwhile; ``stale`` are collections whose
    terms should be counted anew; ``unused`` are the sha256 of files that no kept version may need.
    ``refused`` says why of versions that no quota has room for; ``published`` are the chunks of the
    others, which are booked at the transaction's end.
    """

    gone: set[VersionId] = field(default_factory=set[VersionId])
    stale: set[CollectionId] = field(default_factory=set[CollectionId])
    unused: list[str] = field(default_factory=list[str])
    refused: dict[VersionId, str] = field(default_factory=dict[VersionId, str])
    published: dict[VersionId, tuple[CollectionId, int]] = field(
        default_factory=dict[VersionId, tuple[CollectionId, int]]
    )


async def publish(
    connection: AsyncConnection,
    workspace_id: WorkspaceId,
    publications: Sequence[Publication],
    keep_versions: int,
    quotas: Mapping[CollectionId, Quota] = MappingProxyType({}),
) -> Outcome:
    """Replace each document's chunks by those of its version, and make that the active one.

    A version that a newer one has overtaken keeps its text and gets no chunks. ``quotas`` are those
    whose turn was taken before.
    """
    places = await lock_documents(
        connection, workspace_id, [publication.version_id for publication in publications]
    )
    outcome = Outcome(gone={p.version_id for p in publications} - places.keys())
    wanted = {p.version_id: len(p.chunks) for p in publications if p.version_id in places}
    outcome.refused = await refuse_chunks(
        connection, workspace_id, quotas, [places[v].growth(n) for v, n in wanted.items()]
    )
    kept = wanted.keys() - outcome.refused.keys()
    found = [p for p in publications if p.version_id in kept]
    if not found:
        return outcome
    await _save_versions(connection, workspace_id, found, places)
    await save_sections(
        connection, workspace_id, [(p.version_id, section) for p in found for section in p.sections]
    )
    newest = {
        places[p.version_id].document_id: p
        for p in sorted(found, key=lambda p: places[p.version_id].number)
    }
    current = [p for p in newest.values() if not places[p.version_id].overtaken]
    await remove_chunks(connection, workspace_id, [places[p.version_id] for p in current])
    await _insert_chunks(connection, workspace_id, current, places)
    counts = {p.version_id: len(p.chunks) for p in current}
    outcome.published = {v: (places[v].collection_id, n) for v, n in counts.items()}
    outcome.stale, outcome.unused = await activate(
        connection, workspace_id, [places[version] for version in counts], counts, keep_versions
    )
    return outcome


@dataclass(frozen=True, slots=True)
class Place:
    """Where a version belongs; ``overtaken`` when a newer version is active already.

    ``given_language`` is what the document's metadata say, ``main_language`` the one of most chunks
    in the collection.
    """

    version_id: VersionId
    document_id: DocumentId
    collection_id: CollectionId
    number: int
    chunk_count: int
    overtaken: bool
    given_language: str | None
    main_language: str | None

    def language_of(self, head: DocumentHead) -> str:
        """Return what the version is stemmed in: what was given, found, declared, or is usual."""
        given = known_language(self.given_language or "")
        declared = known_language(str(head.metadata.get("language", "")))
        return given or head.report.language or declared or self.main_language or DEFAULT_LANGUAGE

    def growth(self, chunks: int) -> Growth:
        """Return by how much the collection grows when the version has so many chunks."""
        more = 0 if self.overtaken else chunks - self.chunk_count
        return Growth(self.version_id, self.collection_id, more)


async def lock_documents(
    connection: AsyncConnection, workspace_id: WorkspaceId, version_ids: Sequence[VersionId]
) -> dict[VersionId, Place]:
    """Lock the versions' documents until the transaction ends; those that are gone are left out.

    Holds:   the order is that of uploads, which lock a collection's documents by their sources.
             Which version is active is read by a second statement: the one that waited for a lock
             sees the locked row anew, but not what it is joined with.
    """
    values = {"workspace": workspace_id, "versions": list(version_ids)}
    await connection.execute(
        text(
            "SELECT 1 FROM documents WHERE workspace_id = :workspace AND id IN ("
            "SELECT document_id FROM versions WHERE workspace_id = :workspace "
            'AND id = ANY(CAST(:versions AS uuid[]))) ORDER BY collection_id, source COLLATE "C" '
            "FOR NO KEY UPDATE"
        ),
        values,
    )
    return await read_places(connection, workspace_id, version_ids)


async def read_places(
    connection: AsyncConnection, workspace_id: WorkspaceId, version_ids: Sequence[VersionId]
) -> dict[VersionId, Place]:
    """Return where versions belong; those whose document is gone are left out."""
    rows = await connection.execute(
        text(
            "SELECT v.id, d.id, d.collection_id, v.number, d.chunk_count, "
            "coalesce(a.number > v.number, false), d.metadata ->> 'language', c.languages[1] "
            "FROM documents d "
            "JOIN collections c ON c.workspace_id = d.workspace_id AND c.id = d.collection_id "
            "JOIN versions v ON v.workspace_id = d.workspace_id AND v.document_id = d.id "
            "LEFT JOIN versions a "
            "ON a.workspace_id = d.workspace_id AND a.id = d.active_version_id "
            "WHERE d.workspace_id = :workspace AND v.id = ANY(CAST(:versions AS uuid[])) "
            "ORDER BY d.id, v.number"
        ),
        {"workspace": workspace_id, "versions": list(version_ids)},
    )
    places = [Place(*row) for row in rows]
    return {place.version_id: place for place in places}


async def remove_chunks(
    connection: AsyncConnection, workspace_id: WorkspaceId, places: Sequence[Place]
) -> None:
    """Remove the chunks that these documents have now."""
    documents = [place.document_id for place in places if place.chunk_count]
    if documents:
        # They may be a book's, whatever replaces them.
        await connection.execute(text("SET LOCAL statement_timeout = 0"))
        await connection.execute(
            text(
                "DELETE FROM chunks WHERE workspace_id = :workspace "
                "AND document_id = ANY(CAST(:documents AS uuid[]))"
            ),
            {"workspace": workspace_id, "documents": documents},
        )


async def _save_versions(
    connection: AsyncConnection,
    workspace_id: WorkspaceId,
    publications: Sequence[Publication],
    places: Mapping[VersionId, Place],
) -> None:
    rows = [
        {
            "version": p.version_id,
            "text": p.text,
            "language": places[p.version_id].language_of(p.head),
            **version_values(p.head),
        }
        for p in publications
    ]
    await connection.execute(
        text(
            "UPDATE versions v SET text = n.text, title = n.title, "
            "page_starts = CAST(n.page_starts AS integer[]), "
            "metadata = CAST(n.metadata AS jsonb), report = CAST(n.report AS jsonb), "
            "media_type = n.media_type, language = n.language, published_at = now() "
            "FROM unnest(CAST(:version AS uuid[]), CAST(:text AS text[]), CAST(:title AS text[]), "
            "CAST(:page_starts AS text[]), CAST(:metadata AS text[]), CAST(:report AS text[]), "
            "CAST(:media_type AS text[]), CAST(:language AS text[])) "
            "AS n (id, text, title, page_starts, metadata, report, media_type, language) "
            "WHERE v.workspace_id = :workspace AND v.id = n.id"
        ),
        {"workspace": workspace_id, **columns(rows)},
    )


async def _insert_chunks(
    connection: AsyncConnection,
    workspace_id: WorkspaceId,
    publications: Sequence[Publication],
    places: Mapping[VersionId, Place],
) -> None:
    rows = [
        {
            **chunk_values(p.version_id, chunk, p.head.page_starts),
            "collection": places[p.version_id].collection_id,
            "document": p.document_id,
            "version": p.version_id,
            "language": places[p.version_id].language_of(p.head),
            **terms_of(chunk.context, chunk.text),
            "model": p.model,
            "vector": vector,
        }
        for p in publications
        for chunk, vector in zip(p.chunks, p.vectors, strict=True)
    ]
    await insert_chunks(connection, workspace_id, rows)


async def activate(
    connection: AsyncConnection,
    workspace_id: WorkspaceId,
    places: Sequence[Place],
    chunk_counts: Mapping[VersionId, int],
    keep_versions: int,
) -> tuple[set[CollectionId], list[str]]:
    """Make versions the active ones, count their chunks, suggest what they hold, and prune.

    Returns the collections whose terms are to be counted anew, and the sha256 of pruned versions.
    """
    if not places:
        return set(), []
    rows = await connection.execute(
        text(ACTIVATE),
        {
            "workspace": workspace_id,
            "documents": [place.document_id for place in places],
            "versions": [place.version_id for place in places],
            "counts": [chunk_counts[place.version_id] for place in places],
            "share": STALE_SHARE,
        },
    )
    stale = {CollectionId(row.id) for row in rows if row.stale}
    await suggest_documents(connection, workspace_id, [place.document_id for place in places])
    changed = [place for place in places if place.number > 1]
    unused = await _prune(connection, workspace_id, changed, keep_versions) if changed else []
    return stale, unused


ACTIVATE = """
WITH new AS (
    SELECT d.collection_id, n.count, n.count - d.chunk_count AS growth, n.document, n.version,
        CASE WHEN d.readers IS NULL THEN n.count ELSE 0 END AS open, v.language
    FROM unnest(CAST(:documents AS uuid[]), CAST(:versions AS uuid[]), CAST(:counts AS integer[]))
        AS n (document, version, count)
    JOIN documents d ON d.workspace_id = :workspace AND d.id = n.document
    JOIN versions v ON v.workspace_id = :workspace AND v.id = n.version
), active AS (
    UPDATE documents d SET active_version_id = new.version, chunk_count = new.count,
        language = new.language, updated_at = now()
    FROM new WHERE d.workspace_id = :workspace AND d.id = new.document
), sums AS (
    SELECT collection_id, sum(growth) AS growth, sum(open) AS open,
        array_agg(DISTINCT language) FILTER (WHERE open > 0) AS languages FROM new GROUP BY 1
), locked AS (
    SELECT id FROM collections WHERE workspace_id = :workspace
    AND id IN (SELECT collection_id FROM sums) ORDER BY id FOR NO KEY UPDATE
)
UPDATE collections c SET chunk_count = c.chunk_count + sums.growth,
    lexical_pending = c.lexical_pending + sums.open,
    languages = c.languages
        || ARRAY(SELECT unnest(sums.languages) EXCEPT SELECT unnest(c.languages))
FROM sums, locked WHERE c.workspace_id = :workspace AND c.id = sums.collection_id
AND c.id = locked.id
RETURNING c.id, sums.open > 0
    AND c.lexical_pending > c.lexical_chunk_count * CAST(:share AS float8) AS stale
"""
"""Term statistics count the documents that everyone may read: a limited one makes none stale."""


async def _prune(
    connection: AsyncConnection,
    workspace_id: WorkspaceId,
    places: Sequence[Place],
    keep_versions: int,
) -> list[str]:
    """Remove earlier versions: those never published, and published ones beyond the newest few."""
    rows = await connection.scalars(
        text(
            "DELETE FROM versions v USING (SELECT o.id, o.published_at, "
            "row_number() OVER (PARTITION BY o.document_id, o.published_at IS NULL "
            "ORDER BY o.number DESC) AS age "
            "FROM versions o JOIN versions n ON n.workspace_id = o.workspace_id "
            "AND n.document_id = o.document_id AND n.number > o.number "
            "WHERE o.workspace_id = :workspace AND n.id = ANY(CAST(:versions AS uuid[]))) AS old "
            "WHERE v.workspace_id = :workspace AND v.id = old.id "
            "AND (old.published_at IS NULL OR old.age > :keep) "
            "AND NOT EXISTS (SELECT FROM jobs j WHERE j.workspace_id = v.workspace_id "
            "AND j.document_id = v.document_id AND j.version_id = v.id "
            "AND j.status IN ('queued', 'running')) RETURNING v.sha256"
        ),
        {
            "workspace": workspace_id,
            "versions": [place.version_id for place in places],
            "keep": keep_versions,
        },
    )
    return list(rows)
