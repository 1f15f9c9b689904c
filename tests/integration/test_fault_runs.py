"""Trading while everything goes wrong: at the end the node's cache is what the exchange's ledger says."""

import os

import pytest
from fault_judge import PER_RUN_S, play

RUNS = 60


@pytest.mark.timeout(RUNS * PER_RUN_S)
def test_under_every_fault_the_cache_ends_as_the_ledger(tmp_path):
    """Orders, fills, fees, positions and cash; nothing unknown, nothing twice. A failing seed is named."""
    first = int(os.environ.get("SEED") or 1)
    verdict = play(tmp_path, range(first, first + RUNS))
    print(verdict)
    assert verdict.differences == []
    assert verdict.never_happened == set()
    assert verdict.idle_seeds == []
    assert verdict.fills > verdict.orders / 4, "hardly anything was traded: the runs say nothing"
