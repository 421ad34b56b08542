"""SIGKILL at seeded random moments, while the workload goes in."""

import random
import time
from collections.abc import Callable, Iterator
from contextlib import suppress

import psutil

from chaos.installation import Installation, kill, reap
from chaos.outcome import Outcome
from chaos.rounds import Bench, Work

MIXED = "any of them"
LONGEST_PAUSE_SECONDS = 1.2
COMING_BACK_SECONDS = 5.0
POLL_SECONDS = 0.1
BUSY_SECONDS = 1.0


def _worker_group(installation: Installation) -> int:
    running = installation.running
    return kill([*running.workers(), *running.parsers()])


def _one_worker(installation: Installation, draw: random.Random) -> int:
    workers = installation.running.workers()
    return kill([draw.choice(workers)]) if workers else 0


def _one_parser(installation: Installation, draw: random.Random) -> int:
    """Kill one that reads a file just now, if there is one soon."""
    deadline = time.monotonic() + BUSY_SECONDS
    parsers: list[psutil.Process] = []
    while time.monotonic() < deadline:
        parsers = installation.running.parsers()
        busy = [process for process in parsers if process.status() == psutil.STATUS_RUNNING]
        if busy:
            return kill([draw.choice(busy)])
    return kill([draw.choice(parsers)]) if parsers else 0


def _up(installation: Installation) -> int:
    killed = kill(installation.running.family()[:1])
    reap(installation.running)
    return killed


def _everything(installation: Installation) -> int:
    killed = kill(installation.running.family())
    reap(installation.running)
    return killed


KINDS: dict[str, Callable[[Installation, random.Random], int]] = {
    "worker group": lambda installation, _: _worker_group(installation),
    "one worker process": _one_worker,
    "one parser process": _one_parser,
    "`citewell up` with the API": lambda installation, _: _up(installation),
    "every process at once": lambda installation, _: _everything(installation),
    "PostgreSQL": lambda installation, _: kill(installation.running.server("postgres")),
    "Valkey": lambda installation, _: kill(installation.running.server("valkey-server")),
}


def kill_while_working(bench: Bench, kinds: Iterator[str], kills: int, draw: random.Random):
    """Return a fault: so many kills, each after a random pause, as long as there is work."""

    def make(work: Work) -> int:
        done = 0
        while done < kills and (work.uploading or bench.open_jobs()):
            time.sleep(draw.uniform(0.05, LONGEST_PAUSE_SECONDS))
            done += _kill(bench.installation, next(kinds), draw)
            work.struck_at = time.time()
        return done

    return make


def _kill(installation: Installation, kind: str, draw: random.Random) -> int:
    """Kill one of the kind; one that is down from the kill before is waited for."""
    deadline = time.monotonic() + COMING_BACK_SECONDS
    while time.monotonic() < deadline:
        with suppress(psutil.NoSuchProcess):
            if KINDS[kind](installation, draw):
                return 1
        installation.revive()
        time.sleep(POLL_SECONDS)
    return 0


def kill_rounds(bench: Bench, kills: int, seed: int, each: int = 5) -> Iterator[Outcome]:
    """Kill so many times: rounds of one kind each, in turn with rounds of any kind."""
    draw = random.Random(seed)
    done = 0
    for kind in _in_turn([*KINDS, MIXED], draw):
        if done >= kills:
            return
        kinds = _in_turn(list(KINDS), draw) if kind == MIXED else _repeat(kind)
        wanted = min(each, kills - done)
        outcome = bench.run(f"SIGKILL: {kind}", kill_while_working(bench, kinds, wanted, draw))
        done += outcome.times
        yield outcome


def mixed_rounds(bench: Bench, kills: int, seed: int, each: int) -> Iterator[Outcome]:
    """Kill so many times, each kind as often as the others, in rounds of so many kills."""
    draw = random.Random(seed)
    kinds = _in_turn(list(KINDS), draw)
    done = 0
    while done < kills:
        fault = kill_while_working(bench, kinds, min(each, kills - done), draw)
        outcome = bench.run(f"SIGKILL: {MIXED}", fault)
        done += outcome.times
        yield outcome


def _repeat(kind: str) -> Iterator[str]:
    while True:
        yield kind


def _in_turn(kinds: list[str], draw: random.Random) -> Iterator[str]:
    """Yield each kind once in a random order, then each again in another."""
    while True:
        yield from draw.sample(kinds, len(kinds))
