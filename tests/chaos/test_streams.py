"""A slice of the faults of streams: many at once are not mixed, and who leaves leaves nothing."""

import pytest

from chaos.streams import leaving_readers, many_streams

pytestmark = pytest.mark.timeout(180)


def test_many_streams_at_once_are_whole_and_not_mixed() -> None:
    outcome = many_streams(60, pause=0.01)
    assert not outcome.faults, outcome.faults
    assert outcome.accepted == 60


def test_readers_who_leave_leave_nothing_behind() -> None:
    outcome = leaving_readers(80, workspaces=4, seed=2, pause=0.01, concurrent=10)
    assert not outcome.faults, outcome.faults
    assert " left" in outcome.remark
