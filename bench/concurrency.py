"""Load POST /search over HTTP with 1, 8 and 50 clients, beside a bare FastAPI route.

    .venv/bin/python -m bench.concurrency --beir ../shared/data/beir/scifact [--data FOLDER]

Citewell runs as ``citewell up`` on all documents of a BEIR folder; ``--data`` keeps its data folder
for the next run. The clients send the folder's queries one after the other, each over a connection
of its own; all clients are one process beside the server, on the same processors. Cases take turns,
and each round is timed for a few seconds. ``first`` are questions that were never asked before;
``again`` the same once more, so that their results are remembered; ``vectors`` the same with
another limit, so that only their vectors are. The bare route takes the same body, reads it with
pydantic, and answers with one object.
"""

import argparse
import asyncio
import json
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import uvloop

from bench.scifact import (
    percentile,
    read_beir,
    running_citewell,
    upload_all,
    wait_until_done,
)
from citewell import embedded

CLIENTS = (1, 8, 50)
START_SECONDS = 30
BARE = """
import sys, uvicorn
from fastapi import FastAPI
from pydantic import BaseModel

class Body(BaseModel):
    query: str
    limit: int = 10

class Reply(BaseModel):
    query: str

app = FastAPI()

@app.post("/search")
async def search(body: Body) -> Reply:
    return Reply(query=body.query)

uvicorn.run(app, port=int(sys.argv[1]), log_level="warning", access_log=False)
"""


class Connection:
    """One keep-alive connection that knows just enough of HTTP: clients must not cost much."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    async def post(self, host: str, body: bytes) -> int:
        """Send a request, read its reply, and return the status."""
        self._writer.write(
            b"POST /search HTTP/1.1\r\nHost: %b\r\nContent-Type: application/json\r\n"
            b"Content-Length: %d\r\n\r\n%b" % (host.encode(), len(body), body)
        )
        head = await self._reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0])
        await self._reader.readexactly(length)
        return int(head.split(b" ", 2)[1])


async def load(url: str, bodies: Sequence[bytes], clients: int) -> list[float]:
    """Send all bodies, so many at once; return each request's milliseconds."""
    parts = urlsplit(url)
    waiting = iter(bodies)
    times: list[float] = []

    async def work() -> None:
        reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
        connection = Connection(reader, writer)
        for body in waiting:
            started = time.perf_counter()
            status = await connection.post(parts.netloc, body)
            times.append((time.perf_counter() - started) * 1000)
            if status != 200:
                raise SystemExit(f"A search was answered with {status}; nothing is measured.")
        writer.close()

    await asyncio.gather(*(work() for _ in range(clients)))
    return times


def measure(url: str, bodies: Sequence[bytes], clients: int) -> dict[str, float]:
    started = time.perf_counter()
    times = uvloop.run(load(url, bodies, clients))
    seconds = time.perf_counter() - started
    return {
        "requests_per_second": len(times) / seconds,
        "p50_ms": statistics.median(times),
        "p95_ms": percentile(times, 0.95),
    }


@contextmanager
def bare_route() -> Iterator[str]:
    """Serve the bare route on a free port."""
    with socket.create_server(("127.0.0.1", 0)) as found:
        port = found.getsockname()[1]
    process = subprocess.Popen([sys.executable, "-c", BARE, str(port)])
    url = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + START_SECONDS
        while not _answers(url):
            if process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit("The bare route did not start.")
            time.sleep(0.1)
        yield url
    finally:
        process.terminate()
        process.wait(10)


def _answers(url: str) -> bool:
    try:
        return httpx.post(f"{url}/search", json={"query": "ready?"}).is_success
    except httpx.TransportError:
        return False


def encode(queries: Sequence[str], limit: int = 10) -> list[bytes]:
    return [json.dumps({"query": text, "limit": limit}).encode() for text in queries]


def run(beir: Path, data: Path, rounds: int) -> dict[str, Any]:
    dataset = read_beir(beir)
    lines = (beir / "queries.jsonl").open(encoding="utf-8")
    every = [json.loads(line)["text"] for line in lines]
    figures: dict[str, Any] = {"documents": len(dataset.documents), "queries": len(every)}
    with running_citewell(data) as (url, _), bare_route() as bare:
        with httpx.Client(base_url=url, timeout=120) as client:
            if not client.get("/documents", params={"limit": 1}).json()["documents"]:
                upload_all(client, dataset.documents)
            wait_until_done(client)
        measure(url, encode([f"warm up {n}" for n in range(50)]), 4)
        for clients in CLIENTS:
            case: dict[str, list[dict[str, float]]] = {
                name: [] for name in ("first", "again", "vectors", "bare")
            }
            for number in range(rounds):
                # Other words at the end, so that no vector is remembered.
                texts = [f"{text} {clients} {number}" for text in every]
                case["first"].append(measure(url, encode(texts), clients))
                case["again"].append(measure(url, encode(texts), clients))
                case["vectors"].append(measure(url, encode(texts, limit=9), clients))
                case["bare"].append(measure(bare, encode(texts * 3), clients))
            figures[f"{clients} clients"] = {
                name: {key: statistics.median(each[key] for each in got) for key in got[0]}
                for name, got in case.items()
            }
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--beir", type=Path, default=Path("../shared/data/beir/scifact"))
    parser.add_argument("--data", type=Path, default=None, help="a data folder to keep")
    parser.add_argument("--rounds", type=int, default=3)
    given: Any = parser.parse_args()
    if not (given.beir / "corpus.jsonl").is_file():
        raise SystemExit(f"There is no BEIR folder at {given.beir}. Name one with --beir.")
    data = given.data or Path(tempfile.mkdtemp(prefix="citewell-bench-"))
    try:
        figures = run(given.beir, data, given.rounds)
    finally:
        if given.data is None:
            embedded.remove_data(data)
    print(json.dumps(figures))
    print("| clients | case | requests/s | p50 ms | p95 ms | of the bare route |")
    print("|---|---|---|---|---|---|")
    for clients in CLIENTS:
        cases = figures[f"{clients} clients"]
        for name, case in cases.items():
            share = case["requests_per_second"] / cases["bare"]["requests_per_second"]
            print(
                f"| {clients} | {name} | {case['requests_per_second']:.0f} | {case['p50_ms']:.1f} "
                f"| {case['p95_ms']:.1f} | {share:.2f} |"
            )


if __name__ == "__main__":
    main()
