"""What the gate sees: prices over venues, sides that are empty, conversions that are old, triggers that move."""

from __future__ import annotations

from decimal import Decimal

import pytest
from nautilus_trader.model.enums import OrderStatus
from risk_stage import BUY, INSTRUMENTS, INVERSE, OTHER, PERP, SELL, SPOT, Stage, is_denied, reason

COLLARED = {"preset": "none", "limits": {"global": {"price_collar_bps": "100"}}}


@pytest.mark.row(1, "one tick over")
def test_the_reference_over_venues_is_the_median_of_those_that_are_not_old():
    """One venue has gone mad: the median of two is between them; when the mad one is old, the other alone counts."""
    stage = Stage(COLLARED | {"reference": "cross_mid", "price_age_ms_max": 5_000}).start()
    stage.tick(200, of=[OTHER])
    text = "PRICE_COLLAR: limit=100 scope=global value=0 would_be=564.79 unit=bps price=159 reference=150.5"
    is_denied(stage.hand.send(BUY, 1, 159), text)
    assert OrderStatus.SUBMITTED == stage.hand.send(BUY, 1, 152).status
    stage.tick(100, of=[PERP], seconds=6)
    assert reason(stage.hand.send(BUY, 1, 102)).endswith("price=102 reference=100.5")


@pytest.mark.row(22, "missing price")
def test_a_quote_with_an_empty_side_is_no_price():
    stage = Stage(COLLARED, priced=False).start()
    stage.tick(0, of=[PERP], spread=100)
    is_denied(stage.hand.send(BUY, 1, 90), f"NO_PRICE: scope=instrument={PERP} no reference price")


@pytest.mark.row(22, "missing price")
def test_an_old_conversion_is_none():
    """A dollar is worth what the spot says; six seconds later nobody knows."""
    section = {"preset": "none", "limits": {"global": {"max_order_notional": "1000000"}}}
    stage = Stage(section | {"conversions": {"USD": SPOT}, "price_age_ms_max": 5_000}).start()
    assert OrderStatus.SUBMITTED == stage.hand.send(BUY, 9_000, of=INVERSE).status
    assert reason(stage.hand.send(BUY, 10_000, of=INVERSE)).startswith("MAX_ORDER_NOTIONAL: ")
    stage.tick(of=[INVERSE], seconds=6)
    text = "NO_CONVERSION: risk.conversions has no price of USD in USDT"
    is_denied(stage.hand.send(BUY, 1, of=INVERSE), text)


@pytest.mark.row(2, "one tick over")
def test_a_trailing_stop_is_worth_what_the_market_says():
    """Its own trigger moves: the activation price says nothing of what it will cost."""
    stage = Stage({"preset": "none", "limits": {"global": {"max_order_notional": "1005"}}}).start()
    instrument = INSTRUMENTS[PERP]
    orders = [
        stage.hand.order_factory.trailing_stop_market(
            instrument.id,
            SELL,
            instrument.make_qty(size),
            trailing_offset=Decimal(1),
            activation_price=instrument.make_price(1),
            trigger_price=instrument.make_price(1),
        )
        for size in (10, "10.001")
    ]
    for order in orders:
        stage.submit(order)
    assert OrderStatus.DENIED != orders[0].status
    text = "MAX_ORDER_NOTIONAL: limit=1005 scope=global value=0 would_be=1005.1005 unit=USDT"
    is_denied(orders[1], text)
