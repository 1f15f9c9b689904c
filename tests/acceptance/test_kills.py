"""A trading desk whose processes are killed: after each restart the exchange, the journal and the tables agree.

KILLS=n kills more often, KILL_SEED=n repeats what a failure names.
"""

from __future__ import annotations

import os
import random

import pytest
from kill_rounds import kill_often

KILLS = int(os.environ.get("KILLS") or 25)
SEED = int(os.environ.get("KILL_SEED") or random.randrange(1, 10**9))


@pytest.mark.timeout(120 + 30 * KILLS)
def test_no_kill_costs_an_event_an_order_or_its_owner(tmp_path):
    """Node, shipper, database and exchange, alone and together, while they trade and while they start."""
    found = kill_often(tmp_path, SEED, KILLS)
    print(found.line)
    print(found.verdict(SEED))
    assert found.fills > found.kills, "nothing was traded: no proof"
