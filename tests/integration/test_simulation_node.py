"""The simulated market and the strategies in a real trading node with Nautilus's sandbox, in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections import Counter
from datetime import timedelta
from decimal import Decimal
from itertools import islice, pairwise
from typing import TYPE_CHECKING

import pytest
from exchange_client import exchange_in
from nautilus_trader.adapters.sandbox.factory import SandboxLiveExecClientFactory
from nautilus_trader.config import TradingNodeConfig
from nautilus_trader.live.node import TradingNode
from nautilus_trader.model.data import BarType
from nautilus_trader.model.identifiers import InstrumentId, Venue
from nautilus_trader.trading.strategy import Strategy

from nautilus_ext.simulation import default_market
from nautilus_ext.simulation.instruments import to_instrument
from nautilus_ext.simulation.market import tape

if TYPE_CHECKING:
    from pathlib import Path

SECONDS = 5.0
PAUSE_S = 2.0
INTERVAL_MS = 50
UNSUBSCRIBE_AFTER = 45
WAIT_S = 60.0

SIM = {
    "path": "nautilus_ext.simulation:SimulatedDataClientConfig",
    "factory": {"path": "nautilus_ext.simulation:SimulatedDataClientFactory"},
}


def sandbox(venue: str, account_type: str, *balances: str) -> dict:
    config = {"venue": venue, "account_type": account_type, "oms_type": "NETTING", "starting_balances": balances}
    if account_type == "MARGIN":
        # The sandbox fills the entry before the node knows of its position, and would refuse the exits as reduce-only.
        config |= {"default_leverage": "10", "use_reduce_only": False}
    return {"path": "nautilus_trader.adapters.sandbox.config:SandboxExecutionClientConfig", "config": config}


def strategy(name: str, tag: str, **config) -> dict:
    return {
        "strategy_path": f"nautilus_ext.strategies:{name}",
        "config_path": f"nautilus_ext.strategies:{name}Config",
        "config": {"order_id_tag": tag, **config},
    }


TREND = strategy(
    "TrendFollower",
    "001",
    bar_type="ETHUSDT-PERP.SIM2-5-TICK-MID-INTERNAL",
    fast_period=2,
    slow_period=4,
    notional="5000",
    stop_bps="4",
    target_bps="4",
)
QUOTER = strategy(
    "TwoSidedQuoter",
    "002",
    instrument_id="BTCUSDT-PERP.SIM3",
    quantity="0.05",
    max_inventory="0.12",
    half_spread_bps="0.6",
    skew_bps="0.1",
    requote_bps="0.4",
)
REBALANCER = strategy(
    "Rebalancer",
    "003",
    weights={"BTCUSDT.SIM1": "0.4", "ETHUSDT.SIM1": "0.3"},
    tolerance="0.005",
    interval_s=1,
)
LOST = strategy("TwoSidedQuoter", "004", instrument_id="BTCUSDT.NOWHERE", quantity="1", max_inventory="1")


def node_config(strategies: list[dict], **market_config) -> dict:
    graceful = {"graceful_shutdown_on_exception": True}
    return {
        "environment": "sandbox",
        "trader_id": "TEST-001",
        "logging": {"log_level": "WARNING", "log_colors": False},
        "data_engine": graceful,
        "risk_engine": graceful,
        "exec_engine": graceful,
        "timeout_post_stop": 0.5,
        "timeout_disconnection": 2.0,
        "data_clients": {"SIM": {**SIM, "config": market_config}},
        "exec_clients": {
            "SIM1": sandbox("SIM1", "CASH", "50000 USDT", "0.8 BTC", "5 ETH"),
            "SIM2": sandbox("SIM2", "MARGIN", "100000 USDT"),
            "SIM3": sandbox("SIM3", "MARGIN", "100000 USDT", "2 BTC"),
        },
        "strategies": strategies,
    }


# -- the child --------------------------------------------------------------------------------------


class Observer:
    """Counts what the strategies send and get, as it happens."""

    def __init__(self, node: TradingNode) -> None:
        self.cache = node.cache
        self.began = time.monotonic()
        self.first_order_s: dict[str, float] = {}
        self.events: Counter = Counter()
        self.reasons: list[str] = []
        self.threads: set[str] = set()
        self.worst_inventory = Decimal(0)
        node.kernel.msgbus.subscribe("events.order.*", self.on_event)

    def on_event(self, event) -> None:
        owner = event.strategy_id.value
        self.first_order_s.setdefault(owner, time.monotonic() - self.began)
        self.events[f"{owner} {type(event).__name__}"] += 1
        self.threads.add(threading.current_thread().name)
        if reason := getattr(event, "reason", ""):
            self.reasons.append(f"{type(event).__name__} {reason}")
        if owner.startswith("TwoSidedQuoter"):
            self.worst_inventory = max(self.worst_inventory, self.inventory(event.strategy_id))

    def inventory(self, owner) -> Decimal:
        positions = self.cache.positions_open(strategy_id=owner)
        position = sum((each.signed_decimal_qty() for each in positions), Decimal(0))
        live = [order for order in self.cache.orders(strategy_id=owner) if not order.is_closed]
        buys = sum((each.leaves_qty.as_decimal() for each in live if each.is_buy), Decimal(0))
        sells = sum((each.leaves_qty.as_decimal() for each in live if each.is_sell), Decimal(0))
        return max(position + buys, sells - position)

    def report(self) -> dict:
        return {
            "first_order_s": self.first_order_s,
            "events": self.events,
            "reasons": self.reasons,
            "threads": sorted(self.threads),
            "worst_inventory": str(self.worst_inventory),
            "working": [str(order) for order in self.cache.orders() if not order.is_closed],
            "positions": {
                str(each.instrument_id): str(each.signed_decimal_qty()) for each in self.cache.positions_open()
            },
        }


class Curious(Strategy):
    """Asks the market for what it has and for what it does not have."""

    def on_start(self) -> None:
        self.seen_at_start = len(self.cache.instruments())
        self.bids: list[str] = []
        self.at_s: list[float] = []
        self.answers: list[str] = []
        listed, unknown = InstrumentId.from_str("BTCUSDT.SIM1"), InstrumentId.from_str("BTCUSDT.NOWHERE")
        self.subscribe_quote_ticks(listed)
        self.subscribe_quote_ticks(unknown)
        self.subscribe_trade_ticks(unknown)
        self.subscribe_mark_prices(listed)
        self.request_instrument(listed, callback=self.answered)
        self.request_instruments(Venue("SIM2"), callback=self.answered)
        past = self.clock.utc_now() - timedelta(hours=1)
        self.request_quote_ticks(listed, start=past, callback=self.answered)
        self.request_bars(BarType.from_str(f"{listed}-1-MINUTE-MID-EXTERNAL"), start=past, callback=self.answered)

    def answered(self, request_id) -> None:
        self.answers.append(str(request_id))

    def on_quote_tick(self, tick) -> None:
        self.bids.append(str(tick.bid_price))
        self.at_s.append(time.monotonic())
        if len(self.bids) == UNSUBSCRIBE_AFTER:
            self.unsubscribe_quote_ticks(tick.instrument_id)

    def report(self) -> dict:
        return {
            "bids": self.bids,
            "at_s": self.at_s,
            "answers": len(self.answers),
            "seen_at_start": self.seen_at_start,
        }


def run_node(config: dict, seconds: float, pause_s: float) -> dict:
    node = TradingNode(config=TradingNodeConfig.parse(json.dumps(config)))
    curious = Curious()
    if not config["strategies"]:
        node.trader.add_strategy(curious)
    for venue in config["exec_clients"]:
        node.add_exec_client_factory(venue, SandboxLiveExecClientFactory)
    node.build()
    observer = Observer(node)
    quotes = node.kernel.data_engine
    loop = node.get_event_loop()
    used = {}

    def begin() -> None:
        used["cpu_s"], used["quotes"], used["at"] = time.process_time(), quotes.data_count, time.monotonic()

    def end() -> None:
        wall_s = time.monotonic() - used["at"]
        used["cpu_percent"] = 100 * (time.process_time() - used["cpu_s"]) / wall_s
        used["data_per_s"] = (quotes.data_count - used["quotes"]) / wall_s
        node.stop()

    loop.call_later(1.0, begin)
    if pause_s:
        loop.call_later(1.5, time.sleep, pause_s)  # a loop that stands still, as on a suspended machine
    loop.call_later(seconds, end)
    node.run()
    report = {**observer.report(), **used, **(curious.report() if not config["strategies"] else {})}
    node.dispose()
    return report


if __name__ == "__main__":
    asked = json.loads(sys.argv[1])
    sys.stderr.write(json.dumps(run_node(asked["config"], asked["seconds"], asked["pause_s"])))
    sys.exit(0)


# -- the tests --------------------------------------------------------------------------------------


def run(
    parent: Path, strategies: list[dict], *, seconds: float = SECONDS, pause_s: float = 0.0, **market_config
) -> tuple[dict, str]:
    """The report of a node that ran for some seconds on an exchange of its own, and what it logged."""
    with exchange_in(parent) as folder:
        market_config["data_dir"] = str(folder)
        asked = {"config": node_config(strategies, **market_config), "seconds": seconds, "pause_s": pause_s}
        command = [sys.executable, __file__, json.dumps(asked)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=WAIT_S, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    *errors, report = done.stderr.splitlines()
    return json.loads(report), done.stdout + "\n".join(errors)


@pytest.fixture(scope="module")
def all_three(fast_folder) -> tuple[dict, str]:
    return run(fast_folder, [TREND, QUOTER, REBALANCER, LOST])


def test_all_three_strategies_trade_in_a_live_node(all_three):
    """Orders and fills of each within seconds of the start, on the loop's own thread."""
    report, log = all_three
    for owner in ("TrendFollower-001", "TwoSidedQuoter-002", "Rebalancer-003"):
        assert report["events"].get(f"{owner} OrderFilled", 0) >= 1, (owner, report["events"], log)
    assert min(report["first_order_s"].values()) < 2.0
    assert max(report["first_order_s"].values()) < SECONDS
    assert report["threads"] == ["MainThread"]


def test_nothing_is_refused_and_nothing_is_left_working(all_three):
    """The sandbox takes every order of the default strategies, and a stop leaves only the portfolio."""
    report, log = all_three
    assert report["reasons"] == [], log
    assert report["working"] == []
    assert set(report["positions"]) <= {"BTCUSDT.SIM1", "ETHUSDT.SIM1"}
    assert "was cancelled" not in log, "the market ends quietly"


def test_the_quoter_keeps_its_bound_in_a_live_node(all_three):
    """Submits are queued there: what is in flight counts as well."""
    report, _ = all_three
    assert Decimal(0) < Decimal(report["worst_inventory"]) <= Decimal("0.12")


def test_a_strategy_without_its_instrument_says_so_and_the_others_trade(all_three):
    """One clear error in the log, no traceback."""
    _, log = all_three
    assert "BTCUSDT.NOWHERE is not in the cache: no data client offers it" in log
    assert "Traceback" not in log


def test_the_market_costs_little(all_three):
    """Eight instruments ten times a second and three strategies leave the core to others."""
    report, _ = all_three
    assert report["data_per_s"] > 25
    assert report["cpu_percent"] < 15, report  # 1 to 2 % on an idle machine


# -- the data client alone --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def curious(fast_folder) -> tuple[dict, str]:
    return run(fast_folder, [], pause_s=PAUSE_S, seconds=5.5, seed=42, interval_ms=INTERVAL_MS)


def test_a_live_node_plays_the_tape_of_its_seed(curious):
    """What the strategy saw is a gapless part of what the model says, to the last digit."""
    report, _ = curious
    of = default_market(seed=42, interval_ms=INTERVAL_MS)
    instrument = to_instrument(of.listings[0])
    told = [str(instrument.make_price(step.quotes[0].bid_ticks * 0.01)) for step in islice(tape(of), 300)]
    first = told.index(report["bids"][0])
    assert report["bids"] == told[first : first + len(report["bids"])]


def test_the_instruments_are_there_when_a_strategy_starts(curious):
    """All of the default market's, in the cache."""
    assert curious[0]["seen_at_start"] == 8


def test_what_the_market_did_during_a_pause_is_read_after_it(curious):
    """The market is another process: a loop that stood still for two seconds finds all of it waiting, and no more."""
    report, log = curious
    gaps = [after - before for before, after in pairwise(report["at_s"])]
    assert max(gaps) > PAUSE_S * 0.9
    burst = sum(gap < INTERVAL_MS / 2_000 for gap in gaps)
    assert burst <= PAUSE_S * 1_000 / INTERVAL_MS + 5
    assert "connection lost" not in log


def test_the_schedule_does_not_drift(curious):
    """Before the pause the quotes keep to their interval, not interval plus work."""
    at_s = curious[0]["at_s"]
    before = at_s[: next(number for number, (a, b) in enumerate(pairwise(at_s)) if b - a > PAUSE_S / 2)]
    took_s = before[-1] - before[0]
    assert took_s == pytest.approx((len(before) - 1) * INTERVAL_MS / 1_000, abs=2 * INTERVAL_MS / 1_000)


def test_what_the_market_does_not_have_is_a_warning(curious):
    """An unknown instrument, a mark price, history: said clearly, answered where someone waits."""
    report, log = curious
    assert log.count("BTCUSDT.NOWHERE is not on the simulated market; listed: BTCUSDT.SIM1") == 2
    assert "the simulated market sends quotes, trades, order books and instrument status" in log
    assert "RequestQuoteTicks: the simulated market keeps no history" in log
    assert report["answers"] == 4
    assert "Traceback" not in log


def test_who_unsubscribes_gets_no_more(curious):
    """The tape goes on without it."""
    assert UNSUBSCRIBE_AFTER <= len(curious[0]["bids"]) <= UNSUBSCRIBE_AFTER + 2
