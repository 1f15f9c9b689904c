"""An engine that trades without end, a mirror in it, a witness beside it, and the log that the mirror wrote."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, NamedTuple

import msgspec
from nautilus_trader.backtest.engine import BacktestEngine, BacktestEngineConfig
from nautilus_trader.config import LoggingConfig, RiskEngineConfig, StrategyConfig
from nautilus_trader.model.currencies import USDT
from nautilus_trader.model.data import QuoteTick
from nautilus_trader.model.enums import AccountType, OmsType, OrderSide
from nautilus_trader.model.identifiers import Venue
from nautilus_trader.model.objects import Money
from nautilus_trader.test_kit.providers import TestInstrumentProvider
from nautilus_trader.trading.strategy import Strategy

from nautilus_ext.persistence import Mirror, MirrorConfig, mirror, segments

INSTRUMENT = TestInstrumentProvider.btcusdt_perp_binance()
TOPICS = ("events.order.*", "events.position.*", "events.account.*")


class Record(NamedTuple):
    seq: int
    type: str
    ts_event: int
    ts_init: int
    body: dict


class Busy(Strategy):
    """At each quote a market order in turns to buy and to sell, and one that rests until the next; holds at the end."""

    def on_start(self):
        self.subscribe_quote_ticks(INSTRUMENT.id)
        self.count = 0

    def on_quote_tick(self, tick):
        self.count += 1
        self.cancel_all_orders(INSTRUMENT.id)
        side = OrderSide.SELL if self.count % 2 else OrderSide.BUY
        size = INSTRUMENT.make_qty(Decimal("0.001") * (1 + self.count % 3))
        self.submit_order(self.order_factory.market(INSTRUMENT.id, side, size))
        price = INSTRUMENT.make_price(tick.bid_price.as_decimal() / 2)
        self.submit_order(self.order_factory.limit(INSTRUMENT.id, OrderSide.BUY, size, price, tags=["op:7"]))

    def on_stop(self):
        self.submit_order(self.order_factory.market(INSTRUMENT.id, OrderSide.BUY, INSTRUMENT.make_qty("0.5")))


def make_engine(quotes: int = 0, actors: tuple = ()) -> BacktestEngine:
    config = BacktestEngineConfig(
        actors=list(actors),
        logging=LoggingConfig(bypass_logging=True),
        run_analysis=False,
        risk_engine=RiskEngineConfig(max_order_submit_rate="1000000/00:00:01"),
    )
    engine = BacktestEngine(config)
    engine.add_venue(Venue("BINANCE"), OmsType.NETTING, AccountType.MARGIN, [Money(9_000_000, USDT)])
    engine.add_instrument(INSTRUMENT)
    if quotes:
        engine.portfolio.analyzer.record_trade = lambda *_: None
        engine.add_strategy(Busy(StrategyConfig(strategy_id="BUSY-001")))
        size = INSTRUMENT.make_qty("10")
        prices = [
            (INSTRUMENT.make_price(50_000 + n % 90), INSTRUMENT.make_price(50_001 + n % 90)) for n in range(quotes)
        ]
        engine.add_data([QuoteTick(INSTRUMENT.id, *p, size, size, n * 10**9, n * 10**9) for n, p in enumerate(prices)])
    return engine


def make_mirror(folder, flush: Any = "event", run=1, **more) -> Mirror:
    more = {"component_id": f"Mirror-{run}", **more}
    return Mirror(MirrorConfig(folder=str(folder), book_id="BOOK", run=run, epoch=4, flush=flush, **more))


def log_of(folder, run=1) -> list[Record]:
    records = []
    for path in segments.segments(segments.run_folder(folder, run)):
        offset, state = 0, segments.State.MORE
        while state is segments.State.MORE:
            frames, state = segments.read_frames(path, offset)
            records += [Record(*msgspec.json.decode(payload)) for _, payload in frames]
            offset = frames[-1][0] if frames else offset
        assert state in {segments.State.END, segments.State.SEALED}
    return records


def names(records: list[Record]) -> list[str]:
    return [record.type for record in records]


class Witness:
    """Notes each event on the bus at the moment at which it is published."""

    def __init__(self, msgbus) -> None:
        self.seen: list[tuple[str, int, int, dict]] = []
        for topic in TOPICS:
            msgbus.subscribe(topic, self.note, priority=mirror.FIRST)

    def note(self, event) -> None:
        kind = type(event)
        self.seen.append((kind.__name__, event.ts_event, event.ts_init, kind.to_dict(event)))


def as_json(values: dict) -> dict:
    return msgspec.json.decode(msgspec.json.encode(values))
