"""After a real run of Nautilus's engine the rows say what its cache says."""

from __future__ import annotations

import os
import random
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from journal_store import JournalStore
from nautilus_trader.backtest.engine import BacktestEngine, BacktestEngineConfig
from nautilus_trader.backtest.models import FeeModel, FillModel
from nautilus_trader.common.actor import Actor
from nautilus_trader.config import LoggingConfig
from nautilus_trader.model.currencies import BTC, USDT
from nautilus_trader.model.data import QuoteTick
from nautilus_trader.model.enums import AccountType, OmsType, OrderSide, TriggerType
from nautilus_trader.model.identifiers import Venue
from nautilus_trader.model.objects import Money
from nautilus_trader.trading.strategy import Strategy
from position_histories import LINEAR, SPOT, instrument_record

from nautilus_ext.persistence import records
from nautilus_ext.persistence.encode import Encoder
from nautilus_ext.persistence.ledger import Ledger

if TYPE_CHECKING:
    from nautilus_ext.persistence.records import Record

SEED = int(os.environ.get("FOLD_SEED", "0")) or random.randrange(1, 10**9)
TICKS = 400


class Listener(Actor):
    """Encodes every event at once, as the mirror does it."""

    def register_base(self, portfolio: Any, msgbus: Any, cache: Any, clock: Any) -> None:
        super().register_base(portfolio, msgbus, cache, clock)
        self.payloads: list[bytes] = []
        self.encoder = Encoder()
        for topic in ("events.order.*", "events.position.*", "events.account.*"):
            msgbus.subscribe(topic, self._take)

    def _take(self, event: Any) -> None:
        self.payloads.append(self.encoder.event(len(self.payloads) + 2, event))


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

    def on_quote_tick(self, tick: QuoteTick) -> None:
        mid = float(tick.bid_price)
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
        """Enter with one unit, filled at once.

        While an entry fills in parts, Nautilus 1.231's matching engine raises the quantity of its stop and target
        without an event: their OrderUpdated shares the Quantity that counts the fills of the entry.
        """
        given = self._given() | {"quantity": self.instrument.make_qty(1)}
        up = 1 if given["order_side"] == OrderSide.BUY else -1
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


def run(instrument: Any, oms: OmsType, seed: int) -> tuple[BacktestEngine, list[Record]]:
    rng = random.Random(seed)
    quiet = LoggingConfig(bypass_logging=True)
    engine = BacktestEngine(BacktestEngineConfig(logging=quiet, run_analysis=False))
    money = [Money(10_000_000, USDT), Money(10_000, BTC)]
    fills = FillModel(prob_fill_on_limit=0.6, random_seed=seed)
    account = AccountType.MARGIN if instrument is LINEAR else AccountType.CASH
    fees = InBase() if instrument is SPOT else None
    engine.add_venue(Venue("BINANCE"), oms, account, money, fill_model=fills, fee_model=fees)
    engine.add_instrument(instrument)
    price, ticks = 100.0, []
    for at in range(1, TICKS):
        price += rng.choice((-1, 0, 1))
        bid, ask = instrument.make_price(price), instrument.make_price(price + 1)
        sizes = [instrument.make_qty(rng.randrange(1, 6)) for _ in range(2)]
        ticks.append(QuoteTick(instrument.id, bid, ask, *sizes, at * 10**9, at * 10**9))
    engine.add_data(ticks)
    listener = Listener()
    engine.add_actor(listener)
    engine.add_strategy(Gambler(instrument, rng))
    engine.run()
    first = instrument_record(instrument, "A:BTC-USDT", (1, 1))
    return engine, [first, *(records.decode(1, payload) for payload in listener.payloads)]


def shipped(journal: list[Record]) -> JournalStore:
    store, ledger = JournalStore(), Ledger("b")
    for start in range(0, len(journal), 97):
        store.ship(ledger, journal[start : start + 97])
    return store


@pytest.mark.parametrize(("instrument", "oms"), [(LINEAR, OmsType.NETTING), (LINEAR, OmsType.HEDGING)])
def test_the_rows_equal_the_cache_after_a_run(instrument: Any, oms: OmsType) -> None:
    """Every order and every position: partial fills, brackets, emulation, modifications, netting and hedging."""
    print(f"FOLD_SEED={SEED}")
    engine, journal = run(instrument, oms, SEED)
    store = shipped(journal)
    assert not store.rejected
    expected = {
        o.client_order_id.value: (
            o.status_string(),
            o.type_string(),
            o.filled_qty.as_decimal(),
            o.quantity.as_decimal(),
        )
        for o in engine.cache.orders()
    }
    actual = {r.client_order_id: (r.status, r.order_type, r.filled_quantity, r.quantity) for r in store.rows("orders")}
    assert expected == actual
    assert sum(len(o.trade_ids) for o in engine.cache.orders()) == len(list(store.rows("fills")))
    held = {(p.id.value, p.side.name, p.quantity.as_decimal()) for p in engine.cache.positions_open()}
    assert held == {(r.position_id, r.side, r.quantity) for r in store.rows("positions") if r.side != "FLAT"}
    realized = sum(p.realized_pnl.as_decimal() for p in engine.cache.positions())
    realized += sum(p.realized_pnl.as_decimal() for p in engine.cache.position_snapshots())
    assert realized == store.tables["unified_positions"]["A:BTC-USDT",].realized_pnl
    for account in engine.cache.accounts():
        (row,) = store.rows("accounts")
        assert account.id.value == row.account_id
    engine.dispose()


def test_nautilus_publishes_no_adjustment_and_its_snapshot_contains_it() -> None:
    """A commission in the base currency of a spot pair: what the position holds is what the row holds."""
    engine, journal = run(SPOT, OmsType.NETTING, SEED)
    assert "PositionAdjusted" not in {record.type for record in journal}
    store = shipped(journal)
    held = {(p.id.value, p.quantity.as_decimal()) for p in engine.cache.positions_open()}
    assert held == {(r.position_id, r.quantity) for r in store.rows("positions") if r.side != "FLAT"}
    assert [a for p in engine.cache.positions() for a in p.adjustments], "no commission in the base currency: no proof"
    engine.dispose()
