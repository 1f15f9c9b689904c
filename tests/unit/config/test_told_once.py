"""What several clients have in common is said once, and names them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from nautilus_ext.config import load
from nautilus_ext.config.backtest import parity_report

if TYPE_CHECKING:
    from pathlib import Path

SANDBOX = "nautilus_trader.adapters.sandbox"
SIMULATED = "nautilus_ext.simulation:SimulatedDataClient"
ACCOUNT = {"oms_type": "NETTING", "account_type": "MARGIN", "starting_balances": ["1000 USDT"]}
VENUES = ("SIM1", "SIM2", "SIM3")


def sandbox(venue: str) -> dict:
    return {
        "path": f"{SANDBOX}.config:SandboxExecutionClientConfig",
        "factory": {"path": f"{SANDBOX}.factory:SandboxLiveExecClientFactory"},
        "config": {"venue": venue, "use_random_ids": True, "use_reduce_only": venue != "SIM3", **ACCOUNT},
    }


def test_a_line_of_the_parity_report_stands_for_all_whom_it_concerns(tmp_path: Path):
    """One line per difference, not per venue; a client that differs in another way has its own."""
    document = {
        "environment": "sandbox",
        "trader_id": "TEST-001",
        "data_clients": {"SIM": {"path": f"{SIMULATED}Config", "factory": {"path": f"{SIMULATED}Factory"}}},
        "exec_clients": {venue: sandbox(venue) for venue in VENUES},
        "backtest": {"venues": [{"name": venue, **ACCOUNT} for venue in VENUES], "synthetic": {"seed": 1}},
    }
    path = tmp_path / "config.json"
    path.write_text(json.dumps(document))
    lines = [str(line) for line in parity_report(load(path, backtest=True))]
    random_ids = "is False, but exec_clients.{SIM1, SIM2, SIM3}.config.use_random_ids is True"
    assert [f"backtest.venues[0, 1, 2].use_random_ids: {random_ids}"] == [each for each in lines if "random" in each]
    late = [each.partition(":")[0] for each in lines if "without a catalog replay" in each]
    assert ["exec_clients.{SIM1, SIM2}", "exec_clients.SIM3"] == late
    alone = "backtest.venues[2].use_reduce_only: is True, but exec_clients.SIM3.config.use_reduce_only is False"
    assert alone in lines
