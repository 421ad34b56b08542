"""Nothing is lost with an emptied or a silent broker, paused workers, poison, or a full disk."""

import os
import random
from collections.abc import Iterator

import pytest

from chaos.faults import (
    among_poison,
    empty_broker,
    fill_disk,
    many_texts,
    pause_workers,
    silence_broker,
    small_disk,
)
from chaos.installation import Installation, open_installation
from chaos.rounds import Bench

pytestmark = pytest.mark.timeout(300)
PAST_THE_LEASE_SECONDS = 4.5
SILENT_SECONDS = 7.0


@pytest.fixture(scope="module")
def installation() -> Iterator[Installation]:
    with open_installation() as opened:
        yield opened


@pytest.fixture(scope="module")
def small_blobs(installation: Installation) -> Iterator[bool]:
    """Have the stored files lie on a small disk, where that is allowed."""
    if os.geteuid() != 0:
        yield False
        return
    with small_disk(installation.program.data / "blobs") as allowed:
        yield allowed


@pytest.fixture(scope="module")
def bench(installation: Installation, small_blobs: bool) -> Iterator[Bench]:
    with Bench(installation, many_texts(30, at_once=10)) as made:
        made.clean_run()
        yield made


def test_an_emptied_broker_only_delays(bench: Bench) -> None:
    outcome = empty_broker(bench, 3, random.Random(1))
    assert not outcome.faults, outcome.faults
    assert outcome.times


def test_a_silent_broker_only_delays_and_uploads_and_searches_are_answered(bench: Bench) -> None:
    outcome = silence_broker(bench, SILENT_SECONDS)
    assert not outcome.faults, outcome.faults


def test_workers_paused_past_their_lease_publish_nothing_twice(bench: Bench) -> None:
    outcome = pause_workers(bench, 1, PAST_THE_LEASE_SECONDS)
    assert not outcome.faults, outcome.faults
    assert outcome.times


def test_poison_stops_no_other_document(bench: Bench) -> None:
    outcome = among_poison(bench, 24, seed=1)
    assert not outcome.faults, outcome.faults


def test_a_full_disk_refuses_leaves_nothing_and_heals(bench: Bench, small_blobs: bool) -> None:
    if not small_blobs:
        pytest.skip("only root may mount a small disk")
    outcome = fill_disk(bench)
    assert not outcome.faults, outcome.faults
