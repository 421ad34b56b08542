"""A counter of whatever may change a search's result in a collection, for results that are kept."""

from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

# Nobody is shown it: other than the generation, it tells of documents that are hidden as well.
COLUMN = "ALTER TABLE collections ADD COLUMN changes bigint NOT NULL DEFAULT 0"

COUNTED = """
CREATE FUNCTION citewell_count_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.changes := OLD.changes + 1;
    RETURN NEW;
END $$;
CREATE TRIGGER count_change BEFORE UPDATE ON collections FOR EACH ROW
WHEN ((OLD.chunk_count, OLD.lexical_chunk_count, OLD.lexical_pending, OLD.languages)
    IS DISTINCT FROM
    (NEW.chunk_count, NEW.lexical_chunk_count, NEW.lexical_pending, NEW.languages))
EXECUTE FUNCTION citewell_count_change();

CREATE FUNCTION citewell_documents_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE collections c SET changes = c.changes + 1
    FROM (SELECT DISTINCT n.workspace_id, n.collection_id FROM now n
        JOIN before b ON b.workspace_id = n.workspace_id AND b.id = n.id
        WHERE (n.active_version_id, n.metadata, n.readers, n.name, n.updated_at)
            IS DISTINCT FROM
            (b.active_version_id, b.metadata, b.readers, b.name, b.updated_at)) AS d
    WHERE c.workspace_id = d.workspace_id AND c.id = d.collection_id;
    RETURN NULL;
END $$;
CREATE FUNCTION citewell_documents_removed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE collections c SET changes = c.changes + 1
    FROM (SELECT DISTINCT workspace_id, collection_id FROM before
        WHERE active_version_id IS NOT NULL) AS d
    WHERE c.workspace_id = d.workspace_id AND c.id = d.collection_id;
    RETURN NULL;
END $$;
CREATE TRIGGER documents_changed AFTER UPDATE ON documents
REFERENCING OLD TABLE AS before NEW TABLE AS now
FOR EACH STATEMENT EXECUTE FUNCTION citewell_documents_changed();
CREATE TRIGGER documents_removed AFTER DELETE ON documents
REFERENCING OLD TABLE AS before
FOR EACH STATEMENT EXECUTE FUNCTION citewell_documents_removed();
"""


def upgrade() -> None:
    for statements in (COLUMN, COUNTED):
        op.execute(statements)
