"""Where a process can be made to die: before or after each commit, rename, sync and send."""

import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path

from chaos.installation import Installation, open_installation
from chaos.outcome import Outcome
from chaos.rounds import Bench, Work
from chaos.workload import small_workload

HOOKS = Path(__file__).parent / "failpoints"
FIRST_PASSAGE = 1
WHEN = ("before", "after")
_ids = count(1)


@dataclass(frozen=True, slots=True)
class Site:
    """A place in the program, and the functions whose changes are committed there."""

    name: str
    does: frozenset[str]


class Failpoints:
    """The folder that the processes under test read and write."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def sites(self) -> list[Site]:
        """List the sites that were passed until now, in the order of their first passage."""
        found: dict[str, Site] = {}
        for line in (self.folder / "sites").read_text(encoding="utf-8").splitlines():
            read = json.loads(line)
            does = frozenset(filter(None, read["does"].split(",")))
            known = found.setdefault(read["site"], Site(read["site"], does))
            found[read["site"]] = replace(known, does=known.does | does)
        return list(found.values())

    def arm(self, *points: tuple[Site, str]) -> list[str]:
        """Have one process die before or after each of these sites."""
        identifiers = [str(next(_ids)) for _ in points]
        armed = [
            {"id": identifier, "site": site.name, "when": when, "passage": FIRST_PASSAGE}
            for identifier, (site, when) in zip(identifiers, points, strict=True)
        ]
        beside = self.folder / "armed.new"
        beside.write_text(json.dumps(armed), encoding="utf-8")
        beside.rename(self.folder / "armed")
        return identifiers

    def disarm(self) -> None:
        """Let everybody pass."""
        (self.folder / "armed").unlink(missing_ok=True)

    def deaths(self, identifiers: list[str]) -> list[float]:
        """Say when somebody died of these, in seconds since 1970."""
        places = [self.folder / f"killed-{identifier}" for identifier in identifiers]
        return [place.stat().st_mtime for place in places if place.exists()]


@contextmanager
def open_failpoints(folder: Path) -> Iterator[tuple[Installation, Failpoints]]:
    """Have an installation run whose processes pass failpoints."""
    variables = {"PYTHONPATH": str(HOOKS), "CHAOS_FAILPOINTS": str(folder)}
    with open_installation(**variables) as installation:
        yield installation, Failpoints(folder)


def die_at(bench: Bench, failpoints: Failpoints, fault: str, *points: tuple[Site, str]) -> Outcome:
    """Run the workload and have a process die at each point; restart to get there if need be."""
    identifiers = failpoints.arm(*points)

    def make(work: Work) -> int:
        work.join()
        bench.wait_ended([])
        if len(failpoints.deaths(identifiers)) < len(points):
            bench.installation.restart()
            bench.wait_ended([])
        failpoints.disarm()
        deaths = failpoints.deaths(identifiers)
        work.struck_at = max(deaths, default=0.0)
        return len(deaths)

    try:
        return bench.run(fault, make)
    finally:
        failpoints.disarm()


def die_at_first_start(failpoints: Failpoints, fault: str, point: tuple[Site, str]) -> Outcome:
    """Have the first start on an empty data folder die at the point; the next one must serve."""
    outcome = Outcome(fault)
    identifiers = failpoints.arm(point)
    try:
        with open_failpoints(failpoints.folder) as (installation, _):
            outcome.times = len(failpoints.deaths(identifiers))
            outcome.orphans = installation.verify()
    finally:
        failpoints.disarm()
    outcome.name_faults(point[0].name)
    if not outcome.times:
        outcome.remark = f"not reached again: {point[0].name}"
    return outcome


def kind_of(site: Site) -> str:
    """Return ``commit``, ``rename``, ``fsync`` or ``send``."""
    return site.name.split()[0]


def failpoint_rounds() -> Iterator[Outcome]:
    """Find every site by a clean run, then have one process die before it and one after it."""
    with tempfile.TemporaryDirectory() as folder:
        unreached: list[tuple[Site, str]] = []
        with (
            open_failpoints(Path(folder)) as (installation, failpoints),
            Bench(installation, small_workload()) as bench,
        ):
            bench.clean_run()
            installation.restart()
            for site in failpoints.sites():
                points = [(site, when) for when in WHEN]
                outcome = die_at(bench, failpoints, _fault(site), *points)
                outcome.name_faults(site.name)
                unreached += points[outcome.times :]
                yield outcome
        for site, when in unreached:
            yield die_at_first_start(failpoints, _fault(site), (site, when))


def _fault(site: Site) -> str:
    return f"failpoint before and after each {kind_of(site)}"
