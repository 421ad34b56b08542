"""How long suggestions take, while somebody types and when documents are published.

    python -m bench.suggest --chunks 50000

On made-up documents of 25 chunks, each with a title, six headings and repeated phrases; for
somebody who sees all of them and for one from whom 50 are hidden. It prints JSON.
"""

import argparse
import asyncio
import json
import tempfile
import time
from pathlib import Path

import numpy as np
from sqlalchemy import text

from bench.made_up_chunks import WORDS, as_superuser, draw_words, prepare
from citewell import embedded
from citewell.domain import PUBLIC_WORKSPACE, DocumentId, Visitor
from citewell.records.session import Database, acting_as
from citewell.records.suggestions import find_suggestions, suggest_documents
from citewell.settings import Settings

VISITORS = {"sees all": Visitor(), "50 hidden": Visitor(tags=("role:viewer",))}
LENGTHS = (1, 2, 3, 4, 6)
QUERIES, WARM, BATCH = 100, 10, 20
HIDDEN = """
UPDATE documents SET readers = '{group:few}' WHERE id IN (
    SELECT id FROM documents ORDER BY id LIMIT 50)"""
TITLES = """
UPDATE versions v SET title = n.title, text = (SELECT string_agg(c.text, '. ' ORDER BY c.ordinal)
    FROM chunks c WHERE c.workspace_id = v.workspace_id AND c.version_id = v.id)
FROM unnest(CAST(:ids AS uuid[]), CAST(:titles AS text[])) AS n (id, title)
WHERE v.workspace_id = :workspace AND v.document_id = n.id"""
HEADINGS = """
INSERT INTO sections (workspace_id, version_id, ordinal, level, number, cited_number, title, path,
    start, body_start, "end")
SELECT :workspace, d.active_version_id, n.place, 1, CAST(n.place AS text), CAST(n.place AS text),
    n.title, ARRAY[n.title], 0, 0, 0
FROM unnest(CAST(:ids AS uuid[]), CAST(:places AS integer[]), CAST(:titles AS text[]))
    AS n (id, place, title) JOIN documents d ON d.workspace_id = :workspace AND d.id = n.id"""


async def fill(database: Database) -> dict[str, float]:
    """Give the documents titles and headings and suggest them; return milliseconds a document."""
    rng = np.random.default_rng(7)
    async with database.transaction(PUBLIC_WORKSPACE) as connection:
        found = await connection.scalars(text("SELECT id FROM documents ORDER BY id"))
        ids = [DocumentId(each) for each in found]
    seconds = 0.0
    for first in range(0, len(ids), BATCH):
        part = ids[first : first + BATCH]
        values = {"workspace": PUBLIC_WORKSPACE, "ids": part}
        async with database.transaction(PUBLIC_WORKSPACE) as connection:
            titles = draw_words(rng, len(part), 4)
            await connection.execute(text(TITLES), values | {"titles": titles})
            headed = [(each, place) for each in part for place in range(1, 7)]
            await connection.execute(
                text(HEADINGS),
                {
                    "workspace": PUBLIC_WORKSPACE,
                    "ids": [each for each, _ in headed],
                    "places": [place for _, place in headed],
                    "titles": draw_words(rng, len(headed), 3),
                },
            )
            started = time.perf_counter()
            await suggest_documents(connection, PUBLIC_WORKSPACE, part)
            seconds += time.perf_counter() - started
    async with database.transaction(PUBLIC_WORKSPACE) as connection:
        rows = await connection.scalar(text("SELECT count(*) FROM suggestions"))
    return {"documents": len(ids), "rows": rows or 0, "fill_ms": seconds * 1000 / len(ids)}


async def measure(database: Database) -> dict[str, dict[str, float]]:
    """Type prefixes of words; return milliseconds at the middle and the 95th of a hundred."""
    rng = np.random.default_rng(9)
    figures: dict[str, dict[str, float]] = {}
    for name, visitor in VISITORS.items():
        for length in LENGTHS:
            times: list[float] = []
            for number in range(WARM + QUERIES):
                word = WORDS[int(rng.integers(1000, len(WORDS)))]
                started = time.perf_counter()
                with acting_as(visitor):
                    async with database.transaction(PUBLIC_WORKSPACE) as connection:
                        await find_suggestions(connection, PUBLIC_WORKSPACE, word[:length], None, 8)
                if number >= WARM:
                    times.append((time.perf_counter() - started) * 1000)
            p50, p95 = (float(np.percentile(times, share)) for share in (50, 95))
            figures[f"{name}, {length} letters"] = {"p50_ms": p50, "p95_ms": p95}
    return figures


async def run(url: str, data: Path, chunks: int) -> None:
    """Fill a database, measure, print."""
    await prepare(url, data, chunks)
    database = Database(url, 2)
    filled = await fill(database)
    as_superuser(url, data, HIDDEN)
    as_superuser(url, data, "VACUUM ANALYZE")
    figures = await measure(database)
    await database.close()
    print(json.dumps({"chunks": chunks, **filled, **figures}, indent=1))


def main() -> None:
    """Read the command line and run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--chunks", type=int, default=50_000)
    wanted = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o711)
        data = Path(folder) / "data"
        try:
            with embedded.start(Settings(data=data)) as started:
                url = started.database_url
                assert url is not None
                asyncio.run(run(url.get_secret_value(), data, wanted.chunks))
        finally:
            embedded.remove_data(data)


if __name__ == "__main__":
    main()
