"""The holes of Nautilus 1.231 side by side: bare it lets the dangerous order pass, the gate refuses it with numbers."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from nautilus_trader.config import RiskEngineConfig
from nautilus_trader.model.enums import OrderStatus, TradingState, TriggerType
from nautilus_trader.model.identifiers import ClientId, Venue
from nautilus_trader.model.objects import Price
from risk_stage import BUY, INSTRUMENTS, PERP, SELL, Stage, is_denied, reason

CAP = 1_000
RATE = "1000000/00:00:01"
CAPPED = RiskEngineConfig(max_notional_per_order={PERP: CAP}, max_order_submit_rate=RATE, max_order_modify_rate=RATE)
GATED = {"preset": "none", "limits": {"global": {"max_order_notional": str(CAP)}}}


def bare(**more: Any) -> Stage:
    return Stage(gate=False, engine=CAPPED, **more)


def gated(section: dict[str, Any] | None = None, **more: Any) -> Stage:
    return Stage(section or GATED, engine=CAPPED, **more)


@pytest.mark.row(2, "margin account")
def test_a_margin_account_skips_every_check_of_money():
    """Nautilus has been told of a cap of 1,000."""
    stage = bare().start()
    order = stage.hand.send(BUY, 900)
    stage.tick()
    assert OrderStatus.FILLED == order.status
    stage = gated().start()
    text = "MAX_ORDER_NOTIONAL: limit=1000 scope=global value=0 would_be=90450 unit=USDT"
    is_denied(stage.hand.send(BUY, 900), text)


@pytest.mark.row(2, "missing account")
@pytest.mark.row(22, "missing account")
def test_no_account_lets_everything_pass():
    """As long as a venue has not told its account: here the client is there before the first moment of the run."""
    orders = []
    for stage in (bare(), gated()):
        stage.engine.kernel.exec_engine._clients[ClientId("SIM2")].start()
        orders.append(stage.hand.send(BUY, 1_530_000, 101))
        assert stage.cache.account_for_venue(Venue("SIM2")) is None
        stage.start()
        stage.tick()
    assert Decimal(0) < orders[0].filled_qty.as_decimal()
    is_denied(orders[1], "NO_ACCOUNT: scope=account=SIM2-001 its balances are not known")


@pytest.mark.row(14, "one tick over")
def test_reducing_opens_from_flat_and_flips():
    """Ours: `reduce_only`, in which neither is possible."""
    stage = bare().start()
    stage.engine.kernel.risk_engine.set_trading_state(TradingState.REDUCING)
    opening = stage.hand.send(BUY, 3)
    stage.tick()
    flipping = stage.hand.send(SELL, 8)
    stage.tick()
    assert [OrderStatus.FILLED, OrderStatus.FILLED] == [opening.status, flipping.status]
    assert Decimal(-5) == stage.hand.portfolio.net_position(INSTRUMENTS[PERP].id)

    lift = {"code": "REDUCE_ONLY", "scope": "global", "by": "desk", "why": "to open", "until": "2026-01-05T00:00:02Z"}
    section = {"preset": "none", "limits": {"global": {"reduce_only": True}}, "overrides": [lift]}
    stage = gated(section).start()
    stage.hand.send(BUY, 3)
    stage.tick()
    text = "REDUCE_ONLY: limit=0 scope=global value=3 would_be={} unit=quantity"
    is_denied(stage.hand.send(SELL, 8), text.format(-5))
    assert OrderStatus.SUBMITTED == stage.hand.send(SELL, 3).status
    stage.tick()
    is_denied(stage.hand.send(BUY, 3), text.format(3).replace("value=3", "value=0"))


def emulated(stage: Stage, trigger: Any) -> Any:
    """A stop that the node itself watches."""
    instrument = INSTRUMENTS[PERP]
    order = stage.hand.order_factory.stop_market(
        instrument.id,
        BUY,
        instrument.make_qty(3),
        instrument.make_price(trigger),
        emulation_trigger=TriggerType.BID_ASK,
    )
    stage.hand.submit_order(order)
    return order


@pytest.mark.row(12, "one tick over")
def test_what_an_emulated_order_becomes_is_asked_of_nobody():
    """HALTED does not stop it, for no engine of Nautilus's sees it again. Ours judges it when it is released."""
    stage = bare().start()
    order = emulated(stage, 110)
    stage.engine.kernel.risk_engine.set_trading_state(TradingState.HALTED)
    stage.tick(120)
    stage.tick(120)
    assert OrderStatus.FILLED == stage.cache.order(order.client_order_id).status

    stage = gated({"preset": "none", "limits": {"global": {"max_position": "5"}}}).start()
    orders = [emulated(stage, trigger) for trigger in (110, 111)]
    assert {OrderStatus.EMULATED} == {order.status for order in orders}
    stage.tick(120)
    stage.tick(120)
    released = sorted((stage.cache.order(order.client_order_id) for order in orders), key=lambda order: order.status)
    assert OrderStatus.FILLED == released[1].status
    is_denied(released[0], "MAX_POSITION: limit=5 scope=global value=3 would_be=6 unit=quantity")


@pytest.mark.row(3, "inside a list")
def test_a_list_with_one_bad_member_leaves_the_others_initialized_for_ever():
    """Also where Nautilus's own engine refuses the one, for a price finer than the tick."""
    found = []
    for stage in (bare().start(), gated().start()):
        orders = [stage.hand.order(BUY, 1, 90) for _ in range(3)]
        orders[1] = stage.hand.order_factory.limit(
            INSTRUMENTS[PERP].id, BUY, INSTRUMENTS[PERP].make_qty(1), Price.from_str("90.12345")
        )
        stage.hand.submit_order_list(stage.hand.order_factory.create_list(orders))
        stage.tick()
        found.append([order.status.name for order in orders])
        last = orders
    assert [["INITIALIZED", "DENIED", "INITIALIZED"], ["DENIED"] * 3] == found
    is_denied(last[0], f"LIST_DENIED: {last[1].client_order_id} of the list was denied")


@pytest.mark.row(2, "on modify")
@pytest.mark.row(12, "on modify")
def test_a_change_upwards_is_asked_of_nobody():
    stage = bare().start()
    order = stage.hand.send(BUY, 1, 90)
    stage.tick()
    stage.hand.modify_order(order, quantity=INSTRUMENTS[PERP].make_qty(500_000))
    stage.tick()
    assert Decimal(500_000) == order.quantity.as_decimal()
    stage = gated({"preset": "none", "limits": {"global": {"max_order_notional": "1000", "max_position": "5"}}}).start()
    order = stage.hand.send(BUY, 1, 90)
    stage.tick()
    stage.hand.modify_order(order, quantity=INSTRUMENTS[PERP].make_qty(500_000))
    assert "MAX_ORDER_NOTIONAL: limit=1000 scope=global value=0 would_be=45000000 unit=USDT" == reason(order)
    stage.hand.modify_order(order, quantity=INSTRUMENTS[PERP].make_qty(6))
    assert "MAX_POSITION: limit=5 scope=global value=1 would_be=6 unit=quantity" == reason(order)
    stage.tick()
    assert (OrderStatus.ACCEPTED, Decimal(1)) == (order.status, order.quantity.as_decimal())
