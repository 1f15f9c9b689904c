"""The server under kill -9 at random moments, while raw clients trade: its ledger never contradicts what it said.

SEED=n repeats the kills, KILLS=n sets how many there are.
"""

from __future__ import annotations

import os
import random

import pytest
from exchange_killer import kill_often

pytest_plugins = ["exchange_fixtures"]

SEED = int(os.environ.get("SEED") or random.randrange(2**32))
KILLS = int(os.environ.get("KILLS") or 10)


@pytest.mark.timeout(60 + 3 * KILLS)
def test_no_answer_and_no_stream_item_is_contradicted_after_a_kill(exchange_folder):
    """Each kill: what was said stands, the books add up, streams go on without a gap, the next life trades on."""
    print(f"SEED={SEED} KILLS={KILLS}")
    found = kill_often(exchange_folder, SEED, KILLS)
    print(found)
    assert found.kills == KILLS
    assert found.fills > KILLS, "hardly anything was traded: the test says nothing"
