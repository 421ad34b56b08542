"""Faults that are no kills: an emptied or silent broker, paused workers, poison, a full disk."""

import random
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil

from chaos.client import Client
from chaos.hostile import poison
from chaos.outcome import Outcome
from chaos.rounds import Bench, Work
from chaos.workload import Step, Upload, text_file

SEARCH_SECONDS = 5.0
"""A search that takes longer counts as none."""
UPLOAD_SECONDS = 10.0
RECOVERY_SECONDS = 90.0
SETTLED_SECONDS = 1.0
DISK_BYTES = 4 * 1024 * 1024


def many_texts(count: int, at_once: int = 25) -> list[Step]:
    """So many small documents."""
    names = [f"note-{number}.txt" for number in range(count)]
    files = {name: text_file(1000 + number, 1) for number, name in enumerate(names)}
    return [
        Upload({name: files[name] for name in names[place : place + at_once]})
        for place in range(0, count, at_once)
    ]


def empty_broker(bench: Bench, times: int, draw: random.Random) -> Outcome:
    """FLUSHALL while the workload goes in."""

    def make(work: Work) -> int:
        done = 0
        while done < times and (work.uploading or bench.open_jobs()):
            time.sleep(draw.uniform(0.05, 0.6))
            with bench.installation.redis() as broker:
                broker.flushall()
            done += 1
            work.struck_at = time.time()
        return done

    return bench.run("FLUSHALL of the broker", make)


def silence_broker(bench: Bench, seconds: float) -> Outcome:
    """Stop Valkey while the workload's jobs are queued; uploads and searches go on meanwhile."""
    searches: list[float] = []
    uploads: list[float] = []

    def make(work: Work) -> int:
        running = bench.installation.running
        with ExitStack() as broker:
            with stopped(running.workers()):
                work.join()
                broker.enter_context(stopped(running.server("valkey-server")))
            until = time.monotonic() + seconds
            with Client(bench.installation) as other:
                while time.monotonic() < until:
                    searches.append(_timed(_search, other))
                    uploads.append(_timed(_upload, other, work))
                    time.sleep(0.5)
        work.struck_at = time.time()
        return 1

    outcome = bench.run(f"broker silent for {seconds:g} s", make)
    search, upload = max(searches), max(uploads)
    if search > SEARCH_SECONDS:
        outcome.wrong.append(f"a search took {search:.1f} s")
    if upload > UPLOAD_SECONDS:
        outcome.wrong.append(f"an upload took {upload:.1f} s")
    if outcome.seconds > RECOVERY_SECONDS:
        outcome.wrong.append(f"the jobs took {outcome.seconds:.0f} s afterwards")
    outcome.remark = f"meanwhile the slowest search {search:.1f} s, upload {upload:.1f} s"
    return outcome


def _search(client: Client) -> None:
    client.ask("POST", "/search", {200}, json={"query": "pendulum clock"})


def _upload(client: Client, work: Work) -> None:
    number = len(work.accepted)
    name = f"meanwhile-{number}.txt"
    work.accepted += client.upload("default", {name: text_file(9000 + number, 1)})


def _timed(do: Callable[..., None], *values: object) -> float:
    started = time.monotonic()
    do(*values)
    return time.monotonic() - started


def pause_workers(bench: Bench, times: int, seconds: float) -> Outcome:
    """Stop every worker past its lease and let it go on, while the workload goes in."""

    def make(work: Work) -> int:
        done = 0
        while done < times and (work.uploading or bench.open_jobs()):
            running = bench.client.get("/jobs", status="running", limit=1).json()["jobs"]
            workers = bench.installation.running.workers()
            if not running or not workers:
                time.sleep(0.02)
                continue
            with stopped(workers):
                time.sleep(seconds)
            done += 1
            work.struck_at = time.time()
        return done

    return bench.run("SIGSTOP of the workers past their lease", make)


@contextmanager
def stopped(processes: list[psutil.Process]) -> Iterator[None]:
    """Stop processes inside the block; one that was replaced meanwhile is not missed."""
    assert processes
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        for process in processes:
            with suppress(psutil.NoSuchProcess):
                process.send_signal(signal.SIGCONT)


def among_poison(bench: Bench, count: int, seed: int) -> Outcome:
    """Upload poison before, between and after the workload's files; the good ones come out."""
    ended: list[str] = []

    def make(work: Work) -> int:
        files = list(poison(count, random.Random(seed)).items())
        sent = 0
        bench.client.ask("POST", "/collections", {201, 409}, json={"name": "poison"})
        for place in range(0, count, 10):
            items = upload_hostile(bench.client, "poison", dict(files[place : place + 10]))
            jobs = [item for item in items if item["job_id"]]
            sent += len(jobs)
            work.accepted.extend(jobs)
        bench.wait_ended([])
        work.struck_at = time.time()
        failed = bench.client.pages("/jobs", "jobs", status="failed")
        ended.extend(str(job["reason"]) for job in failed)
        return count

    outcome = bench.run("poison documents among good ones", make)
    outcome.wrong += ["a poison document failed without a reason" for why in ended if why == "None"]
    outcome.remark = "reasons: " + ", ".join(sorted(set(ended)))
    return outcome


def upload_hostile(
    client: Client, collection: str, files: dict[str, bytes]
) -> list[dict[str, Any]]:
    """Upload files that may be refused; return what became of each that was accepted."""
    reply = client.ask(
        "POST",
        "/documents/upload",
        {202, 400, 413, 415, 422},
        files=[("files", item) for item in files.items()],
        data={"collection": collection},
    )
    return reply.json()["documents"] if reply.status_code == 202 else []


@contextmanager
def small_disk(folder: Path) -> Iterator[bool]:
    """Mount a small file system in memory on an empty folder; yield whether that was allowed."""
    assert not list(folder.iterdir())
    command = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES},mode=700", "tmpfs", str(folder)]
    try:
        allowed = subprocess.run(command, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        allowed = False
    try:
        yield allowed
    finally:
        if allowed:
            subprocess.run(["umount", "-l", str(folder)], check=True)


def fill_disk(bench: Bench) -> Outcome:
    """Fill the disk of the stored files; uploads are refused, leave nothing, and work again after.

    Holds:   the folder of the stored files is a small disk.
    """
    outcome = Outcome("disk of the stored files full", times=1)
    installation, client = bench.installation, bench.client
    blobs = installation.program.data / "blobs"
    filler = blobs / "filler"
    documents = _names(client)
    with filler.open("wb", buffering=0) as file, suppress(OSError):
        while file.write(bytes(4096)):
            pass
    files = {f"late-{number}.txt": text_file(7000 + number, 20) for number in range(4)}
    reply = client.once("POST", "/documents/upload", files=[("files", f) for f in files.items()])
    if reply.status_code not in {503, 507}:
        outcome.wrong.append(f"the answer was {reply.status_code} {reply.text[:200]}")
    time.sleep(SETTLED_SECONDS)  # the reply does not wait for the request's other files
    outcome.orphans += [f"{path.name} is left" for path in blobs.glob("new-*")]
    outcome.orphans += [f"{name} is listed" for name in _names(client) - documents]
    filler.unlink()
    began = time.monotonic()
    accepted = client.upload("default", files)
    outcome.accepted = len(accepted)
    outcome.not_ended = bench.wait_ended(accepted)
    outcome.seconds = time.monotonic() - began
    outcome.lost += [f"{name} is missing" for name in files.keys() - _names(client)]
    outcome.orphans += installation.verify()
    outcome.remark = f"refused with {reply.status_code}"
    return outcome


def _names(client: Client) -> set[str]:
    return {row["name"] for row in client.pages("/documents", "documents", collection="default")}
