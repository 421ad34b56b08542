"""The lexical leg: exact BM25 inside PostgreSQL, with no extension but pgvector.

The question's lexemes are weighed by their idf; a GIN index finds the chunks that hold its rarer
terms; the inner product of the chunk's term weights with the question's idf vector is BM25.
docs/decisions/0003 says why the search runs in a function of its own under row-level security.

Source: Robertson, Zaragoza, The Probabilistic Relevance Framework, 2009.
"""

import math
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncConnection

from citewell.domain import ChunkId, CollectionId, LegResult, Scope, WorkspaceId
from citewell.records.reading import Reader
from citewell.records.scope import SearchSpace, resolve_scope
from citewell.records.statements import text
from citewell.records.tables import LEXICAL_DIMENSION

SMALL_POSTING_BUDGET = 2_000
LARGE_POSTING_BUDGET = 5_000
LARGE_FROM_CHUNKS = 100_000
"""Candidates read from the index before scoring; measured: overlap with full BM25 0.92 and 0.97."""


class _WordsOnly(dict[int, str]):
    """Maps each character that parts words to a space; filled as characters are met."""

    def __missing__(self, code: int) -> str:
        char = chr(code)
        if char in "’ʼ":
            shown = "'"
        elif code < 128 or unicodedata.category(char)[0] not in "CPSZ":
            shown = char
        else:
            shown = " "
        self[code] = shown
        return shown


_words_only = _WordsOnly()


def searchable(text: str) -> str:
    """Prepare text for PostgreSQL's parser, the same for chunks and questions.

    Under the collation C.UTF-8 the parser takes every character beyond ASCII for a letter, so that
    “clock” in curly quotes would be another word than clock: punctuation becomes a space here.
    """
    return unicodedata.normalize("NFKC", text).translate(_words_only)


@dataclass(frozen=True, slots=True)
class Term:
    """A lexeme of the question: its keys per collection, and the chunks that hold it."""

    lexeme: str
    position: int
    keys: list[int]
    frequency: int
    idf: float


async def search_lexical(
    connection: Reader,
    workspace_id: WorkspaceId,
    question: str,
    scope: Scope | SearchSpace,
    limit: int,
) -> LegResult:
    """Return the best chunks by BM25, best first, and the question's terms' idf.

    Holds: a scope of named documents or metadata is searched exactly, a larger one within the
    posting budget of its rarest terms.
    """
    space = scope
    if isinstance(space, Scope):
        space = await resolve_scope(connection, workspace_id, space)
    terms = await _read_terms(connection, workspace_id, question, space)
    if not terms or not space.chunk_count:
        return LegResult({}, {term.lexeme: term.idf for term in terms}, space.generations)
    values: dict[str, object] = {
        "workspace": workspace_id,
        "question": _query_vector(terms),
        "limit": limit,
    }
    if space.documents_sql:
        rows = await connection.execute(
            text(
                "SELECT chunk_id, -(bm25 <#> CAST(:question AS sparsevec)) AS score "
                "FROM chunk_terms WHERE workspace_id = :workspace "
                "AND collection_id = ANY(CAST(:collections AS uuid[])) "
                f"{space.documents_sql} AND bm25 <#> CAST(:question AS sparsevec) < 0 "
                "ORDER BY score DESC, chunk_id LIMIT :limit"
            ),
            {**values, **space.values, "collections": space.collection_ids},
        )
    else:
        rows = await connection.execute(
            text(
                "SELECT chunk_id, score FROM citewell_search_lexical("
                "CAST(:keys AS bigint[]), CAST(:question AS sparsevec), :limit)"
            ),
            {**values, "keys": _keys_within_budget(terms, space.chunk_count)},
        )
    scores = {ChunkId(row.chunk_id): float(row.score) for row in rows}
    return LegResult(scores, {term.lexeme: term.idf for term in terms}, space.generations)


async def _read_terms(
    connection: Reader, workspace_id: WorkspaceId, question: str, space: SearchSpace
) -> list[Term]:
    rows = await connection.execute(
        text(
            "SELECT t.lexeme, citewell_term_position(t.lexeme), array_agg(k.key), "
            "sum(coalesce((SELECT chunk_frequency FROM lexemes l WHERE l.workspace_id = :workspace "
            "AND l.collection_id = c.id AND l.key = k.key), 0)) "
            "FROM unnest(tsvector_to_array(to_tsvector('english', :question))) AS t (lexeme) "
            "CROSS JOIN unnest(CAST(:collections AS uuid[])) AS c (id) "
            "CROSS JOIN LATERAL (SELECT citewell_term_key(c.id, t.lexeme) AS key OFFSET 0) k "
            "GROUP BY t.lexeme"
        ),
        {
            "workspace": workspace_id,
            "question": searchable(question),
            "collections": space.collection_ids,
        },
    )
    return [
        Term(lexeme, position, keys, frequency, _idf(frequency, space.term_base))
        for lexeme, position, keys, frequency in rows
    ]


def _idf(frequency: int, chunk_count: int) -> float:
    missing = max(chunk_count - frequency, 0)
    return math.log(1 + (missing + 0.5) / (frequency + 0.5))


def _keys_within_budget(terms: Sequence[Term], chunk_count: int) -> list[int]:
    """Take the rarest terms' keys while their postings fit the budget, two terms at least."""
    budget = LARGE_POSTING_BUDGET if chunk_count > LARGE_FROM_CHUNKS else SMALL_POSTING_BUDGET
    keys: list[int] = []
    postings = 0
    for rank, term in enumerate(sorted(terms, key=lambda term: (term.frequency, term.lexeme))):
        postings += term.frequency
        if rank >= 2 and postings > budget:
            break
        keys += term.keys
    return keys


def _query_vector(terms: Sequence[Term]) -> str:
    weights: dict[int, float] = {}
    for term in terms:
        weights[term.position] = max(term.idf, weights.get(term.position, 0.0))
    inside = ",".join(f"{position}:{idf:.4f}" for position, idf in sorted(weights.items()))
    return f"{{{inside}}}/{LEXICAL_DIMENSION}"


async def refresh_lexemes(
    connection: AsyncConnection,
    workspace_id: WorkspaceId,
    collection_id: CollectionId,
    *,
    wait: bool = False,
) -> None:
    """Count anew in how many chunks each term occurs, and note for how many chunks this is true.

    Holds: only documents that everyone may read are counted, so that no ranking tells of others.
           One refresh of a collection runs at a time; a second one returns at once, or ``wait``s.
    Cost:  about 0.3 s per 10,000 chunks; rows that did not change are not written.
    """
    values: dict[str, object] = {"workspace": workspace_id, "collection": collection_id}
    # A large collection takes its time, and so does waiting for one.
    await connection.execute(text("SET LOCAL statement_timeout = 0"))
    lock = "uuid_hash_extended(:collection, 1)"
    if wait:
        await connection.execute(text(f"SELECT pg_advisory_xact_lock({lock})"), values)
    elif not await connection.scalar(text(f"SELECT pg_try_advisory_xact_lock({lock})"), values):
        return
    # Locked, it is not removed between its terms and its row.
    seen = (
        await connection.execute(
            text(
                "SELECT lexical_pending, (SELECT count(*) FROM chunk_terms t JOIN documents d "
                "ON d.workspace_id = t.workspace_id AND d.id = t.document_id "
                "WHERE t.workspace_id = :workspace AND t.collection_id = :collection "
                "AND d.readers IS NULL) AS chunks "
                "FROM collections WHERE workspace_id = :workspace AND id = :collection "
                "FOR KEY SHARE"
            ),
            values,
        )
    ).one_or_none()
    if seen is None:
        return
    await connection.execute(text(COUNT_LEXEMES), values)
    await connection.execute(
        text(
            "UPDATE collections SET lexical_pending = lexical_pending - :seen, "
            "lexical_chunk_count = :chunks WHERE workspace_id = :workspace AND id = :collection"
        ),
        {**values, "seen": seen.lexical_pending, "chunks": seen.chunks},
    )


COUNT_LEXEMES = """
WITH counted AS MATERIALIZED (
    SELECT key, count(*) AS frequency FROM chunk_terms t JOIN documents d
        ON d.workspace_id = t.workspace_id AND d.id = t.document_id, unnest(t.keys) AS key
    WHERE t.workspace_id = :workspace AND t.collection_id = :collection AND d.readers IS NULL
    GROUP BY key
), gone AS (
    DELETE FROM lexemes l WHERE workspace_id = :workspace AND collection_id = :collection
    AND NOT EXISTS (SELECT FROM counted c WHERE c.key = l.key)
)
INSERT INTO lexemes (workspace_id, collection_id, key, chunk_frequency)
SELECT :workspace, :collection, key, frequency FROM counted
ON CONFLICT (workspace_id, collection_id, key) DO UPDATE
SET chunk_frequency = excluded.chunk_frequency
WHERE lexemes.chunk_frequency <> excluded.chunk_frequency
"""


SMALL_COLLECTION_CHUNKS = 50_000
STALE_SHARE = 0.02
"""A larger collection is counted anew when this share of its chunks changed, a small one always."""


async def list_stale_collections(
    connection: AsyncConnection,
) -> list[tuple[WorkspaceId, CollectionId]]:
    """List collections whose terms are to be counted anew; needs a system transaction."""
    rows = await connection.execute(
        text(
            "SELECT workspace_id, id FROM collections WHERE lexical_pending > 0 "
            "AND (lexical_chunk_count < :small OR "
            "lexical_pending > lexical_chunk_count * CAST(:share AS float8))"
        ),
        {"small": SMALL_COLLECTION_CHUNKS, "share": STALE_SHARE},
    )
    return [(WorkspaceId(row[0]), CollectionId(row[1])) for row in rows]
