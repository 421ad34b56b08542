"""The parser processes: limits, isolation, and what a crash, a hang or a bomb ends as."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncGenerator
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from in_sandbox import CHUNKING, new_pool, read
from office_files import docx, paragraph, pdf

from citewell.adapters.minilm_tokenizer import count_tokens
from citewell.domain import ParsedPart
from citewell.errors import DocumentRejected, ParserKilled
from citewell.ingest.chunk import WordCosts, chunk
from citewell.ingest.load import load
from citewell.ingest.sandbox import ParserPool
from citewell.ingest.sandbox_limits import MEBIBYTE, ParserLimits

linux = pytest.mark.skipif(sys.platform != "linux", reason="Linux only")


@pytest.fixture
async def pool():
    async with new_pool() as made:
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
        part = await read(pool, saved(tmp_path, name, data), name)
        here = load(data, name)
        chunks = chunk(here, CHUNKING, WordCosts(count_tokens))
        assert (part.text, part.sections, part.chunks) == (here.text, here.sections, tuple(chunks))
        head = part.head
        assert (head.title, head.page_starts) == (here.title, here.page_starts)
        assert (head.section_count, head.chunk_count) == (len(here.sections), len(chunks))
        assert head.metadata == here.metadata
        taken = {"seconds": 0.0, "peak_memory_bytes": 0}
        assert replace(head.report, **taken) == here.report
        assert head.report.seconds > 0
        assert head.report.peak_memory_bytes > MEBIBYTE


def long_markdown(sections: int) -> bytes:
    return "".join(
        f"# {n} Head\n\n" + "Some words. " * 90 + "\n\n" for n in range(sections)
    ).encode()


async def test_a_long_file_comes_in_parts_that_join_to_the_whole(
    pool: ParserPool, tmp_path: Path
) -> None:
    data = long_markdown(2500)
    here = load(data, "a.md")
    parts = [part async for part in pool.read(saved(tmp_path, "a.md", data), "a.md")]
    assert [part.last for part in parts] == [False] * (len(parts) - 1) + [True]
    assert "".join(part.text for part in parts) == here.text
    assert [section for part in parts for section in part.sections] == list(here.sections)
    chunks = [made for part in parts for made in part.chunks]
    assert chunks == chunk(here, CHUNKING, WordCosts(count_tokens))
    assert max(len(part.text) for part in parts) == 500_000
    assert max(len(part.sections) for part in parts) == 2000
    assert max(len(part.chunks) for part in parts) <= 512
    assert all(part.head is parts[0].head for part in parts)


async def test_only_what_is_waited_for_counts_as_time(tmp_path: Path) -> None:
    path = saved(tmp_path, "a.md", long_markdown(1000))
    async with new_pool(ParserLimits(timeout_seconds=1.5)) as pool:
        (child,) = processes(pool)
        parts = 0
        async for _ in pool.read(path, "a.md"):
            parts += 1
            await asyncio.sleep(0.6)
        assert parts * 0.6 > 1.5
        assert processes(pool) == [child]
        reading = pool.read(path, "a.md")
        await anext(reading)
        os.kill(child, signal.SIGSTOP)
        with pytest.raises(DocumentRejected) as caught:
            await drained(reading)  # what was sent before may still be in the pipe
        assert caught.value.reason == "parser_timeout"
        assert child not in processes(pool)


async def drained(reading: AsyncGenerator[ParsedPart]) -> None:
    async for _ in reading:
        pass


async def test_a_file_that_is_left_early_frees_its_turn(pool: ParserPool, tmp_path: Path) -> None:
    long = saved(tmp_path, "a.md", long_markdown(1000))
    short = saved(tmp_path, "a.txt", b"tiny")
    (first,) = processes(pool)
    reading = pool.read(long, "a.md")
    await anext(reading)
    waiting = asyncio.create_task(read(pool, short, "a.txt"))
    await asyncio.sleep(0.2)
    assert not waiting.done()
    await reading.aclose()
    assert (await waiting).text == "tiny"
    (second,) = processes(pool)
    assert second != first
    reading = pool.read(short, "a.txt")
    assert (await anext(reading)).last
    await reading.aclose()
    assert processes(pool) == [second]


async def test_a_password_is_in_no_log(
    pool: ParserPool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    (pid,) = processes(pool)
    reading = pool.read(saved(tmp_path, "a.txt", b"tiny"), "a.txt", None, "canary-password")
    os.kill(pid, signal.SIGSTOP)
    waiting = asyncio.create_task(drained(reading))
    await asyncio.sleep(0.1)
    os.kill(pid, signal.SIGSEGV)
    os.kill(pid, signal.SIGCONT)
    with pytest.raises(DocumentRejected):
        await waiting
    assert "canary" not in caplog.text


async def test_rejections_keep_their_code(pool: ParserPool, tmp_path: Path) -> None:
    with pytest.raises(DocumentRejected) as caught:
        await read(pool, saved(tmp_path, "a.pdf", b"no pdf"), "a.pdf")
    assert caught.value.reason == "type_mismatch"
    assert len(processes(pool)) == 1


async def test_the_way_there_and_back_is_short(pool: ParserPool, tmp_path: Path) -> None:
    path = saved(tmp_path, "a.txt", b"tiny")
    await read(pool, path, "a.txt")
    started = time.perf_counter()
    for _ in range(50):
        await read(pool, path, "a.txt")
    assert (time.perf_counter() - started) / 50 < 0.01


async def test_a_hanging_process_is_killed_and_replaced(tmp_path: Path) -> None:
    path = saved(tmp_path, "a.txt", b"tiny")
    async with new_pool(ParserLimits(timeout_seconds=0.5)) as pool:
        (first,) = processes(pool)
        os.kill(first, signal.SIGSTOP)
        with pytest.raises(DocumentRejected) as caught:
            await read(pool, path, "a.txt")
        assert caught.value.reason == "parser_timeout"
        assert (await read(pool, path, "a.txt")).text == "tiny"
        assert first not in processes(pool)


@pytest.mark.parametrize(
    ("how", "code"),
    [
        (signal.SIGSEGV, "parser_crashed"),
        (signal.SIGKILL, "parser_killed"),
        (signal.SIGXCPU, "parser_timeout"),
    ],
)
async def test_a_process_that_dies_ends_as_a_reason(
    pool: ParserPool, tmp_path: Path, how: signal.Signals, code: str
) -> None:
    path = saved(tmp_path, "a.txt", b"tiny")
    (first,) = processes(pool)
    os.kill(first, signal.SIGSTOP)
    waiting = asyncio.create_task(read(pool, path, "a.txt"))
    await asyncio.sleep(0.1)
    os.kill(first, how)
    os.kill(first, signal.SIGCONT)
    with pytest.raises((DocumentRejected, ParserKilled)) as caught:
        await waiting
    assert caught.value.reason == code
    assert (await read(pool, path, "a.txt")).text == "tiny"


async def test_a_process_that_died_while_idle_costs_nothing(
    pool: ParserPool, tmp_path: Path
) -> None:
    (first,) = processes(pool)
    os.kill(first, signal.SIGKILL)
    await asyncio.sleep(0.2)
    assert (await read(pool, saved(tmp_path, "a.txt", b"tiny"), "a.txt")).text == "tiny"


@linux
async def test_memory_is_limited(tmp_path: Path) -> None:
    path = saved(tmp_path, "a.html", b"<p>word " * 4_000_000)
    async with new_pool(ParserLimits(memory_bytes=112 * MEBIBYTE)) as pool:
        with pytest.raises(DocumentRejected) as caught:
            await read(pool, path, "a.html")
        assert caught.value.reason == "parser_memory"


async def test_a_process_serves_a_limited_number_of_files(tmp_path: Path) -> None:
    path = saved(tmp_path, "a.txt", b"tiny")
    async with new_pool(files_per_process=2) as pool:
        (first,) = processes(pool)
        await read(pool, path, "a.txt")
        assert processes(pool) == [first]
        await read(pool, path, "a.txt")
        assert first not in processes(pool)
        await read(pool, path, "a.txt")


async def test_more_files_than_processes_wait_their_turn(tmp_path: Path) -> None:
    path = saved(tmp_path, "a.txt", b"tiny")
    async with new_pool(processes=2) as pool:
        results = await asyncio.gather(*(read(pool, path, "a.txt") for _ in range(20)))
        assert len(results) == 20
        assert len(processes(pool)) == 2


async def test_a_cancelled_file_leaves_a_working_pool(pool: ParserPool, tmp_path: Path) -> None:
    path = saved(tmp_path, "a.txt", b"tiny")
    (first,) = processes(pool)
    os.kill(first, signal.SIGSTOP)
    waiting = asyncio.create_task(read(pool, path, "a.txt"))
    await asyncio.sleep(0.1)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert (await read(pool, path, "a.txt")).text == "tiny"


async def test_folders_and_processes_are_gone_after_close(tmp_path: Path) -> None:
    pool = new_pool(processes=2)
    await pool.start()
    folders = [Path(child._folder) for child in pool._all]
    pids = processes(pool)
    await pool.close()
    assert not any(folder.exists() for folder in folders)
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def process_that_is_gone() -> int:
    with subprocess.Popen([sys.executable, "-c", ""]) as started:
        return started.pid


async def test_folders_of_killed_workers_are_removed_at_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    left = tmp_path / f"citewell-parser-{process_that_is_gone()}-abc_12"
    left.mkdir()
    (left / "part").write_text("x")
    foreign = tmp_path / "citewell-parser-notes"
    foreign.mkdir()
    async with new_pool() as pool:
        assert not left.exists()
        (own,) = (Path(child._folder) for child in pool._all)
        os.utime(own, (1, 1))
        async with new_pool():
            assert own.exists()
    assert os.listdir(tmp_path) == [foreign.name]  # noqa: PTH208


@linux
async def test_a_parser_loads_the_tokenizer_without_the_model(pool: ParserPool) -> None:
    (pid,) = processes(pool)
    with open(f"/proc/{pid}/maps") as file:  # noqa: ASYNC230, PTH123
        maps = file.read()
    assert "tokenizers" in maps
    assert "onnxruntime" not in maps
    assert "numpy" not in maps


@linux
async def test_the_environment_holds_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CITEWELL_DATABASE_URL", "postgresql://canary")
    async with new_pool() as pool:
        (pid,) = processes(pool)
        with open(f"/proc/{pid}/environ", "rb") as environment:  # noqa: ASYNC230, PTH123
            assert b"canary" not in environment.read()


CONFINED = """
import os, pathlib, resource, socket, subprocess, sys, threading
from citewell.ingest.confinement import confine
if sys.argv[4] != "0":
    os.setgroups([])
    os.setgid(int(sys.argv[4]))
    os.setuid(int(sys.argv[4]))
refused = " ".join(confine(512 * 1024 * 1024, 1024, 16, sys.argv[1]))
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
def fork():
    if os.fork() == 0:
        os._exit(0)
def start_threads():
    stop = threading.Event()
    try:
        for _ in range(64):
            threading.Thread(target=stop.wait).start()
    except RuntimeError as error:
        raise OSError from error
    finally:
        stop.set()
def connect_file():
    with socket.socket(socket.AF_UNIX) as made:
        made.connect(sys.argv[2] + ".socket")
def send_by_pair():
    pair = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    pair[0].sendto(b"x", sys.argv[2] + ".socket")
if "filter" not in refused:
    tried("process", fork)
    tried("socket", connect_file)
    tried("datagram", send_by_pair)
    tried("signal", lambda: os.kill(os.getppid(), 0))
    tried("own-signal", lambda: os.kill(os.getpid(), 0))
    tried("limit", lambda: resource.prlimit(os.getppid(), resource.RLIMIT_NOFILE))
    tried("own-limit", lambda: resource.getrlimit(resource.RLIMIT_CPU))
    tried("length", lambda: os.truncate(sys.argv[2], 0))
    tried("times", lambda: os.utime(sys.argv[2], (0, 0)))
    tried("stream", lambda: [end.close() for end in socket.socketpair()])
if "network" not in refused:
    tried("threads", start_threads)
tried("large", lambda: pathlib.Path(sys.argv[1], "large").write_bytes(bytes(2048)))
if "Landlock" not in refused:
    tried("secret", pathlib.Path(sys.argv[2]).read_text)
    tried("outside", lambda: pathlib.Path(sys.argv[2] + ".new").write_text("x"))
    tried("inside", lambda: pathlib.Path(sys.argv[1], "own").write_text("x"))
    tried("program", lambda: subprocess.run(["/bin/true"]))
"""


@linux
@pytest.mark.parametrize("user", [os.geteuid(), 65534])
def test_a_confined_process_reaches_nothing_and_starts_nothing(user: int) -> None:
    import socket

    if user != os.geteuid() != 0:
        pytest.skip("only root can be another user")
    with (
        TemporaryDirectory() as folder,
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.socket(socket.AF_UNIX) as local,
    ):
        local.bind(f"{folder}/secret.env.socket")
        local.listen()
        Path(folder, "secret.env.socket").chmod(0o777)
        own = Path(folder, "own")
        own.mkdir()
        secret = Path(folder, "secret.env")
        secret.write_text("canary")
        for path in (own, secret, Path(folder)):
            os.chown(path, user, -1)
        port = str(server.getsockname()[1])
        other = "0" if user == os.geteuid() else str(user)
        result = subprocess.run(
            [sys.executable, "-I", "-c", CONFINED, str(own), str(secret), port, other],
            capture_output=True, text=True, check=False, timeout=30,
        )  # fmt: skip
        assert secret.read_text() == "canary"
    assert result.returncode == 0, result.stderr
    said = dict(line.split() for line in result.stdout.splitlines())
    assert said.get("process", "refused") == "refused"
    for name in ("socket", "datagram", "signal", "limit", "length", "times"):
        assert said.get(name, "refused") == "refused", name
    for name in ("own-signal", "own-limit", "stream"):
        assert said.get(name, "done") == "done", name
    assert said.get("threads", "refused") == "refused"
    assert said["large"] == "refused"
    assert said.get("network", "refused") == "refused"
    assert said.get("secret", "refused") == "refused"
    assert said.get("outside", "refused") == "refused"
    assert said.get("program", "refused") == "refused"
    assert said.get("inside", "done") == "done"
