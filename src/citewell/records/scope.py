"""Where a search may look, as SQL: which collections, which documents, how many chunks."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast
from uuid import UUID

from citewell.domain import CollectionId, Filter, Scope, WorkspaceId, leaves
from citewell.domain.languages import DEFAULT_LANGUAGE
from citewell.records.filters import FilterSql
from citewell.records.reading import Reader
from citewell.records.statements import text


@dataclass(frozen=True, slots=True)
class SearchSpace:
    """A scope resolved against the tables.

    ``documents_sql`` is an ``AND document_id IN (…)`` clause with its ``values``, or empty; where a
    filter asks for sections, it names chunks instead of documents.
    ``chunk_count`` counts the chunks inside that the visitor may see; ``term_base`` those that
    term frequencies count; ``generations`` tells each collection's state from its other ones.
    ``hides`` says that the workspace has documents that the visitor may not see: row-level security
    keeps them out of both legs, but what walks a graph of all vectors has to know. ``languages``
    are those that the chunks' words were stemmed in, as far as the visitor may see them.
    ``stamps`` are others after whatever may change a search's result in a collection, hidden
    documents included: they are for this process only.
    """

    collection_ids: list[CollectionId]
    documents_sql: str
    values: Mapping[str, object]
    chunk_count: int
    term_base: int
    generations: Mapping[str, int]
    hides: bool
    languages: tuple[str, ...]
    stamps: tuple[tuple[UUID, UUID], ...]


COLLECTIONS = """
SELECT c.id, c.chunk_count - coalesce(h.chunks, 0) AS chunk_count, c.lexical_chunk_count,
    c.generation # coalesce(l.versions, 0) AS generation, NOT citewell_sees_all() AS hides,
    c.languages || coalesce(l.languages, '{}') AS languages, c.stamp
FROM collections c
LEFT JOIN (SELECT collection_id, bit_xor(uuid_hash_extended(active_version_id, 0)) AS versions,
        array_agg(DISTINCT language) FILTER (WHERE chunk_count > 0) AS languages
    FROM documents WHERE workspace_id = :workspace AND readers IS NOT NULL
    GROUP BY collection_id) l ON l.collection_id = c.id
LEFT JOIN (SELECT collection_id, sum(chunk_count)::bigint AS chunks
    FROM citewell_hidden_documents() GROUP BY collection_id) h ON h.collection_id = c.id
WHERE c.workspace_id = :workspace
AND (CAST(:collection AS uuid) IS NULL OR c.id = :collection)
"""
"""A collection's own generation counts changes of what everyone may read; which versions there are
of limited documents, as far as they are seen, is mixed in."""


async def resolve_scope(connection: Reader, workspace_id: WorkspaceId, scope: Scope) -> SearchSpace:
    """Resolve a scope to its collections, documents and size."""
    collections = (
        await connection.execute(
            text(COLLECTIONS),
            {"workspace": workspace_id, "collection": scope.collection_id},
        )
    ).all()
    ids = [CollectionId(row.id) for row in collections]
    chunk_count = sum(row.chunk_count for row in collections)
    term_base = max(sum(row.lexical_chunk_count for row in collections), 1)
    generations = {str(row.id): row.generation for row in collections}
    hides = any(row.hides for row in collections)
    stemmed = {name for row in collections for name in row.languages if name}
    languages = tuple(sorted(stemmed)) or (DEFAULT_LANGUAGE,)
    stamps = tuple(sorted((row.id, row.stamp) for row in collections))
    sql = FilterSql()
    of_documents = _document_clauses(scope, sql)
    of_documents += [sql.write(each) for each in scope.where if not _asks_for_sections(each)]
    of_chunks = [sql.write(each) for each in scope.where if _asks_for_sections(each)]
    if not of_documents and not of_chunks:
        return SearchSpace(
            ids, "", {}, chunk_count, term_base, generations, hides, languages, stamps
        )
    documents = DOCUMENTS + "".join(f" AND {each}" for each in of_documents)
    chunks = CHUNKS + "".join(f" AND {each}" for each in (*of_documents, *of_chunks))
    counted = (
        f"SELECT count(*) {chunks}"
        if of_chunks
        else f"SELECT coalesce(sum(d.chunk_count), 0) {documents}"
    )
    chunk_count = await connection.scalar(text(counted), {"workspace": workspace_id, **sql.values})
    chosen = f"chunk_id IN ({ONCE.format(chosen=f'SELECT c.id {chunks}')})"
    if not of_chunks:
        chosen = f"document_id IN ({ONCE.format(chosen=f'SELECT d.id {documents}')})"
    return SearchSpace(
        ids,
        f" AND {chosen}",
        sql.values,
        chunk_count or 0,
        term_base,
        generations,
        hides,
        languages,
        stamps,
    )


# Tables that were never analysed look as if they had one row, and three of them were joined row by
# row for each vector: a minute for 80 documents. So what a filter chose is made out once, and
# sections' chunks are looked up one by one (OFFSET 0), which costs little where all is known.
ONCE = "WITH chosen AS MATERIALIZED ({chosen}) SELECT id FROM chosen"
DOCUMENTS = """
FROM documents d JOIN versions v ON v.workspace_id = d.workspace_id AND v.id = d.active_version_id
WHERE d.workspace_id = :workspace"""
CHUNKS = """
FROM documents d CROSS JOIN LATERAL (SELECT o.* FROM versions o
    WHERE o.workspace_id = d.workspace_id AND o.id = d.active_version_id OFFSET 0) v
CROSS JOIN LATERAL (SELECT o.* FROM chunks o
    WHERE o.workspace_id = d.workspace_id AND o.document_id = d.id OFFSET 0) c
WHERE d.workspace_id = :workspace"""


def _document_clauses(scope: Scope, sql: FilterSql) -> list[str]:
    clauses: list[str] = []
    if scope.document_ids is not None:
        clauses.append("d.id = ANY(CAST(:document_ids AS uuid[]))")
        sql.values["document_ids"] = list(scope.document_ids)
    if scope.document_names is not None:
        clauses.append("d.name = ANY(CAST(:document_names AS text[]))")
        sql.values["document_names"] = list(scope.document_names)
    for key, wanted in scope.metadata.items():
        choices = cast("list[object]", wanted if isinstance(wanted, list) else [wanted])
        clauses.append(sql.metadata_is(key, choices))
    return clauses


def _asks_for_sections(wanted: Filter) -> bool:
    return any(leaf.about == "section" for leaf in leaves(wanted))
