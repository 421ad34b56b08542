"""BM25 in SQL: what the first migration creates. Change it only by a new migration.

A chunk's row holds two things. ``keys``: one 64-bit hash per distinct term, with the collection
hashed in, for the GIN index to find candidates. ``bm25``: a sparse vector of saturated,
length-normalised term weights tf·(k1+1) / (tf + k1·(1 − b + b·length/average)), k1 = 1.2, b = 0.75,
average fixed at 100 terms so that no row is rewritten when statistics move. Its inner product with
the question's idf vector is the chunk's BM25 score.

Source: Robertson, Zaragoza, The Probabilistic Relevance Framework, 2009.
"""

BM25_FUNCTIONS = """
CREATE FUNCTION citewell_term_position(lexeme text) RETURNS bigint
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS
$$ SELECT (hashtextextended(lexeme, 0) & 536870911) + 1 $$;

CREATE FUNCTION citewell_term_key(collection uuid, lexeme text) RETURNS bigint
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS
$$ SELECT hashtextextended(lexeme, uuid_hash_extended(collection, 0)) $$;

CREATE FUNCTION citewell_term_keys(collection uuid, terms tsvector) RETURNS bigint[]
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS
$$ SELECT array(SELECT DISTINCT citewell_term_key(collection, lexeme)
                FROM unnest(tsvector_to_array(terms)) lexeme) $$;

CREATE FUNCTION citewell_bm25(terms tsvector) RETURNS sparsevec
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS
$$ SELECT coalesce('{' || string_agg(position || ':' ||
            round((tf * 2.2 / (tf + 1.2 * (0.25 + 0.75 * length / 100)))::numeric, 4), ',')
            || '}/536870912', '{}/536870912')::sparsevec
   FROM (SELECT citewell_term_position(lexeme) AS position,
                sum(cardinality(positions))::float8 AS tf,
                sum(sum(cardinality(positions))) OVER ()::float8 AS length
         FROM unnest(terms) GROUP BY 1) weights $$;
"""

LEXICAL_SEARCH = """
CREATE FUNCTION citewell_search_lexical(keys bigint[], question sparsevec, most integer)
RETURNS TABLE (chunk_id uuid, score float8)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path FROM CURRENT AS
$$ SELECT t.chunk_id, -(t.bm25 <#> $2) FROM chunk_terms t
   WHERE t.workspace_id = citewell_workspace() AND t.keys && $1
   ORDER BY t.bm25 <#> $2, t.chunk_id LIMIT $3 $$;
ALTER FUNCTION citewell_search_lexical(bigint[], sparsevec, integer) OWNER TO citewell_system;
REVOKE ALL ON FUNCTION citewell_search_lexical(bigint[], sparsevec, integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION citewell_search_lexical(bigint[], sparsevec, integer) TO citewell_app;
"""
