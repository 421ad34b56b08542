"""Measure how long /health takes to answer while 50 MB are uploaded.

    python -m bench.upload_health

Prints one JSON object: milliseconds of /health at rest, while files of 50 MB are uploaded, and
while a text as large is taken in.
"""

import json
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import httpx

from bench.scifact import percentile, running_citewell
from citewell import embedded

SIZE_BYTES = 50_000_000
ROUNDS = 5
PAUSE_SECONDS = 0.002


def measure(url: str, work: Callable[[], object]) -> dict[str, float]:
    """Ask /health from another thread for as long as the work takes."""
    stop, answers = threading.Event(), []

    def ask() -> None:
        with httpx.Client(base_url=url) as client:
            while not stop.is_set():
                started = time.perf_counter()
                client.get("/health").raise_for_status()
                answers.append((time.perf_counter() - started) * 1000)
                time.sleep(PAUSE_SECONDS)

    thread = threading.Thread(target=ask)
    thread.start()
    started = time.perf_counter()
    work()
    seconds = time.perf_counter() - started
    stop.set()
    thread.join()
    return {
        "seconds": round(seconds, 2),
        "answers": len(answers),
        "p50_ms": round(percentile(answers, 0.5), 1),
        "p99_ms": round(percentile(answers, 0.99), 1),
        "most_ms": round(max(answers), 1),
    }


def run(url: str) -> dict[str, dict[str, float]]:
    line = "The gauge on the quay was read at noon by keeper number %08d.\n"
    text = "".join(line % n for n in range(SIZE_BYTES // len(line % 0)))
    with httpx.Client(base_url=url, timeout=120) as client:

        def upload_all() -> None:
            for n in range(ROUNDS):
                data = f"{n}\n{text}".encode()
                client.post("/documents/upload", files={"files": (f"{n}.txt", data)})

        def send_texts() -> None:
            client.post("/ingest/", json={"texts": [text]})

        return {
            "rest": measure(url, lambda: time.sleep(2)),
            f"upload_{ROUNDS}_times": measure(url, upload_all),
            "texts": measure(url, send_texts),
        }


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="citewell-bench-") as folder:
        data = Path(folder) / "data"
        Path(folder).chmod(0o755)
        try:
            with running_citewell(data) as (url, _):
                print(json.dumps(run(url), indent=1))
        finally:
            embedded.remove_data(data)


if __name__ == "__main__":
    main()
