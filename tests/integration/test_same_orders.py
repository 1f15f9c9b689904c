"""One file, two worlds: the same orders in a backtest and in a trading node that replays the same data at 1x."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from nautilus_trader.persistence.catalog import ParquetDataCatalog

from nautilus_ext.simulation import listing
from nautilus_ext.simulation.instruments import TickMaker, to_instrument
from nautilus_ext.simulation.market import Quote, Trade

SEED = int(os.environ.get("SAME_ORDERS_SEED", "7"))
ROOT = Path(__file__).resolve().parents[2]
START_NS = 1_767_571_200_000_000_000
INTERVAL_NS = 100_000_000
SECONDS = 16
QUIET_S = (5.0, 11.0)  # nothing moves: only the slices of the algorithm's timers are sent, far from all other orders
RUN_TIMEOUT_S = 90.0
VENUES = ("SIM2", "SIM3")
BALANCES = ["1000000 USDT", "10 BTC"]
LISTINGS = (
    listing("BTCUSDT-PERP.SIM2", "linear"),
    listing("ETHUSDT-PERP.SIM2", "linear"),
    listing("BTCUSDT-PERP.SIM3", "linear"),
    listing("SOLUSDT-PERP.SIM3", "linear"),
)
FIRST_PRICE = {"BTC": 60_000, "ETH": 3_000, "SOL": 150}
STEP_BPS = 0.6


def write_catalog(folder: Path, seed: int) -> str:
    """Four walks with one pause; no two data at the same nanosecond."""
    catalog = ParquetDataCatalog(str(folder))
    catalog.write_data([to_instrument(each) for each in LISTINGS])
    for offset, each in enumerate(LISTINGS):
        walk = random.Random(f"{seed}:{each.instrument_id}")
        maker, price = TickMaker(to_instrument(each)), float(FIRST_PRICE[each.base])
        quotes, trades = [], []
        for number in range(SECONDS * 1_000_000_000 // INTERVAL_NS):
            ts_ns = START_NS + number * INTERVAL_NS + offset * 1_000
            moving = not QUIET_S[0] <= number * INTERVAL_NS / 1e9 < QUIET_S[1]
            if moving:
                price *= 1 + walk.gauss(0, STEP_BPS) / 10_000
            bid, size = int(price / float(each.tick)), int(each.depth / each.lot)
            quotes.append(maker.quote(Quote(each.instrument_id, bid, bid + each.spread_ticks, size, size), ts_ns))
            if moving and walk.random() < 0.3:
                trades.append(maker.trade(Trade(each.instrument_id, bid, size // 50 + 1, False), number, ts_ns + 500))
        catalog.write_data(quotes)
        catalog.write_data(trades)
    return str(folder)


def component(kind: str, path: str, /, **config: Any) -> dict[str, Any]:
    return {f"{kind}_path": path, "config_path": f"{path}Config", "config": config}


def strategies() -> list[dict[str, Any]]:
    ours = "nautilus_ext.strategies"
    quoter = {"quantity": "0.05", "max_inventory": "0.2", "skew_bps": "0.1"}
    return [
        component(
            "strategy",
            f"{ours}:TrendFollower",
            order_id_tag="001",
            bar_type="ETHUSDT-PERP.SIM2-3-TICK-MID-INTERNAL",
            fast_period=1,
            slow_period=3,
            notional="2000",
            stop_bps="1.5",
            target_bps="1.5",
        ),
        component(
            "strategy",
            f"{ours}:TwoSidedQuoter",
            order_id_tag="002",
            instrument_id="BTCUSDT-PERP.SIM3",
            half_spread_bps="0.3",
            requote_bps="0.1",
            **quoter,
        ),
        component(
            "strategy",
            f"{ours}:TwoSidedQuoter",
            order_id_tag="003",
            instrument_id="BTCUSDT-PERP.SIM2",
            half_spread_bps="0.4",
            requote_bps="0.3",
            use_modify=False,
            **quoter,
        ),
        component(
            "strategy",
            "order_recorder:ParentSender",
            order_id_tag="004",
            instrument_id="SOLUSDT-PERP.SIM3",
            at_quotes=[40, 52, 57],
            quantity="90",
            horizon_s=6.0,
            interval_s=2.0,
        ),
    ]


def config(folder: Path, catalog: str) -> dict[str, Any]:
    venue = {"account_type": "MARGIN", "oms_type": "NETTING", "use_reduce_only": False, "starting_balances": BALANCES}
    sandbox = "nautilus_trader.adapters.sandbox"
    twap = "nautilus_trader.examples.algorithms.twap:TWAPExecAlgorithm"
    ticks = "nautilus_trader.model.data"
    return {
        "environment": "sandbox",
        "trader_id": "SAME-001",
        "timeout_post_stop": 1.0,
        "data_clients": {
            "REPLAY": {
                "path": "nautilus_ext.simulation:CatalogReplayDataClientConfig",
                "factory": {"path": "nautilus_ext.simulation:CatalogReplayDataClientFactory"},
                "config": {"catalog_path": catalog, "stop_at_end": True},
            }
        },
        "exec_clients": {
            name: {
                "path": f"{sandbox}.config:SandboxExecutionClientConfig",
                "factory": {"path": f"{sandbox}.factory:SandboxLiveExecClientFactory"},
                "config": {"venue": name, "default_leverage": "10", **venue},
            }
            for name in VENUES
        },
        "actors": [component("actor", "order_recorder:OrderRecorder", path="${RECORD}")],
        "exec_algorithms": [component("exec_algorithm", twap)],
        "strategies": strategies(),
        "backtest": {
            "venues": [{"name": name, "default_leverage": 10, **venue} for name in VENUES],
            "data": [{"catalog_path": catalog, "data_cls": f"{ticks}:{kind}"} for kind in ("QuoteTick", "TradeTick")],
        },
    }


class Run:
    """One world's run of the file, and the record of its orders."""

    def __init__(self, folder: Path, file: Path, *arguments: str) -> None:
        self.record = folder / f"orders{''.join(arguments)}.jsonl"
        environment = {
            **os.environ,
            "PYTHONPATH": str(Path(__file__).parent),
            "NAUTILUS_EXT_DATA": str(folder / "data"),
            "RECORD": str(self.record),
        }
        command = [sys.executable, "-m", "nautilus_ext.run", str(file), *arguments]
        self.done = subprocess.run(
            command, capture_output=True, text=True, cwd=ROOT, env=environment, timeout=RUN_TIMEOUT_S
        )
        self.events = (
            [json.loads(line) for line in self.record.read_text().splitlines()] if self.record.exists() else []
        )

    def of(self, kind: str, venue: str = "") -> list[dict[str, Any]]:
        """The events of one kind, at all venues or at one, without their times."""
        chosen = (each for each in self.events if each["event"] == kind and each["venue"].startswith(venue))
        return [{key: each[key] for key in each if key != "ts"} for each in chosen]


def both_worlds(folder: Path, document: dict[str, Any]) -> tuple[Run, Run]:
    """The backtest and the replay of one file, at the same time."""
    file = folder / "same.json"
    file.write_text(json.dumps(document))
    runs: dict[str, Run] = {}
    threads = [
        threading.Thread(target=lambda name=name, more=more: runs.update({name: Run(folder, file, *more)}))
        for name, more in (("backtest", ["--backtest"]), ("replay", []))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(RUN_TIMEOUT_S)
    for run in runs.values():
        assert run.done.returncode == 0, run.done.stdout + run.done.stderr
    return runs["backtest"], runs["replay"]


@pytest.fixture(scope="module")
def worlds(tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, Run]:
    print(f"SAME_ORDERS_SEED={SEED}")
    folder = tmp_path_factory.mktemp("same")
    return both_worlds(folder, config(folder, write_catalog(folder / "catalog", SEED)))


def test_the_same_file_sends_the_same_orders_in_both_worlds(worlds):
    """Count and sequence: strategy, instrument, side, type, quantity, price, trigger, TIF, tags, parent, slice."""
    backtest, replay = (run.of("OrderInitialized") for run in worlds)
    print(f"{len(backtest)} orders, of which {sum(each['slice'] != '' for each in backtest)} slices")
    assert backtest == replay


@pytest.mark.parametrize("venue", VENUES)
@pytest.mark.parametrize(
    "kind", ["OrderSubmitted", "OrderAccepted", "OrderUpdated", "OrderFilled", "OrderCanceled", "OrderRejected"]
)
def test_and_the_same_happens_to_them(worlds, kind, venue):
    """What is sent, changed, filled at which price and taken back; a backtest works off one venue after the other."""
    backtest, replay = worlds
    assert backtest.of(kind, venue) == replay.of(kind, venue)


def test_the_comparison_has_something_to_compare(worlds):
    """Each strategy traded: brackets with both legs, quotes moved and cancelled, three parents of three slices."""
    orders = worlds[0].of("OrderInitialized")

    def count(**wanted: str) -> int:
        return sum(wanted.items() <= each.items() for each in orders)

    entries = sum(each["tags"] == ["ENTRY"] for each in orders)
    assert entries >= 3
    assert entries == sum(each["tags"] == ["STOP_LOSS"] for each in orders)
    assert count(strategy="TwoSidedQuoter-002") > 20
    assert count(strategy="TwoSidedQuoter-003") > 20
    assert [count(strategy="ParentSender-004", slice=name) for name in ("", "-E1", "-E2")] == [3, 3, 3]
    assert len(worlds[0].of("OrderUpdated")) > 10
    assert len(worlds[0].of("OrderCanceled")) > 10
