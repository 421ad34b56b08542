"""Write the terms of all chunks anew, as the program that runs makes them.

In the migration's transaction: nobody ever searches in two kinds of terms.
Cost:    as at publication: 33 s for 1,500 chunks on two very busy cores.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import Connection, Row, text

from citewell.domain.languages import DEFAULT_LANGUAGE, detect_language, known_language
from citewell.records.lexical import COUNT_LEXEMES
from citewell.records.version_rows import terms_of

AT_ONCE = 500

DOCUMENTS = """
SELECT d.workspace_id, d.id, d.metadata ->> 'language' AS given, v.id AS version_id, v.text,
    v.metadata ->> 'language' AS declared
FROM documents d JOIN versions v ON v.workspace_id = d.workspace_id AND v.id = d.active_version_id
WHERE d.chunk_count > 0 AND (d.workspace_id, d.id) > (:workspace, :after)
ORDER BY d.workspace_id, d.id LIMIT 50
"""
SET_LANGUAGE = """
WITH version AS (UPDATE versions SET language = :language
    WHERE workspace_id = :workspace AND id = :version)
UPDATE documents SET language = :language WHERE workspace_id = :workspace AND id = :document
"""
CHUNKS = """
SELECT ordinal, id, context, text FROM chunks WHERE workspace_id = :workspace
AND document_id = :document AND ordinal > :after ORDER BY ordinal LIMIT :most
"""
SET_TERMS = """
UPDATE chunk_terms t SET keys = citewell_term_keys(t.collection_id, n.terms),
    bm25 = citewell_bm25(n.terms)
FROM (SELECT id, citewell_terms(:language, words, identifiers) AS terms
    FROM unnest(CAST(:ids AS uuid[]), CAST(:words AS text[]), CAST(:identifiers AS text[]))
        AS c (id, words, identifiers) OFFSET 0) n
WHERE t.workspace_id = :workspace AND t.chunk_id = n.id
"""

STAGED_VERSIONS = """
SELECT v.workspace_id, v.id, d.metadata ->> 'language' AS given, d.collection_id,
    (SELECT string_agg(s.text, ' ') FROM (SELECT text FROM staged_chunks s
        WHERE s.workspace_id = v.workspace_id AND s.version_id = v.id LIMIT 20) s) AS text
FROM versions v JOIN documents d ON d.workspace_id = v.workspace_id AND d.id = v.document_id
WHERE EXISTS (SELECT FROM staged_chunks s WHERE s.workspace_id = v.workspace_id
    AND s.version_id = v.id)
"""
STAGED = """
SELECT ordinal, context, text FROM staged_chunks WHERE workspace_id = :workspace
AND version_id = :version AND ordinal > :after ORDER BY ordinal LIMIT :most
"""
SET_STAGED = """
UPDATE staged_embeddings e SET keys = citewell_term_keys(:collection, n.terms),
    bm25 = citewell_bm25(n.terms)
FROM (SELECT ordinal, citewell_terms(:language, words, identifiers) AS terms
    FROM unnest(CAST(:ordinals AS integer[]), CAST(:words AS text[]), CAST(:identifiers AS text[]))
        AS c (ordinal, words, identifiers) OFFSET 0) n
WHERE e.workspace_id = :workspace AND e.version_id = :version AND e.ordinal = n.ordinal
"""
SET_COLLECTIONS = """
UPDATE collections c SET languages = ARRAY(SELECT d.language FROM documents d
    WHERE d.workspace_id = c.workspace_id AND d.collection_id = c.id AND d.readers IS NULL
    AND d.chunk_count > 0 AND d.language IS NOT NULL
    GROUP BY 1 ORDER BY sum(d.chunk_count) DESC, 1)
"""
NO_ID = "00000000-0000-0000-0000-000000000000"


def reanalyse(connection: Connection) -> None:
    """Tell every document's language and write its terms, what is staged included."""
    connection.execute(text("SET LOCAL ROLE citewell_system"))
    connection.execute(text("SET LOCAL statement_timeout = 0"))
    for document in _documents(connection):
        language = _language(document.given, document.text or "", document.declared)
        values: dict[str, Any] = {
            "workspace": document.workspace_id,
            "document": document.id,
            "version": document.version_id,
            "language": language,
        }
        connection.execute(text(SET_LANGUAGE), values)
        for rows in _batches(connection, CHUNKS, values):
            own = {"ids": [row.id for row in rows], **_terms(rows)}
            connection.execute(text(SET_TERMS), values | own)
    for version in connection.execute(text(STAGED_VERSIONS)).all():
        language = _language(version.given, version.text or "", None)
        values = {
            "workspace": version.workspace_id,
            "version": version.id,
            "collection": version.collection_id,
            "language": language,
        }
        connection.execute(
            text(
                "UPDATE versions SET language = :language "
                "WHERE workspace_id = :workspace AND id = :version"
            ),
            values,
        )
        for rows in _batches(connection, STAGED, values):
            own = {"ordinals": [row.ordinal for row in rows], **_terms(rows)}
            connection.execute(text(SET_STAGED), values | own)
    connection.execute(text(SET_COLLECTIONS))
    for row in connection.execute(text("SELECT workspace_id, id FROM collections")).all():
        values = {"workspace": row.workspace_id, "collection": row.id}
        connection.execute(text(COUNT_LEXEMES), values)
    connection.execute(text("RESET ROLE"))


def _language(given: str | None, body: str, declared: str | None) -> str:
    found = known_language(given or "") or detect_language(body)
    return found or known_language(declared or "") or DEFAULT_LANGUAGE


def _documents(connection: Connection) -> Iterator[Row[Any]]:
    last = {"workspace": NO_ID, "after": NO_ID}
    while rows := connection.execute(text(DOCUMENTS), last).all():
        yield from rows
        last = {"workspace": rows[-1].workspace_id, "after": rows[-1].id}


def _batches(
    connection: Connection, statement: str, values: dict[str, Any]
) -> Iterator[Sequence[Row[Any]]]:
    after = -1
    while rows := connection.execute(
        text(statement), {**values, "after": after, "most": AT_ONCE}
    ).all():
        yield rows
        after = rows[-1].ordinal


def _terms(rows: Sequence[Row[Any]]) -> dict[str, list[str]]:
    terms = [terms_of(row.context, row.text) for row in rows]
    return {name: [each[name] for each in terms] for name in ("words", "identifiers")}
