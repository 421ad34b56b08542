"""The parser processes: limits, isolation, and what a crash, a hang or a bomb ends as."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from office_files import docx, paragraph, pdf

from citewell.errors import DocumentRejected
from citewell.ingest.load import load
from citewell.ingest.sandbox import MEBIBYTE, ParserPool
from citewell.ingest.transfer import document_from_json, document_to_json

linux = pytest.mark.skipif(sys.platform != "linux", reason="Linux only")


@pytest.fixture
async def pool():
    async with ParserPool(processes=1, timeout_seconds=20) as made:
        yield made


def processes(pool: ParserPool) -> list[int]:
    return [child._process.pid for child in pool._all if child._process is not None]


def saved(folder: Path, name: str, data: bytes) -> str:
    path = folder / name
    path.write_bytes(data)
    return str(path)


async def test_files_come_back_whole(pool: ParserPool, tmp_path: Path) -> None:
    for name, data in {
        "a.txt": "Grüße \U0001f600".encode(),
        "b.html": b"<h1 id=x>1.1 Title</h1><p>Text</p>",
        "c.docx": docx(paragraph("Word")),
        "d.pdf": pdf([["Page one."], [], ["Page three."]]),
    }.items():
        parsed = await pool.parse(saved(tmp_path, name, data), name)
        here = load(data, name)
        assert (parsed.text, parsed.sections, parsed.page_starts) == (
            here.text, here.sections, here.page_starts,
        )  # fmt: skip
        assert parsed.report.warnings == here.report.warnings
        assert parsed.report.seconds > 0
        assert parsed.report.peak_memory_bytes > MEBIBYTE


def test_json_carries_everything() -> None:
    parsed = load(b"# 1 A\n\ntext\n\n## B\n\nmore\0", "a.md")
    assert document_from_json(document_to_json(parsed)) == parsed


async def test_rejections_keep_their_code(pool: ParserPool, tmp_path: Path) -> None:
    with pytest.raises(DocumentRejected) as caught:
        await pool.parse(saved(tmp_path, "a.pdf", b"no pdf"), "a.pdf")
    assert caught.value.reason == "type_mismatch"
    assert len(processes(pool)) == 1


async def test_the_way_there_and_back_is_short(pool: ParserPool, tmp_path: Path) -> None:
    path = saved(tmp_path, "a.txt", b"tiny")
    await pool.parse(path, "a.txt")
    started = time.perf_counter()
    for _ in range(50):
        await pool.parse(path, "a.txt")
    assert (time.perf_counter() - started) / 50 < 0.01


async def test_a_hanging_process_is_killed_and_replaced(tmp_path: Path) -> None:
    path = saved(tmp_path, "a.txt", b"tiny")
    async with ParserPool(processes=1, timeout_seconds=0.5) as pool:
        (first,) = processes(pool)
        os.kill(first, signal.SIGSTOP)
        with pytest.raises(DocumentRejected) as caught:
            await pool.parse(path, "a.txt")
        assert caught.value.reason == "parser_timeout"
        assert (await pool.parse(path, "a.txt")).text == "tiny"
        assert first not in processes(pool)


@pytest.mark.parametrize(
    ("how", "code"),
    [
        (signal.SIGSEGV, "parser_crashed"),
        (signal.SIGKILL, "parser_memory"),
        (signal.SIGXCPU, "parser_timeout"),
    ],
)
async def test_a_process_that_dies_ends_as_a_reason(
    pool: ParserPool, tmp_path: Path, how: signal.Signals, code: str
) -> None:
    path = saved(tmp_path, "a.txt", b"tiny")
    (first,) = processes(pool)
    os.kill(first, signal.SIGSTOP)
    waiting = asyncio.create_task(pool.parse(path, "a.txt"))
    await asyncio.sleep(0.1)
    os.kill(first, how)
    os.kill(first, signal.SIGCONT)
    with pytest.raises(DocumentRejected) as caught:
        await waiting
    assert caught.value.reason == code
    assert (await pool.parse(path, "a.txt")).text == "tiny"


async def test_a_process_that_died_while_idle_costs_nothing(
    pool: ParserPool, tmp_path: Path
) -> None:
    (first,) = processes(pool)
    os.kill(first, signal.SIGKILL)
    await asyncio.sleep(0.2)
    assert (await pool.parse(saved(tmp_path, "a.txt", b"tiny"), "a.txt")).text == "tiny"


@linux
async def test_memory_is_limited(tmp_path: Path) -> None:
    path = saved(tmp_path, "a.html", b"<p>word " * 4_000_000)
    async with ParserPool(processes=1, memory_bytes=96 * MEBIBYTE) as pool:
        with pytest.raises(DocumentRejected) as caught:
            await pool.parse(path, "a.html")
        assert caught.value.reason == "parser_memory"


async def test_a_process_serves_a_limited_number_of_files(tmp_path: Path) -> None:
    path = saved(tmp_path, "a.txt", b"tiny")
    async with ParserPool(processes=1, files_per_process=2) as pool:
        (first,) = processes(pool)
        await pool.parse(path, "a.txt")
        assert processes(pool) == [first]
        await pool.parse(path, "a.txt")
        assert first not in processes(pool)
        await pool.parse(path, "a.txt")


async def test_more_files_than_processes_wait_their_turn(tmp_path: Path) -> None:
    path = saved(tmp_path, "a.txt", b"tiny")
    async with ParserPool(processes=2) as pool:
        results = await asyncio.gather(*(pool.parse(path, "a.txt") for _ in range(20)))
        assert len(results) == 20
        assert len(processes(pool)) == 2


async def test_a_cancelled_file_leaves_a_working_pool(pool: ParserPool, tmp_path: Path) -> None:
    path = saved(tmp_path, "a.txt", b"tiny")
    (first,) = processes(pool)
    os.kill(first, signal.SIGSTOP)
    waiting = asyncio.create_task(pool.parse(path, "a.txt"))
    await asyncio.sleep(0.1)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert (await pool.parse(path, "a.txt")).text == "tiny"


async def test_folders_and_processes_are_gone_after_close(tmp_path: Path) -> None:
    pool = ParserPool(processes=2)
    await pool.start()
    folders = [Path(child._folder) for child in pool._all]
    pids = processes(pool)
    await pool.close()
    assert not any(folder.exists() for folder in folders)
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


@linux
async def test_the_environment_holds_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CITEWELL_DATABASE_URL", "postgresql://canary")
    async with ParserPool(processes=1) as pool:
        (pid,) = processes(pool)
        with open(f"/proc/{pid}/environ", "rb") as environment:  # noqa: ASYNC230, PTH123
            assert b"canary" not in environment.read()


CONFINED = """
import pathlib, socket, subprocess, sys
from citewell.ingest.confinement import confine
refused = " ".join(confine(512 * 1024 * 1024, sys.argv[1]))
def tried(name, act):
    try:
        act()
        print(name, "done")
    except OSError as error:
        print(name, "refused")
def connect():
    with socket.socket() as made:
        made.settimeout(1)
        made.connect(("127.0.0.1", int(sys.argv[3])))
if "network" not in refused:
    tried("network", connect)
if "Landlock" not in refused:
    tried("secret", pathlib.Path(sys.argv[2]).read_text)
    tried("outside", lambda: pathlib.Path(sys.argv[2] + ".new").write_text("x"))
    tried("inside", lambda: pathlib.Path(sys.argv[1], "own").write_text("x"))
    tried("program", lambda: subprocess.run(["/bin/true"]))
"""


@linux
def test_a_confined_process_reaches_neither_network_nor_files(tmp_path: Path) -> None:
    import socket

    own = tmp_path / "own"
    own.mkdir()
    secret = tmp_path / "secret.env"
    secret.write_text("canary")
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = str(server.getsockname()[1])
        result = subprocess.run(
            [sys.executable, "-I", "-c", CONFINED, str(own), str(secret), port],
            capture_output=True, text=True, check=False, timeout=30,
        )  # fmt: skip
    assert result.returncode == 0, result.stderr
    said = dict(line.split() for line in result.stdout.splitlines())
    assert said.get("network", "refused") == "refused"
    assert said.get("secret", "refused") == "refused"
    assert said.get("outside", "refused") == "refused"
    assert said.get("program", "refused") == "refused"
    assert said.get("inside", "done") == "done"
