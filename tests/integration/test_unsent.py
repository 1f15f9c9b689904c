"""What a killed node made and never sent ends at the next start; what somebody still has in hand goes on."""

from __future__ import annotations

import pytest
from mirror_engine import INSTRUMENT
from nautilus_trader.cache.cache import Cache
from nautilus_trader.common.component import TestClock
from nautilus_trader.common.factories import OrderFactory
from nautilus_trader.core.uuid import UUID4  # pyright: ignore[reportAttributeAccessIssue] - compiled, without a stub
from nautilus_trader.model.enums import OrderSide, OrderStatus, TriggerType
from nautilus_trader.model.events import OrderCanceled, OrderDenied, OrderEmulated, OrderReleased
from nautilus_trader.model.identifiers import AccountId, ExecAlgorithmId, StrategyId, TraderId
from nautilus_trader.test_kit.stubs.events import TestEventStubs
from nautilus_trader.test_kit.stubs.execution import TestExecStubs

from nautilus_ext.persistence.unsent import REASON, ends_of_unsent, sent_by_the_emulator

SIZE = INSTRUMENT.make_qty("0.010")


@pytest.fixture
def make():
    return OrderFactory(TraderId("T-1"), StrategyId("S-001"), TestClock())


def ended(*orders) -> dict:
    """Put the orders into an empty cache; return what ends, by id."""
    cache = Cache()
    for order in orders:
        cache.add_order(order)
        cache.update_order(order)
    events = ends_of_unsent(cache, 7)
    for event in events:
        cache.order(event.client_order_id).apply(event)
    return {event.client_order_id: event for event in events}


def price(number: int):
    return INSTRUMENT.make_price(number)


def bracket(make, **given):
    return make.bracket(
        INSTRUMENT.id, OrderSide.BUY, SIZE, sl_trigger_price=price(40_000), tp_price=price(60_000), **given
    ).orders


def test_an_order_that_never_left_is_denied_with_the_reason(make):
    """The strategy hears of it as of any refusal."""
    order = make.market(INSTRUMENT.id, OrderSide.BUY, SIZE)
    (event,) = ended(order).values()
    assert isinstance(event, OrderDenied)
    assert (REASON, OrderStatus.DENIED) == (event.reason, order.status)


def test_an_order_that_left_is_the_venues(make):
    """Reconciliation has said what became of it."""
    order = make.limit(INSTRUMENT.id, OrderSide.BUY, SIZE, price(50_000))
    order.apply(TestEventStubs.order_submitted(order))
    assert {} == ended(order)


def test_an_emulated_order_stays_with_the_emulator(make):
    """Also before its first event: the emulator takes it up at its own start."""
    order = make.stop_market(INSTRUMENT.id, OrderSide.BUY, SIZE, price(50_000), emulation_trigger=TriggerType.BID_ASK)
    assert {} == ended(order)


def test_a_parent_is_cancelled_and_its_unsent_child_denied(make):
    """Children may have traded for the parent: it was no refusal."""
    given = {"exec_algorithm_id": ExecAlgorithmId("TWAP"), "exec_algorithm_params": {"horizon_secs": 2}}
    parent = make.market(INSTRUMENT.id, OrderSide.BUY, SIZE, **given)
    (event,) = ended(parent).values()
    assert isinstance(event, OrderCanceled)
    assert OrderStatus.CANCELED == parent.status


@pytest.mark.parametrize(("entry_is", "ends"), [("unsent", 3), ("working", 0), ("rejected", 2)])
def test_a_leg_waits_as_long_as_its_entry(make, entry_is, ends):
    """Legs that a venue or the emulator gets when the entry fills are not given up before."""
    entry, *legs = bracket(make)
    if entry_is != "unsent":
        entry.apply(TestEventStubs.order_submitted(entry))
    if entry_is == "rejected":
        entry.apply(TestEventStubs.order_rejected(entry))
    assert ends == len(ended(entry, *legs))


def test_what_the_emulator_released_counts_as_sent(make):
    """It may be at its venue, and Nautilus takes in nothing that is told of a RELEASED order."""
    order = make.stop_market(INSTRUMENT.id, OrderSide.BUY, SIZE, price(50_000), emulation_trigger=TriggerType.BID_ASK)
    ids = (order.trader_id, order.strategy_id, order.instrument_id, order.client_order_id)
    order.apply(OrderEmulated(*ids, UUID4(), 1))
    order.apply(OrderReleased(*ids, price(50_000), UUID4(), 2))
    cache = Cache()
    cache.add_instrument(INSTRUMENT)
    cache.add_order(order)
    assert [] == sent_by_the_emulator(cache, 7), "nothing is sent without an account"
    account = TestExecStubs.margin_account(AccountId(f"{INSTRUMENT.id.venue}-001"))
    cache.add_account(account)
    (said,) = sent_by_the_emulator(cache, 7)
    assert (order.client_order_id, account.id) == (said.client_order_id, said.account_id)
    assert order.is_inflight
    assert {} == ended(order)
    order.apply(TestEventStubs.order_filled(order, INSTRUMENT, account_id=account.id))
    assert OrderStatus.FILLED == order.status
