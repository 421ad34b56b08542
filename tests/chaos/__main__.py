"""make chaos: every fault in full, and a table of what it cost."""

import argparse
import os
import random
import signal
import sys
import time
from collections.abc import Callable, Iterator

from chaos.faults import (
    among_poison,
    empty_broker,
    fill_disk,
    many_texts,
    pause_workers,
    silence_broker,
    small_disk,
)
from chaos.installation import open_installation
from chaos.kills import kill_rounds
from chaos.mutations import upload_mutations
from chaos.openapi_run import many_requests
from chaos.outcome import Outcome, merge, table
from chaos.rounds import Bench, open_bench
from chaos.sites import failpoint_rounds
from chaos.streams import leaving_readers, many_streams
from chaos.workload import full_workload, small_workload
from chaos.worlds import many_worlds

KILLS_PER_ROUND = 8
KILLS_PER_INSTALLATION = 50
PARAGRAPHS = 120
PAST_THE_LEASE_SECONDS = 6.0
SHOWN_FAULTS = 20
WORKSPACES = 20


def kills(options: argparse.Namespace) -> Iterator[Outcome]:
    """SIGKILL at random moments, on a new data folder now and then."""
    for number, done in enumerate(range(0, options.kills, KILLS_PER_INSTALLATION)):
        with open_bench(full_workload(20, PARAGRAPHS)) as bench:
            wanted = min(KILLS_PER_INSTALLATION, options.kills - done)
            yield from kill_rounds(bench, wanted, options.seed * 1000 + number, KILLS_PER_ROUND)


def failpoints(options: argparse.Namespace) -> Iterator[Outcome]:
    """Death at each commit, rename, sync and send."""
    yield from failpoint_rounds()


def broker(options: argparse.Namespace) -> Iterator[Outcome]:
    """The broker emptied, and silent; workers stopped past their lease."""
    draw = random.Random(options.seed)
    with open_bench(full_workload(20, PARAGRAPHS)) as bench:
        for _ in range(5):
            yield empty_broker(bench, 4, draw)
        for _ in range(3):
            yield pause_workers(bench, 2, PAST_THE_LEASE_SECONDS)
    with open_bench(many_texts(100)) as bench:
        yield silence_broker(bench, options.down)


def poison(options: argparse.Namespace) -> Iterator[Outcome]:
    """Documents that cannot be read among good ones."""
    with open_bench(full_workload(20, PARAGRAPHS)) as bench:
        yield among_poison(bench, options.poison, options.seed)


def disk(options: argparse.Namespace) -> Iterator[Outcome]:
    """A full disk, where a small one may be mounted."""
    if os.geteuid() != 0:
        print("disk: skipped, only root may mount a small disk", file=sys.stderr)
        return
    with (
        open_installation() as installation,
        small_disk(installation.program.data / "blobs") as allowed,
    ):
        if allowed:
            with Bench(installation, small_workload()) as bench:
                bench.clean_run()
                yield fill_disk(bench)
        else:
            print("disk: skipped, mounting is not allowed here", file=sys.stderr)


def mutations(options: argparse.Namespace) -> Iterator[Outcome]:
    """Mutated files through the API."""
    with open_installation(CITEWELL_JOBS__MAX_ATTEMPTS="2") as installation:
        yield upload_mutations(installation, options.mutations, options.seed)


def streams(options: argparse.Namespace) -> Iterator[Outcome]:
    """Answers streamed to many at once, and to readers who leave."""
    yield many_streams(options.streams)
    yield leaving_readers(options.readers, WORKSPACES, options.seed)


def requests(options: argparse.Namespace) -> Iterator[Outcome]:
    """Requests of every form that the description allows, and of those that it does not."""
    with open_installation(CITEWELL_AUTH__MODE="required") as installation:
        yield many_requests(installation, options.examples, options.seed)


def worlds(options: argparse.Namespace) -> Iterator[Outcome]:
    """Searches with and without documents that the caller may not see."""
    yield many_worlds(options.worlds)


PARTS: dict[str, Callable[[argparse.Namespace], Iterator[Outcome]]] = {
    "kills": kills,
    "failpoints": failpoints,
    "broker": broker,
    "poison": poison,
    "disk": disk,
    "mutations": mutations,
    "streams": streams,
    "requests": requests,
    "worlds": worlds,
}


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="make chaos", description=__doc__)
    parser.add_argument("--kills", type=int, default=200, help="SIGKILLs")
    parser.add_argument("--seed", type=int, default=1, help="of every random choice")
    parser.add_argument("--mutations", type=int, default=10_000, help="mutated uploads")
    parser.add_argument("--poison", type=int, default=100, help="poison documents")
    parser.add_argument("--down", type=float, default=60, help="seconds without a broker")
    parser.add_argument("--streams", type=int, default=1000, help="streams at the same moment")
    parser.add_argument("--readers", type=int, default=2000, help="readers who leave")
    parser.add_argument("--examples", type=int, default=50, help="requests for each address")
    parser.add_argument("--worlds", type=int, default=500, help="random workspaces")
    parser.add_argument("--only", nargs="*", choices=list(PARTS), default=list(PARTS))
    return parser.parse_args()


def brief(faults: list[str]) -> list[str]:
    """Leave out all but the first faults of a long list."""
    left = len(faults) - SHOWN_FAULTS
    return [*faults[:SHOWN_FAULTS], *([f"and {left} more"] if left > 0 else [])]


def main() -> int:
    """Make every fault; print the table; return 1 when anything was lost."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    options = parse()
    started = time.monotonic()
    outcomes: list[Outcome] = []
    for part in options.only:
        for outcome in PARTS[part](options):
            outcomes.append(outcome)
            minutes = (time.monotonic() - started) / 60
            state = "; ".join(brief(outcome.faults)) or "nothing lost"
            state += f" (logs: {outcome.log})" if outcome.log else ""
            print(f"{minutes:5.1f} min  {outcome.fault} × {outcome.times}: {state}",
                  file=sys.stderr, flush=True)  # fmt: skip
    print(table(merge(outcomes)))
    failed = [fault for outcome in outcomes for fault in outcome.faults]
    print(f"\nseed {options.seed}, {(time.monotonic() - started) / 60:.0f} minutes, "
          f"{len(failed)} faults" + "".join(f"\n- {fault}" for fault in brief(failed)))  # fmt: skip
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
