"""Nothing is lost, doubled or left when processes are killed in the middle of their work.

`make chaos` kills 200 times.
"""

import pytest

from chaos.kills import mixed_rounds
from chaos.outcome import Outcome
from chaos.rounds import open_bench
from chaos.workload import full_workload

KILLS = 8
SEED = 20
PDFS, PARAGRAPHS = 8, 20


@pytest.mark.timeout(600)
def test_the_index_is_a_clean_runs_after_kills() -> None:
    together = Outcome("kills")
    with open_bench(full_workload(PDFS, PARAGRAPHS)) as bench:
        for outcome in mixed_rounds(bench, KILLS, SEED, each=KILLS):
            together.add(outcome)
    assert not together.faults, together.faults
    assert together.times == KILLS
