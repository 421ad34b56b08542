"""Measure the bare embedder: texts a second, one question, many questions at once.

    .venv/bin/python -m bench.embed --texts 256 --rounds 5 --peer FOLDER_OR_NAME

Needs no servers. All cases take turns within each round, so that whatever else the machine does
hits all of them, and ratios are medians of the rounds' ratios. The peer is sentence-transformers
with torch, in this environment; without it the table says so. Texts are made up from the words of
``examples/``, of 20 to 200 words. Prints a Markdown table, and JSON with ``--json``.
"""

import argparse
import asyncio
import json
import os
import random
import re
import statistics
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from citewell.adapters.minilm import MiniLMEmbedder
from citewell.adapters.minilm_openvino import OpenVinoMiniLM
from citewell.adapters.remembering import RememberingEmbedder
from citewell.errors import CitewellError
from citewell.settings import Settings

EXAMPLES = Path(__file__).parents[1] / "examples"
CLIENTS = (1, 8, 50)
QUESTIONS = 120
Case = tuple[str, Callable[[list[str]], object], Callable[[str], Any]]
"""Its name, how it embeds documents in this thread, and how it embeds one question."""


def make_texts(count: int, least: int, most: int, seed: int) -> list[str]:
    """Make texts of so many words each, the same ones for the same seed."""
    drawn = random.Random(seed)
    prose = " ".join(path.read_text(encoding="utf-8") for path in sorted(EXAMPLES.rglob("*.md")))
    words = re.findall(r"[\w'-]+", prose)
    return [" ".join(drawn.choices(words, k=drawn.randint(least, most))) for _ in range(count)]


class InOneHop:
    """Embeds the questions that wait while others run in one visit to a thread, one by one."""

    def __init__(self, embedder: MiniLMEmbedder) -> None:
        self._embedder = embedder
        self._thread = ThreadPoolExecutor(1)
        self._waiting: list[tuple[str, asyncio.Future[object]]] = []
        self._busy = False

    async def __call__(self, question: str) -> object:
        """Embed one question."""
        future: asyncio.Future[object] = asyncio.get_running_loop().create_future()
        self._waiting.append((question, future))
        if not self._busy:
            self._busy = True
            asyncio.get_running_loop().call_soon(self._start)
        return await future

    def _start(self) -> None:
        batch, self._waiting = self._waiting, []
        questions = [question for question, _ in batch]
        run = asyncio.get_running_loop().run_in_executor(
            self._thread, self._embedder.embed_questions, questions
        )
        run.add_done_callback(lambda done: self._end(batch, done.result()))

    def _end(self, batch: list[tuple[str, asyncio.Future[object]]], rows: Any) -> None:
        for (_, future), row in zip(batch, rows, strict=True):
            future.set_result(row)
        if self._waiting:
            self._start()
        else:
            self._busy = False


def open_peer(name: str | None, threads: int) -> tuple[Case | None, str]:
    """Open sentence-transformers; or say why it is not there."""
    try:
        import torch  # noqa: PLC0415 - it need not be there
        from sentence_transformers import SentenceTransformer  # noqa: PLC0415
    except ImportError:
        return None, "sentence-transformers with torch is not installed here"
    if name is None:
        return None, "no model was named with --peer"
    torch.set_num_threads(threads)
    model = SentenceTransformer(name, device="cpu")

    def embed(texts: list[str]) -> object:
        return model.encode(texts, batch_size=32, show_progress_bar=False)

    async def ask(question: str) -> object:
        return await asyncio.to_thread(embed, [question])

    return ("sentence-transformers + torch", embed, ask), "measured"


def open_cases(peer: str | None) -> tuple[list[Case], dict[str, str]]:
    """Open all that is there; say of the rest why not."""
    threads = os.cpu_count() or 1
    cache = Settings().cache
    minilm, single = MiniLMEmbedder(cache, threads), MiniLMEmbedder(cache, 1)
    two_threads = MiniLMEmbedder(cache, threads)
    two_threads._question_session = two_threads._session  # noqa: SLF001 - what is measured
    remembering = RememberingEmbedder(minilm, 2048)

    def asking(embedder: Any) -> Callable[[str], Any]:
        return lambda question: embedder.embed([question], "query")

    cases: list[Case] = [
        ("Citewell", minilm.embed_now, asking(minilm)),
        ("Citewell, documents by one thread", single.embed_now, asking(single)),
        (f"Citewell, questions by {threads} threads", minilm.embed_now, asking(two_threads)),
        ("Citewell, questions in one hop", minilm.embed_now, InOneHop(minilm)),
        ("Citewell, questions asked before", minilm.embed_now, asking(remembering)),
    ]
    told: dict[str, str] = {}
    try:
        bfloat = OpenVinoMiniLM(threads)
        cases.append(("Citewell, OpenVINO bf16", bfloat.embed_now, asking(bfloat)))
    except CitewellError as error:
        told["Citewell, OpenVINO bf16"] = error.message
    found, why = open_peer(peer, threads)
    if found is not None:
        cases.append(found)
    else:
        told["sentence-transformers + torch"] = why
    return cases, told


async def crowd(ask: Callable[[str], Any], questions: Sequence[str], clients: int) -> float:
    """Return questions a second of so many clients, each with one open question."""
    waiting = iter(questions)

    async def client() -> None:
        for question in waiting:
            await ask(question)

    started = time.perf_counter()
    await asyncio.gather(*(client() for _ in range(clients)))
    return len(questions) / (time.perf_counter() - started)


async def one_by_one(ask: Callable[[str], Any], questions: Sequence[str]) -> tuple[float, float]:
    """Return the median milliseconds of a question, and the CPU milliseconds."""
    taken: list[float] = []
    spent = time.process_time()
    for question in questions:
        started = time.perf_counter()
        await ask(question)
        taken.append(time.perf_counter() - started)
    return 1000 * statistics.median(taken), 1000 * (time.process_time() - spent) / len(questions)


async def measure_round(
    cases: Sequence[Case], texts: list[str], questions: list[str]
) -> dict[str, dict[str, float]]:
    """Measure each case once, in an order of its own for each round."""
    figures: dict[str, dict[str, float]] = {}
    for name, embed, ask in random.sample(cases, len(cases)):
        started = time.perf_counter()
        embed(texts)
        figures[name] = {"texts_per_second": len(texts) / (time.perf_counter() - started)}
        p50, cpu = await one_by_one(ask, questions)
        figures[name] |= {"question_p50_ms": p50, "question_cpu_ms": cpu}
        for clients in CLIENTS[1:]:
            key = f"questions_per_second_{clients}"
            figures[name][key] = await crowd(ask, questions, clients)
    return figures


def summarise(rounds: list[dict[str, dict[str, float]]], base: str) -> list[dict[str, Any]]:
    """Return each case's medians, and its ratios to the base in the same rounds."""
    rows: list[dict[str, Any]] = []
    for name in rounds[0]:
        row: dict[str, Any] = {"case": name}
        for key in rounds[0][name]:
            row[key] = statistics.median(each[name][key] for each in rounds)
            ratios = [each[name][key] / each[base][key] for each in rounds]
            row[f"{key}_ratio"] = statistics.median(ratios)
        rows.append(row)
    return sorted(rows, key=lambda row: -row["texts_per_second"])


def table(rows: list[dict[str, Any]], told: dict[str, str]) -> str:
    """Write the rows as Markdown: a figure, and in brackets its ratio to Citewell's own."""
    heads = {
        "texts_per_second": "texts/s", "question_p50_ms": "question p50 ms",
        "question_cpu_ms": "CPU ms", "questions_per_second_8": "8 callers /s",
        "questions_per_second_50": "50 callers /s",
    }  # fmt: skip
    lines = [f"| case | {' | '.join(heads.values())} |", "|---" * (len(heads) + 1) + "|"]
    for row in rows:
        figures = [f"{row[key]:.4g} ({row[f'{key}_ratio']:.2f})" for key in heads]
        lines.append(f"| {row['case']} | {' | '.join(figures)} |")
    return "\n".join(lines + [f"\n{name}: {why}" for name, why in told.items()])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--texts", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--peer", help="the same model for sentence-transformers")
    parser.add_argument("--json", type=Path, help="write the figures here as well")
    given = parser.parse_args()
    texts = make_texts(given.texts, 20, 200, 1)
    questions = make_texts(QUESTIONS, 5, 15, 2)
    cases, told = open_cases(given.peer)
    for _, embed, ask in cases:
        embed(texts[:32])
        asyncio.run(crowd(ask, questions, 1))
    rounds = [asyncio.run(measure_round(cases, texts, questions)) for _ in range(given.rounds)]
    rows = summarise(rounds, "Citewell")
    print(table(rows, told))
    if given.json is not None:
        report = {"cores": os.cpu_count(), "texts": given.texts, "rows": rows, "absent": told}
        given.json.write_text(json.dumps(report, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
