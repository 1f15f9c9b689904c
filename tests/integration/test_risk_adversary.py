"""Races and odd cases on real engines: each of them has once passed a limit, or kept somebody from getting out."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from nautilus_trader.core.uuid import UUID4
from nautilus_trader.execution.messages import ModifyOrder
from nautilus_trader.model.enums import LiquiditySide, OrderStatus
from nautilus_trader.model.events import OrderFilled, OrderUpdated
from nautilus_trader.model.identifiers import PositionId, TradeId
from nautilus_trader.model.objects import Money
from risk_stage import BUY, INSTRUMENTS, PERP, Stage, is_denied

from nautilus_ext.seam import EXECUTE, PROCESS

FIVE = {"preset": "none", "limits": {"global": {"max_position": "5"}}}


@pytest.fixture
def stage() -> Stage:
    return Stage(FIVE).start()


def longest(stage: Stage, of: str = PERP) -> Decimal:
    return stage.gate.judge.ledger._marks[of].whole.longest


def modify(stage: Stage, order: Any, quantity: Any = None, *, price: Any = None, trigger: Any = None) -> None:
    """Past the strategy and the RiskEngine."""
    instrument = INSTRUMENTS[order.instrument_id.value]
    ids = (order.trader_id, order.strategy_id, order.instrument_id, order.client_order_id)
    size = None if quantity is None else instrument.make_qty(quantity)
    prices = [None if each is None else instrument.make_price(each) for each in (price, trigger)]
    stage.bus.send(EXECUTE, ModifyOrder(*ids, order.venue_order_id, size, *prices, UUID4(), 0))


def filled(stage: Stage, order: Any, quantity: Any, price: Any = 90) -> None:
    """The venue says so while it has something else before it."""
    instrument = INSTRUMENTS[order.instrument_id.value]
    stage.bus.send(
        PROCESS,
        OrderFilled(
            order.trader_id,
            order.strategy_id,
            order.instrument_id,
            order.client_order_id,
            order.venue_order_id,
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
