"""Files made to hurt a parser end in text or in a named reason: in time, and in bounded memory."""

import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hostile_files import HOSTILE, MEBIBYTE, broken, whole_files
from in_sandbox import new_pool, outcome

from citewell.ingest.sandbox import ParserPool
from citewell.ingest.sandbox_limits import ParserLimits


@pytest.fixture(scope="module")
async def pool() -> AsyncIterator[ParserPool]:
    opened = new_pool(ParserLimits(timeout_seconds=30))
    yield opened
    await opened.close()


@pytest.mark.parametrize("what", HOSTILE)
async def test_hostile_file_ends_as_it_should(pool: ParserPool, tmp_path: Path, what: str) -> None:
    name, make, ends = HOSTILE[what]
    data = make()
    started = time.monotonic()
    end, report = await outcome(pool, tmp_path, name, data)
    assert end in ends
    assert time.monotonic() - started < 30
    assert report is None or report.peak_memory_bytes < 1024 * MEBIBYTE


@pytest.mark.parametrize("name", whole_files())
async def test_cut_files_give_text_or_a_reason(pool: ParserPool, tmp_path: Path, name: str) -> None:
    whole = whole_files()[name]
    assert (await outcome(pool, tmp_path, name, whole))[0] == "text"
    for share in (0.1, 0.4, 0.7, 0.95):
        end, _ = await outcome(pool, tmp_path, name, broken(whole, share))
        assert end in {"text", "corrupt", "no_text", "no_text_layer", "unsupported"}
