"""Two workspaces of made-up chunks, written and indexed by the product's own statements."""

import time
from pathlib import Path
from typing import Any, cast
from uuid import uuid4

import numpy as np
import psycopg
from numpy.typing import NDArray
from sqlalchemy import make_url, text

from citewell.domain import PUBLIC_WORKSPACE, Section, VersionId, WorkspaceId
from citewell.embedded.cluster import SUPERUSER
from citewell.embedded.passwords import load_passwords
from citewell.ports import Vectors
from citewell.records.lexical import refresh_lexemes
from citewell.records.schema import migrate
from citewell.records.session import Database
from citewell.records.vector_index import ensure_vector_index
from citewell.records.version_rows import chunk_id, insert_chunks, save_sections, vector_literal
from citewell.settings import RetrievalSettings

OTHER = WorkspaceId(uuid4())
MODEL = "made-up"
DOCUMENT_CHUNKS, BATCH_DOCUMENTS = 25, 20
CHUNK_WORDS, VOCABULARY = 80, 40_000
WORDS = [str(n).translate(str.maketrans("0123456789", "bdfgklmnpr")) for n in range(VOCABULARY)]
SHARES = 1 / (np.arange(VOCABULARY) + 2.7)
MEAN_LENGTH, VARIANCES = 0.36, np.arange(1, 385) ** -0.78
SAME_DOCUMENT = 0.7
"""About the cosine of a chunk to its document's centre."""
SHELVES = 10
"""Each document's metadata say on which one it stands."""
ADD_OTHER = f"""
INSERT INTO workspaces (id, name) VALUES ('{OTHER}', 'other');
INSERT INTO collections (workspace_id, id, name) VALUES ('{OTHER}', gen_random_uuid(), 'other');
"""
ADD_DOCUMENTS = """
WITH new AS (SELECT * FROM unnest(CAST(:documents AS uuid[]), CAST(:versions AS uuid[]))
    AS n (document, version)), made AS (
    INSERT INTO documents (workspace_id, id, collection_id, name, source, active_version_id,
        chunk_count, metadata)
    SELECT :workspace, document, :collection, CAST(document AS text), CAST(document AS text),
        version, :size,
        jsonb_build_object('shelf', abs(hashtext(CAST(document AS text))) % :shelves) FROM new)
INSERT INTO versions (workspace_id, id, document_id, number, sha256, size_bytes, media_type, title,
    published_at)
SELECT :workspace, version, document, 1, CAST(version AS text), 0, 'text/plain', 'A title', now()
FROM new
"""


def draw_words(rng: np.random.Generator, count: int, length: int) -> list[str]:
    """Draw texts whose words are as frequent as Zipf says."""
    drawn = rng.choice(VOCABULARY, (count, length), p=SHARES / SHARES.sum())
    rows = cast("list[list[int]]", drawn.tolist())
    return [" ".join(WORDS[word] for word in row) for row in rows]


def draw_vectors(rng: np.random.Generator, count: int) -> Vectors:
    """Draw vectors of length 1 that spread as all-MiniLM-L6-v2's do over SciFact.

    Those have a mean of length 0.36, and around it variances that fall as k to the power of -0.78.
    """
    deviations = np.sqrt((1 - MEAN_LENGTH**2) * VARIANCES / VARIANCES.sum())
    drawn = rng.standard_normal((count, 384)) * deviations
    drawn[:, 0] += MEAN_LENGTH
    return _unit(drawn)


def draw_near(rng: np.random.Generator, centres: Vectors, cosine: float) -> Vectors:
    """Draw a vector near each of the given ones, at about this cosine."""
    away = draw_vectors(rng, len(centres))
    return _unit(cosine * centres + np.sqrt(1 - cosine**2) * away)


def _unit(vectors: NDArray[np.float64]) -> Vectors:
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


async def fill(
    database: Database, workspace: WorkspaceId, chunks: int, seed: int, model: str = MODEL
) -> None:
    """Fill a workspace's only collection by the statements of the product."""
    rng = np.random.default_rng(seed)
    find = text("SELECT id FROM collections WHERE workspace_id = :workspace")
    async with database.transaction(workspace) as connection:
        collection = await connection.scalar(find, {"workspace": workspace})
    for _ in range(chunks // (DOCUMENT_CHUNKS * BATCH_DOCUMENTS)):
        ids = [(uuid4(), VersionId(uuid4())) for _ in range(BATCH_DOCUMENTS)]
        places = [(*pair, ordinal) for pair in ids for ordinal in range(DOCUMENT_CHUNKS)]
        texts = draw_words(rng, len(places), CHUNK_WORDS)
        centres = np.repeat(draw_vectors(rng, BATCH_DOCUMENTS), DOCUMENT_CHUNKS, axis=0)
        vectors = draw_near(rng, centres, SAME_DOCUMENT)
        rows: list[dict[str, Any]] = [
            {"id": chunk_id(version, ordinal), "collection": collection, "document": document,
             "version": version, "ordinal": ordinal, "start": ordinal * 1000,
             "end": ordinal * 1000 + len(words), "text": words, "context": "", "section": 0,
             "page": None, "breaks": "{}", "tokens": CHUNK_WORDS, "words": words,
             "language": "english", "identifiers": "", "model": model,
             "vector": vector_literal(vector)}
            for (document, version, ordinal), words, vector in zip(
                places, texts, vectors, strict=True
            )
        ]  # fmt: skip
        values = {
            "workspace": workspace,
            "collection": collection,
            "documents": [document for document, _ in ids],
            "versions": [version for _, version in ids],
            "size": DOCUMENT_CHUNKS,
            "shelves": SHELVES,
        }
        section = Section(0, None, 1, "1", "A section", None, ("A section",), 0, 0, 25_000)
        async with database.transaction(workspace) as connection:
            await connection.execute(text(ADD_DOCUMENTS), values)
            await save_sections(connection, workspace, [(version, section) for _, version in ids])
            await insert_chunks(connection, workspace, rows)
    async with database.transaction(workspace) as connection:
        await connection.execute(
            text(
                "UPDATE collections SET chunk_count = (SELECT count(*) FROM chunks "
                "WHERE workspace_id = :workspace) WHERE workspace_id = :workspace"
            ),
            {"workspace": workspace},
        )
        await refresh_lexemes(connection, workspace, collection)


def as_superuser(url: str, data: Path, statements: str) -> None:
    """Run statements that the login role may not."""
    password = load_passwords(data, cluster_exists=True).superuser
    place: dict[str, Any] = {"dbname": "citewell", **make_url(url).query}
    with psycopg.connect(user=SUPERUSER, password=password, autocommit=True, **place) as connection:
        connection.execute(statements.encode())


async def prepare(url: str, data: Path, chunks: int) -> dict[str, float]:
    """Make the tables, two workspaces and the index; return the seconds that it took.

    Holds:   its connections are closed: what they did before would part them from fresh ones.
    """
    database = Database(url, 2)
    started = time.perf_counter()
    await migrate(database.engine)
    as_superuser(url, data, ADD_OTHER)
    await fill(database, PUBLIC_WORKSPACE, chunks, 1)
    await fill(database, OTHER, chunks // 5, 2)
    filled = time.perf_counter()
    built = await ensure_vector_index(database, RetrievalSettings().exact_below_chunks)
    indexed = time.perf_counter()
    await database.close()
    for statement in ("VACUUM ANALYZE", "CHECKPOINT"):
        as_superuser(url, data, statement)
    return {"fill_seconds": filled - started, "index_seconds": built * (indexed - filled)}
