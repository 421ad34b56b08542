"""A stamp that changes with whatever may change a search's result, for results that are kept."""

from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

# Nobody is shown it: other than the generation, it tells of documents that are hidden as well. It
# is random and no count, so that none comes back, whatever becomes of the database.
COLUMN = "ALTER TABLE collections ADD COLUMN stamp uuid NOT NULL DEFAULT gen_random_uuid()"

# Documents are stamped at the commit: a collection's row that is locked sooner would wait for the
# count of its terms, and that for it. A collection is stamped once in a transaction.
STAMPED = """
CREATE FUNCTION citewell_stamp_collection() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.stamp := gen_random_uuid();
    RETURN NEW;
END $$;
CREATE TRIGGER stamp_collection BEFORE UPDATE ON collections FOR EACH ROW
WHEN ((OLD.chunk_count, OLD.lexical_chunk_count, OLD.lexical_pending, OLD.languages)
    IS DISTINCT FROM
    (NEW.chunk_count, NEW.lexical_chunk_count, NEW.lexical_pending, NEW.languages))
EXECUTE FUNCTION citewell_stamp_collection();

CREATE FUNCTION citewell_stamp_document() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    stamped text := coalesce(current_setting('citewell.stamped', true), '');
BEGIN
    IF position(OLD.collection_id::text IN stamped) = 0 THEN
        UPDATE collections SET stamp = gen_random_uuid()
        WHERE workspace_id = OLD.workspace_id AND id = OLD.collection_id;
        PERFORM set_config('citewell.stamped', stamped || OLD.collection_id::text, true);
    END IF;
    RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER document_changed AFTER UPDATE ON documents
DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
WHEN ((OLD.active_version_id, OLD.chunk_count, OLD.language, OLD.metadata, OLD.readers, OLD.name,
        OLD.updated_at)
    IS DISTINCT FROM
    (NEW.active_version_id, NEW.chunk_count, NEW.language, NEW.metadata, NEW.readers, NEW.name,
        NEW.updated_at))
EXECUTE FUNCTION citewell_stamp_document();
CREATE CONSTRAINT TRIGGER document_gone AFTER DELETE ON documents
DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
WHEN (OLD.active_version_id IS NOT NULL) EXECUTE FUNCTION citewell_stamp_document();
"""


def upgrade() -> None:
    for statements in (COLUMN, STAMPED):
        op.execute(statements)
