"""BM25 scores chunks that have a rare word of the question, or two of its frequent ones."""

from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

# A key holds its collection, so the keys alone find one workspace's chunks; OFFSET 0 keeps the
# planner from reading the index of all of the workspace's chunks as well. A chunk with three of the
# words is found by several pairs, and UNION keeps one of it. The index of keys serves every lookup,
# however many keys there are and whatever the statistics say, so one plan does for a connection
# (from PostgreSQL 18 on; before, functions are planned each time).
SEARCH = """
SET LOCAL ROLE citewell_system;
CREATE FUNCTION citewell_search_lexical(
    keys bigint[], rarer text[], others text[], question sparsevec, most integer)
RETURNS TABLE (chunk_id uuid, score float8)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path FROM CURRENT
SET plan_cache_mode = force_generic_plan SET enable_seqscan = off AS
$$ SELECT s.chunk_id, -s.distance FROM (
       (SELECT t.workspace_id, t.document_id, t.chunk_id, t.bm25 <#> $4 AS distance
        FROM chunk_terms t WHERE t.keys && $1 OFFSET 0)
       UNION
       SELECT p.* FROM unnest($2, $3) AS pair (rarer, others) CROSS JOIN LATERAL (
           SELECT t.workspace_id, t.document_id, t.chunk_id, t.bm25 <#> $4 AS distance
           FROM chunk_terms t
           WHERE t.keys && pair.rarer::bigint[] AND t.keys && pair.others::bigint[]
           OFFSET 0) AS p) AS s
   WHERE s.workspace_id = (SELECT citewell_workspace())
   AND ((SELECT citewell_sees_all())
       OR s.document_id NOT IN (SELECT h.id FROM citewell_hidden_documents() AS h))
   ORDER BY s.distance, s.chunk_id LIMIT $5 $$;
REVOKE ALL ON FUNCTION citewell_search_lexical(bigint[], text[], text[], sparsevec, integer)
    FROM PUBLIC;
GRANT EXECUTE ON FUNCTION citewell_search_lexical(bigint[], text[], text[], sparsevec, integer)
    TO citewell_app;
DROP FUNCTION citewell_search_lexical(bigint[], sparsevec, integer);

CREATE OR REPLACE FUNCTION
    citewell_search_holders(held text[], patterns text[], question sparsevec, most integer)
RETURNS TABLE (chunk_id uuid, score float8)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path FROM CURRENT AS
$$ SELECT f.chunk_id, max(f.score) AS score FROM unnest($1) AS h (keys)
   CROSS JOIN LATERAL (
       SELECT s.chunk_id, -s.distance AS score FROM (
           SELECT t.workspace_id, t.document_id, t.chunk_id, t.bm25 <#> $3 AS distance
           FROM chunk_terms t WHERE t.keys @> h.keys::bigint[] OFFSET 0) AS s
       WHERE s.workspace_id = (SELECT citewell_workspace())
       AND ((SELECT citewell_sees_all())
           OR s.document_id NOT IN (SELECT d.id FROM citewell_hidden_documents() AS d))
       ORDER BY s.distance, s.chunk_id LIMIT 2000) AS f
   JOIN chunks c ON c.workspace_id = citewell_workspace() AND c.id = f.chunk_id
   WHERE c.text ~* ALL($2)
   GROUP BY f.chunk_id ORDER BY score DESC, f.chunk_id LIMIT $4 $$;
RESET ROLE;
"""


def upgrade() -> None:
    op.execute(SEARCH)
