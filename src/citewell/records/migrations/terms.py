"""A chunk's terms in SQL: what migration 0011 creates. Change it only by a new migration.

``citewell_terms`` makes of a text what is searched for in it: stems by its language's
configuration, without accents, and its identifiers as written (``words.identifier_terms``).
"""

# Stems are made with the accents, which German and French stemmers need, and folded after that:
# translate() of a tsvector's text keeps its positions, and lexemes that became equal are merged.
FOLDED = (
    "àáâãäåāăąçćčďèéêëēėęěğìíîïīįıłñńňòóôõöøőřśšşșťţțùúûüūůűųýÿžźż",
    "aaaaaaaaacccdeeeeeeeegiiiiiiilnnnooooooorsssstttuuuuuuuuyyzzz",
)

TERMS = f"""
CREATE FUNCTION citewell_terms(language text, words text, identifiers text) RETURNS tsvector
LANGUAGE plpgsql STABLE PARALLEL SAFE AS $$
DECLARE
    terms tsvector;
    exact tsvector;
BEGIN
    -- The spanish stemmer makes habit of habitación, but knows no habitacion.
    terms := to_tsvector(language::regconfig, CASE WHEN language = 'spanish'
        THEN regexp_replace(words, '([cs]i)on\\M', '\\1ón', 'g') ELSE words END);
    IF language = 'spanish' THEN
        -- It leaves ciudad of ciudades, but ciud of ciudad.
        terms := regexp_replace(terms::text, '([[:alpha:]]{{3}})(ad|ed|id)''', '\\1''', 'g')
            ::tsvector;
    END IF;
    IF octet_length(words) > length(words) OR language = 'spanish' THEN
        terms := replace(replace(replace(translate(terms::text, '{FOLDED[0]}', '{FOLDED[1]}'),
            'ß', 'ss'), 'œ', 'oe'), 'æ', 'ae')::tsvector;
    END IF;
    IF identifiers <> '' THEN
        exact := identifiers::tsvector;
        terms := ts_delete(terms, tsvector_to_array(exact)) || exact;
    END IF;
    RETURN terms;
END $$;
"""

# As citewell_search_lexical, and as narrow: the workspace and the hidden documents are its own
# matter. Each set of keys is one collection's, so that the index leads to its chunks alone.
HOLDERS = """
SET LOCAL ROLE citewell_system;
CREATE FUNCTION
    citewell_search_holders(held text[], patterns text[], question sparsevec, most integer)
RETURNS TABLE (chunk_id uuid, score float8)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path FROM CURRENT AS
$$ SELECT f.chunk_id, max(f.score) AS score FROM unnest($1) AS h (keys)
   CROSS JOIN LATERAL (
       SELECT t.chunk_id, -(t.bm25 <#> $3) AS score FROM chunk_terms t
       WHERE t.workspace_id = citewell_workspace() AND t.keys @> h.keys::bigint[]
       AND ((SELECT citewell_sees_all())
           OR t.document_id NOT IN (SELECT d.id FROM citewell_hidden_documents() AS d))
       ORDER BY t.bm25 <#> $3, t.chunk_id LIMIT 2000) f
   JOIN chunks c ON c.workspace_id = citewell_workspace() AND c.id = f.chunk_id
   WHERE c.text ~* ALL($2)
   GROUP BY f.chunk_id ORDER BY score DESC, f.chunk_id LIMIT $4 $$;
REVOKE ALL ON FUNCTION citewell_search_holders(text[], text[], sparsevec, integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION citewell_search_holders(text[], text[], sparsevec, integer)
    TO citewell_app;
RESET ROLE;
"""
