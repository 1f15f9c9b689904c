"""What the gate counts follows the events: answers of the venue, prices that move, what an account says."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from nautilus_trader.config import RiskEngineConfig
from nautilus_trader.core.uuid import UUID4
from nautilus_trader.model.data import QuoteTick
from nautilus_trader.model.enums import OrderStatus
from nautilus_trader.model.events import OrderModifyRejected, OrderUpdated
from risk_stage import BEGIN_NS, BUY, INSTRUMENTS, OTHER, PERP, SELL, SPOT, Stage, is_denied, longest, reason

from nautilus_ext.seam import PROCESS

FIVE = {"preset": "none", "limits": {"global": {"max_position": "5"}}}


def ids(order: Any) -> tuple[Any, ...]:
    return order.trader_id, order.strategy_id, order.instrument_id, order.client_order_id


def change(stage: Stage, order: Any, quantity: Any) -> None:
    stage.hand.modify_order(order, quantity=INSTRUMENTS[PERP].make_qty(quantity))


@pytest.mark.row(8, "one tick over")
def test_what_is_held_elsewhere_is_worth_what_its_price_says_now():
    """Three at 100.5 leave room for one; at 200.5 they have none."""
    stage = Stage({"preset": "none", "limits": {"global": {"max_exposure": "500"}}}).start()
    stage.hand.send(BUY, 3)
    stage.tick()
    first = stage.hand.send(BUY, 1, 90, of=OTHER)
    stage.tick()
    stage.hand.cancel_order(first)
    stage.tick()
    stage.tick(200, of=[PERP])
    text = "MAX_EXPOSURE: limit=500 scope=global value=601.5 would_be=702 unit=USDT"
    is_denied(stage.hand.send(BUY, 1, 90, of=OTHER), text)
    assert OrderStatus.CANCELED == first.status


@pytest.mark.row(12, "on modify")
def test_each_answer_to_a_change_counts_once():
    """Two changes on their way, down to two and up to five: when the first is answered, the second still counts."""
    stage = Stage(FIVE).start()
    order = stage.hand.send(BUY, 3, 90)
    stage.tick()
    change(stage, order, 2)
    change(stage, order, 5)
    now_ns = stage.clock.timestamp_ns()
    two = (INSTRUMENTS[PERP].make_qty(2), order.price, None, UUID4(), now_ns, now_ns)
    stage.bus.send(PROCESS, OrderUpdated(*ids(order), order.venue_order_id, order.account_id, *two))
    assert (Decimal(2), Decimal(5)) == (order.quantity.as_decimal(), longest(stage))


@pytest.mark.row(12, "on modify")
def test_after_a_change_that_was_refused_here_the_venues_answer_is_heard():
    """It refuses as well, and the order counts as it is."""
    stage = Stage(FIVE).start()
    order = stage.hand.send(BUY, 3, 90)
    stage.tick()
    change(stage, order, 6)
    change(stage, order, 5)
    assert Decimal(5) == longest(stage)
    now_ns = stage.clock.timestamp_ns()
    refused = ("not here", UUID4(), now_ns, now_ns)
    stage.bus.send(PROCESS, OrderModifyRejected(*ids(order), order.venue_order_id, order.account_id, *refused))
    assert Decimal(3) == longest(stage)


@pytest.mark.row(7, "at limit")
def test_money_that_the_account_has_blocked_is_not_needed_twice():
    """The first purchase leaves 100: it is free as soon as the venue has told what it blocks."""
    section = {"preset": "none", "limits": {"global": {"check_balance": True}}}
    stage = Stage(section, engine=RiskEngineConfig(bypass=True)).start()
    first = stage.hand.send(BUY, 9_999, 90, of=SPOT)
    stage.tick()
    assert OrderStatus.ACCEPTED == first.status
    free = stage.cache.account_for_venue(INSTRUMENTS[SPOT].id.venue).balance_free(INSTRUMENTS[SPOT].quote_currency)
    most = int(free.as_decimal() / 90)
    assert 1_000 < most < 1_200
    assert OrderStatus.DENIED == stage.hand.send(BUY, most + 1, 90, of=SPOT).status
    assert OrderStatus.SUBMITTED == stage.hand.send(BUY, most, 90, of=SPOT).status


@pytest.mark.row(22, "missing price")
def test_a_venue_whose_clock_is_ahead_makes_no_price_younger():
    """The quote is from the next hour, and six seconds old when it is counted from its arrival."""
    stage = Stage({"preset": "none", "limits": {"global": {"price_collar_bps": "1000"}}, "price_age_ms_max": 5_000})
    stage.start()
    stage.now_s += 1
    now_ns = BEGIN_NS + stage.now_s * 1_000_000_000
    instrument = INSTRUMENTS[PERP]
    prices = (instrument.make_price(100), instrument.make_price(101))
    sizes = (instrument.make_qty(1), instrument.make_qty(1))
    stage.engine.add_data([QuoteTick(instrument.id, *prices, *sizes, now_ns + 3_600_000_000_000, now_ns)])
    stage.engine.run(streaming=True)
    stage.engine.clear_data()
    assert OrderStatus.SUBMITTED == stage.hand.send(BUY, 1, 90).status
    stage.tick(of=[SPOT], seconds=6)
    is_denied(stage.hand.send(BUY, 1, 90), f"STALE_PRICE: limit=5000 scope=instrument={PERP} would_be=6000 unit=ms")


@pytest.mark.row(16, "at limit")
def test_a_stop_rests_in_the_book_from_its_trigger_on():
    """Before, nobody can meet it."""
    stage = Stage({"preset": "none", "limits": {"global": {"self_match": "refuse"}}}).start()
    instrument = INSTRUMENTS[PERP]
    prices = (instrument.make_price(104), instrument.make_price(105))
    stop = stage.hand.order_factory.stop_limit(instrument.id, BUY, instrument.make_qty(1), *prices)
    stage.hand.submit_order(stop)
    stage.tick()
    early = stage.hand.send(SELL, 1, 103)
    assert OrderStatus.SUBMITTED == early.status
    stage.hand.cancel_order(early)
    stage.tick(106).tick(106)
    assert OrderStatus.TRIGGERED == stop.status
    assert reason(stage.hand.send(SELL, 1, 103)).endswith(f"order={stop.client_order_id}")
