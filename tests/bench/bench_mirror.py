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
from pathlib import Path
from typing import Any

from measure import Figure
from nautilus_trader.backtest.engine import BacktestEngine, BacktestEngineConfig
from nautilus_trader.config import LoggingConfig, RiskEngineConfig
from nautilus_trader.model.currencies import USDT
from nautilus_trader.model.data import QuoteTick
from nautilus_trader.model.enums import AccountType, OmsType, OrderSide
from nautilus_trader.model.identifiers import PositionId
from nautilus_trader.model.objects import Money
from nautilus_trader.model.position import Position
from nautilus_trader.test_kit.providers import TestInstrumentProvider
from nautilus_trader.test_kit.stubs.events import TestEventStubs
from nautilus_trader.test_kit.stubs.execution import TestExecStubs
from nautilus_trader.trading.strategy import Strategy

from nautilus_ext.persistence import Mirror, MirrorConfig
from nautilus_ext.persistence.encode import Encoder

INSTRUMENT = TestInstrumentProvider.btcusdt_perp_binance()
KINDS = ("bare", "batch", "event")
ORDERS = 5_000
ROUNDS = 7
TIMEOUT_S = 120.0
BATCH_BUDGET_US = 5.0
EVENT_BUDGET_US = 10.0
ENCODE_ROUNDS = 15
ENCODE_EVENTS = 2_000


class Market(Strategy):
    """A market order at every quote, in turns to buy and to sell: five or six events each."""

    def on_start(self) -> None:
        self.side = OrderSide.BUY
        self.quantity = INSTRUMENT.make_qty(Decimal("0.010"))
        self.subscribe_quote_ticks(INSTRUMENT.id)

    def on_quote_tick(self, tick) -> None:  # noqa: ARG002 - Nautilus's signature
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
    note = f"{ORDERS:,} market orders, {count:,} records, no shipper; the analyzer is stubbed, logging off"
    return [
        Figure("backtest without a mirror, CPU time", "s", tuple(run["bare"]["cpu"] for run in runs), note=note),
        *[_overhead(runs, kind, clock) for kind in ("batch", "event") for clock in ("cpu", "wall")],
        _per_event(runs, "batch", count, BATCH_BUDGET_US),
        _per_event(runs, "event", count, EVENT_BUDGET_US),
        *_encoding(),
    ]


def _overhead(runs: list[dict], kind: str, clock: str) -> Figure:
    values = tuple((run[kind][clock] / run["bare"][clock] - 1) * 100 for run in runs)
    return Figure(f"backtest overhead, mirror alone, flush {kind}, {clock} time", "%", values)


def _per_event(runs: list[dict], kind: str, count: int, budget: float) -> Figure:
    values = tuple((run[kind]["cpu"] - run["bare"]["cpu"]) / count * 1e6 for run in runs)
    return Figure(f"mirror per event in a backtest, flush {kind}, CPU time", "us", values, budget=budget)


def _encoding() -> list[Figure]:
    encode = Encoder().event
    note = f"to_dict and JSON; each run the mean of {ENCODE_EVENTS:,}"
    found = []
    for event in _events():
        values = []
        for _ in range(ENCODE_ROUNDS):
            began_ns = time.perf_counter_ns()
            for seq in range(ENCODE_EVENTS):
                encode(seq, event)
            values.append((time.perf_counter_ns() - began_ns) / ENCODE_EVENTS / 1e3)
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
    engine.add_data([QuoteTick(INSTRUMENT.id, bid, ask, size, size, n * 10**9, n * 10**9) for n in range(ORDERS)])
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
