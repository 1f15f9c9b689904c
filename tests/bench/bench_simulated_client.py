"""The clients of the simulated exchange: CPU per message, and from an order to its fill beside Nautilus's sandbox.

python bench_simulated_client.py KIND FOLDER measures one node and writes what it took.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import subprocess
import sys
import tempfile
import time
from decimal import Decimal
from pathlib import Path
from typing import Any

from measure import Figure
from msgspec.structs import replace
from nautilus_trader.cache.cache import Cache
from nautilus_trader.common.component import LiveClock, MessageBus
from nautilus_trader.config import StrategyConfig, TradingNodeConfig
from nautilus_trader.live.node import TradingNode
from nautilus_trader.model.enums import OrderSide
from nautilus_trader.model.identifiers import ClientId, ClientOrderId, InstrumentId, StrategyId, TraderId
from nautilus_trader.test_kit.stubs.execution import TestExecStubs
from nautilus_trader.trading.strategy import Strategy

sys.path.append(str(Path(__file__).parents[1] / "integration"))  # the orders are the tests' own
from exchange_client import PERP, limit

from nautilus_ext.simulation import default_market, wire
from nautilus_ext.simulation.client.config import SimulatedDataClientConfig, SimulatedExecClientConfig
from nautilus_ext.simulation.client.data import SimulatedDataClient
from nautilus_ext.simulation.client.execution import SimulatedExecutionClient
from nautilus_ext.simulation.exchange.orders import Accepted, AccountChanged, AccountTerms, Filled
from nautilus_ext.simulation.exchange.venue import Venue
from nautilus_ext.simulation.instruments import TickMaker, to_instrument

PAIRS = 3
ORDERS = 400
INTERVAL_MS = 20
TIMEOUT_S = 60.0
MESSAGES = 2_000
ROUNDS = 15
KINDS = ("sandbox", "exchange")
RESULT = "latencies_us.json"
BUDGETS_US = {"a quote": 5.0, "an event of an order or account": 40.0}


def figures() -> list[Figure]:
    return [*_cpu_figures(), *_latency_figures()]


# -- CPU per message, without a network -------------------------------------------------------------


class Stage:
    """The clients with nothing around them but a bus that throws away what they send."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.clock = LiveClock()
        self.bus = MessageBus(trader_id=TraderId("BENCH-1"), clock=self.clock)
        for endpoint in ("DataEngine.process", "ExecEngine.process", "Portfolio.update_account"):
            self.bus.register(endpoint=endpoint, handler=lambda _message: None)
        self.cache = Cache()
        self.instruments = {each.instrument_id: to_instrument(each) for each in default_market().listings}
        for instrument in self.instruments.values():
            self.cache.add_instrument(instrument)

    def given(self, name: str, config: object) -> dict:
        parts = {"loop": self.loop, "msgbus": self.bus, "cache": self.cache, "clock": self.clock}
        return parts | {"client_id": ClientId(name), "config": config}

    def data_client(self) -> SimulatedDataClient:
        client = SimulatedDataClient(**self.given("SIM", SimulatedDataClientConfig()))
        client._makers = {name: TickMaker(instrument) for name, instrument in self.instruments.items()}
        client._wanted = {("quotes", PERP)}
        return client

    def exec_client(self) -> SimulatedExecutionClient:
        config = SimulatedExecClientConfig(venue="SIM2", account_type="MARGIN", starting_balances=["1 USDT"])
        client = SimulatedExecutionClient(**self.given("SIM2", config))
        client._end_reconciling()
        return client


def _cpu_figures() -> list[Figure]:
    stage = Stage()
    data, execution = stage.data_client(), stage.exec_client()
    quotes = b"".join(wire.frame(_quote(number)) for number in range(MESSAGES))
    values: dict[str, list[float]] = {what: [] for what in BUDGETS_US}
    for round_number in range(ROUNDS):
        items = _items(stage, round_number)
        values["a quote"].append(_cost_us(quotes, MESSAGES, data._on_market))
        values["an event of an order or account"].append(_cost_us(items, MESSAGES, execution._on_item))
    note = (
        f"each run the mean of {MESSAGES:,}, from bytes to the engine's queue; order events: accepted, filled, account"
    )
    return [
        Figure(f"simulated exchange's client, CPU for {what}", "us", tuple(costs), budget=BUDGETS_US[what], note=note)
        for what, costs in values.items()
    ]


def _cost_us(data: bytes, number: int, take: object) -> float:
    framer = wire.server_framer()
    began_ns = time.process_time_ns()
    for message in framer.feed(data):
        take(message)
    return (time.process_time_ns() - began_ns) / number / 1e3


def _quote(number: int) -> wire.QuoteMessage:
    return wire.QuoteMessage(
        instrument_id=PERP, bid_ticks=600_000 + number, ask_ticks=600_005 + number, bid_lots=9, ask_lots=8, ts_ns=number
    )


def _items(stage: Stage, round_number: int) -> bytes:
    """Orders that the cache knows, each accepted and filled, with the account's new state in between."""
    accepted, filled, changed = _told_of_an_order()
    frames = []
    for number in range(MESSAGES // 4):
        name = f"B{round_number}-{number}"
        order = TestExecStubs.limit_order(
            instrument=stage.instruments[PERP],
            strategy_id=StrategyId("B-1"),
            client_order_id=ClientOrderId(name),
        )
        stage.cache.add_order(order)
        ids = {"client_order_id": name, "venue_order_id": f"V{name}"}
        state = replace(accepted.order, **ids)
        fill = Filled(state, replace(filled.fill, trade_id=f"T{name}", **ids))
        frames += [wire.frame(wire.StreamItem(seq=1, event=event)) for event in (Accepted(state), fill, changed, fill)]
    return b"".join(frames)


def _told_of_an_order() -> tuple[Any, Any, Any]:
    """What the exchange tells of one that rests until somebody takes half of it: accepted, filled, its account."""
    venue = Venue("SIM2", [each for each in default_market().listings if each.instrument_id == PERP])
    for account in ("A", "B"):
        venue.open_account(AccountTerms(account=account, kind="MARGIN", starting_balances={"USDT": Decimal(10**6)}), 1)
    venue.place("A", (limit("rests", instrument_id=PERP),), 1)
    venue.place("B", (limit("takes", instrument_id=PERP, side="SELL", quantity=Decimal("0.05")),), 1)
    told = {type(event): event for account, event in venue.take_events() if account == "A"}
    return told[Accepted], told[Filled], told[AccountChanged]


# -- from submit to fill ----------------------------------------------------------------------------


class ProbeConfig(StrategyConfig, frozen=True):
    """Nothing to set."""


class Probe(Strategy):
    """One market order at a time, from a quote on; keeps how long its fill took."""

    def on_start(self) -> None:
        self.instrument_id = InstrumentId.from_str(PERP)
        self.instrument = self.cache.instrument(self.instrument_id)
        self.latencies_us: list[float] = []
        self.sent_ns = 0
        self.subscribe_quote_ticks(self.instrument_id)

    def on_quote_tick(self, _tick) -> None:
        if self.sent_ns:
            return
        side = OrderSide.SELL if len(self.latencies_us) % 2 else OrderSide.BUY
        order = self.order_factory.market(self.instrument_id, side, self.instrument.make_qty("0.05"))
        self.sent_ns = time.perf_counter_ns()
        self.submit_order(order)

    def on_order_filled(self, event) -> None:
        if self.cache.order(event.client_order_id).is_closed:
            self.latencies_us.append((time.perf_counter_ns() - self.sent_ns) / 1e3)
            self.sent_ns = 0


def _latency_figures() -> list[Figure]:
    with tempfile.TemporaryDirectory() as folder:
        order = [KINDS[number % 2 :] + KINDS[: number % 2] for number in range(PAIRS)]
        runs = [{kind: _run(kind, Path(folder, f"{number}")) for kind in kinds} for number, kinds in enumerate(order)]
    names = {"sandbox": "Nautilus's sandbox", "exchange": "simulated exchange over loopback"}
    note = f"{ORDERS} market orders per run; the exchange is a process of its own and writes before it answers"
    return [
        Figure(f"submit to fill, {point}, {names[kind]}", "us", tuple(run[kind][point] for run in runs), note=note)
        for point in ("p50", "p99")
        for kind in KINDS
    ]


def _run(kind: str, folder: Path) -> dict[str, float]:
    (folder / kind).mkdir(parents=True)
    with (folder / kind / "output").open("w") as out:
        command = [sys.executable, __file__, kind, str(folder / kind)]
        subprocess.run(command, stdout=out, stderr=subprocess.STDOUT, timeout=TIMEOUT_S, check=True)
    latencies_us = json.loads((folder / kind / RESULT).read_text())
    return {"p50": statistics.median(latencies_us), "p99": statistics.quantiles(latencies_us, n=100)[-1]}


def _config(kind: str, folder: Path) -> dict:
    ours = "nautilus_ext.simulation:Simulated"
    sandbox = "nautilus_trader.adapters.sandbox.config:SandboxExecutionClientConfig"
    account = {"venue": "SIM2", "account_type": "MARGIN", "starting_balances": ["1000000 USDT"]}
    client = {
        "sandbox": {"path": sandbox, "config": {**account, "default_leverage": "10", "use_reduce_only": False}},
        "exchange": {"path": f"{ours}ExecClientConfig", "config": {**account, "data_dir": str(folder)}},
    }[kind]
    market = {"data_dir": str(folder), "interval_ms": INTERVAL_MS}
    return {
        "environment": "sandbox",
        "trader_id": "BENCH-001",
        "logging": {"log_level": "ERROR"},
        "risk_engine": {"bypass": True},
        "timeout_post_stop": 0.1,
        "data_clients": {
            "SIM": {
                "path": f"{ours}DataClientConfig",
                "factory": {"path": f"{ours}DataClientFactory"},
                "config": market,
            }
        },
        "exec_clients": {"SIM2": client},
    }


def _one(kind: str, folder: Path) -> None:
    from nautilus_trader.adapters.sandbox.factory import SandboxLiveExecClientFactory

    from nautilus_ext.simulation import SimulatedExecClientFactory

    node = TradingNode(config=TradingNodeConfig.parse(json.dumps(_config(kind, folder))))
    probe = Probe(ProbeConfig())
    node.trader.add_strategy(probe)
    node.add_exec_client_factory(
        "SIM2", SimulatedExecClientFactory if kind == "exchange" else SandboxLiveExecClientFactory
    )
    node.build()
    loop = node.get_event_loop()

    async def until_enough() -> None:
        running = loop.create_task(node.run_async())
        deadline_s = time.monotonic() + TIMEOUT_S / 2
        while len(getattr(probe, "latencies_us", ())) < ORDERS:
            assert time.monotonic() < deadline_s, "too few fills"
            await asyncio.sleep(0.05)
        await node.stop_async()
        await running

    loop.run_until_complete(until_enough())
    (folder / RESULT).write_text(json.dumps(probe.latencies_us[:ORDERS]))
    node.dispose()


if __name__ == "__main__":
    _one(sys.argv[1], Path(sys.argv[2]))
