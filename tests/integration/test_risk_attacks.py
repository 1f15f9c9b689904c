"""Ways around the gate, tried out: none of them gets an order to a venue that has not been judged, unseen."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from nautilus_trader.common.actor import Actor
from nautilus_trader.core.uuid import UUID4
from nautilus_trader.model.enums import OrderStatus
from nautilus_trader.model.identifiers import ClientId
from nautilus_trader.model.objects import QUANTITY_MAX, Price, Quantity
from nautilus_trader.model.orders import LimitOrder
from nautilus_trader.test_kit.stubs.events import TestEventStubs
from risk_stage import BUY, INSTRUMENTS, OTHER, PERP, SELL, Stage, is_denied, longest, modify, reason

from nautilus_ext.seam import EXECUTE, PROCESS, deny_order, owner_of, take_over

FIVE = {"preset": "none", "limits": {"global": {"max_position": "5"}}}
TEXT = "MAX_POSITION: limit=5 scope=global value=0 would_be=6 unit=quantity"


@pytest.fixture
def stage() -> Stage:
    return Stage(FIVE).start()


def twin(order: Any, quantity: Any) -> Any:
    """Another order of the same id."""
    size, price = INSTRUMENTS[PERP].make_qty(quantity), INSTRUMENTS[PERP].make_price(90)
    ids = (order.trader_id, order.strategy_id, order.instrument_id, order.client_order_id)
    return LimitOrder(*ids, BUY, size, price, UUID4(), 0)


# -- other ways in --------------------------------------------------------------------------------------


@pytest.mark.row(12, "one tick over")
def test_whoever_knows_the_endpoint_is_judged_as_well(stage):
    """An order, a list, and a change of what works; each is in the cache and over afterwards."""
    order = stage.hand.order(BUY, 6, 90)
    stage.submit(order)
    is_denied(order, TEXT)
    members = [stage.hand.order(BUY, 3, 90) for _ in range(2)]
    stage.submit_list(stage.hand.order_factory.create_list(members))
    assert {OrderStatus.DENIED} == {each.status for each in members}
    working = stage.hand.send(BUY, 5, 90)
    stage.tick()
    modify(stage, working, 6)
    assert reason(working).startswith("MAX_POSITION: ")
    stage.tick()
    assert (Decimal(5), ["SubmitOrder"]) == (working.quantity.as_decimal(), stage.sent.names())


@pytest.mark.row(12, "on modify")
def test_a_change_of_what_is_at_no_venue_is_not_passed_on(stage):
    """Nobody knows what it makes of an order that the cache does not know, that is over, or that was never sent."""
    unknown, over, unsent = stage.hand.order(BUY, 1, 90), stage.hand.send(BUY, 1), stage.hand.order(BUY, 1, 90)
    stage.cache.add_order(unsent)
    stage.tick()
    for order in (unknown, over, unsent):
        modify(stage, order, 4)
    assert (["SubmitOrder"], ["NO_ORDER"] * 3) == (stage.sent.names(), stage.refused("modify"))
    assert Decimal(1) == longest(stage), "and none of them counts"


@pytest.mark.row(12, "on modify")
def test_a_change_that_is_refused_does_not_hide_one_that_waits_for_its_answer(stage):
    """To five, which the venue has not answered; then to six."""
    order = stage.hand.send(BUY, 3, 90)
    stage.tick()
    modify(stage, order, 5)
    modify(stage, order, 6)
    is_denied(stage.hand.send(BUY, 1, 90), "MAX_POSITION: limit=5 scope=global value=5 would_be=6 unit=quantity")
    stage.tick()
    assert (Decimal(5), Decimal(5)) == (order.quantity.as_decimal(), longest(stage))
    modify(stage, order, 1)
    stage.tick()
    assert Decimal(1) == longest(stage)


@pytest.mark.row(12, "on modify")
def test_a_fill_does_not_hide_a_change_that_waits_for_its_answer(stage):
    """One of three is filled while the venue is asked for five: four can still come."""
    order = stage.hand.send(BUY, 3, 90)
    stage.tick()
    modify(stage, order, 5)
    instrument = INSTRUMENTS[PERP]
    one = {"last_qty": instrument.make_qty(1), "last_px": instrument.make_price(90)}
    stage.bus.send(PROCESS, TestEventStubs.order_filled(order, instrument, strategy_id=order.strategy_id, **one))
    assert (Decimal(2), Decimal(5)) == (order.leaves_qty.as_decimal(), longest(stage))
    is_denied(stage.hand.send(BUY, 1, 90), "MAX_POSITION: limit=5 scope=global value=5 would_be=6 unit=quantity")


@pytest.mark.row(7, "on modify")
def test_what_changes_needed_more_is_free_again_when_the_account_has_spoken():
    """Up and down for ever does not add up."""
    stage = Stage({"preset": "none", "limits": {"global": {"check_balance": True}}}).start()
    order = stage.hand.send(BUY, 1, 80)
    stage.tick()
    needs = stage.gate.judge.ledger.needs
    needs.told(order.account_id.value)
    assert [] == list(needs._needs)
    for size in (2, 1, 3, 1):
        modify(stage, order, size)
        stage.tick()
    needs.told(order.account_id.value)
    assert [] == list(needs._needs)


@pytest.mark.row(12, "one tick over")
def test_orders_at_the_start_at_the_stop_and_within_a_fill_are_judged():
    stage = Stage(FIVE)
    orders: list[Any] = []

    def send(size: int) -> None:
        orders.append(stage.hand.send(BUY, size))

    stage.hand.at_start.append(lambda: send(6))
    stage.hand.at_fill.append(lambda: (send(5), send(4)))
    stage.hand.at_stop.append(lambda: (send(1), send(1)))
    stage.start()
    send(1)
    stage.tick().tick()
    stage.end()
    names = [order.status.name for order in orders]
    assert ["DENIED", "FILLED", "DENIED", "FILLED", "DENIED", "DENIED"] == names
    assert Decimal(5) == longest(stage)


@pytest.mark.row(5, "one tick over")
def test_of_a_thousand_orders_within_a_tick_those_pass_for_which_there_is_room():
    stage = Stage({"preset": "none", "limits": {"global": {"max_position": "100"}}}, hands=2).start()
    orders = [stage.hands[n % 2].send(BUY, 1, 90) for n in range(1_000)]
    assert [OrderStatus.SUBMITTED] * 100 + [OrderStatus.DENIED] * 900 == [order.status for order in orders]
    stage.tick()
    assert (100, Decimal(100)) == (len(stage.cache.orders_open()), longest(stage))


def test_an_order_to_another_client_counts_for_the_account_that_it_goes_to():
    """Not for the one of its venue."""
    section = {"preset": "none", "limits": {"account=SIM3-*": {"max_position": "1"}}}
    stage = Stage(section).start()
    order = stage.hand.order(BUY, 2, 90)
    stage.hand.submit_order(order, client_id=ClientId("SIM3"))
    is_denied(order, "MAX_POSITION: limit=1 scope=account=SIM3-001 value=0 would_be=2 unit=quantity")
    unknown = stage.hand.order(BUY, 2, 90)
    stage.hand.submit_order(unknown, client_id=ClientId("NOBODY"))
    is_denied(unknown, "NO_ACCOUNT: scope=venue=SIM2 no account is known there")


@pytest.mark.row(22, "missing account")
def test_an_order_whose_client_is_missing_is_denied():
    """Nautilus would leave it INITIALIZED for ever."""
    stage = Stage({"preset": "none"}, venues=("SIM2",), before=lambda cache: cache.add_instrument(INSTRUMENTS[OTHER]))
    order = stage.start().hand.send(BUY, 1, 90, of=OTHER)
    is_denied(order, "NO_ACCOUNT: scope=venue=SIM3 no account is known there")


# -- ids ------------------------------------------------------------------------------------------------


@pytest.mark.row(11, "at limit")
def test_an_order_that_is_sent_again_goes_nowhere_and_stays_what_it_is(stage):
    """While the venue has not heard of it, while it works, and when it is over; also as another order of its id."""
    order = stage.hand.send(BUY, 1, 90)
    stage.submit(order)
    stage.submit(twin(order, 2))
    stage.tick()
    assert (OrderStatus.ACCEPTED, Decimal(1)) == (order.status, longest(stage))
    stage.submit(order)
    stage.submit(twin(order, 3))
    assert (OrderStatus.ACCEPTED, Decimal(1)) == (order.status, longest(stage))
    stage.hand.cancel_order(order)
    stage.tick()
    stage.submit(order)
    stage.submit(twin(order, 1))
    stage.tick()
    assert (OrderStatus.CANCELED, Decimal(0)) == (order.status, longest(stage))
    assert ["SubmitOrder", "CancelOrder"] == stage.sent.names()
    assert ["NOT_NEW"] * 6 == stage.refused()


def test_an_order_cannot_be_sent_under_the_id_of_one_that_waits(stage):
    """As of a parent, which no venue knows: it is not ended by it either."""
    parent = stage.hand.order(BUY, 1)
    stage.cache.add_order(parent)
    stage.submit(twin(parent, 1))
    assert (["NOT_NEW"], [], OrderStatus.INITIALIZED) == (stage.refused(), stage.sent.commands, parent.status)


def test_what_has_ended_on_its_way_is_not_sent(stage):
    """A strategy that sends an order twice in a callback ends it while the first command is still queued."""
    order = stage.hand.order(BUY, 1, 90)
    stage.cache.add_order(order)
    deny_order(stage.bus, order, "a reason of Nautilus's", 0)
    stage.submit(order)
    assert (["NOT_NEW"], [], "a reason of Nautilus's") == (stage.refused(), stage.sent.commands, reason(order))
    assert Decimal(0) == longest(stage)


@pytest.mark.row(11, "inside a list")
def test_an_order_that_stands_in_a_list_twice_denies_the_list(stage):
    first, second = stage.hand.order(BUY, 1, 90), stage.hand.order(BUY, 1, 80)
    orders = stage.hand.order_factory.create_list([first, second])
    orders.orders.append(first)
    stage.submit_list(orders)
    assert ([], {OrderStatus.DENIED}) == (stage.sent.commands, {first.status, second.status})


def test_a_member_that_was_sent_before_works_on_when_its_list_is_refused(stage):
    first = stage.hand.send(BUY, 1, 90)
    second = stage.hand.order(BUY, 1, 80)
    stage.submit_list(stage.hand.order_factory.create_list([first, second]))
    stage.tick()
    assert (OrderStatus.ACCEPTED, OrderStatus.DENIED) == (first.status, second.status)


# -- numbers --------------------------------------------------------------------------------------------


@pytest.mark.row(3, "one tick over")
def test_numbers_that_are_none_do_not_exist_and_the_largest_are_refused(stage):
    """Nautilus's own types refuse NaN, infinity, and a quantity of nothing."""
    for text in ("NaN", "inf", "-inf", ""):
        for kind in (Price, Quantity):
            with pytest.raises((ValueError, TypeError, ArithmeticError)):
                kind.from_str(text)
    with pytest.raises(ValueError, match="positive"):
        stage.hand.order(BUY, 0, 90)
    largest = Quantity(QUANTITY_MAX, 3)
    order = stage.hand.order_factory.market(INSTRUMENTS[PERP].id, BUY, largest)
    stage.submit(order)
    assert reason(order).startswith("MAX_POSITION: limit=5 scope=global value=0 would_be=")


@pytest.mark.row(1, "one tick over")
@pytest.mark.parametrize("price", ["0", "-1", "1000000000"])
def test_a_price_that_is_no_price_is_refused_or_harmless(price):
    """A purchase at nothing waits for ever; a sale at nothing is one at the market, and past the collar."""
    stage = Stage({"preset": "none", "limits": {"global": {"price_collar_bps": "500"}}}).start()
    side = BUY if Decimal(price) > 0 else SELL
    order = stage.hand.order_factory.limit(INSTRUMENTS[PERP].id, side, INSTRUMENTS[PERP].make_qty(1), _price(price))
    stage.submit(order)
    assert reason(order).startswith("PRICE_COLLAR: limit=500 scope=global")


def _price(text: str) -> Price:
    return Price(Decimal(text), INSTRUMENTS[PERP].price_precision)


@pytest.mark.row(2, "one tick over")
@pytest.mark.row(22, "missing price")
def test_an_order_in_money_counts_as_what_it_buys_and_is_refused_when_nobody_knows(stage):
    """600 of money are 5.97 coins at the mid of 100.5."""
    passing, refused = (stage.hand.order(BUY, size, quote_quantity=True) for size in (500, 600))
    for order in (refused, passing):
        stage.submit(order)
    assert (OrderStatus.DENIED, OrderStatus.SUBMITTED) == (refused.status, passing.status)
    stage.tick()
    held = stage.hand.portfolio.net_position(INSTRUMENTS[PERP].id)
    assert (OrderStatus.FILLED, held) == (passing.status, longest(stage))
    bare = Stage(FIVE, priced=False).start()
    order = bare.hand.order(BUY, 1, quote_quantity=True)
    bare.submit(order)
    assert reason(order).startswith(f"NO_PRICE: scope=instrument={PERP} its quantity is in money")


def test_who_marks_an_order_reduce_only_is_taken_at_his_word_only_where_the_file_says_so():
    for trusts, status in ((True, OrderStatus.SUBMITTED), (False, OrderStatus.DENIED)):
        stage = Stage(FIVE | {"trusts_reduce_only": trusts}).start()
        order = stage.hand.order(BUY, 6, 90, reduce_only=True)
        stage.submit(order)
        assert status == order.status


# -- the endpoint ---------------------------------------------------------------------------------------


class Taker(Actor):
    """Takes the endpoint over after the gate."""

    def __init__(self, *, to_engine: bool) -> None:
        super().__init__()
        self.to_engine = to_engine

    def register_base(self, portfolio, msgbus, cache, clock) -> None:
        super().register_base(portfolio, msgbus, cache, clock)
        engine = owner_of(msgbus, PROCESS)
        self.before = take_over(msgbus, EXECUTE, self.take)
        self.way = engine.execute if self.to_engine else self.before

    def take(self, command) -> None:
        self.way(command)


def test_an_actor_in_front_that_passes_on_changes_nothing():
    stage = Stage(FIVE)
    stage.engine.add_actor(Taker(to_engine=False))
    order = stage.start().hand.send(BUY, 6, 90)
    is_denied(order, TEXT)
    assert stage.gate.stands()


@pytest.mark.row(5, "at limit")
@pytest.mark.row(19, "at limit")
def test_an_actor_that_goes_past_the_gate_is_seen_and_what_it_sends_counts(caplog):
    """Whether it stands in front can be asked before anything is sent."""
    stage = Stage(FIVE)
    assert stage.gate.stands()
    stage.engine.add_actor(Taker(to_engine=True))
    assert not stage.gate.stands()
    caplog.clear()
    order = stage.start().hand.send(BUY, 6, 90)
    assert OrderStatus.SUBMITTED == order.status
    assert (["NOT_JUDGED"], Decimal(6)) == (stage.refused(), longest(stage))
    assert f"the order {order.client_order_id} was sent past the gate" in caplog.text
    stage.tick()
    assert 1 == len(stage.decisions), "once"


def test_what_is_restored_or_reconciled_is_not_taken_for_it(stage):
    """Events of orders that the gate knows, or that begin at the venue."""
    order = stage.hand.send(BUY, 1, 90)
    stage.tick()
    stage.bus.publish("events.order.X", TestEventStubs.order_submitted(order))
    stage.bus.publish("events.order.X", TestEventStubs.order_accepted(stage.hand.order(BUY, 1, 90)))
    assert [] == stage.refused()
