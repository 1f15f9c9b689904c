"""A long history in two places at once: python restart_history.py FOLDER VALKEY_PORT CLOSED OPEN.

One engine trades; our mirror and Nautilus's Redis cache both keep what it does, so a restart finds the same in each.
A process for itself: Nautilus's logging is global, and 100,000 orders are heavy.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import sys
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import asyncpg
from journaled_replay import INSTRUMENT, silent_engine
from nautilus_trader.config import DatabaseConfig, StrategyConfig
from nautilus_trader.model.data import QuoteTick
from nautilus_trader.model.enums import OrderSide
from nautilus_trader.trading.strategy import Strategy
from servers import DRAIN_S_MAX, POSTGRES

from nautilus_ext.embedded import EmbeddedPostgres
from nautilus_ext.persistence import Mirror, MirrorConfig
from nautilus_ext.persistence.shipper.launch import Shipping
from nautilus_ext.persistence.shipper.state import ShipperOrder
from nautilus_ext.schema import books

if TYPE_CHECKING:
    from nautilus_trader.backtest.engine import BacktestEngine

TRADER, BOOK = "PAPER-001", "PAPER-001.paper"
BID, ASK, FAR = 50_000, 50_001, 30_000
QUOTE_NS = 100_000_000
TURN = 4  # orders until the position is closed again


class Historian(Strategy):
    """At each quote a market order, and its position opens, grows, shrinks and closes; then limit orders that rest."""

    def __init__(self, closed: int, resting: int) -> None:
        super().__init__(StrategyConfig(log_events=False, log_commands=False))
        self.orders_left, self.resting = closed, resting

    def on_start(self) -> None:
        self.quantity = INSTRUMENT.make_qty(Decimal("0.010"))
        self.subscribe_quote_ticks(INSTRUMENT.id)

    def on_quote_tick(self, tick: QuoteTick) -> None:  # noqa: ARG002 - Nautilus's signature
        if self.orders_left:
            side = OrderSide.BUY if self.orders_left % TURN in (0, 3) else OrderSide.SELL
            self.submit_order(self.order_factory.market(INSTRUMENT.id, side, self.quantity))
            self.orders_left -= 1
        elif self.resting:
            price = INSTRUMENT.make_price(FAR - self.resting)
            self.submit_order(self.order_factory.limit(INSTRUMENT.id, OrderSide.BUY, self.quantity, price))
            self.resting -= 1


def _engine(valkey_port: int, closed: int, resting: int) -> BacktestEngine:
    database = DatabaseConfig(type="redis", host="127.0.0.1", port=valkey_port)
    engine = silent_engine(TRADER, database)
    size = INSTRUMENT.make_qty(100)
    bid, ask = INSTRUMENT.make_price(BID), INSTRUMENT.make_price(ASK)
    times = range(0, (closed + resting + 1) * QUOTE_NS, QUOTE_NS)
    engine.add_data([QuoteTick(INSTRUMENT.id, bid, ask, size, size, each, each) for each in times])
    engine.portfolio.analyzer.record_trade = lambda *_: None  # its cost grows with the trades
    engine.add_strategy(Historian(closed, resting))
    return engine


async def _on_book(url: str, work: Any, *arguments: Any) -> Any:
    connection = await asyncpg.connect(url)
    try:
        return await work(connection, *arguments)
    finally:
        await connection.close()


def write(folder: Path, valkey_port: int, closed: int, resting: int) -> int:
    """Trade until all of it is in both; return how many events the journal has."""
    engine = _engine(valkey_port, closed, resting)
    claim = books.Claim(BOOK, TRADER, "paper", "history", socket.gethostname(), os.getpid(), "0", "1")
    with EmbeddedPostgres.join(folder / POSTGRES) as server:
        start = asyncio.run(_on_book(server.app_url, books.start_run, claim))
        journal = str(folder / "journal" / BOOK)
        place = {"book_id": BOOK, "run": start.run, "epoch": start.epoch}
        mirror = Mirror(MirrorConfig(folder=journal, flush="batch", **place))  # type: ignore[arg-type]
        engine.add_actor(mirror)
        order = ShipperOrder(journal_folder=journal, embedded_folder=str(folder / POSTGRES), **place)
        shipping = Shipping.start(order)
        engine.run()
        # The engine's own end cancels nothing: what rests is what a node that was killed leaves behind.
        assert engine.cache.orders_open_count() == resting, engine.cache.orders_open_count()
        mirror.finish(clean=True)
        engine.cache.dispose()  # returns when its writer has sent everything
        assert shipping.drain(DRAIN_S_MAX), shipping.state
        shipping.close()
        end = books.End(clean=True, exit_code=0, last_seq=mirror.seq)
        asyncio.run(_on_book(server.app_url, books.end_run, claim, start.run, end))
    return mirror.seq


if __name__ == "__main__":
    events = write(Path(sys.argv[1]), *map(int, sys.argv[2:5]))
    sys.stdout.write(f"{json.dumps({'events': events})}\n")
