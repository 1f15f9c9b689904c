"""Brackets: an entry with its stop and its target is one decision, at the venue and in the node's own emulator."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from nautilus_trader.model.enums import OrderStatus, OrderType, TriggerType
from risk_stage import BUY, INSTRUMENTS, PERP, SELL, SPOT, Stage, is_denied, reason

FIVE = {"preset": "none", "limits": {"global": {"max_position": "5", "check_balance": True}}}


def bracket(stage: Stage, size: Any, *, of: str = PERP, **more: Any) -> list[Any]:
    """A purchase at 95, stopped at 80, with a target of 120; sent."""
    instrument = INSTRUMENTS[of]
    orders = stage.hand.order_factory.bracket(
        instrument.id,
        BUY,
        instrument.make_qty(size),
        entry_order_type=OrderType.LIMIT,
        entry_price=instrument.make_price(95),
        sl_trigger_price=instrument.make_price(80),
        tp_price=instrument.make_price(120),
        **more,
    )
    stage.hand.submit_order_list(orders)
    return orders.orders


def net(stage: Stage, of: str = PERP) -> tuple[Decimal, Decimal, Decimal]:
    whole = stage.gate.judge.ledger._marks[of].whole
    return whole.held, whole.longest, whole.shortest


@pytest.mark.row(12, "inside a list")
@pytest.mark.row(5, "inside a list")
def test_a_bracket_counts_as_its_entry_until_it_is_closed():
    """Stop and target only ever reduce. A second one has no room until the first is over."""
    stage = Stage(FIVE).start()
    first = bracket(stage, 4)
    assert (Decimal(0), Decimal(4), Decimal(0)) == net(stage)
    for order in bracket(stage, 2):
        is_denied(order, "MAX_POSITION: limit=5 scope=global value=4 would_be=6 unit=quantity")
    stage.tick(94).tick(94)
    assert (OrderStatus.FILLED, (4, 4, 0)) == (first[0].status, net(stage))
    assert OrderStatus.DENIED == stage.hand.send(BUY, 2, 80).status
    stage.tick(121).tick(121)
    assert {OrderStatus.FILLED, OrderStatus.CANCELED} == {order.status for order in first[1:]}
    assert (0, 0, 0) == net(stage)
    assert {OrderStatus.SUBMITTED} == {order.status for order in bracket(stage, 5)}


@pytest.mark.row(12, "inside a list")
def test_where_reduce_only_is_not_trusted_stop_and_target_might_both_sell():
    """Three and three, with nothing held: that would be six short."""
    stage = Stage(FIVE | {"trusts_reduce_only": False}).start()
    for order in bracket(stage, 3):
        is_denied(order, "MAX_POSITION: limit=5 scope=global value=3 would_be=6 unit=quantity")
    assert {OrderStatus.SUBMITTED} == {order.status for order in bracket(stage, 2)}


@pytest.mark.row(7, "inside a list")
def test_a_bracket_for_cash_needs_no_coins_that_it_is_going_to_buy():
    """Eight coins of ten are on sale already: stop and target sell what the entry buys."""
    stage = Stage({"preset": "none", "limits": {"global": {"check_balance": True}}}).start()
    assert OrderStatus.SUBMITTED == stage.hand.send(SELL, 8, 110, of=SPOT).status
    stage.tick()
    assert {OrderStatus.SUBMITTED} == {order.status for order in bracket(stage, 4, of=SPOT)}


@pytest.mark.row(12, "inside a list")
def test_an_emulated_bracket_is_judged_when_its_entry_is_released():
    """Until then it counts nothing: what was sent meanwhile has its place, and its stop and target end with it."""
    stage = Stage(FIVE).start()
    orders = bracket(stage, 4, emulation_trigger=TriggerType.BID_ASK)
    assert OrderStatus.EMULATED == orders[0].status
    assert OrderStatus.SUBMITTED == stage.hand.send(BUY, 3, 80).status
    stage.tick(93).tick(93)
    entry, *legs = (stage.cache.order(order.client_order_id) for order in orders)
    assert OrderStatus.DENIED == entry.status
    assert reason(entry).startswith("MAX_POSITION: limit=5 scope=global value=3 would_be=7")
    assert {True} == {order.is_closed for order in legs}, [order.status for order in legs]
    assert (0, 3, 0) == net(stage)
