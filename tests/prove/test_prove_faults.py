"""Many fault runs with fresh seeds."""

import os

import pytest
from fault_judge import PER_RUN_S, play

RUNS = 300  # FAULTS=5000 for more

pytestmark = pytest.mark.prove


@pytest.mark.timeout(100 * RUNS * PER_RUN_S)
def test_hundreds_of_fault_runs_end_as_the_ledger(tmp_path, seed, rounds, tell):
    """As in `make test`, five times as many, and never the same."""
    runs = int(os.environ.get("FAULTS") or rounds(RUNS))
    verdict = play(tmp_path, range(seed, seed + runs))
    assert verdict.differences == []
    assert verdict.never_happened == set()
    assert verdict.idle_seeds == []
    assert verdict.fills > verdict.orders / 4, "hardly anything was traded: the runs say nothing"
    tell(str(verdict))
