"""Races and odd cases on real engines: each of them has once passed a limit, or kept somebody from getting out."""

from __future__ import annotations

from decimal import Decimal, localcontext
from typing import Any

import pytest
from nautilus_trader.config import StrategyConfig
from nautilus_trader.core.uuid import UUID4
from nautilus_trader.model.currencies import BTC, ETH, USD
from nautilus_trader.model.data import Bar, BarType, TradeTick
from nautilus_trader.model.enums import AggressorSide, LiquiditySide, OrderStatus
from nautilus_trader.model.events import OrderFilled, OrderModifyRejected, OrderUpdated
from nautilus_trader.model.identifiers import (
    ClientId,
    ClientOrderId,
    InstrumentId,
    PositionId,
    Symbol,
    TradeId,
    VenueOrderId,
)
from nautilus_trader.model.instruments import CryptoPerpetual
from nautilus_trader.model.objects import Money, Price, Quantity
from risk_stage import BEGIN_NS, BUY, INSTRUMENTS, PERP, SELL, SPOT, Hand, Stage, is_denied, longest, modify, reason

from nautilus_ext.risk.sights import listing_of
from nautilus_ext.seam import PROCESS, take_over

FIVE = {"preset": "none", "limits": {"global": {"max_position": "5"}}}


@pytest.fixture
def stage() -> Stage:
    return Stage(FIVE).start()


def filled(stage: Stage, order: Any, quantity: Any, price: Any = 90, leg: str = "") -> None:
    """The venue says so while it has something else before it."""
    instrument = INSTRUMENTS[order.instrument_id.value]
    stage.bus.send(
        PROCESS,
        OrderFilled(
            order.trader_id,
            order.strategy_id,
            order.instrument_id,
            ClientOrderId(leg) if leg else order.client_order_id,
            VenueOrderId(leg) if leg else order.venue_order_id,
            order.account_id,
            TradeId(str(UUID4())[:30]),
            PositionId(f"{order.instrument_id}-{order.strategy_id}"),
            order.side,
            order.order_type,
            instrument.make_qty(quantity),
            instrument.make_price(price),
            instrument.quote_currency,
            Money(0, instrument.quote_currency),
            LiquiditySide.MAKER,
            UUID4(),
            0,
            0,
        ),
    )


def updated(stage: Stage, order: Any, quantity: Any, price: Any = None) -> None:
    """The venue has changed it."""
    instrument = INSTRUMENTS[order.instrument_id.value]
    ids = (order.trader_id, order.strategy_id, order.instrument_id, order.client_order_id)
    what = (instrument.make_qty(quantity), order.price if price is None else instrument.make_price(price), None)
    event = OrderUpdated(*ids, order.venue_order_id, order.account_id, *what, UUID4(), 0, 0)
    stage.bus.send(PROCESS, event)


# -- changes that a venue has not answered --------------------------------------------------------------


@pytest.mark.row(12, "on modify")
def test_a_fill_does_not_hide_a_change_that_waits_for_its_answer(stage):
    """Of three one is filled, the change to five is on its way: four can still be filled."""
    order = stage.hand.send(BUY, 3, 90)
    stage.tick()
    modify(stage, order, 5)
    filled(stage, order, 1)
    assert (OrderStatus.PARTIALLY_FILLED, Decimal(5)) == (order.status, longest(stage))
    is_denied(stage.hand.send(BUY, 1, 90), "MAX_POSITION: limit=5 scope=global value=5 would_be=6 unit=quantity")
    updated(stage, order, 5)
    assert Decimal(5) == longest(stage)


@pytest.mark.row(12, "on modify")
def test_a_change_by_the_venue_itself_is_no_answer_to_one_of_ours(stage):
    """As a trailing price, or an amendment: the change to five comes after it."""
    order = stage.hand.send(BUY, 3, 90)
    stage.tick()
    modify(stage, order, 5)
    updated(stage, order, 3, price=91)
    assert Decimal(5) == longest(stage)
    updated(stage, order, 5)
    modify(stage, order, 2)
    updated(stage, order, 2)
    assert Decimal(2) == longest(stage), "and nothing of it is left behind"


# -- what an order is worth -----------------------------------------------------------------------------


@pytest.mark.row(2, "one tick over")
def test_a_contract_is_worth_what_it_is_settled_in():
    """A quanto: its price in dollars times its multiplier are bitcoins."""
    words = {"price_precision": 2, "size_precision": 0, "price_increment": Price.from_str("0.01")}
    none = Decimal(0)
    contract = CryptoPerpetual(
        instrument_id=InstrumentId.from_str("ETHUSD.BITMEX"),
        raw_symbol=Symbol("ETHUSD"),
        base_currency=ETH,
        quote_currency=USD,
        settlement_currency=BTC,
        is_inverse=False,
        size_increment=Quantity.from_int(1),
        multiplier=Quantity.from_str("0.000001"),
        margin_init=none,
        margin_maint=none,
        maker_fee=none,
        taker_fee=none,
        ts_event=0,
        ts_init=0,
        **words,
    )
    notional = contract.notional_value(Quantity.from_int(1), Price.from_str("2000.00"))
    assert notional.currency.code == listing_of(contract).quote == "BTC"


@pytest.mark.row(2, "one tick over")
@pytest.mark.parametrize(("kind", "coins"), [("stop_market", "20"), ("market_if_touched", "10"), ("market", "10")])
def test_an_amount_of_money_buys_and_sells_more_where_it_triggers_lower(kind, coins):
    """A sale for 1,000 that triggers at 50 is one of twenty."""
    stage = Stage({"preset": "none"}).start()
    instrument = INSTRUMENTS[SPOT]
    more = {} if kind == "market" else {"trigger_price": instrument.make_price(50 if kind == "stop_market" else 110)}
    make = getattr(stage.hand.order_factory, kind)
    stage.submit(make(instrument.id, SELL, instrument.make_qty(1_000), quote_quantity=True, **more))
    assert coins == f"{-stage.gate.judge.ledger._marks[SPOT].whole.shortest.normalize():f}"


@pytest.mark.row(1, "on modify")
@pytest.mark.parametrize("kind", ["limit", "triggered"])
def test_a_trigger_that_an_order_has_not_got_is_no_excuse_for_its_price(kind):
    """It rests in the book: whatever trigger a change names, its limit is held against the market."""
    stage = Stage({"preset": "none", "limits": {"global": {"price_collar_bps": "200"}}}).start()
    if kind == "limit":
        order = stage.hand.send(BUY, 1, 90)
    else:
        instrument = INSTRUMENTS[PERP]
        prices = (instrument.make_price(90), instrument.make_price(105))
        order = stage.hand.order_factory.stop_limit(instrument.id, BUY, instrument.make_qty(1), *prices)
        stage.hand.submit_order(order)
        stage.tick().tick(110).tick(100)
        assert order.is_triggered
    stage.tick()
    modify(stage, order, price=200, trigger=199)
    assert reason(order).startswith("PRICE_COLLAR: ")


# -- prices ---------------------------------------------------------------------------------------------


@pytest.mark.row(22, "missing price")
def test_a_trade_of_the_future_is_not_young_for_ever():
    """As with a venue whose clock is ahead, or one that sends milliseconds where nanoseconds are expected."""
    stage = Stage({"preset": "none", "price_age_ms_max": 1000, "limits": {"global": {"max_exposure": "9999"}}})
    stage.priced = []
    stage.start()
    instrument, ahead = INSTRUMENTS[PERP], BEGIN_NS + 3_600_000_000_000
    now_ns = stage.clock.timestamp_ns()
    one = (instrument.make_price(100), instrument.make_qty(1))
    stage.cache.add_trade_tick(TradeTick(instrument.id, *one, AggressorSide.BUYER, TradeId("1"), ahead, now_ns))
    assert OrderStatus.DENIED != stage.hand.send(BUY, 1, 90).status
    stage.tick(seconds=5)
    assert reason(stage.hand.send(BUY, 1, 90)).startswith("STALE_PRICE: ")


@pytest.mark.row(2, "at limit")
def test_a_rate_comes_from_bars_as_well():
    """As every other price: where there are only bars nothing could be converted."""
    stage = Stage({"preset": "none", "conversions": {"BTC": SPOT}, "price_age_ms_max": 1000})
    stage.priced = []
    stage.start()
    assert stage.gate._sights.rate("BTC") is None
    now_ns, prices = stage.clock.timestamp_ns(), [INSTRUMENTS[SPOT].make_price(100)] * 4
    kind = BarType.from_str(f"{SPOT}-1-MINUTE-LAST-EXTERNAL")
    stage.cache.add_bar(Bar(kind, *prices, INSTRUMENTS[SPOT].make_qty(1), now_ns, now_ns))
    assert Decimal(100) == stage.gate._sights.rate("BTC")


@pytest.mark.row(12, "one tick over")
def test_a_strategy_that_reckons_with_few_digits_rounds_no_limit_away():
    """`getcontext().prec = 2` is the whole thread's: 104 were 100, in the order and in all sums."""
    stage = Stage({"preset": "none", "limits": {"global": {"max_order_quantity": "103", "max_position": "205"}}})
    stage.start()
    sizes = ((104, 90), (103, 90), (101, None), (2, 90))
    large, working, held, last = (stage.hand.order(BUY, size, price) for size, price in sizes)
    with localcontext(prec=2):
        stage.hand.submit_order(large)
        stage.hand.submit_order(working)
        stage.hand.submit_order(held)
    stage.tick()
    with localcontext(prec=2):
        stage.hand.submit_order(last)
    is_denied(large, "MAX_ORDER_QUANTITY: limit=103 scope=global value=0 would_be=104 unit=quantity")
    is_denied(last, "MAX_POSITION: limit=205 scope=global value=204 would_be=206 unit=quantity")


# -- whose it is ----------------------------------------------------------------------------------------


@pytest.mark.row(8, "as a parent")
def test_a_parent_reserves_at_the_account_that_its_children_go_to():
    section = {"preset": "none", "limits": {"account=SIM3-*": {"max_position": "1"}}}
    stage = Stage(section).start()
    parent = stage.hand.order(BUY, 2, 90)
    stage.cache.add_order(parent, None, ClientId("SIM3"))
    assert "MAX_POSITION: limit=1 scope=account=SIM3-001 value=0 would_be=2 unit=quantity" == stage.reserve(parent)


class Hedger(Hand):
    """Keeps positions of its own at a venue that nets, and looks at the ledger within its fills."""

    def __init__(self) -> None:
        super(Hand, self).__init__(StrategyConfig(strategy_id="HEDGER", order_id_tag="009", oms_type="HEDGING"))
        self.at_start, self.at_stop, self.at_fill, self.heard = [], [], [], []


@pytest.mark.row(12, "one tick over")
def test_who_flips_a_position_of_its_own_knows_the_new_one_within_the_fill():
    """Nautilus tells strategies of the fill before it tells of the position that is new."""
    stage, hand, seen = Stage(FIVE), Hedger(), []
    stage.engine.add_strategy(hand)
    stage.start()
    hand.send(BUY, 3)
    stage.tick()
    (position,) = stage.cache.positions_open()
    hand.at_fill.append(lambda: seen.append(stage.gate.judge.ledger._marks[PERP].whole.held))
    hand.submit_order(hand.order(SELL, 7), position_id=position.id)
    stage.tick()
    assert (2, [Decimal(-4)]) == (len(stage.cache.positions()), seen)
    hand.send(SELL, 1)
    stage.tick()
    assert Decimal(-5) == stage.gate.judge.ledger._marks[PERP].whole.held


@pytest.mark.row(12, "one tick over")
def test_a_leg_of_a_spread_is_known_within_its_fill(stage):
    """It has no order of its own; strategies hear of its fill before its position is told of."""
    order, seen = stage.hand.send(BUY, 1, 90), []
    stage.tick()
    stage.hand.at_fill.append(lambda: seen.append(stage.gate.judge.ledger._marks[PERP].whole.held))
    filled(stage, order, 3, leg="O-1-LEG-1")
    assert ([Decimal(3)], Decimal(4)) == (seen, longest(stage))


@pytest.mark.row(7, "on modify")
def test_what_changes_needed_is_forgotten_when_they_are_answered():
    """A quote that moves up and down for hours takes its price from the balance, not the sum of all its ways."""
    stage = Stage({"preset": "none", "limits": {"global": {"check_balance": True}}}).start()
    order, needs = stage.hand.send(BUY, 1, 90, of=SPOT), stage.gate.judge.ledger.needs
    stage.tick()
    for price in (95, 90, 95):
        modify(stage, order, price=price)
        stage.tick()
    assert (Decimal(95), Decimal(0)) == (order.price.as_decimal(), needs.of("SIM1-001", "USDT"))
    modify(stage, order, price=97)
    assert Decimal(2) == needs.of("SIM1-001", "USDT")
    ids = (order.trader_id, order.strategy_id, order.instrument_id, order.client_order_id, order.venue_order_id)
    stage.bus.send(PROCESS, OrderModifyRejected(*ids, order.account_id, "no", UUID4(), 0, 0))
    stage.hand.send(BUY, 1, 80, of=SPOT)
    stage.tick()
    assert Decimal(0) == needs.of("SIM1-001", "USDT"), "the venue did not want it, and the account has spoken"


# -- events that come late, as in a live node -----------------------------------------------------------


@pytest.mark.row(5, "one tick over")
def test_who_sends_a_refused_order_again_before_he_hears_of_it_is_refused(stage):
    """Its denial waits in the queue: it would end the order in the ledger while the venue works it."""
    first, order = stage.hand.send(BUY, 1, 90), stage.hand.order(BUY, 5, 90)
    stage.tick()
    queue: list[Any] = []
    process = take_over(stage.bus, PROCESS, queue.append)
    stage.submit(order)
    stage.hand.cancel_order(first)
    stage.tick()
    denied, *canceled = queue
    for event in canceled:
        process(event)
    assert (OrderStatus.CANCELED, Decimal(0)) == (first.status, longest(stage))
    stage.submit(order)
    process(denied)
    assert ["SubmitOrder", "CancelOrder"] == stage.sent.names()
    assert (OrderStatus.DENIED, ["MAX_POSITION", "NOT_NEW"]) == (order.status, stage.refused())


# -- failures of others ---------------------------------------------------------------------------------


@pytest.mark.row(19, "at limit")
def test_a_strategy_that_fails_over_a_refusal_is_no_defect_of_the_gate(stage, monkeypatch):
    """The record says why the order was refused, once."""

    def fail(self: Hand, event: Any) -> None:
        raise RuntimeError("of the strategy")

    monkeypatch.setattr(Hand, "on_order_event", fail)
    order = stage.hand.order(BUY, 6, 90)
    stage.submit(order)
    assert (["MAX_POSITION"], OrderStatus.DENIED) == (stage.refused(), order.status)
