"""A text of thousands of pages: neither the worker's memory nor a part grows with its length."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from citewell.domain import Chunking
from citewell.ingest import chunk as chunking
from citewell.ingest.load import load

PAGE_CHARACTERS = 3000
READ = """
import asyncio, json, resource, sys
from citewell.domain import Chunking
from citewell.ingest.sandbox import ParserPool

def peak_bytes():
    with open("/proc/self/status") as status:
        return int(status.read().partition("VmHWM:")[2].split()[0]) * 1024

async def main():
    pool = ParserPool(chunking=Chunking(200, 0, 256), processes=1,
        count_tokens="citewell.adapters.minilm_tokenizer:count_tokens")
    async with pool:
        before = peak_bytes()
        parts = characters = sections = chunks = most = end = 0
        async for part in pool.read(sys.argv[1], "long.txt"):
            parts += 1
            characters += len(part.text)
            sections += len(part.sections)
            chunks += len(part.chunks)
            assert len(part.text) <= 500_000 and len(part.sections) <= 2000
            most = max(most, len(part.chunks))
            assert all(chunk.end - chunk.start == len(chunk.text) for chunk in part.chunks)
            head, last = part.head, part.last
        assert last and chunks == head.chunk_count and sections == head.section_count
        assert characters == head.report.characters
        grown = peak_bytes() - before
    # The parser is gone, so its processor time is known.
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    print(json.dumps({"parts": parts, "characters": characters, "chunks": chunks, "most": most,
        "grown": grown, "cpu": used.ru_utime + used.ru_stime,
        "child": head.report.peak_memory_bytes}))

asyncio.run(main())
"""


def written(path: Path, pages: int) -> Path:
    """Write pages of prose, each word a little different from page to page."""
    with path.open("w") as file:
        for page in range(pages):
            sentence = f"On page {page} the tower of {page * 7919 % 1000} stones was measured. "
            text = (sentence * (PAGE_CHARACTERS // len(sentence) + 1))[: PAGE_CHARACTERS - 2]
            file.write(text + "\n\n")
    return path


def measured(path: Path) -> dict[str, float]:
    done = subprocess.run(
        [sys.executable, "-c", READ, str(path)],
        capture_output=True, text=True, check=False, timeout=100,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_five_thousand_pages_pass_in_parts(tmp_path: Path) -> None:
    short = measured(written(tmp_path / "short.txt", 500))
    long = measured(written(tmp_path / "long.txt", 5000))
    assert long["characters"] > 14_000_000
    assert long["parts"] > 25
    assert long["most"] <= 512
    assert abs(long["grown"] - short["grown"]) < 10_000_000
    assert long["child"] < 512 * 1024 * 1024
    assert long["cpu"] < 20 * short["cpu"]


@pytest.mark.parametrize("overlap", [0, 12])
def test_a_text_is_cut_the_same_in_blocks_of_any_size(
    monkeypatch: pytest.MonkeyPatch, overlap: int
) -> None:
    text = "Prose, of some words. " * 40 + "x" * 500 + "長い文。" * 60 + " gap " * 30 + "\n\n end."
    parsed = load((text * 20).encode(), "a.txt")

    def cut() -> list[object]:
        costs = chunking.WordCosts(lambda texts: [len(re.findall(r"\w\w?", t)) for t in texts])
        return [*chunking.chunk(parsed, Chunking(30, overlap, 100), costs)]

    whole = cut()
    monkeypatch.setattr(chunking, "_BLOCK_CHARACTERS", 100)
    monkeypatch.setattr(chunking, "_CHARACTERS_PER_TOKEN", 1)
    parted = cut()
    monkeypatch.setattr(chunking, "_BLOCK_CHARACTERS", 100_000_000)
    assert parted == cut()
    assert len(whole) > 100
