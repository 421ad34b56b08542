"""Try the gate: seeded harms to the pipeline must close it, harmless changes must leave it open.

    python -m bench.gate_mutations [--seeds 5] [--part search] [--part ingest] [--part harmless]

Harms are applied through the pipelines' ports: to the search path, or to the ingestion of the
examples into a workspace of their own. The harmless changes index the examples anew, in another
order, workspace and collection, with other ids, or only take other time. Prints a table.
"""

import argparse
import asyncio
import tempfile
from collections.abc import Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from random import Random
from typing import Any
from uuid import UUID

import httpx
import numpy as np

from bench.altered import Altered, unchanged
from bench.ingest_harms import INGEST_HARMS
from bench.search_harms import HARMS, slower
from citewell import embedded
from citewell.answer.pipeline import AnswerPipeline
from citewell.api.app import create_app
from citewell.cli.ledger import migrate_database
from citewell.domain import PUBLIC_WORKSPACE, JobId, Json, WorkspaceId
from citewell.evals.compare import TOLERANCE, compare, list_worse
from citewell.evals.datasets import EvalQuestion, read_dataset
from citewell.evals.run import rows_by_key
from citewell.records.policy import merge_policy
from citewell.settings import Settings
from citewell.wiring import Services, as_any_viewer, make_examiner, open_ingest
from citewell.worker.holder import JobHolder
from citewell.worker.publishing import PublicationGroup
from citewell.worker.runs import JobRun, Workshop

EXAMPLES = Path(__file__).parents[1] / "examples"
FILES = sorted(path for path in EXAMPLES.iterdir() if path.name not in
               {"questions.jsonl", "README.md"})  # fmt: skip


def in_other_batches(ingest: Any, random: Random) -> Any:
    """Embed the same texts in another order, and in batches of other sizes."""
    embedder = ingest.embedder

    async def embed(texts: Sequence[str], kind: Any) -> Any:
        order = random.sample(range(len(texts)), len(texts))
        found: dict[int, Any] = {}
        while order:
            size = random.randint(1, 16)
            batch, order = order[:size], order[size:]
            vectors = await embedder.embed([texts[at] for at in batch], kind)
            found |= dict(zip(batch, vectors, strict=True))
        return np.asarray([found[at] for at in range(len(texts))])

    return replace(ingest, embedder=Altered(embedder, embed=embed))


async def measure(
    services: Services,
    workspace_id: WorkspaceId,
    questions: Sequence[EvalQuestion],
    pipeline: AnswerPipeline | None = None,
) -> list[Json]:
    """Evaluate on a workspace, by its pipeline or by an altered one."""
    asked = services if pipeline is None else replace(services, answers=pipeline)
    policy = merge_policy(services.settings.answer, {})
    with as_any_viewer():
        examiner = make_examiner(asked, workspace_id, None, policy)
        return await examiner.examine_all(questions)


def closes(before: Sequence[Json], after: Sequence[Json]) -> list[str]:
    """Return the metrics for which the gate closes."""
    found = compare(rows_by_key(before), rows_by_key(after))
    return [each.metric for each in list_worse(found, TOLERANCE)]


class Bench:
    """An application in this process, whose jobs are worked off here."""

    def __init__(self, client: httpx.AsyncClient, services: Services, ingest: Any) -> None:
        self.client = client
        self.services = services
        self._ingest = ingest

    async def add_examples(
        self,
        workspace: UUID,
        files: Sequence[Path],
        collection: str = "default",
        alter: Callable[[Any], Any] = unchanged,
    ) -> None:
        """Upload files and index them, in their order, by the pipeline or by an altered one."""
        headers = {"X-Workspace-ID": str(workspace)}
        if collection != "default":
            reply = await self.client.post("/collections", json={"name": collection},
                                           headers=headers)  # fmt: skip
            reply.raise_for_status()
        holder = JobHolder(self.services.database, self.services.settings.jobs)
        group = PublicationGroup(self.services)
        workshop = Workshop(self.services, alter(self._ingest), holder, group)
        for file in files:
            upload = await self.client.post(
                "/documents/upload",
                files=[("files", (file.name, file.read_bytes()))],
                data={"collection": collection},
                headers=headers,
            )
            upload.raise_for_status()
            (document,) = upload.json()["documents"]
            job = WorkspaceId(workspace), JobId(UUID(document["job_id"])), "ingest"
            claim = await holder.claim(job)
            assert claim is not None
            await JobRun(workshop, claim).run()

    async def new_workspace(self, name: str) -> WorkspaceId:
        """Make a workspace with its default collection."""
        reply = await self.client.post("/workspaces", json={"name": name})
        reply.raise_for_status()
        return WorkspaceId(UUID(reply.json()["id"]))


@asynccontextmanager
async def open_bench(settings: Settings) -> Any:
    """Open an application on these servers."""
    await migrate_database(settings)
    app = create_app(settings)
    transport = httpx.ASGITransport(app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1", timeout=120) as client,
        open_ingest(app.state.services) as ingest,
    ):
        yield Bench(client, app.state.services, ingest)


async def try_harms(bench: Bench, baseline: list[Json], seeds: int) -> tuple[int, int]:
    """Print what each harm came to; return how many closed the gate, and of how many."""
    closed = tried = 0
    questions = read_dataset(EXAMPLES / "questions.jsonl")
    for name, harm in HARMS.items():
        red = 0
        for seed in range(seeds):
            pipeline = harm(bench.services.answers, Random(f"{name}{seed}"))
            rows = await measure(bench.services, PUBLIC_WORKSPACE, questions, pipeline)
            red += bool(closes(baseline, rows))
        print(f"| {name} | harm | {red} of {seeds} closed |", flush=True)
        closed, tried = closed + red, tried + seeds
    return closed, tried


async def try_ingest_harms(bench: Bench, baseline: list[Json], seeds: int) -> tuple[int, int]:
    """Do as ``try_harms``, with the examples ingested anew under each harm."""
    closed = tried = 0
    questions = read_dataset(EXAMPLES / "questions.jsonl")
    for name, harm in INGEST_HARMS.items():
        red = 0
        for seed in range(seeds):
            workspace = await bench.new_workspace(f"{name}-{seed}")
            alter = partial(harm, random=Random(f"{name}{seed}"))
            await bench.add_examples(workspace, FILES, alter=alter)
            worse = closes(baseline, await measure(bench.services, workspace, questions))
            red += bool(worse)
        print(f"| {name} | harm at ingest | {red} of {seeds} closed |", flush=True)
        closed, tried = closed + red, tried + seeds
    return closed, tried


async def try_harmless(bench: Bench, baseline: list[Json], seeds: int) -> tuple[int, int]:
    """Print what harmless changes came to; return how many left the gate open, and of how many."""
    questions = read_dataset(EXAMPLES / "questions.jsonl")
    kept: dict[str, list[list[str]]] = {"indexed anew": [], "questions in another order": [],
                                        "other times": []}  # fmt: skip
    for seed in range(seeds):
        random = Random(seed)
        workspace = await bench.new_workspace(f"again-{seed}")
        collection = random.choice(["default", f"renamed-{seed}"])
        files = random.sample(FILES, len(FILES))
        await bench.add_examples(
            workspace, files, collection, partial(in_other_batches, random=random)
        )
        kept["indexed anew"].append(
            closes(baseline, await measure(bench.services, workspace, questions))
        )
        shuffled = random.sample(questions, len(questions))
        rows = await measure(bench.services, PUBLIC_WORKSPACE, shuffled)
        kept["questions in another order"].append(closes(baseline, rows))
        pipeline = slower(bench.services.answers, random)
        rows = await measure(bench.services, PUBLIC_WORKSPACE, questions, pipeline)
        kept["other times"].append(closes(baseline, rows))
    for name, found in kept.items():
        print(f"| {name} | harmless | {found.count([])} of {seeds} open |", flush=True)
    return sum(found.count([]) for found in kept.values()), seeds * len(kept)


TRIALS = {"search": try_harms, "ingest": try_ingest_harms, "harmless": try_harmless}


async def run(settings: Settings, seeds: int, parts: Sequence[str]) -> bool:
    done = {True: [0, 0], False: [0, 0]}
    async with open_bench(settings) as bench:
        await bench.add_examples(PUBLIC_WORKSPACE, FILES)
        questions = read_dataset(EXAMPLES / "questions.jsonl")
        baseline = await measure(bench.services, PUBLIC_WORKSPACE, questions)
        print("| change | kind | gate |\n|---|---|---|")
        for part in parts:
            right, tried = await TRIALS[part](bench, baseline, seeds)
            counted = done[part == "harmless"]
            counted[0], counted[1] = counted[0] + right, counted[1] + tried
    red, harms = done[False]
    green, harmless = done[True]
    print(f"\nharms that close the gate: {_share(red, harms)}, at least 90 % wanted")
    print(f"harmless changes that do not: {_share(green, harmless)}, at least 95 % wanted")
    return red >= 0.9 * harms and green >= 0.95 * harmless


def _share(right: int, tried: int) -> str:
    return f"{right} of {tried} ({right / tried:.1%})" if tried else "not tried"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--part", action="append", choices=list(TRIALS), help="all by default")
    arguments = parser.parse_args()
    data = Path(tempfile.mkdtemp(prefix="citewell-bench-"))
    try:
        with embedded.start(Settings.load(data=data)) as settings:
            kept = asyncio.run(run(settings, arguments.seeds, arguments.part or list(TRIALS)))
    finally:
        embedded.remove_data(data)
    raise SystemExit(0 if kept else 1)


if __name__ == "__main__":
    main()
