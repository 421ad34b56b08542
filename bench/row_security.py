"""Measure what row-level security costs a search: the same searches with it and without.

    .venv/bin/python -m bench.row_security --chunks 50000 --queries 200

Starts its own PostgreSQL, fills one workspace with made-up chunks and a second one with a fifth as
many, and builds the HNSW index as the product does. Then each query runs as three roles, in an
order drawn anew each time, so that whatever else the machine does hits all of them:

    with      citewell_app, which row-level security binds: what the product does
    without   a role with the same grants and BYPASSRLS, through the same code
    bare      like without, and BM25 by a plain query in place of the product's function

citewell_search_lexical is SECURITY DEFINER (docs/decisions/0003): inside it the policy is ``true``
for both of the first two, so only ``bare`` shows what going through the function costs. Each query
runs for two visitors: one who sees every document, and a viewer with tags in a workspace where no
document is limited. “Paired” is the median of what a query took more, over the other's median: it
bears the noise of the machine best. Prints one JSON object and a Markdown table.
"""

import argparse
import json
import random
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import uvloop
from sqlalchemy import make_url, text

from bench.made_up_chunks import MODEL, as_superuser, draw_vectors, draw_words, prepare
from bench.scifact import percentile
from citewell import embedded
from citewell.adapters.postgres import PostgresChunkIndex
from citewell.answer.fuse import fuse
from citewell.domain import PUBLIC_WORKSPACE, Scope, Visitor
from citewell.ports import Vectors
from citewell.records.dense import DenseSearch
from citewell.records.session import Database, acting_as
from citewell.settings import RetrievalSettings, Settings

QUESTION_WORDS = 7
LOADED = 10
WARM = 20
WANTED_RATIO = 1.10
LEGS = ("dense", "lexical", "load", "all")
VISITORS = {"sees all": Visitor(), "viewer": Visitor("key:bench", tags=("role:viewer",))}

ROLES = """
CREATE ROLE bench_bypass NOLOGIN BYPASSRLS;
GRANT citewell_app TO bench_bypass;
GRANT bench_bypass TO citewell WITH INHERIT FALSE, SET TRUE;
CREATE SCHEMA bench_bare;
GRANT USAGE ON SCHEMA bench_bare TO bench_bypass;
CREATE FUNCTION bench_bare.citewell_search_lexical(
    bigint[], text[], text[], public.sparsevec, most integer)
RETURNS TABLE (chunk_id uuid, score float8) LANGUAGE sql STABLE AS
$$ SELECT chunk_id, -distance FROM (
       (SELECT t.chunk_id, t.bm25 <#> $4 AS distance FROM public.chunk_terms t
        WHERE t.keys && $1 OFFSET 0)
       UNION
       SELECT p.* FROM unnest($2, $3) AS pair (rarer, others) CROSS JOIN LATERAL (
           SELECT t.chunk_id, t.bm25 <#> $4 AS distance FROM public.chunk_terms t
           WHERE t.keys && pair.rarer::bigint[] AND t.keys && pair.others::bigint[]
           OFFSET 0) AS p) AS s
   ORDER BY distance, chunk_id LIMIT $5 $$;
"""


class Bypassing(Database):
    """The same pool and code, whose transactions no policy binds."""

    role = "bench_bypass"


class Case:
    """One role's searches, and what they took, by visitor and leg."""

    def __init__(self, database: Database) -> None:
        settings = RetrievalSettings()
        self._index = PostgresChunkIndex(
            database, DenseSearch(MODEL, settings.exact_below_chunks, settings.hnsw_ef_search)
        )
        self._candidates, self._weight = settings.candidates, settings.dense_weight
        self.times: dict[tuple[str, str], list[float]] = {
            (visitor, leg): [] for visitor in VISITORS for leg in LEGS
        }

    async def search(self, visitor: str, question: str, vector: Vectors) -> list[object]:
        """Search both legs one after the other and load the best; return all that was found."""
        scope = Scope()
        marks = [time.perf_counter()]
        async with self._index.read(PUBLIC_WORKSPACE) as reading:
            dense = await reading.search_dense(vector, scope, self._candidates)
            marks.append(time.perf_counter())
            lexical = await reading.search_lexical(question, scope, self._candidates)
            marks.append(time.perf_counter())
            best = fuse(dense.scores, lexical.scores, self._weight)[:LOADED]
            started = time.perf_counter()
            loaded = await reading.load([each.chunk_id for each in best])
        taken = [marks[1] - marks[0], marks[2] - marks[1], time.perf_counter() - started]
        for leg, seconds in zip(LEGS, [*taken, sum(taken)], strict=True):
            self.times[visitor, leg].append(seconds * 1000)
        return [dense.scores, lexical.scores, loaded]


async def measure(cases: dict[str, Case], queries: int) -> None:
    """Run each query for each role and visitor, in an order drawn anew each time."""
    rng, order = np.random.default_rng(3), random.Random(3)
    questions = draw_words(rng, WARM + queries, QUESTION_WORDS)
    turns = [(case, visitor) for case in cases for visitor in VISITORS]
    vectors = draw_vectors(rng, WARM + queries)
    for number, (question, vector) in enumerate(zip(questions, vectors, strict=True)):
        found: list[list[object]] = []
        for name, visitor in order.sample(turns, len(turns)):
            with acting_as(VISITORS[visitor]):
                found.append(await cases[name].search(visitor, question, vector))
        if not all(each == found[0] and all(each) for each in found):
            raise SystemExit("The roles did not find the same; nothing is measured.")
        if number == WARM - 1:
            for case in cases.values():
                for times in case.times.values():
                    times.clear()


def report(cases: dict[str, Case], figures: dict[str, Any]) -> None:
    """Print JSON, the table, and whether the cost is below what is wanted."""
    keys = ("p50_ms", "p95_ms", "ratio_p50", "ratio_p95", "ratio_paired")
    lines = ["| visitor | leg | role | p50 ms | p95 ms | with ÷ it: p50 | p95 | paired |"]
    lines.append("|---" * 8 + "|")
    for visitor, leg in cases["with"].times:
        bound = cases["with"].times[visitor, leg]
        for name, case in cases.items():
            times = case.times[visitor, leg]
            p50, p95 = statistics.median(times), percentile(times, 0.95)
            added = statistics.median(a - b for a, b in zip(bound, times, strict=True))
            ratios = statistics.median(bound) / p50, percentile(bound, 0.95) / p95, 1 + added / p50
            row = [p50, p95, *ratios]
            figures[f"{visitor}, {leg}, {name}"] = dict(zip(keys, row, strict=True))
            shown = " | ".join(f"{value:.2f}" for value in row)
            lines.append(f"| {visitor} | {leg} | {name} | {shown} |")
    print(json.dumps(figures), *lines, sep="\n")
    for visitor in VISITORS:
        ratio = figures[f"{visitor}, all, without"]["ratio_p50"]
        verdict = "under" if ratio < WANTED_RATIO else "NOT under"
        print(f"{visitor}: row-level security costs {ratio - 1:+.1%} at p50, {verdict} 10 %.")


async def run(url: str, data: Path, chunks: int, queries: int) -> None:
    bare = make_url(url).update_query_dict({"options": "-csearch_path=bench_bare,public"})
    databases = {
        "with": Database(url, 2),
        "without": Bypassing(url, 2),
        "bare": Bypassing(bare.render_as_string(hide_password=False), 2),
    }
    try:
        figures: dict[str, Any] = {"chunks": chunks, "queries": queries}
        figures |= await prepare(url, data, chunks)
        as_superuser(url, data, ROLES)
        for name, database in databases.items():
            async with database.transaction(PUBLIC_WORKSPACE) as connection:
                seen = await connection.scalar(text("SELECT count(*) FROM collections"))
                figures[f"workspaces seen, {name}"] = seen
        cases = {name: Case(database) for name, database in databases.items()}
        await measure(cases, queries)
        report(cases, figures)
    finally:
        for database in databases.values():
            await database.close()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--chunks", type=int, default=50_000, help="in the searched workspace")
    parser.add_argument("--queries", type=int, default=200, help="for each role and visitor")
    given: Any = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o711)
        data = Path(folder) / "data"
        try:
            with embedded.start(Settings(data=data)) as started:
                assert started.database_url is not None
                url = started.database_url.get_secret_value()
                uvloop.run(run(url, data, given.chunks, given.queries))
        finally:
            embedded.remove_data(data)


if __name__ == "__main__":
    main()
