"""Search made-up installations of growing size, and compare with bare SQL and exact search.

    .venv/bin/python -m bench.search --sizes 5000,50000,500000 --svg growth.svg

Each size is an installation of its own with three workspaces: a big one, a middle one with 15 % of
the chunks, and a tiny one of 500. Measured in each, with and without a metadata filter that a tenth
of the documents pass: milliseconds of a whole search (embedding, both legs, fusion, loading), those
of the same statements without anything around them, and the recall of the dense leg's best 10
against exact search. Prints JSON and a table; ``--svg FILE`` draws how the time grows.
"""

import argparse
import json
import statistics
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import uvloop

from bench.charts import line_chart
from bench.made_up_chunks import as_superuser, draw_near, draw_words, fill
from citewell import embedded
from citewell.answer.pipeline import AnswerPipeline
from citewell.domain import PUBLIC_WORKSPACE, Scope, WorkspaceId
from citewell.ports import Purpose, Vectors
from citewell.records.dense import DenseSearch
from citewell.records.schema import migrate
from citewell.records.scope import resolve_scope
from citewell.records.session import Database
from citewell.records.statements import text
from citewell.records.vector_index import ensure_vector_index
from citewell.settings import Settings
from citewell.wiring import open_services

TINY = 500
WORKSPACES = {"big": PUBLIC_WORKSPACE, "middle": WorkspaceId(UUID(int=2)),
              "tiny": WorkspaceId(UUID(int=3))}  # fmt: skip
FILTERED = Scope(metadata={"shelf": 3})
QUESTION_WORDS, QUESTION_COSINE = 12, 0.75
WARM = 20
READ = """
CREATE EXTENSION IF NOT EXISTS pg_prewarm;
SELECT sum(pg_prewarm(oid)) FROM pg_class WHERE relkind IN ('r', 'i')
AND relnamespace = 'public'::regnamespace;
"""
LIMIT = 10


class GivenVectors:
    """Embeds with the real model, and then returns the vector that was drawn for the question."""

    def __init__(self, embedder: Any, vectors: dict[str, Vectors]) -> None:
        self.name = embedder.name
        self.dimension = embedder.dimension
        self.window_tokens = embedder.window_tokens
        self.count_tokens = embedder.count_tokens
        self._embedder = embedder
        self._vectors = vectors

    async def embed(self, texts: Any, purpose: Purpose) -> Vectors:
        """Return the drawn vectors, after the time that real ones take."""
        await self._embedder.embed(texts, purpose)
        return np.stack([self._vectors[each] for each in texts])


def percentile(values: list[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


async def prepare(url: str, data: Path, chunks: int, model: str, exact_below: int) -> float:
    """Make the tables, the workspaces and the index; return the seconds that it took.

    A folder that was prepared before is brought to the present tables, and read into memory, where
    one that was filled just now is.
    """
    database = Database(url, 2)
    started = time.perf_counter()
    await migrate(database.engine)
    async with database.system_transaction() as connection:
        filled = await connection.scalar(text("SELECT sum(chunk_count) FROM collections"))
    if filled:
        await database.close()
        as_superuser(url, data, READ)
        return 0.0
    for name in ("middle", "tiny"):
        as_superuser(
            url, data,
            f"INSERT INTO workspaces (id, name) VALUES ('{WORKSPACES[name]}', '{name}');"
            "INSERT INTO collections (workspace_id, id, name) "
            f"VALUES ('{WORKSPACES[name]}', gen_random_uuid(), 'default');",
        )  # fmt: skip
    middle = chunks * 15 // 100 // TINY * TINY
    sizes = {"tiny": TINY, "middle": middle, "big": chunks - middle - TINY}
    for seed, (name, size) in enumerate(sizes.items()):
        await fill(database, WORKSPACES[name], size, seed, model)
    await ensure_vector_index(database, exact_below)
    await database.close()
    for statement in ("VACUUM ANALYZE", "CHECKPOINT"):
        as_superuser(url, data, statement)
    return time.perf_counter() - started


async def draw_questions(
    database: Database, workspace: WorkspaceId, scope: Scope, count: int
) -> tuple[list[str], Vectors]:
    """Draw questions whose vectors lie near chunks of the scope."""
    rng = np.random.default_rng(9)
    async with database.transaction(workspace) as connection:
        space = await resolve_scope(connection, workspace, scope)
        rows = await connection.scalars(
            text(
                "SELECT CAST(embedding AS text) FROM vectors_384 WHERE workspace_id = :workspace"
                f"{space.documents_sql} ORDER BY hashtext(CAST(chunk_id AS text)) LIMIT :count"
            ),
            {"workspace": workspace, "count": count, **space.values},
        )
        near = np.array([row[1:-1].split(",") for row in rows], np.float32)
    near = near[np.arange(count) % len(near)]
    return draw_words(rng, count, QUESTION_WORDS), draw_near(rng, near, QUESTION_COSINE)


async def measure_case(
    answers: AnswerPipeline, database: Database, dense: DenseSearch, workspace: WorkspaceId,
    scope: Scope, count: int,
) -> dict[str, float]:  # fmt: skip
    """Search for each question whole and by bare statements, in turns."""
    questions, vectors = await draw_questions(database, workspace, scope, WARM + count)
    given = dict(zip(questions, vectors, strict=True))
    answers = replace(answers, embedder=GivenVectors(answers.embedder, given))
    exact = replace(dense, exact_below_chunks=10**9)
    whole: list[float] = []
    bare: list[float] = []
    recalls: list[float] = []
    for question, vector in given.items():
        started = time.perf_counter()
        await answers.search(workspace, question, scope, LIMIT)
        whole.append((time.perf_counter() - started) * 1000)
        started = time.perf_counter()
        async with answers.index.read(workspace) as reading:
            found = await reading.search_dense(vector, scope, answers.candidates)
            await reading.search_lexical(question, scope, answers.candidates)
            await reading.load(list(found.scores)[:LIMIT])
        bare.append((time.perf_counter() - started) * 1000)
        async with database.transaction(workspace) as connection:
            space = await resolve_scope(connection, workspace, scope)
            truth = await exact.search(connection, workspace, vector, space, LIMIT)
        nearest = set(list(found.scores)[:LIMIT])
        recalls.append(len(nearest & truth.scores.keys()) / max(1, len(truth.scores)))
    whole, bare = whole[WARM:], bare[WARM:]
    return {
        "p50_ms": statistics.median(whole),
        "p95_ms": percentile(whole, 0.95),
        "of_bare_sql_p50": statistics.median(whole) / statistics.median(bare),
        "recall_at_10": statistics.mean(recalls),
    }


async def measure(settings: Settings, data: Path, chunks: int, count: int) -> dict[str, Any]:
    """Fill one installation and measure all of its cases."""
    assert settings.database_url is not None
    url = settings.database_url.get_secret_value()
    async with open_services(settings) as services:
        model = services.embedder.name
        exact_below = settings.retrieval.exact_below_chunks
        figures: dict[str, Any] = {
            "chunks": chunks,
            "prepare_seconds": await prepare(url, data, chunks, model, exact_below),
        }
        dense = DenseSearch(model, exact_below, settings.retrieval.hnsw_ef_search)
        for name, workspace in WORKSPACES.items():
            for label, scope in ((name, Scope()), (f"{name}, filtered", FILTERED)):
                figures[label] = await measure_case(
                    services.answers, services.database, dense, workspace, scope, count
                )
        return figures


def measure_size(chunks: int, count: int, kept: Path | None) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o711)
        data = Path(folder) / "data" if kept is None else kept / str(chunks)
        try:
            with embedded.start(Settings(data=data)) as started:
                return uvloop.run(measure(started, data, chunks, count))
        finally:
            if kept is None:
                embedded.remove_data(data)


def report(sizes: list[dict[str, Any]]) -> None:
    print("| chunks | workspace | p50 ms | p95 ms | of bare SQL | recall@10 |")
    print("|---|---|---|---|---|---|")
    for size in sizes:
        for name, case in size.items():
            if isinstance(case, dict):
                print(
                    f"| {size['chunks']:,} | {name} | {case['p50_ms']:.1f} | {case['p95_ms']:.1f} "
                    f"| {case['of_bare_sql_p50']:.2f} | {case['recall_at_10']:.3f} |"
                )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--sizes", default="5000,50000", help="chunks, with commas between them")
    parser.add_argument("--queries", type=int, default=200, help="questions for each case")
    parser.add_argument("--data", type=Path, help="keep each size's data folder in this one")
    parser.add_argument("--svg", type=Path, default=None, help="draw the growth into this file")
    given: Any = parser.parse_args()
    sizes = [measure_size(int(each), given.queries, given.data) for each in given.sizes.split(",")]
    print(json.dumps(sizes))
    report(sizes)
    if given.svg is not None:
        curves = {
            name: [(size["chunks"], size["big"][key]) for size in sizes]
            for name, key in (("p50", "p50_ms"), ("p95", "p95_ms"))
        }
        given.svg.write_text(line_chart(curves, "chunks", "milliseconds of a search"))


if __name__ == "__main__":
    main()
