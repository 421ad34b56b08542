"""Nothing is lost and nothing doubled when a process is killed in the middle of its work."""

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e.processes import QUICK_JOBS, TWO_WORKERS, Program, Running, wait_until

pytestmark = pytest.mark.timeout(240)
WORDS = [
    "clock", "pendulum", "watch", "sea", "star", "noon", "ship", "wheel", "spring", "tower", "bell",
    "hour", "minute", "second",
]  # fmt: skip


FILES, LATE_FILES = 10, 6


def document(number: int, sentences: int = 96) -> bytes:
    draw = random.Random(number)
    lines = [
        f"Sentence {n} of document {number} is about the {' '.join(draw.choices(WORDS, k=9))}."
        for n in range(sentences)
    ]
    return "\n\n".join(" ".join(lines[n : n + 8]) for n in range(0, sentences, 8)).encode()


@pytest.fixture(scope="module")
def program(data: Path) -> Program:
    return Program(data, CITEWELL_JOBS__SILENT_AFTER_SECONDS="4", **TWO_WORKERS, **QUICK_JOBS)


@pytest.fixture(scope="module")
def first(program: Program) -> Iterator[Running]:
    with program.up() as up:
        yield up


def test_a_killed_workers_jobs_end_all_the_same(program: Program, first: Running) -> None:
    first.upload({f"{n}.txt": document(n) for n in range(FILES)})
    wait_until(lambda: "running" in {job["status"] for job in first.jobs()}, 30)
    killed = first.workers()
    for worker in killed:
        worker.kill()
    jobs = first.wait_done(FILES, 90)
    assert not {worker.pid for worker in first.workers()} & {worker.pid for worker in killed}
    assert any(job["attempt"] > 1 for job in jobs)
    documents = first.get("/documents", limit=200).json()["documents"]
    assert len(documents) == FILES
    assert all(item["status"] == "ready" and item["version"] == 1 for item in documents)
    checked = program.call("verify")
    assert checked.returncode == 0, checked.stdout


def test_a_worker_that_is_silent_is_replaced(program: Program, first: Running) -> None:
    stopped = first.workers()[0]
    stopped.suspend()

    def replaced() -> bool:
        workers = first.workers()
        return len(workers) == 2 and stopped.pid not in {worker.pid for worker in workers}

    wait_until(replaced, 30)
    assert "answers no more" in (program.folder / "up.log").read_text()


def test_a_killed_server_loses_nothing(program: Program, first: Running) -> None:
    accepted = first.upload({f"late-{n}.txt": document(100 + n) for n in range(LATE_FILES)})
    family = first.family()
    first.kill()
    with program.up() as second:
        jobs = second.wait_done(FILES + LATE_FILES, 90)
        assert {item["job_id"] for item in accepted} <= {job["job_id"] for job in jobs}
        assert len(second.get("/documents", limit=200).json()["documents"]) == FILES + LATE_FILES
        found = second.ask("What is sentence 7 of document 104 about?")
        assert found["sources"]
        checked = program.call("verify")
        assert checked.returncode == 0, checked.stdout
        survivors = [process for process in family if process.is_running()]
        assert not survivors, [process.cmdline() for process in survivors]
    assert program.leftovers() == []
