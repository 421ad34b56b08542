"""Ingest SciFact through the public API, search it, and compare with the raw limits.

    make bench ARGS="--beir path/to/beir/scifact"

Prints one JSON object and a table: ingestion against the bare embedder on the same chunks, /search
in-process and over HTTP, nDCG@10 and recall@100 on the 300 test queries, memory of both processes.
"""

import argparse
import asyncio
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil
import uvloop

from citewell import embedded
from citewell.domain import PUBLIC_WORKSPACE, Scope
from citewell.settings import Settings
from citewell.wiring import open_services

BATCH_FILES = 100
START_SECONDS = 60
COPIES = {"collapse_duplicates": False}
"""Documents are judged, so each with a text counts."""


@dataclass(frozen=True)
class Dataset:
    """A BEIR folder: documents, test queries, and which documents are relevant to each."""

    documents: dict[str, str]
    queries: dict[str, str]
    relevant: dict[str, set[str]]


def read_beir(folder: Path) -> Dataset:
    documents = {
        item["_id"]: f"{item.get('title', '')}\n\n{item['text']}"
        for item in map(json.loads, (folder / "corpus.jsonl").open(encoding="utf-8"))
    }
    relevant: dict[str, set[str]] = {}
    for line in (folder / "qrels" / "test.tsv").read_text().splitlines()[1:]:
        query, document, grade = line.split("\t")
        if int(grade) > 0:
            relevant.setdefault(query, set()).add(document)
    queries = {
        item["_id"]: item["text"]
        for item in map(json.loads, (folder / "queries.jsonl").open(encoding="utf-8"))
        if item["_id"] in relevant
    }
    return Dataset(documents, queries, relevant)


@contextmanager
def running_citewell(data: Path) -> Iterator[tuple[str, psutil.Process]]:
    """Run ``citewell up`` on a free port; yield its URL and its process."""
    command = [sys.executable, "-m", "citewell", "up", "--data", str(data), "--port", "0"]
    quiet = os.environ | {"CITEWELL_LOG__LEVEL": "warning"}
    process = subprocess.Popen(command, env=quiet, stdout=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + START_SECONDS
        url = None
        while url is None or not _answers(url):
            if process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit("Citewell did not start; run `citewell doctor`.")
            time.sleep(0.1)
            holder = embedded.read_holder(data)
            url = holder.url if holder else None
        yield url, psutil.Process(process.pid)
    finally:
        process.terminate()
        process.wait(20)


def _answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/ready").is_success
    except httpx.TransportError:
        return False


def upload_all(client: httpx.Client, documents: dict[str, str]) -> None:
    items = list(documents.items())
    for first in range(0, len(items), BATCH_FILES):
        files = [
            ("files", (f"{name}.txt", text.encode()))
            for name, text in items[first : first + BATCH_FILES]
        ]
        client.post("/documents/upload", files=files).raise_for_status()


def wait_until_done(client: httpx.Client) -> None:
    while any(
        client.get("/jobs", params={"status": status, "limit": 1}).json()["jobs"]
        for status in ("queued", "running")
    ):
        time.sleep(0.5)


def percentile(values: list[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


def ndcg_at_10(ranked: list[str], relevant: set[str]) -> float:
    gain = sum(1 / math.log2(rank + 2) for rank, name in enumerate(ranked[:10]) if name in relevant)
    return gain / sum(1 / math.log2(rank + 2) for rank in range(min(10, len(relevant))))


def measure_quality(client: httpx.Client, dataset: Dataset) -> dict[str, float]:
    scores, recalls = [], []
    for query, text in dataset.queries.items():
        reply = client.post("/search", json={"query": text, "limit": 200, **COPIES}).json()
        ranked = list(
            dict.fromkeys(item["document_name"].removesuffix(".txt") for item in reply["results"])
        )
        wanted = dataset.relevant[query]
        scores.append(ndcg_at_10(ranked, wanted))
        recalls.append(len(wanted & set(ranked[:100])) / len(wanted))
    return {"ndcg_at_10": statistics.mean(scores), "recall_at_100": statistics.mean(recalls)}


def time_each(queries: list[str], call: Callable[[str], Any]) -> list[float]:
    times = []
    for text in queries:
        started = time.perf_counter()
        call(text)
        times.append((time.perf_counter() - started) * 1000)
    return times


async def measure_in_process(settings: Settings, queries: list[str]) -> list[float]:
    async with open_services(settings) as services:
        times = []
        for text in queries:
            started = time.perf_counter()
            await services.answers.search(PUBLIC_WORKSPACE, text, Scope(), 10)
            times.append((time.perf_counter() - started) * 1000)
        return times


def chunk_texts(client: httpx.Client, share: int) -> list[str]:
    """Read back every ``share``-th document's chunks, as they were embedded."""
    texts, cursor = [], None
    while True:
        page = client.get(
            "/documents", params={"limit": 200} | ({"cursor": cursor} if cursor else {})
        ).json()
        for document in page["documents"][::share]:
            chunks = client.get(f"/documents/{document['document_id']}/chunks").json()["chunks"]
            texts += [f"{chunk['document_title']}\n{chunk['text']}" for chunk in chunks]
        cursor = page["next_cursor"]
        if cursor is None:
            return texts


async def measure_bare_embedder(settings: Settings, texts: list[str]) -> float:
    """Return chunks a second of the embedder alone, given all of them at once."""
    async with open_services(settings) as services:
        await services.embedder.embed(texts[:64], "document")
        started = time.perf_counter()
        await services.embedder.embed(texts, "document")
        return len(texts) / (time.perf_counter() - started)


def memory_mib(process: psutil.Process) -> dict[str, float]:
    """Return resident memory of the API process and of the largest worker without its parsers."""
    workers = [child for child in process.children() if "worker" in child.cmdline()]
    return {
        "api_mib": process.memory_info().rss / 2**20,
        "worker_mib": max(worker.memory_info().rss for worker in workers) / 2**20,
        "workers": len(workers),
    }


def run(dataset: Dataset, data: Path) -> dict[str, float]:
    settings = Settings.load(data=data)
    with (
        running_citewell(data) as (url, process),
        httpx.Client(base_url=url, timeout=120) as client,
    ):
        started = time.perf_counter()
        upload_all(client, dataset.documents)
        uploaded = time.perf_counter() - started
        wait_until_done(client)
        seconds = time.perf_counter() - started
        memory = memory_mib(process)
        chunks = sum(c["chunk_count"] for c in client.get("/collections").json()["collections"])
        texts = chunk_texts(client, share=5)
        with embedded.attach(settings) as ready:
            bare = asyncio.run(measure_bare_embedder(ready, texts))
            queries = list(dataset.queries.values())
            inside = uvloop.run(measure_in_process(ready, queries))[20:]
        over_http = time_each(
            queries, lambda text: client.post("/search", json={"query": text, "limit": 10}).json()
        )[20:]
        quality = measure_quality(client, dataset)
        memory_after = memory_mib(process)
    return {
        "documents": len(dataset.documents),
        "chunks": chunks,
        "upload_seconds": uploaded,
        "ingest_seconds": seconds,
        "ingest_chunks_per_second": chunks / seconds,
        "bare_embedder_chunks_per_second": bare,
        "ingest_of_bare_embedder": chunks / seconds / bare,
        "search_in_process_p50_ms": statistics.median(inside),
        "search_in_process_p95_ms": percentile(inside, 0.95),
        "search_http_p50_ms": statistics.median(over_http),
        "search_http_p95_ms": percentile(over_http, 0.95),
        "http_adds_p50_ms": statistics.median(over_http) - statistics.median(inside),
        **quality,
        **memory,
        "api_after_search_mib": memory_after["api_mib"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--beir", type=Path, default=Path("../shared/data/beir/scifact"))
    parser.add_argument("--documents", type=int, default=None, help="only the first N documents")
    arguments = parser.parse_args()
    if not (arguments.beir / "corpus.jsonl").is_file():
        raise SystemExit(f"There is no BEIR folder at {arguments.beir}. Name one with --beir.")
    dataset = read_beir(arguments.beir)
    if arguments.documents:
        kept = dict(list(dataset.documents.items())[: arguments.documents])
        dataset = Dataset(kept, dataset.queries, dataset.relevant)
    data = Path(tempfile.mkdtemp(prefix="citewell-bench-"))
    try:
        figures = run(dataset, data)
    finally:
        embedded.remove_data(data)
    print(json.dumps(figures))
    for name, value in figures.items():
        print(f"{name:34} {value:12,.3f}")


if __name__ == "__main__":
    main()
