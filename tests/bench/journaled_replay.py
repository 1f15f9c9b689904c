"""One backtest at full speed until all that it caused is kept: python journaled_replay.py KIND FOLDER VALKEY_PORT.

KIND is bare (nothing is kept), journal (mirror, shipper, PostgreSQL), gated (the same behind the gate) or redis
(Nautilus's own cache database).
A process for itself: Nautilus's logging and its collector settings are global.
"""

from __future__ import annotations

import gc
import json
import sys
import time
from decimal import Decimal
from pathlib import Path
from typing import Any

from nautilus_trader.backtest.engine import BacktestEngine, BacktestEngineConfig
from nautilus_trader.config import CacheConfig, DatabaseConfig, LoggingConfig, RiskEngineConfig, StrategyConfig
from nautilus_trader.model.currencies import USDT
from nautilus_trader.model.data import QuoteTick
from nautilus_trader.model.enums import AccountType, OmsType, OrderSide
from nautilus_trader.model.objects import Money
from nautilus_trader.test_kit.providers import TestInstrumentProvider
from nautilus_trader.trading.strategy import Strategy
from servers import JournaledBook, valkey_keys

from nautilus_ext.risk import RiskGate, RiskGateConfig

INSTRUMENT = TestInstrumentProvider.btcusdt_perp_binance()
ORDERS = 20_000
QUOTES_PER_ORDER = 10
QUOTE_NS = 100_000_000
LIMITS = {
    "preset": "paper",
    "limits": {
        "global": {"max_exposure": "500000", "max_order_notional": "50000"},
        "strategy=*": {"max_exposure": "250000"},
        "instrument=*": {"max_order_quantity": "1", "max_position": "3"},
    },
}


class Market(Strategy):
    """A market order at each tenth quote: opens a position, adds to it, reduces it, closes it; five events each."""

    def __init__(self) -> None:
        super().__init__(StrategyConfig(log_events=False, log_commands=False))

    def on_start(self) -> None:
        self.quotes = 0
        self.quantity = INSTRUMENT.make_qty(Decimal("0.010"))
        self.subscribe_quote_ticks(INSTRUMENT.id)

    def on_quote_tick(self, tick: QuoteTick) -> None:  # noqa: ARG002 - Nautilus's signature
        self.quotes += 1
        if self.quotes % QUOTES_PER_ORDER:
            return
        side = OrderSide.BUY if self.quotes // QUOTES_PER_ORDER % 4 in (1, 2) else OrderSide.SELL
        self.submit_order(self.order_factory.market(INSTRUMENT.id, side, self.quantity))


def silent_engine(trader_id: str, database: DatabaseConfig | None) -> BacktestEngine:
    """Make an engine with one instrument at one venue that says nothing and analyses nothing."""
    config = BacktestEngineConfig(
        trader_id=trader_id,  # type: ignore[arg-type]
        cache=CacheConfig(database=database, flush_on_start=True),
        logging=LoggingConfig(bypass_logging=True),
        run_analysis=False,
        risk_engine=RiskEngineConfig(max_order_submit_rate="1000000/00:00:01"),
    )
    engine = BacktestEngine(config)
    engine.add_venue(
        INSTRUMENT.id.venue, OmsType.NETTING, AccountType.MARGIN, [Money(9_000_000, USDT)], default_leverage=Decimal(10)
    )
    engine.add_instrument(INSTRUMENT)
    return engine


def _engine(database: DatabaseConfig | None) -> BacktestEngine:
    engine = silent_engine("BENCH-001", database)
    size = INSTRUMENT.make_qty(100)
    bid, ask = INSTRUMENT.make_price(50_000), INSTRUMENT.make_price(50_001)
    times = range(0, ORDERS * QUOTES_PER_ORDER * QUOTE_NS, QUOTE_NS)
    engine.add_data([QuoteTick(INSTRUMENT.id, bid, ask, size, size, each, each) for each in times])
    engine.portfolio.analyzer.record_trade = lambda *_: None  # its cost grows with the trades, whoever keeps them
    engine.add_strategy(Market())
    return engine


def _measure(kind: str, folder: Path, valkey_port: int) -> dict[str, Any]:
    database = DatabaseConfig(type="redis", host="127.0.0.1", port=valkey_port) if kind == "redis" else None
    engine = _engine(database)
    book = JournaledBook(folder, "batch") if kind in {"journal", "gated"} else None
    if book is not None:
        engine.add_actor(book.mirror)
    if kind == "gated":
        engine.add_actor(RiskGate(RiskGateConfig(section=LIMITS)))
    gc.collect()
    gc.disable()
    wall_s, main_s = time.perf_counter(), time.thread_time()
    if book is not None:
        book.start()
    engine.run()
    ran_s = time.perf_counter() - wall_s
    filled = sum(order.is_closed for order in engine.cache.orders())
    if book is not None:
        book.drain()
    elif database is not None:
        engine.cache.dispose()  # returns when its writer has sent everything
    spent = {
        "wall": time.perf_counter() - wall_s,
        "drain": time.perf_counter() - wall_s - ran_s,
        "main": time.thread_time() - main_s,
    }
    assert filled == ORDERS, f"{filled} orders are filled"
    if database is not None:
        assert valkey_keys(valkey_port) >= ORDERS, "the peer lacks orders"
    return {**spent, "events": book.close() if book is not None else 0}


if __name__ == "__main__":
    result = _measure(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
    sys.stdout.write(f"{json.dumps(result)}\n")
    sys.stdout.flush()
