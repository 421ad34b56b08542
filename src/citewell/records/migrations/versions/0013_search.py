"""What filters compare: items of lists, numbers, moments."""

from alembic import op

revision = "0013"
down_revision = "0009"
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


def upgrade() -> None:
    op.execute(VALUES)
