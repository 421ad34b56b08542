"""Lists of readers: who may see a document, and whatever else tells of it."""

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

COLUMNS = """
ALTER TABLE documents ADD COLUMN readers text[];
ALTER TABLE jobs ADD COLUMN readers text[];
ALTER TABLE answers ADD COLUMN other_document_ids uuid[] NOT NULL DEFAULT '{}'::uuid[];
ALTER TABLE feedback ADD COLUMN document_ids uuid[] NOT NULL DEFAULT '{}'::uuid[];
CREATE INDEX ix_documents_readers ON documents (workspace_id, readers) WHERE readers IS NOT NULL;
SET LOCAL ROLE citewell_system;
UPDATE feedback f SET document_ids = a.document_ids FROM answers a
WHERE a.workspace_id = f.workspace_id AND a.id = f.answer_id;
RESET ROLE;
"""

# What lists of readers may name of the caller: '*' sees every document. A transaction that did not
# say who acts sees only what is open to everyone.
TAGS = """
CREATE FUNCTION citewell_reader_tags() RETURNS text[] LANGUAGE sql STABLE PARALLEL SAFE AS
$$ SELECT CASE current_setting('citewell.reader_tags', true) WHEN '*' THEN NULL
    ELSE coalesce(nullif(current_setting('citewell.reader_tags', true), ''), '{}')::text[] END $$;
CREATE FUNCTION citewell_may_read(readers text[]) RETURNS boolean
LANGUAGE sql STABLE PARALLEL SAFE AS
$$ SELECT readers IS NULL OR citewell_reader_tags() IS NULL
    OR readers && citewell_reader_tags() $$;
"""

# These look at what the caller may not see, so they run as citewell_system, which may.
LOOKS = """
SET LOCAL ROLE citewell_system;

CREATE FUNCTION citewell_sees_all() RETURNS boolean
LANGUAGE plpgsql STABLE PARALLEL SAFE SECURITY DEFINER SET search_path FROM CURRENT AS $$
DECLARE
    tags text[] := citewell_reader_tags();
    list text[];
BEGIN
    IF tags IS NULL THEN
        RETURN true;
    END IF;
    -- There are few lists, on however many documents: the index leads from one to the next.
    SELECT d.readers INTO list FROM documents d WHERE d.workspace_id = citewell_workspace()
        AND d.readers IS NOT NULL ORDER BY d.readers LIMIT 1;
    WHILE list IS NOT NULL LOOP
        IF NOT list && tags THEN
            RETURN false;
        END IF;
        SELECT d.readers INTO list FROM documents d WHERE d.workspace_id = citewell_workspace()
            AND d.readers > list ORDER BY d.readers LIMIT 1;
    END LOOP;
    RETURN true;
END $$;

CREATE FUNCTION citewell_hidden_documents()
RETURNS TABLE (id uuid, collection_id uuid, chunk_count integer)
LANGUAGE plpgsql STABLE PARALLEL SAFE SECURITY DEFINER SET search_path FROM CURRENT AS $$
DECLARE
    tags text[] := citewell_reader_tags();
BEGIN
    IF tags IS NOT NULL THEN
        RETURN QUERY SELECT d.id, d.collection_id, d.chunk_count FROM documents d
            WHERE d.workspace_id = citewell_workspace() AND d.readers IS NOT NULL
            AND NOT d.readers && tags;
    END IF;
END $$;

CREATE FUNCTION citewell_hides_any(documents uuid[]) RETURNS boolean
LANGUAGE sql STABLE PARALLEL SAFE SECURITY DEFINER SET search_path FROM CURRENT AS $$
    SELECT EXISTS (SELECT FROM documents d WHERE d.workspace_id = citewell_workspace()
        AND d.id = ANY($1) AND NOT citewell_may_read(d.readers))
$$;

CREATE FUNCTION citewell_hides_answer(answer uuid) RETURNS boolean
LANGUAGE sql STABLE PARALLEL SAFE SECURITY DEFINER SET search_path FROM CURRENT AS $$
    SELECT coalesce((SELECT citewell_hides_any(a.document_ids || a.other_document_ids)
        FROM answers a WHERE a.workspace_id = citewell_workspace() AND a.id = $1), false)
$$;

CREATE FUNCTION citewell_hides_parts(job uuid) RETURNS boolean
LANGUAGE sql STABLE PARALLEL SAFE SECURITY DEFINER SET search_path FROM CURRENT AS $$
    SELECT EXISTS (SELECT FROM jobs p LEFT JOIN documents d
            ON d.workspace_id = p.workspace_id AND d.id = p.document_id
            WHERE p.workspace_id = citewell_workspace() AND p.parent_id = $1
            AND NOT (citewell_may_read(p.readers) AND citewell_may_read(d.readers)))
        OR citewell_hides_any((SELECT array_agg(t.id::uuid) FROM jobs j
            CROSS JOIN jsonb_array_elements_text(j.progress -> 'documents') AS t (id)
            WHERE j.workspace_id = citewell_workspace() AND j.id = $1))
$$;

DO $$ DECLARE signature text; BEGIN
    FOREACH signature IN ARRAY ARRAY['citewell_sees_all()', 'citewell_hidden_documents()',
        'citewell_hides_any(uuid[])', 'citewell_hides_answer(uuid)', 'citewell_hides_parts(uuid)']
    LOOP
        EXECUTE format('REVOKE ALL ON FUNCTION %s FROM PUBLIC', signature);
        EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO citewell_app, citewell_system', signature);
    END LOOP;
END $$;

RESET ROLE;
"""

# Restrictive: they narrow what one_workspace shows, and never widen it. What is written is judged
# by that one alone. Where many rows are read at once, the hidden documents are found once and
# hashed; where few are, their document is looked up.
POLICIES = """
DO $$
DECLARE
    name text;
    of_document text := 'EXISTS (SELECT FROM documents d WHERE d.workspace_id = %1$I.workspace_id '
        'AND d.id = %1$I.document_id)';
    of_version text := 'EXISTS (SELECT FROM versions v WHERE v.workspace_id = %1$I.workspace_id '
        'AND v.id = %1$I.version_id)';
    not_hidden text := 'document_id NOT IN (SELECT h.id FROM citewell_hidden_documents() AS h)';
    shown text;
BEGIN
    FOREACH name IN ARRAY ARRAY['documents', 'jobs', 'versions', 'chunks', 'chunk_terms',
        'vectors_384', 'sections', 'staged_texts', 'staged_chunks', 'staged_embeddings', 'answers',
        'feedback']
    LOOP
        shown := CASE
            WHEN name IN ('versions', 'chunks') THEN of_document
            WHEN name IN ('chunk_terms', 'vectors_384') THEN not_hidden
            WHEN name = 'answers' THEN
                'NOT citewell_hides_any(document_ids || other_document_ids)'
            WHEN name = 'feedback' THEN 'NOT citewell_hides_any(document_ids)'
            WHEN name = 'jobs' THEN
                'document_id IS NULL OR NOT citewell_hides_any(ARRAY[document_id])'
            ELSE of_version END;
        shown := '(SELECT citewell_sees_all()) OR ' || format(shown, name);
        shown := CASE name WHEN 'documents' THEN 'citewell_may_read(readers)'
            WHEN 'jobs' THEN 'citewell_may_read(readers) AND (' || shown || ')' ELSE shown END;
        EXECUTE format('CREATE POLICY readers ON %I AS RESTRICTIVE TO citewell_app USING (%s) '
            'WITH CHECK (true)', name, shown);
    END LOOP;
END $$;
"""

# A job outlives its document, and stays among those who might read that.
REMOVED = """
SET LOCAL ROLE citewell_system;
CREATE FUNCTION citewell_document_removed() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
    UPDATE jobs SET readers = OLD.readers
    WHERE workspace_id = OLD.workspace_id AND document_id = OLD.id;
    RETURN OLD;
END $$;
RESET ROLE;
CREATE TRIGGER document_removed BEFORE DELETE ON documents FOR EACH ROW
WHEN (OLD.readers IS NOT NULL) EXECUTE FUNCTION citewell_document_removed();
"""

# As before, without the hidden documents, which are left out before the best are chosen.
SEARCH = """
SET LOCAL ROLE citewell_system;
CREATE OR REPLACE FUNCTION
    citewell_search_lexical(keys bigint[], question sparsevec, most integer)
RETURNS TABLE (chunk_id uuid, score float8)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path FROM CURRENT AS
$$ SELECT t.chunk_id, -(t.bm25 <#> $2) FROM chunk_terms t
   WHERE t.workspace_id = citewell_workspace() AND t.keys && $1
   AND ((SELECT citewell_sees_all())
       OR t.document_id NOT IN (SELECT h.id FROM citewell_hidden_documents() AS h))
   ORDER BY t.bm25 <#> $2, t.chunk_id LIMIT $3 $$;
RESET ROLE;
"""

# A collection's generation tells of the documents that everyone may read, and of their statistics;
# those with readers are told apart where a search is made.
GENERATIONS = """
DROP TRIGGER collection_changed ON collections;
CREATE TRIGGER collection_changed
BEFORE UPDATE OF lexical_pending, lexical_chunk_count ON collections FOR EACH ROW
WHEN (OLD.lexical_pending IS DISTINCT FROM NEW.lexical_pending
    OR OLD.lexical_chunk_count IS DISTINCT FROM NEW.lexical_chunk_count)
EXECUTE FUNCTION citewell_collection_changed();
"""


def upgrade() -> None:
    for statements in (COLUMNS, TAGS, LOOKS, POLICIES, REMOVED, SEARCH, GENERATIONS):
        op.execute(statements)
