"""What the gate knows after a restart: the cache that `Restore` fills before the gate is there, and the last orders."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from nautilus_trader.model.enums import OmsType, OrderSide, OrderStatus
from nautilus_trader.model.events import OrderFilled
from nautilus_trader.model.identifiers import ExecAlgorithmId
from nautilus_trader.model.orders import OrderUnpacker
from nautilus_trader.model.position import Position
from risk_parent import NAME, Worker
from risk_stage import BUY, INSTRUMENTS, OTHER, PERP, SELL, Stage, is_denied, reason

from nautilus_ext.messages import PastOrder, Recent, operation_of

if TYPE_CHECKING:
    from collections.abc import Callable

FIVE = {"preset": "none", "limits": {"global": {"max_position": "5"}}}
OPEN_ONLY = {OrderStatus.ACCEPTED, OrderStatus.INITIALIZED, OrderStatus.SUBMITTED}


def carried(old: Any) -> Callable[[Any], None]:
    """What was open, put into the next cache in the way in which `Restore` does it."""

    def fill(cache: Any) -> None:
        for order in old.orders():
            again = OrderUnpacker.from_init(order.init_event)
            for event in order.events[1:]:
                again.apply(event)
            cache.add_order(again, again.position_id)
            cache.update_order(again)
        for position in old.positions_open():
            instrument = INSTRUMENTS[position.instrument_id.value]
            fills = [event for event in position.events if isinstance(event, OrderFilled)]
            again = Position(instrument, fills[0])
            for event in fills[1:]:
                again.apply(event)
            cache.add_position(again, OmsType.NETTING)

    return fill


def recent(stage: Stage, **more: Any) -> Recent:
    """As the book's tables say it."""
    sent = {each.order.client_order_id for each in stage.sent.commands if hasattr(each, "order")}
    orders = [order for order in stage.cache.orders() if order.client_order_id in sent]
    past = [
        PastOrder(
            ts_ns=order.ts_init,
            client_order_id=order.client_order_id.value,
            strategy_id=order.strategy_id.value,
            instrument_id=order.instrument_id.value,
            side=OrderSide(order.side).name,
            quantity=str(order.quantity),
            price=str(order.price) if order.has_price else None,
            operation_id=operation_of(order.tags) or "",
            parent_id="" if order.exec_spawn_id is None else order.exec_spawn_id.value,
            type=order.type_string() if hasattr(order, "type_string") else "LIMIT",
            account_id="" if order.account_id is None else order.account_id.value,
        )
        for order in sorted(orders, key=lambda order: order.ts_init)
    ]
    return Recent(orders=past, **more)


def restarted(stage: Stage, section: dict[str, Any], *, algorithms: Any = (), **more: Any) -> Stage:
    """A second engine, a second later."""
    again = Stage(section, algorithms=algorithms, before=carried(stage.cache), recent=recent(stage, **more))
    again.now_s = stage.now_s
    return again


@pytest.mark.row(5, "after restart")
@pytest.mark.row(8, "after restart")
@pytest.mark.row(12, "after restart")
@pytest.mark.row(14, "after restart")
def test_positions_and_working_orders_are_there_before_the_first_order_is_judged():
    """Two held, two working: one more is the last; also by value, as soon as there is a price."""
    stage = Stage(FIVE).start()
    stage.hand.send(BUY, 2)
    stage.hand.send(BUY, 2, 90)
    stage.tick()
    again = restarted(stage, {"preset": "none", "limits": {"global": {"max_position": "5", "max_exposure": "460"}}})
    net = again.gate.judge.ledger._marks[PERP].whole
    assert (Decimal(2), Decimal(4)) == (net.held, net.longest)
    again.start()
    is_denied(again.hand.send(BUY, 2, 91), "MAX_POSITION: limit=5 scope=global value=4 would_be=6 unit=quantity")
    text = "MAX_EXPOSURE: limit=460 scope=global value=402 would_be=502.5 unit=USDT"
    is_denied(again.hand.send(BUY, 1, 91, of=OTHER), text)
    assert OrderStatus.SUBMITTED == again.hand.send(SELL, 2, 110).status

    stage.hand.send(BUY, 1, 90)  # on its way, and no venue has answered
    on_its_way = restarted(stage, FIVE).gate.judge.ledger._marks[PERP].whole
    assert (Decimal(2), Decimal(5)) == (on_its_way.held, on_its_way.longest)
    stage.tick()

    closing = {"preset": "none", "limits": {"global": {"reduce_only": True}}, "trusts_reduce_only": False}
    again = restarted(stage, closing).start()
    text = "REDUCE_ONLY: limit=0 scope=global value=2 would_be=-0.001 unit=quantity"
    is_denied(again.hand.send(SELL, "2.001", 110), text)
    assert OrderStatus.SUBMITTED == again.hand.send(SELL, 2, 110).status


@pytest.mark.row(22, "after restart")
def test_what_is_held_where_no_price_has_come_yet_is_worth_its_last_fill():
    """Orders elsewhere are not held up by a quote that is a moment late."""
    stage = Stage(FIVE).start()
    stage.hand.send(BUY, 2)
    stage.tick()
    section = {"preset": "none", "limits": {"global": {"max_exposure": "400"}}}
    again = restarted(stage, section)
    again.tick(of=[OTHER])
    assert OrderStatus.SUBMITTED == again.hand.send(BUY, 1, 91, of=OTHER).status
    text = "MAX_EXPOSURE: limit=400 scope=global value=302.5 would_be=403 unit=USDT"
    is_denied(again.hand.send(BUY, 1, 92, of=OTHER), text)


@pytest.mark.row(16, "after restart")
def test_what_rests_since_before_is_not_met():
    section = {"preset": "none", "limits": {"global": {"self_match": "refuse"}}}
    stage = Stage(section).start()
    resting = stage.hand.send(SELL, 1, 105)
    stage.tick()
    again = restarted(stage, section).start()
    refused = again.hand.send(BUY, 1, 105)
    assert f"SELF_MATCH: limit=105 scope=global would_be=105 unit=price order={resting.client_order_id}" == reason(
        refused
    )


@pytest.mark.row(4, "after restart")
def test_windows_go_on():
    section = {"preset": "none", "limits": {"global": {"messages": [{"max": 3, "window_s": 3.0}]}}}
    stage = Stage(section).start()
    for price in (90, 91):
        stage.hand.send(BUY, 1, price)
    stage.tick()
    again = restarted(stage, section).start()
    assert OrderStatus.SUBMITTED == again.hand.send(BUY, 1, 92).status
    text = "MESSAGE_RATE: limit=3 scope=global value=3 would_be=4 unit=messages/3s types=submit+modify"
    is_denied(again.hand.send(BUY, 1, 93), text)
    again.tick()
    assert OrderStatus.SUBMITTED == again.hand.send(BUY, 1, 93).status


@pytest.mark.row(11, "after restart")
def test_duplicates_operations_and_ids_are_remembered():
    section = {"preset": "none", "limits": {"global": {"duplicate_window_ms": 5_000}}}
    stage = Stage(section).start()
    before = stage.hand.send(BUY, 1, 90, tags=["op:7"])
    stage.tick()
    again = restarted(stage, section).start()
    is_denied(again.hand.send(BUY, 1, 90), "DUPLICATE_ORDER: limit=5000 scope=global would_be=2000 unit=ms")
    text = "OPERATION_REPEATED: operation_id=7 is another order's"
    is_denied(again.hand.send(BUY, 3, 91, tags=["op:7"]), text)
    again.submit(before)
    assert ([], ["DUPLICATE_ORDER", "OPERATION_REPEATED", "NOT_NEW"]) == (again.sent.commands, again.refused())


@pytest.mark.row(11, "after restart")
def test_an_id_of_an_order_that_is_long_over_cannot_be_used_again():
    """The cache has forgotten it; the book has not."""
    stage = Stage(FIVE).start()
    before = stage.hand.send(BUY, 1)
    stage.tick()
    again = Stage(FIVE, recent=recent(stage)).start()
    order = OrderUnpacker.from_init(before.init_event)
    again.submit(order)
    is_denied(order, f"DUPLICATE_ORDER: client_order_id {order.client_order_id} was sent before")


@pytest.mark.row(21, "after restart")
def test_a_strategy_is_as_new_as_it_was():
    ramp = {"orders": 3, "max_order_quantity": "1"}
    section = {"preset": "none", "limits": {"strategy=*": {"ramp": ramp}}}
    again = restarted(Stage(section).start(), section, orders_by_strategy={"HAND-001": 2}).start()
    assert OrderStatus.DENIED == again.hand.send(BUY, 2, 90).status
    assert OrderStatus.SUBMITTED == again.hand.send(BUY, 1, 90).status
    assert OrderStatus.SUBMITTED == again.hand.send(BUY, 2, 90).status


@pytest.mark.row(12, "after restart")
@pytest.mark.row(12, "as a parent")
@pytest.mark.row(5, "after restart")
def test_a_reservation_stands_with_what_its_children_have_and_have_not():
    """Ten: three filled, two working at home and one elsewhere, four to come. Not more than that, and not less."""
    worker, section = Worker(), {"preset": "none", "limits": {"asset=BTC": {"max_position": "10"}}}
    stage = Stage(section, algorithms=[worker]).start()
    worker.plans.append(
        lambda parent: (
            worker.spawn(parent, 3),
            worker.spawn(parent, 2, 90),
            worker.spawn_elsewhere(parent, OTHER, 1, 90),
        )
    )
    parent = stage.hand.send(BUY, 10, exec_algorithm_id=ExecAlgorithmId(NAME))
    stage.tick()
    name = parent.client_order_id.value
    before = stage.gate.judge.ledger
    assert (Decimal(4), Decimal(10)) == (before.reserved(name), before.coins("BTC").longest)
    again = restarted(stage, section, algorithms=[Worker()], reserved=[name])
    after = again.gate.judge.ledger
    assert (Decimal(4), Decimal(10)) == (after.reserved(name), after.coins("BTC").longest)
    again.start()
    assert OrderStatus.DENIED == again.hand.send(BUY, "0.001", 90).status
    again.release(parent)
    assert Decimal(6) == after.coins("BTC").longest
    assert OrderStatus.SUBMITTED == again.hand.send(BUY, 4, 90).status
    assert "" != again.reserve(parent), "there is no room any more"
