"""A chunk's BM25 is computed once a search, and the workspace's id is read once."""

from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

# As before. OFFSET 0 keeps what is returned and what is sorted by from being computed each on its
# own; a condition in a SELECT of its own is evaluated once and not for each row.
SEARCH = """
SET LOCAL ROLE citewell_system;
CREATE OR REPLACE FUNCTION
    citewell_search_lexical(keys bigint[], question sparsevec, most integer)
RETURNS TABLE (chunk_id uuid, score float8)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path FROM CURRENT AS
$$ SELECT s.chunk_id, -s.distance FROM (
       SELECT t.chunk_id, t.bm25 <#> $2 AS distance FROM chunk_terms t
       WHERE t.workspace_id = (SELECT citewell_workspace()) AND t.keys && $1
       AND ((SELECT citewell_sees_all())
           OR t.document_id NOT IN (SELECT h.id FROM citewell_hidden_documents() AS h))
       OFFSET 0) AS s
   ORDER BY s.distance, s.chunk_id LIMIT $3 $$;
CREATE OR REPLACE FUNCTION
    citewell_search_holders(held text[], patterns text[], question sparsevec, most integer)
RETURNS TABLE (chunk_id uuid, score float8)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path FROM CURRENT AS
$$ SELECT f.chunk_id, max(f.score) AS score FROM unnest($1) AS h (keys)
   CROSS JOIN LATERAL (
       SELECT s.chunk_id, -s.distance AS score FROM (
           SELECT t.chunk_id, t.bm25 <#> $3 AS distance FROM chunk_terms t
           WHERE t.workspace_id = (SELECT citewell_workspace()) AND t.keys @> h.keys::bigint[]
           AND ((SELECT citewell_sees_all())
               OR t.document_id NOT IN (SELECT d.id FROM citewell_hidden_documents() AS d))
           OFFSET 0) AS s
       ORDER BY s.distance, s.chunk_id LIMIT 2000) AS f
   JOIN chunks c ON c.workspace_id = citewell_workspace() AND c.id = f.chunk_id
   WHERE c.text ~* ALL($2)
   GROUP BY f.chunk_id ORDER BY score DESC, f.chunk_id LIMIT $4 $$;
RESET ROLE;
"""


def upgrade() -> None:
    op.execute(SEARCH)
