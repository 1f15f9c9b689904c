"""An engine in which a strategy does everything at random: what a book may hold when its node ends."""

from __future__ import annotations

import random
from decimal import Decimal
from typing import Any

from nautilus_trader.backtest.engine import BacktestEngine, BacktestEngineConfig
from nautilus_trader.backtest.models import FeeModel, FillModel
from nautilus_trader.config import LoggingConfig
from nautilus_trader.model.currencies import BTC, USDT
from nautilus_trader.model.data import QuoteTick
from nautilus_trader.model.enums import AccountType, ContingencyType, OmsType, OrderSide, OrderType, TriggerType
from nautilus_trader.model.identifiers import ClientOrderId, StrategyId, TradeId
from nautilus_trader.model.objects import Money
from nautilus_trader.test_kit.providers import TestInstrumentProvider
from nautilus_trader.test_kit.stubs.events import TestEventStubs
from nautilus_trader.test_kit.stubs.execution import TestExecStubs
from nautilus_trader.trading.strategy import Strategy

TICKS = 400
EXTERNAL_ORDERS = 5
LINEAR = TestInstrumentProvider.btcusdt_perp_binance()
INVERSE = TestInstrumentProvider.xbtusd_bitmex()
SPOT = TestInstrumentProvider.btcusdt_binance()
RUNS = [
    (LINEAR, OmsType.NETTING),
    (LINEAR, OmsType.HEDGING),
    (INVERSE, OmsType.NETTING),
    (INVERSE, OmsType.HEDGING),
    (SPOT, OmsType.NETTING),
]


class InBase(FeeModel):
    """Charges what was bought, as spot venues do."""

    def get_commission(self, *_: Any) -> Money:
        return Money(0.001, BTC)


class Gambler(Strategy):
    """Orders of every kind at random, brackets, emulated ones, modifications and cancellations."""

    def __init__(self, instrument: Any, rng: random.Random) -> None:
        super().__init__()
        self.instrument = instrument
        self.rng = rng

    def on_start(self) -> None:
        self.subscribe_quote_ticks(self.instrument.id)
        for number in range(EXTERNAL_ORDERS):
            self.find_at_the_venue(number)

    def find_at_the_venue(self, number: int) -> None:
        """Do as a reconciliation does: an order of nobody's is in the cache, and events tell what became of it."""
        order = TestExecStubs.limit_order(
            instrument=self.instrument,
            price=self._price(100),
            quantity=self.instrument.make_qty(4),
            order_side=self.rng.choice((OrderSide.BUY, OrderSide.SELL)),
            client_order_id=ClientOrderId(f"EXT-{number}"),
            strategy_id=StrategyId("EXTERNAL"),
        )
        self.cache.add_order(order)
        (account,) = self.cache.accounts()
        events = [TestEventStubs.order_accepted(order, account_id=account.id)]
        for part in range(number % 3):
            fill = {"trade_id": TradeId(f"EXT-{number}-{part}"), "last_qty": self.instrument.make_qty(2)}
            events.append(
                TestEventStubs.order_filled(
                    order,
                    self.instrument,
                    strategy_id=order.strategy_id,
                    account_id=account.id,
                    last_px=self._price(100),
                    commission=Money(0, self.instrument.get_settlement_currency()),
                    **fill,
                )
            )
        if number % 2:
            events.append(TestEventStubs.order_canceled(order, account_id=account.id))
        for event in events:
            self.msgbus.send("ExecEngine.process", event)

    def on_quote_tick(self, tick: QuoteTick) -> None:
        mid = float(tick.bid_price)
        if tick.ts_event == 10**9:  # a netted position that is larger than what an entry adds
            size = self.instrument.make_qty(100)
            self.submit_order(self.order_factory.market(self.instrument.id, OrderSide.BUY, size))
        act = self.rng.choice((self.take, self.quote, self.stop_loss, self.bracket, self.change, self.call_off))
        act(mid)

    def _price(self, value: float) -> Any:
        return self.instrument.make_price(value)

    def _given(self) -> dict[str, Any]:
        side = self.rng.choice((OrderSide.BUY, OrderSide.SELL))
        quantity = self.instrument.make_qty(self.rng.randrange(1, 8))
        return {"instrument_id": self.instrument.id, "order_side": side, "quantity": quantity}

    def take(self, _mid: float) -> None:
        self.submit_order(self.order_factory.market(**self._given(), tags=["op:gamble"]))

    def quote(self, mid: float) -> None:
        emulation = self.rng.choice((TriggerType.NO_TRIGGER, TriggerType.BID_ASK))
        price = self._price(mid + self.rng.randrange(-3, 4))
        self.submit_order(self.order_factory.limit(**self._given(), price=price, emulation_trigger=emulation))

    def stop_loss(self, mid: float) -> None:
        given = self._given()
        away = 2 if given["order_side"] == OrderSide.BUY else -2
        kinds = ("stop_market", "stop_limit", "trailing_stop_market")
        kind = self.rng.choice(kinds)
        given["emulation_trigger"] = self.rng.choice((TriggerType.NO_TRIGGER, TriggerType.BID_ASK))
        given["trigger_price"] = self._price(mid + away)
        if kind == "stop_limit":
            given["price"] = self._price(mid + away)
        if kind == "trailing_stop_market":
            given["trailing_offset"] = Decimal(2)
        self.submit_order(getattr(self.order_factory, kind)(**given))

    def bracket(self, mid: float) -> None:
        """Enter by a limit order larger than the market: it fills in parts, its stop and target grow with it."""
        given = self._given() | {"quantity": self.instrument.make_qty(self.rng.randrange(6, 20))}
        up = 1 if given["order_side"] == OrderSide.BUY else -1
        given |= {"entry_order_type": OrderType.LIMIT, "entry_price": self._price(mid + self.rng.randrange(2) * up)}
        given["contingency_type"] = self.rng.choice((ContingencyType.OUO, ContingencyType.OUO, ContingencyType.OCO))
        stop, target = self._price(mid - 3 * up), self._price(mid + 4 * up)
        self.submit_order_list(self.order_factory.bracket(**given, sl_trigger_price=stop, tp_price=target))

    def change(self, mid: float) -> None:
        for order in self.cache.orders_open(strategy_id=self.id)[:2]:
            if order.has_price and not order.is_pending_update and not order.is_pending_cancel:
                quantity = self.instrument.make_qty(self.rng.randrange(1, 9))
                self.modify_order(order, quantity=quantity, price=self._price(mid + self.rng.randrange(-3, 4)))

    def call_off(self, _mid: float) -> None:
        for order in [*self.cache.orders_open(strategy_id=self.id), *self.cache.orders_emulated()][:3]:
            if not order.is_pending_cancel:
                self.cancel_order(order)


def gambling_engine(instrument: Any, oms: OmsType, seed: int, *actors: Any) -> BacktestEngine:
    """Make the engine of a seed, not run yet."""
    rng = random.Random(seed)
    quiet = LoggingConfig(bypass_logging=True)
    engine = BacktestEngine(BacktestEngineConfig(logging=quiet, run_analysis=False))
    money = [Money(10_000_000, USDT), Money(10_000, BTC)]
    fills = FillModel(prob_fill_on_limit=0.6, random_seed=seed)
    account = AccountType.CASH if instrument is SPOT else AccountType.MARGIN
    fees = InBase() if instrument is SPOT else None
    engine.add_venue(instrument.id.venue, oms, account, money, fill_model=fills, fee_model=fees)
    engine.add_instrument(instrument)
    price, ticks = 100.0, []
    for at in range(1, TICKS):
        price += rng.choice((-1, 0, 1))
        bid, ask = instrument.make_price(price), instrument.make_price(price + 1)
        sizes = [instrument.make_qty(rng.randrange(1, 6)) for _ in range(2)]
        ticks.append(QuoteTick(instrument.id, bid, ask, *sizes, at * 10**9, at * 10**9))
    engine.add_data(ticks)
    for actor in actors:
        engine.add_actor(actor)
    engine.add_strategy(Gambler(instrument, rng))
    return engine
