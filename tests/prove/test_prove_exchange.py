"""The exchange's server under many kills, with a fresh seed."""

from __future__ import annotations

import pytest
from exchange_client import exchange_in
from exchange_killer import kill_often

pytestmark = [pytest.mark.prove, pytest.mark.timeout(3600)]

KILLS = 100


def test_the_ledger_never_contradicts_what_was_said(fast_folder, seed, rounds, tell):
    """Every answered order, every seen fill and stream item is there after each kill, and the books add up."""
    with exchange_in(fast_folder) as folder:
        found = kill_often(folder, seed, rounds(KILLS))
    assert found.fills > found.kills
    tell(
        f"simulated exchange: kills={found.kills} answers={found.answers} items={found.items} fills={found.fills} "
        f"seed={seed} differences=0"
    )
