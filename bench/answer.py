"""Measure what answering adds to what it cannot do without: the embedder, the model and the SQL.

    .venv/bin/python -m bench.answer --beir path/to/beir/scifact

Prints one JSON object and a Markdown table; each figure stands beside its raw limit, measured in
the same run. (a) a streamed answer without the model's time; (b) the check of one sentence; (c)
questions at once against a running Citewell, without a language model.
"""

import argparse
import asyncio
import json
import os
import statistics
import tempfile
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import httpx
import uvicorn
import uvloop

from bench.scifact import (
    Dataset,
    percentile,
    read_beir,
    running_citewell,
    upload_all,
    wait_until_done,
)
from citewell import embedded
from citewell.adapters.fakes import FakeLanguageModel
from citewell.answer.cite import Citer
from citewell.answer.writer import GroundedWriter
from citewell.api.app import create_app
from citewell.domain import PUBLIC_WORKSPACE, Candidate, DraftSentence, Quote, Scope
from citewell.domain.sentences import split_sentences
from citewell.ports import Embedder, ModelCall
from citewell.settings import Settings
from citewell.telemetry import configure_logging
from citewell.wiring import Services, open_services

WARM = 20
AT_ONCE = 50
SENTENCES = 3
WANTED_OVERHEAD_MS = 25.0
Call = Callable[[str], Awaitable[object]]


class TimedEmbedder:
    """An embedder whose time is counted, so that it can be taken off."""

    def __init__(self, embedder: Embedder) -> None:
        self.name, self.dimension = embedder.name, embedder.dimension
        self.window_tokens = embedder.window_tokens
        self.count_tokens = embedder.count_tokens
        self.milliseconds = 0.0
        self._embedder = embedder

    async def embed(self, texts: Sequence[str], purpose: Any) -> Any:
        """Embed, and count the time."""
        started = time.perf_counter()
        vectors = await self._embedder.embed(texts, purpose)
        self.milliseconds += (time.perf_counter() - started) * 1000
        return vectors


class TimedModel(FakeLanguageModel):
    """A model that answers at once, quoting source 1; the time in it is counted."""

    def __init__(self) -> None:
        super().__init__([_quote_first])
        self.milliseconds = 0.0

    async def stream(self, call: ModelCall) -> AsyncGenerator[Any]:
        """Yield the reply's pieces, and count the time until each."""
        pieces = super().stream(call)
        while True:
            started = time.perf_counter()
            piece = await anext(pieces, None)
            self.milliseconds += (time.perf_counter() - started) * 1000
            if piece is None:
                return
            yield piece


def _quote_first(call: ModelCall) -> str:
    """Return the whole of source 1 as one sentence after another, each with its marker."""
    source = call.messages[-1].content.split("\n", 2)[2].split("\nEND SOURCE 1 ", 1)[0]
    spans = split_sentences(source)[:SENTENCES]
    return " ".join(f"{source[start:end].strip()} [1]" for start, end in spans)


@dataclass
class Figures:
    """What was measured: a name, a value with its unit, and the raw limit that it stands beside."""

    rows: list[tuple[str, float, str, str, float]] = field(default_factory=list)
    more: dict[str, float] = field(default_factory=dict)

    def add(self, name: str, value: float, unit: str, limit_name: str, limit: float) -> None:
        """Note a figure."""
        self.rows.append((name, value, unit, limit_name, limit))

    def as_json(self) -> str:
        """Return all figures as one JSON object."""
        figures = [
            dict(zip(("name", "value", "unit", "limit", "limit_value"), row, strict=True))
            | {"ratio": row[1] / row[4]}
            for row in self.rows
        ]
        return json.dumps({"figures": figures, **self.more})

    def as_table(self) -> str:
        """Return the figures that have a raw limit as a Markdown table."""
        lines = ["| measured | value | raw limit | limit | ratio |", "|---|---|---|---|---|"]
        for name, value, unit, limit_name, limit in self.rows:
            lines.append(
                f"| {name} | {value:.2f} {unit} | {limit_name} | {limit:.2f} {unit} "
                f"| {value / limit:.2f} |"
            )
        return "\n".join(lines)


@asynccontextmanager
async def served(settings: Settings) -> AsyncGenerator[tuple[str, Services, Any]]:
    """Serve the application in this process; yield its address, its services and itself."""
    app = create_app(settings)
    async with app.router.lifespan_context(app):
        config = uvicorn.Config(app, port=0, log_config=None, access_log=False, lifespan="off")
        server = uvicorn.Server(config)
        serving = asyncio.create_task(server.serve())
        while not server.started:  # noqa: ASYNC110 - uvicorn sets no event
            await asyncio.sleep(0.01)
        port = server.servers[0].sockets[0].getsockname()[1]
        try:
            yield f"http://127.0.0.1:{port}", app.state.services, app
        finally:
            server.should_exit = True
            await serving


async def measure_stream(settings: Settings, queries: list[str], figures: Figures) -> None:
    """Time streamed answers over HTTP, one after the other, less embedder and model."""
    own: list[float] = []
    whole: list[float] = []
    needed: list[float] = []
    bare: list[float] = []
    answered = 0
    async with (
        served(settings) as (url, services, app),
        httpx.AsyncClient(base_url=url, timeout=60, trust_env=False) as client,
    ):
        embedder, model = TimedEmbedder(services.embedder), TimedModel()
        app.state.services = replace(
            services,
            embedder=embedder,
            answers=replace(
                services.answers,
                embedder=embedder,
                chat_model=GroundedWriter(model),
                language_model=model,
            ),
        )
        for text in queries:
            embedder.milliseconds = model.milliseconds = 0.0
            started = time.perf_counter()
            reply = await client.post("/query/stream", json={"question": text})
            taken = (time.perf_counter() - started) * 1000
            assert "event: done" in reply.text, reply.text[-500:]
            if model.calls:  # a question that is refused is not written
                model.calls.clear()
                whole.append(taken)
                answered += '"refused":false' in reply.text
                needed.append(embedder.milliseconds + model.milliseconds)
                own.append(taken - needed[-1])
            started = time.perf_counter()
            await _bare_sql(services, text, await services.embedder.embed([text], "query"))
            bare.append((time.perf_counter() - started) * 1000)
    figures.add(
        "own time of a streamed answer, p50", statistics.median(own[WARM:]), "ms",
        "its search's SQL alone, p50", statistics.median(bare[WARM:]),
    )  # fmt: skip
    figures.add(
        "own time of a streamed answer, p95", percentile(own[WARM:], 0.95), "ms",
        "wanted p50", WANTED_OVERHEAD_MS,
    )  # fmt: skip
    figures.add(
        "streamed answer, p50", statistics.median(whole[WARM:]), "ms",
        "embedder and model in it, p50", statistics.median(needed[WARM:]),
    )  # fmt: skip
    figures.more |= {"streamed": len(own), "streamed_and_not_refused": answered}


async def _bare_sql(services: Services, text: str, vectors: Any) -> None:
    """Run the statements of one search, as the pipeline does, with nothing around them."""
    answers = services.answers
    async with answers.index.read(PUBLIC_WORKSPACE) as reading:
        dense = await reading.search_dense(vectors[0], Scope(), answers.candidates)
        lexical = await reading.search_lexical(text, Scope(), answers.candidates)
        found = dict.fromkeys([*list(dense.scores)[:3], *list(lexical.scores)[:3]])
        await reading.load(list(found))


async def measure_check(services: Services, queries: list[str], figures: Figures) -> None:
    """Time the check of single sentences against the evidence of their question."""
    times: list[float] = []
    bare: list[float] = []
    passed = 0
    limit = services.settings.answer.max_evidence
    for text in queries:
        found = await services.answers.search(PUBLIC_WORKSPACE, text, Scope(), limit)
        citer = Citer(found.candidates, services.embedder)
        for draft in _drafts(found.candidates):
            started = time.perf_counter()
            sentence = await citer.cite(draft)
            times.append((time.perf_counter() - started) * 1000)
            passed += not sentence.problems
            started = time.perf_counter()
            await services.embedder.embed([draft.text], "query")
            bare.append((time.perf_counter() - started) * 1000)
    figures.add(
        "check of one sentence, p50", statistics.median(times), "ms",
        "embedding of the sentence, p50", statistics.median(bare),
    )  # fmt: skip
    figures.add(
        "check of one sentence, p95", percentile(times, 0.95), "ms",
        "embedding of the sentence, p95", percentile(bare, 0.95),
    )  # fmt: skip
    figures.more |= {"sentences": len(times), "sentences_that_passed": passed}


def _drafts(evidence: Sequence[Candidate]) -> list[DraftSentence]:
    """Return sentences of the best chunk, each naming all of it, as a model that writes does."""
    if not evidence:
        return []
    best = evidence[0]
    return [
        DraftSentence(best.text[start:end], (Quote(0, best.start, best.end),))
        for start, end in split_sentences(best.text)[:SENTENCES]
    ]


async def throughput(call: Call, queries: list[str]) -> tuple[float, list[float]]:
    """Have so many callers go through the queries; return calls a second, and each one's ms."""
    waiting = iter(queries)
    times: list[float] = []

    async def caller() -> None:
        for text in waiting:
            started = time.perf_counter()
            await call(text)
            times.append((time.perf_counter() - started) * 1000)

    started = time.perf_counter()
    await asyncio.gather(*(caller() for _ in range(AT_ONCE)))
    return len(times) / (time.perf_counter() - started), times


async def measure_queries(
    url: str, services: Services, queries: list[str], figures: Figures
) -> None:
    """Time questions at once over HTTP, then only their embeddings, then only their SQL."""
    sentences: dict[str, list[str]] = {}

    async def ask(text: str) -> None:
        (await client.post("/query", json={"question": text})).raise_for_status()

    async def embed(text: str) -> None:
        await services.embedder.embed([text], "query")

    async def embed_all(text: str) -> None:
        """Embed what a quoted answer needs: the question twice, and the evidence's sentences."""
        await services.embedder.embed([text], "query")
        await services.embedder.embed([text], "query")
        await services.embedder.embed(sentences[text], "document")

    async def sql(text: str) -> None:
        await _bare_sql(services, text, vectors[text])

    limits = httpx.Limits(max_connections=AT_ONCE)
    async with httpx.AsyncClient(
        base_url=url, timeout=120, trust_env=False, limits=limits
    ) as client:
        for text in queries[:WARM]:
            await ask(text)
        rate, times = await throughput(ask, queries)
    vectors = {text: await services.embedder.embed([text], "query") for text in queries}
    for text in queries:
        sentences[text] = await _embedded_sentences(services, text)
    embeds, _ = await throughput(embed, queries)
    all_embeds, _ = await throughput(embed_all, queries)
    searches, _ = await throughput(sql, queries)
    figures.add(f"{AT_ONCE} × POST /query", rate, "/s", "the question's embedding alone", embeds)
    figures.add(f"{AT_ONCE} × POST /query", rate, "/s", "all its embeddings alone", all_embeds)
    figures.add(f"{AT_ONCE} × POST /query", rate, "/s", "its search's SQL alone", searches)
    both = 1 / (1 / all_embeds + 1 / searches)
    figures.add(f"{AT_ONCE} × POST /query", rate, "/s", "embeddings, then SQL", both)
    figures.add(
        f"{AT_ONCE} × POST /query, p95", percentile(times, 0.95), "ms",
        "p50", statistics.median(times),
    )  # fmt: skip
    figures.more |= {"share_of_embedder": rate / all_embeds, "share_of_sql": rate / searches}


async def _embedded_sentences(services: Services, text: str) -> list[str]:
    """Return what the extractive model has embedded for a question."""
    seen: list[str] = []

    class Recorder(TimedEmbedder):
        async def embed(self, texts: Sequence[str], purpose: Any) -> Any:
            if purpose == "document":
                seen.extend(texts)
            return await super().embed(texts, purpose)

    from citewell.adapters.extractive import ExtractiveChatModel  # noqa: PLC0415
    from citewell.ports import WritingTask  # noqa: PLC0415

    settings = services.settings.answer
    found = await services.answers.search(PUBLIC_WORKSPACE, text, Scope(), settings.max_evidence)
    model = ExtractiveChatModel(Recorder(services.embedder), settings.max_sentences)
    task = WritingTask(PUBLIC_WORKSPACE, text, found.candidates, found.term_idf, 60.0, ())
    async for _ in model.write(task):
        pass
    return seen or [text]


async def measure_inside(url: str, ready: Settings, queries: list[str], figures: Figures) -> None:
    async with open_services(ready) as services:
        await measure_queries(url, services, queries, figures)
        await measure_check(services, queries, figures)
    await measure_stream(ready, queries, figures)


def run(dataset: Dataset, data: Path) -> Figures:
    figures, settings = Figures(), Settings.load(data=data)
    queries = list(dataset.queries.values())
    with (
        running_citewell(data) as (url, _),
        httpx.Client(base_url=url, timeout=120, trust_env=False) as client,
    ):
        upload_all(client, dataset.documents)
        wait_until_done(client)
        chunks = sum(c["chunk_count"] for c in client.get("/collections").json()["collections"])
        figures.more |= {"documents": len(dataset.documents), "chunks": chunks,
                         "load_average": os.getloadavg()[0]}  # fmt: skip
        with embedded.attach(settings) as ready:
            uvloop.run(measure_inside(url, ready, queries, figures))
    figures.more["load_average_after"] = os.getloadavg()[0]
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--beir", type=Path, default=Path("../shared/data/beir/scifact"))
    parser.add_argument("--documents", type=int, default=2400, help="only the first N documents")
    arguments = parser.parse_args()
    configure_logging("warning", "plain")
    if not (arguments.beir / "corpus.jsonl").is_file():
        raise SystemExit(f"There is no BEIR folder at {arguments.beir}. Name one with --beir.")
    dataset = read_beir(arguments.beir)
    kept = dict(list(dataset.documents.items())[: arguments.documents])
    data = Path(tempfile.mkdtemp(prefix="citewell-bench-"))
    try:
        figures = run(Dataset(kept, dataset.queries, dataset.relevant), data)
    finally:
        embedded.remove_data(data)
    print(figures.as_json())
    print(figures.as_table())


if __name__ == "__main__":
    main()
