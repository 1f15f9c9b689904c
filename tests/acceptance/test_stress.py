"""At twice the rate of the busiest second of the last recorded session the gate says what a recount says."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

import pytest
from conftest import CONFIGS

from nautilus_ext.embedded import EmbeddedPostgres

sys.path.insert(0, str(Path(__file__).parents[1] / "integration"))

from stress_replay import FACTOR, Stage, recorded

MINUTES = 6


@pytest.mark.row(20, "at twice the peak")
def test_at_twice_the_peak_rate_each_verdict_is_that_of_a_recount(shell, config):
    """The recorded orders, sustained at that rate, against limits that are met; and a false ledger is found out."""
    backtest = json.loads((CONFIGS / "paper.json").read_text())["backtest"]
    path = config(backtest={**backtest, "synthetic": {**backtest["synthetic"], "minutes": MINUTES}})
    with EmbeddedPostgres.join(shell.data / "postgres") as server:
        code, output = shell.run(path, "--backtest")
        assert 0 == code, output
        session = asyncio.run(recorded(server.app_url))
    done = Stage(session).replay()
    print(done)
    assert [] == done.different
    assert done.orders == len(session.sent) > 100
    assert {"approved", "MESSAGE_RATE", "MAX_POSITION"} < set(done.verdicts)
    assert done.per_second > FACTOR * done.peak

    false = Stage(session)
    hold = false.gate.judge.ledger.hold
    false.gate.judge.ledger.hold = lambda name, key, quantity: hold(name, key, quantity * 2)
    assert false.replay().different
