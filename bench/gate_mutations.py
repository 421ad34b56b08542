"""Try the gate: seeded harms to the pipeline must close it, harmless changes must leave it open.

    python -m bench.gate_mutations [--seeds 5] [--part search] [--part ingest] [--part harmless]

Harms are applied through the pipelines' ports: to the search path, or to the ingestion of the
examples into a workspace of their own. The harmless changes index the examples anew, in another
order, workspace and collection, with other ids, or only take other time. Prints a table.
"""

import argparse
import asyncio
import tempfile
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from random import Random
from typing import Any
from uuid import UUID

import httpx
import numpy as np

from bench.altered import Altered
from bench.ingest_harms import INGEST_HARMS, PREFIXES
from citewell import embedded
from citewell.answer.pipeline import AnswerPipeline
from citewell.api.app import create_app
from citewell.cli.ledger import migrate_database
from citewell.domain import PUBLIC_WORKSPACE, Candidate, JobId, Json, LegResult, WorkspaceId
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


def _reads(pipeline: AnswerPipeline, **methods: Callable[..., Any]) -> AnswerPipeline:
    """Change what is read of the index: each method takes the real one, and then its values."""
    index = pipeline.index

    @asynccontextmanager
    async def read(workspace_id: WorkspaceId) -> AsyncGenerator[Altered]:
        async with index.read(workspace_id) as reading:
            altered = {
                name: partial(method, getattr(reading, name)) for name, method in methods.items()
            }
            yield Altered(reading, **altered)

    return replace(pipeline, index=Altered(index, read=read))


def _legs(
    pipeline: AnswerPipeline, dense: Callable[..., Any], lexical: Callable[..., Any]
) -> AnswerPipeline:
    """Change what the legs return."""

    async def search_dense(real: Any, *given: Any) -> LegResult:
        return dense(await real(*given))

    async def search_lexical(real: Any, *given: Any) -> LegResult:
        return lexical(await real(*given))

    return _reads(pipeline, search_dense=search_dense, search_lexical=search_lexical)


def _loads(
    pipeline: AnswerPipeline, change: Callable[[Mapping[Any, Candidate]], Mapping[Any, Candidate]]
) -> AnswerPipeline:
    """Change the chunks that are loaded."""

    async def load(real: Any, *given: Any) -> Mapping[Any, Candidate]:
        return change(await real(*given))

    return _reads(pipeline, load=load)


def _embeds(
    pipeline: AnswerPipeline, text: Callable[[str], str], vector: Callable[[Any], Any]
) -> AnswerPipeline:
    """Change how questions are embedded."""
    embedder = pipeline.embedder

    async def embed(texts: Sequence[str], kind: Any) -> Any:
        if kind != "query":
            return await embedder.embed(texts, kind)
        return vector(await embedder.embed([text(each) for each in texts], kind))

    return replace(pipeline, embedder=Altered(embedder, embed=embed))


def _same(value: Any) -> Any:
    return value


def drop_leg(pipeline: AnswerPipeline, random: Random) -> AnswerPipeline:
    def empty(found: LegResult) -> LegResult:
        return replace(found, scores={})

    return _legs(pipeline, *random.choice([(empty, _same), (_same, empty)]))


def shuffle_ids(pipeline: AnswerPipeline, random: Random) -> AnswerPipeline:
    def shuffle(found: LegResult) -> LegResult:
        ids = random.sample(list(found.scores), len(found.scores))
        return replace(found, scores=dict(zip(ids, found.scores.values(), strict=True)))

    return _legs(pipeline, *random.choice([(shuffle, _same), (_same, shuffle), (shuffle, shuffle)]))


def reverse_ranks(pipeline: AnswerPipeline, random: Random) -> AnswerPipeline:
    def turn(found: LegResult) -> LegResult:
        return replace(found, scores=dict(zip(found.scores, reversed(found.scores.values()),
                                              strict=True)))  # fmt: skip

    return _legs(pipeline, *random.choice([(turn, _same), (_same, turn), (turn, turn)]))


def lose_chunks(pipeline: AnswerPipeline, random: Random) -> AnswerPipeline:
    share, salt = random.uniform(0.1, 0.5), random.random()

    def lose(found: LegResult) -> LegResult:
        kept = {i: s for i, s in found.scores.items() if Random(f"{i}{salt}").random() > share}
        return replace(found, scores=kept)

    return _legs(pipeline, lose, lose)


def wrong_prefix(pipeline: AnswerPipeline, random: Random) -> AnswerPipeline:
    prefix = random.choice(PREFIXES) * random.randint(1, 3)
    return _embeds(pipeline, lambda text: prefix + text, _same)


def truncated_question(pipeline: AnswerPipeline, random: Random) -> AnswerPipeline:
    share = random.uniform(0.1, 0.5)
    return _embeds(pipeline, lambda text: text[: int(len(text) * share) or 1], _same)


def noisy_vectors(pipeline: AnswerPipeline, random: Random) -> AnswerPipeline:
    noise = np.random.default_rng(random.randrange(2**32))
    size = random.uniform(0.05, 0.2)

    def disturb(vectors: Any) -> Any:
        found = vectors + noise.normal(0, size, vectors.shape).astype(vectors.dtype)
        return found / np.linalg.norm(found, axis=-1, keepdims=True)

    return _embeds(pipeline, _same, disturb)


def truncated_text(pipeline: AnswerPipeline, random: Random) -> AnswerPipeline:
    share = random.uniform(0.2, 0.7)

    def cut(chunk: Candidate) -> Candidate:
        length = int(len(chunk.text) * share)
        return replace(chunk, text=chunk.text[:length], end=chunk.start + length)

    return _loads(pipeline, lambda found: {i: cut(chunk) for i, chunk in found.items()})


def off_by_one(pipeline: AnswerPipeline, random: Random) -> AnswerPipeline:
    by = random.choice([-1, 1])

    def shift(chunk: Candidate) -> Candidate:
        return replace(chunk, start=max(0, chunk.start + by), end=chunk.end + by)

    return _loads(pipeline, lambda found: {i: shift(chunk) for i, chunk in found.items()})


def swapped_texts(pipeline: AnswerPipeline, random: Random) -> AnswerPipeline:
    def swap(found: Mapping[Any, Candidate]) -> Mapping[Any, Candidate]:
        texts = random.sample([chunk.text for chunk in found.values()], len(found))
        return {i: replace(chunk, text=text, end=chunk.start + len(text))
                for (i, chunk), text in zip(found.items(), texts, strict=True)}  # fmt: skip

    return _loads(pipeline, swap)


def lost_sections(pipeline: AnswerPipeline, random: Random) -> AnswerPipeline:
    share = random.uniform(0.3, 1.0)

    def lose(chunk: Candidate) -> Candidate:
        if Random(str(chunk.chunk_id)).random() > share:
            return chunk
        return replace(chunk, section_number=None, section_title=None, section_path=(), page=None)

    return _loads(pipeline, lambda found: {i: lose(chunk) for i, chunk in found.items()})


HARMS: dict[str, Callable[[AnswerPipeline, Random], AnswerPipeline]] = {
    harm.__name__: harm
    for harm in (drop_leg, shuffle_ids, reverse_ranks, lose_chunks, wrong_prefix,
                 truncated_question, noisy_vectors, truncated_text, off_by_one, swapped_texts,
                 lost_sections)
}  # fmt: skip


def slower(pipeline: AnswerPipeline, random: Random) -> AnswerPipeline:
    """Change nothing but the time that each leg takes."""

    async def wait(real: Any, *given: Any) -> LegResult:
        await asyncio.sleep(random.uniform(0, 0.005))
        return await real(*given)

    return _reads(pipeline, search_dense=wait, search_lexical=wait)


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
        alter: Callable[[Any], Any] = _same,
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
