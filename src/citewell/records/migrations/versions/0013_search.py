"""What filters compare: items of lists, numbers, moments. Suggestions as somebody types."""

from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

# A value that is none of what is asked for is NULL, and so never compared; none is an error.
VALUES = """
CREATE FUNCTION citewell_items(value jsonb) RETURNS SETOF jsonb
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS
$$ SELECT e FROM jsonb_array_elements(CASE jsonb_typeof($1) WHEN 'array' THEN $1
    ELSE jsonb_build_array($1) END) AS e $$;

CREATE FUNCTION citewell_number(value jsonb) RETURNS numeric
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS
$$ SELECT CASE jsonb_typeof($1) WHEN 'number' THEN ($1 #>> '{}')::numeric
    WHEN 'string' THEN CASE
        WHEN $1 #>> '{}' ~ '^ *[+-]?[0-9]{1,40}(\\.[0-9]{1,40})?([eE][+-]?[0-9]{1,3})? *$'
        THEN ($1 #>> '{}')::numeric END END $$;

CREATE FUNCTION citewell_moment(value text) RETURNS timestamptz
LANGUAGE sql STABLE PARALLEL SAFE AS
$$ SELECT CASE WHEN $1 ~ ('^(?!0000)[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])'
    '([T ]([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9](\\.[0-9]{1,6})?)?'
    '(Z|[+-](0[0-9]|1[0-4])(:?[0-5][0-9])?)?)?$')
    THEN CASE WHEN substr($1, 9, 2)::int <= extract(day FROM
            make_date(substr($1, 1, 4)::int, substr($1, 6, 2)::int, 1)
            + interval '1 month' - interval '1 day')
        THEN CASE WHEN $1 ~ '[T ].*[Z+-]' THEN $1::timestamptz
            WHEN length($1) = 10 THEN ($1 || 'T00:00Z')::timestamptz
            ELSE ($1 || 'Z')::timestamptz END END END $$;
"""


# A key is a text without accents, case and punctuation, from one of its words on.
KEYS = r"""
CREATE FUNCTION citewell_folded(value text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS
$$ SELECT btrim(regexp_replace(
    regexp_replace(lower(normalize($1, NFKD)), '[\u0300-\u036f]', '', 'g'),
    '[\s\u0001-\u002f\u003a-\u0040\u005b-\u0060\u007b-\u00bf\u2000-\u206f\u3000-\u303f]+',
    ' ', 'g')) $$;

CREATE FUNCTION citewell_suggestion_keys(value text) RETURNS TABLE (key text, place integer)
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS
$$ SELECT left(array_to_string(f.words[n:], ' '), 100), n
   FROM (SELECT string_to_array(citewell_folded($1), ' ') AS words) AS f,
       generate_series(1, least(cardinality(f.words), 12)) AS n $$;
"""

SUGGESTIONS = """
CREATE TABLE suggestions (
    workspace_id uuid NOT NULL,
    id bigint GENERATED ALWAYS AS IDENTITY,
    collection_id uuid,
    document_id uuid,
    answer_id uuid,
    kind text NOT NULL CHECK (kind IN ('title', 'section', 'phrase', 'question')),
    text text NOT NULL,
    key text COLLATE "C" NOT NULL,
    place integer NOT NULL,
    uses integer NOT NULL DEFAULT 1,
    section text,
    principal_id uuid,
    shared boolean NOT NULL DEFAULT true,
    CONSTRAINT pk_suggestions PRIMARY KEY (workspace_id, id),
    CONSTRAINT fk_suggestions_documents FOREIGN KEY (workspace_id, document_id)
        REFERENCES documents ON DELETE CASCADE,
    CONSTRAINT fk_suggestions_answers FOREIGN KEY (workspace_id, answer_id)
        REFERENCES answers ON DELETE CASCADE,
    CHECK ((document_id IS NULL) <> (answer_id IS NULL))
);
CREATE INDEX ix_suggestions_key ON suggestions (workspace_id, key);
CREATE INDEX ix_suggestions_whole ON suggestions (workspace_id, key) WHERE place = 1;
CREATE INDEX ix_suggestions_document ON suggestions (workspace_id, document_id);
CREATE INDEX ix_suggestions_answer ON suggestions (workspace_id, answer_id)
    WHERE answer_id IS NOT NULL;
ALTER TABLE suggestions ENABLE ROW LEVEL SECURITY;
ALTER TABLE suggestions FORCE ROW LEVEL SECURITY;
CREATE POLICY one_workspace ON suggestions TO citewell_app
    USING (workspace_id = citewell_workspace());
CREATE POLICY every_workspace ON suggestions TO citewell_system USING (true);
CREATE POLICY readers ON suggestions AS RESTRICTIVE TO citewell_app USING (
    (SELECT citewell_sees_all()) OR CASE WHEN answer_id IS NULL
        THEN document_id NOT IN (SELECT h.id FROM citewell_hidden_documents() AS h)
        ELSE NOT citewell_hides_answer(answer_id) END) WITH CHECK (true);
GRANT SELECT, INSERT, UPDATE, DELETE ON suggestions TO citewell_app, citewell_system;
"""

# Titles and headings of what is there; phrases come with a document's next version.
FILL = """
SET LOCAL ROLE citewell_system;
INSERT INTO suggestions
    (workspace_id, collection_id, document_id, kind, text, key, place, uses, section)
SELECT n.workspace_id, n.collection_id, n.document_id, n.kind, n.text, k.key, k.place, n.uses,
    n.section
FROM (
    SELECT d.workspace_id, d.collection_id, d.id AS document_id, 'title' AS kind,
        left(t.text, 200) AS text, 1 AS uses, NULL AS section
    FROM documents d JOIN versions v ON v.workspace_id = d.workspace_id
        AND v.id = d.active_version_id
    CROSS JOIN LATERAL (SELECT d.name UNION
        SELECT v.title WHERE NOT starts_with(d.name, v.title)) AS t (text)
    UNION ALL
    SELECT d.workspace_id, d.collection_id, d.id, 'section', left(s.title, 200), count(*),
        min(coalesce(s.number, s.title))
    FROM documents d JOIN sections s ON s.workspace_id = d.workspace_id
        AND s.version_id = d.active_version_id AND s.ordinal < 1000
    GROUP BY 1, 2, 3, 5
) AS n CROSS JOIN LATERAL citewell_suggestion_keys(n.text) AS k;
RESET ROLE;
"""


def upgrade() -> None:
    for statements in (VALUES, KEYS, SUGGESTIONS, FILL):
        op.execute(statements)
