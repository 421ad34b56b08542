"""A process dies right before or after its most important commits and sends; nothing is lost."""

from pathlib import Path

import pytest

from chaos.rounds import Bench
from chaos.sites import Site, die_at, kind_of, open_failpoints
from chaos.workload import small_workload

POINTS = {
    "add_uploads": ("after",),
    "send": ("before",),
    "claim_jobs": ("after",),
    "publish": ("before", "after"),
}
"""Where most could be lost; `make chaos` takes every site, before and after."""


def important(site: Site) -> tuple[str, ...]:
    """Return when to die at a site: not at all, before it, after it."""
    if kind_of(site) == "send":
        return POINTS["send"] if "upload" in site.name else ()
    return next((POINTS[name] for name in POINTS if name in site.does), ())


@pytest.mark.timeout(400)
def test_a_death_at_each_important_commit_loses_nothing(tmp_path: Path) -> None:
    with (
        open_failpoints(tmp_path) as (installation, failpoints),
        Bench(installation, small_workload()) as bench,
    ):
        bench.clean_run()
        points = [(site, when) for site in failpoints.sites() for when in important(site)]
        assert len(points) >= len(POINTS), failpoints.sites()
        outcome = die_at(bench, failpoints, "failpoints", *points)
        assert not outcome.faults, outcome.faults
        assert outcome.times == len(points)
