"""The lexical leg: exact BM25 inside PostgreSQL, with no extension but pgvector.

The question's lexemes are weighed by their idf; a GIN index finds the chunks that have one of its
rare terms or two of the others; the inner product of the chunk's term weights with the question's
idf vector is BM25.
docs/decisions/0003 says why the search runs in functions of their own under row-level security.
Chunks with a quoted phrase of the question, or an identifier that it names, come before others.

Source: Robertson, Zaragoza, The Probabilistic Relevance Framework, 2009.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncConnection

from citewell.domain import ChunkId, CollectionId, LegResult, Scope, WorkspaceId
from citewell.records.asked import Asked, Code, read_asked
from citewell.records.lexical_lookup import Keys, choose_lookup
from citewell.records.reading import Reader, read_tuples
from citewell.records.scope import SearchSpace, resolve_scope
from citewell.records.statements import text
from citewell.records.tables import LEXICAL_DIMENSION

Weights = dict[int, float]
"""How much each term of a question counts, by its place in the vectors."""


async def search_lexical(
    connection: Reader,
    workspace_id: WorkspaceId,
    question: str,
    scope: Scope | SearchSpace,
    limit: int,
) -> LegResult:
    """Return the best chunks by BM25, best first, and the question's terms' idf.

    Holds: a scope of named documents or metadata is searched exactly, a larger one within what
    ``choose_lookup`` chooses. Chunks with a phrase or an identifier of the question are
    always looked for; they come before all others, and ``first`` names them.
    """
    space = scope
    if isinstance(space, Scope):
        space = await resolve_scope(connection, workspace_id, space)
    asked = await read_asked(connection, workspace_id, question, space)
    if not (asked.words or asked.codes) or not space.chunk_count:
        return LegResult({}, asked.term_idf, space.generations)
    search = _LexicalSearch(connection, workspace_id, space, limit)
    first: dict[ChunkId, float] = {}
    weights = weights_of(asked, [code for code in asked.codes if code.lexeme.frequency])
    if asked.held:
        first = await search.holders(asked.held, asked.patterns, weights)
    if asked.codes and not first:
        first = await search.holders(_keys_of(asked.codes), (), weights)
        if first and len(asked.codes) == 1:
            weights = weights_of(asked, asked.codes)  # it is newer than the statistics
    scores = await search.best(asked, weights)
    if asked.patterns and not asked.held:
        first = await search.matching(scores, asked.patterns)
    if not first:
        return LegResult(scores, asked.term_idf, space.generations)
    ranked = sorted(
        (scores | first).items(), key=lambda item: (item[0] not in first, -item[1], item[0])
    )
    return LegResult(dict(ranked[:limit]), asked.term_idf, space.generations, frozenset(first))


@dataclass(frozen=True, slots=True)
class _LexicalSearch:
    """The statements of one search."""

    connection: Reader
    workspace_id: WorkspaceId
    space: SearchSpace
    limit: int

    async def best(self, asked: Asked, weights: Weights) -> dict[ChunkId, float]:
        """Return the best chunks by BM25."""
        if self.space.documents_sql:
            return await self._scores(
                "SELECT chunk_id, score FROM ("
                "SELECT chunk_id, -(bm25 <#> CAST(:question AS sparsevec)) AS score "
                "FROM chunk_terms WHERE workspace_id = :workspace "
                "AND collection_id = ANY(CAST(:collections AS uuid[])) "
                f"{self.space.documents_sql} OFFSET 0) AS scored WHERE score > 0 "
                "ORDER BY score DESC, chunk_id LIMIT :limit",
                weights,
            )
        words = [*asked.words, *(piece for code in asked.codes for piece in code.pieces)]
        words = [word for word in words if word.lexemes[0].position in weights]
        codes = [key for code in asked.codes for key in code.lexeme.keys]
        lookup = choose_lookup(words, self.space.chunk_count, self.limit)
        scores = await self._look_up((*codes, *lookup.keys), lookup.pairs, weights)
        if len(scores) < self.limit and lookup.instead:
            scores |= await self._look_up((*codes, *lookup.instead), (), weights)
            ranked = sorted(scores.items(), key=lambda item: (-item[1], item[0]))
            scores = dict(ranked[: self.limit])
        return scores

    async def _look_up(
        self, keys: Keys, pairs: Sequence[tuple[Keys, Keys]], weights: Weights
    ) -> dict[ChunkId, float]:
        return await self._scores(
            "SELECT chunk_id, score FROM citewell_search_lexical(CAST(:keys AS bigint[]), "
            "CAST(:rarer AS text[]), CAST(:others AS text[]), "
            "CAST(:question AS sparsevec), :limit)",
            weights,
            keys=list(keys),
            rarer=[_array(rarer) for rarer, _ in pairs],
            others=[_array(others) for _, others in pairs],
        )

    async def holders(
        self, held: Sequence[Collection[int]], patterns: Sequence[str], weights: Weights
    ) -> dict[ChunkId, float]:
        """Return the best chunks that have all keys of one of the sets, and match the patterns."""
        if self.space.documents_sql:
            statement = HOLDERS.format(documents=self.space.documents_sql)
        else:
            statement = (
                "SELECT chunk_id, score FROM citewell_search_holders(CAST(:held AS text[]), "
                "CAST(:patterns AS text[]), CAST(:question AS sparsevec), :limit)"
            )
        return await self._scores(
            statement, weights, held=list(map(_array, held)), patterns=list(patterns)
        )

    async def matching(
        self, scores: Mapping[ChunkId, float], patterns: Sequence[str]
    ) -> dict[ChunkId, float]:
        """Return those of the chunks whose text matches the patterns."""
        rows = await self.connection.scalars(
            text(
                "SELECT id FROM chunks WHERE workspace_id = :workspace "
                "AND id = ANY(CAST(:ids AS uuid[])) AND text ~* ALL(CAST(:patterns AS text[]))"
            ),
            {"workspace": self.workspace_id, "ids": list(scores), "patterns": list(patterns)},
        )
        return {chunk_id: scores[chunk_id] for chunk_id in map(ChunkId, rows)}

    async def _scores(
        self, statement: str, weights: Weights, **more: object
    ) -> dict[ChunkId, float]:
        values: dict[str, object] = {
            "workspace": self.workspace_id,
            "question": _vector(weights),
            "limit": self.limit,
            **more,
        }
        if self.space.documents_sql:
            values |= {**self.space.values, "collections": self.space.collection_ids}
        return dict(await read_tuples(self.connection, text(statement), values))


HOLDERS = """
WITH found AS MATERIALIZED (
    SELECT chunk_id, -(bm25 <#> CAST(:question AS sparsevec)) AS score
    FROM chunk_terms WHERE workspace_id = :workspace
    AND collection_id = ANY(CAST(:collections AS uuid[])){documents}
    AND EXISTS (SELECT FROM unnest(CAST(:held AS text[])) AS h (set) WHERE keys @> set::bigint[])
    ORDER BY score DESC, chunk_id LIMIT 2000
)
SELECT f.chunk_id, f.score FROM found f
JOIN chunks c ON c.workspace_id = :workspace AND c.id = f.chunk_id
WHERE c.text ~* ALL(CAST(:patterns AS text[]))
ORDER BY f.score DESC, f.chunk_id LIMIT :limit
"""
"""As ``citewell_search_holders`` (migration 0011) does it, in some documents only."""


def weights_of(asked: Asked, known: Collection[Code]) -> Weights:
    """Return how much each term counts: its idf.

    A code that chunks hold has its words' weight as well, and these have none: what shares only
    parts of the code is no nearer to it than anything else.
    """
    words = list(asked.words)
    weights: Weights = {}
    for code in asked.codes:
        weight = code.idf
        if code in known:
            weight += sum(piece.idf for piece in code.pieces)
        else:
            words += code.pieces
        weights[code.lexeme.position] = weight
    for word in words:
        for lexeme in word.lexemes:
            weights[lexeme.position] = max(word.idf, weights.get(lexeme.position, 0.0))
    return weights


def _vector(weights: Weights) -> str:
    inside = ",".join(f"{position}:{idf:.4f}" for position, idf in sorted(weights.items()))
    return f"{{{inside}}}/{LEXICAL_DIMENSION}"


def _array(keys: Iterable[int]) -> str:
    return "{" + ",".join(map(str, sorted(keys))) + "}"


def _keys_of(codes: Iterable[Code]) -> list[tuple[int]]:
    return [(key,) for code in codes for key in code.lexeme.keys]


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
            "UPDATE collections SET stamp = gen_random_uuid(), "
            "lexical_pending = lexical_pending - :seen, "
            "lexical_chunk_count = :chunks, languages = ARRAY(SELECT d.language FROM documents d "
            "WHERE d.workspace_id = :workspace AND d.collection_id = :collection "
            "AND d.readers IS NULL AND d.chunk_count > 0 AND d.language IS NOT NULL "
            "GROUP BY 1 ORDER BY sum(d.chunk_count) DESC, 1) "
            "WHERE workspace_id = :workspace AND id = :collection"
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
