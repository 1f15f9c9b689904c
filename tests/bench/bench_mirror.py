"""What the mirror costs: a backtest with it and without, in turns, each in a fresh process; and encoding by event type.

python bench_mirror.py KIND FOLDER measures one backtest: without a mirror, or with one of either flush policy.
"""

from __future__ import annotations

import gc
import json
import subprocess
import sys
import tempfile
import time
from decimal import Decimal
from operator import attrgetter
from pathlib import Path
from typing import Any

from measure import Figure
from nautilus_trader.backtest.engine import BacktestEngine, BacktestEngineConfig
from nautilus_trader.cache.cache import Cache
from nautilus_trader.common.component import MessageBus, TestClock
from nautilus_trader.config import LoggingConfig, RiskEngineConfig
from nautilus_trader.model.currencies import USDT
from nautilus_trader.model.data import QuoteTick
from nautilus_trader.model.enums import AccountType, OmsType, OrderSide
from nautilus_trader.model.identifiers import PositionId, TraderId
from nautilus_trader.model.objects import Money
from nautilus_trader.model.position import Position
from nautilus_trader.portfolio.portfolio import Portfolio
from nautilus_trader.test_kit.providers import TestInstrumentProvider
from nautilus_trader.test_kit.stubs.events import TestEventStubs
from nautilus_trader.test_kit.stubs.execution import TestExecStubs
from nautilus_trader.trading.strategy import Strategy

from nautilus_ext.persistence import Mirror, MirrorConfig
from nautilus_ext.persistence.encode import Encoder

INSTRUMENT = TestInstrumentProvider.btcusdt_perp_binance()
KINDS = ("bare", "batch", "event")
ORDERS = 4_000
QUOTES_PER_ORDER = 10
STEP_NS = 10_000_000
ROUNDS = 7
TIMEOUT_S = 120.0
BATCH_BUDGET_US = 5.0
EVENT_BUDGET_US = 10.0
ENCODE_ROUNDS = 15
ENCODE_EVENTS = 2_000
HANDLERS = {
    **dict.fromkeys(("OrderInitialized", "OrderSubmitted", "OrderAccepted", "OrderFilled"), attrgetter("_on_order")),
    "PositionOpened": attrgetter("_on_position"),
    "AccountState": attrgetter("_on_account"),
}


class Market(Strategy):
    """A market order at every tenth quote, in turns to buy and to sell: five events each."""

    def on_start(self) -> None:
        self.quotes = 0
        self.side = OrderSide.BUY
        self.quantity = INSTRUMENT.make_qty(Decimal("0.010"))
        self.subscribe_quote_ticks(INSTRUMENT.id)

    def on_quote_tick(self, tick) -> None:  # noqa: ARG002 - Nautilus's signature
        self.quotes += 1
        if self.quotes % QUOTES_PER_ORDER:
            return
        self.submit_order(self.order_factory.market(INSTRUMENT.id, self.side, self.quantity))
        self.side = OrderSide.SELL if self.side == OrderSide.BUY else OrderSide.BUY


def figures() -> list[Figure]:
    runs = []
    for number in range(ROUNDS):
        order = KINDS if number % 2 else KINDS[::-1]
        runs.append({kind: _run(kind) for kind in order})
    events = {run[kind]["events"] for run in runs for kind in ("batch", "event")}
    assert len(events) == 1, f"not the same backtest: {events}"
    (count,) = events
    orders = f"{ORDERS:,} market orders, {QUOTES_PER_ORDER} quotes each"
    note = f"{orders}, {count:,} records, no shipper; the analyzer is stubbed, logging off"
    return [
        Figure("backtest without a mirror, CPU time", "s", tuple(run["bare"]["cpu"] for run in runs), note=note),
        *[_overhead(runs, kind, clock) for kind in ("batch", "event") for clock in ("cpu", "wall")],
        *[_per_event(runs, kind, count) for kind in ("batch", "event")],
        _handlers("batch", BATCH_BUDGET_US),
        _handlers("event", EVENT_BUDGET_US),
        *_encoding(),
    ]


def _overhead(runs: list[dict], kind: str, clock: str) -> Figure:
    values = tuple((run[kind][clock] / run["bare"][clock] - 1) * 100 for run in runs)
    return Figure(f"backtest overhead, mirror alone, flush {kind}, {clock} time", "%", values)


def _per_event(runs: list[dict], kind: str, count: int) -> Figure:
    values = tuple((run[kind]["cpu"] - run["bare"]["cpu"]) / count * 1e6 for run in runs)
    note = "the difference to the bare backtest, cold caches and all"
    return Figure(f"mirror per event in a backtest, flush {kind}, CPU time", "us", values, note=note)


def _handlers(kind: Any, budget_us: float) -> Figure:
    """An order after the other through the mirror alone: the events of a market order that opens a position."""
    clock = TestClock()
    msgbus, cache = MessageBus(trader_id=TraderId("BENCH-1"), clock=clock), Cache()
    values = []
    with tempfile.TemporaryDirectory() as folder:
        mirror = Mirror(MirrorConfig(folder=folder, book_id="BENCH", run=1, epoch=1, flush=kind))
        mirror.register_base(Portfolio(msgbus, cache, clock), msgbus, cache, clock)
        cache.add_instrument(INSTRUMENT)
        handlers = [(HANDLERS[type(event).__name__](mirror), event) for event in _events()]
        for _ in range(ENCODE_ROUNDS):
            began_ns = time.thread_time_ns()
            for _ in range(ENCODE_EVENTS):
                for handle, event in handlers:
                    handle(event)
            values.append((time.thread_time_ns() - began_ns) / ENCODE_EVENTS / len(handlers) / 1e3)
        mirror.finish(clean=True)
    note = f"each run the mean of {ENCODE_EVENTS * len(handlers):,}: {', '.join(type(e).__name__ for _, e in handlers)}"
    return Figure(f"mirror on the trading thread per event, flush {kind}", "us", tuple(values), budget_us, note)


def _encoding() -> list[Figure]:
    encode = Encoder().event
    note = f"to_dict and JSON; each run the mean of {ENCODE_EVENTS:,}"
    found = []
    for event in _events():
        values = []
        for _ in range(ENCODE_ROUNDS):
            began_ns = time.thread_time_ns()
            for seq in range(ENCODE_EVENTS):
                encode(seq, event)
            values.append((time.thread_time_ns() - began_ns) / ENCODE_EVENTS / 1e3)
        found.append(Figure(f"encoding of {type(event).__name__}", "us", tuple(values), note=note))
    return found


def _events() -> list[Any]:
    order = TestExecStubs.limit_order(instrument=INSTRUMENT)
    fill = TestEventStubs.order_filled(order, instrument=INSTRUMENT, position_id=PositionId("P-1"))
    position = Position(INSTRUMENT, fill)
    states = [TestEventStubs.order_submitted(order), TestEventStubs.order_accepted(order)]
    opened = TestEventStubs.position_opened(position)
    return [order.init_event, *states, fill, opened, TestEventStubs.margin_account_state()]


def _run(kind: str) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, __file__, kind, folder]
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def _one(kind: str, folder: Path) -> None:
    config = BacktestEngineConfig(
        logging=LoggingConfig(bypass_logging=True),
        run_analysis=False,
        risk_engine=RiskEngineConfig(max_order_submit_rate="1000000/00:00:01"),
    )
    engine = BacktestEngine(config)
    engine.add_venue(INSTRUMENT.id.venue, OmsType.NETTING, AccountType.MARGIN, [Money(9_000_000, USDT)])
    engine.add_instrument(INSTRUMENT)
    size = INSTRUMENT.make_qty(100)
    bid, ask = INSTRUMENT.make_price(50_000), INSTRUMENT.make_price(50_001)
    times = range(0, ORDERS * QUOTES_PER_ORDER * STEP_NS, STEP_NS)
    engine.add_data([QuoteTick(INSTRUMENT.id, bid, ask, size, size, ts, ts) for ts in times])
    engine.portfolio.analyzer.record_trade = lambda *_: None
    mirror = None
    if kind in {"batch", "event"}:
        mirror = Mirror(MirrorConfig(folder=str(folder), book_id="BENCH", run=1, epoch=1, flush=kind))  # type: ignore[arg-type]
        engine.add_actor(mirror)
    engine.add_strategy(Market())
    gc.collect()
    gc.disable()
    wall_s, cpu_s = time.perf_counter(), time.process_time()
    engine.run()
    if mirror is not None:
        mirror.finish(clean=True)
    spent = {"wall": time.perf_counter() - wall_s, "cpu": time.process_time() - cpu_s}
    events = mirror.seq if mirror else 0
    sys.stdout.write(json.dumps({**spent, "events": events}) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    if len(sys.argv) > 1:
        _one(sys.argv[1], Path(sys.argv[2]))
    else:
        for figure in figures():
            print(f"{figure.what}: {figure.median} {figure.unit} (max {max(figure.values):.3f})")
