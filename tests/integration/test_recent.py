"""What the risk gate is given after a restart: the orders that were sent, how many ever, and standing reservations."""

from __future__ import annotations

import asyncio
import time

import msgspec
import pytest
from nautilus_trader.cache.cache import Cache
from nautilus_trader.common.component import MessageBus, TestClock
from nautilus_trader.model.identifiers import TraderId
from nautilus_trader.portfolio.portfolio import Portfolio
from order_book import ACCOUNT, NOW_NS, SECOND_NS, SUBMITTED, OrderBook
from shipper_log import INSTRUMENT
from shipper_stage import BOOK, Stage

from nautilus_ext.messages import RECENT, PastOrder, Recent
from nautilus_ext.persistence import Restore, RestoreConfig, recent
from nautilus_ext.persistence.audit import opened
from nautilus_ext.persistence.holdings import read_holdings

WORKED = {"exec_algorithm_id": "TWAP"}


class Desk(OrderBook):
    """A book that is read as a restart reads it."""

    def holdings(self, counted_max=100, fills_s=0.0):
        self.ship()
        return asyncio.run(self._read(counted_max, fills_s))

    async def _read(self, counted_max, fills_s):
        async with opened(self.stage.url, 5.0, "test") as connection:
            how = {"counted_max": counted_max, "fills_s": fills_s}
            return await read_holdings(connection, BOOK, recent_s=time.time(), **how)


@pytest.fixture
def desk(database, tmp_path):
    stage = Stage(database.app_url, tmp_path)
    yield Desk(stage)
    stage.kill()


def ids_of(found: Recent) -> list[str]:
    return [past.client_order_id for past in found.orders]


def test_what_was_sent_is_remembered_oldest_first(desk):
    """Answered or not, refused by the venue or filled; what never left, and what others did, is not."""
    desk.order("rejected", *SUBMITTED, "OrderRejected", age_s=40)
    desk.order("unanswered", age_s=50)
    desk.order("released", "OrderInitialized", "OrderEmulated", "OrderReleased", age_s=30)
    desk.order("accepted", *SUBMITTED, "OrderAccepted", age_s=20)
    desk.order("denied", "OrderInitialized", "OrderDenied")
    desk.order("released and denied", "OrderInitialized", "OrderEmulated", "OrderReleased", "OrderDenied")
    desk.order("made", "OrderInitialized")
    desk.order("emulated", "OrderInitialized", "OrderEmulated")
    desk.order("canceled before it was sent", "OrderInitialized", "OrderCanceled")
    desk.order("of somebody else", *SUBMITTED, "OrderAccepted", strategy="EXTERNAL")
    desk.order("of the day before", age_s=recent.WITHIN_S + 60)
    found = desk.holdings().recent
    assert ["unanswered", "rejected", "released", "accepted"] == ids_of(found)
    assert {"S-000": 5} == found.orders_by_strategy


def test_an_order_is_told_with_what_makes_it_alike(desk):
    """Every digit, the operation, the algorithm's parent; a bracket's entry is no such parent."""
    price, trigger = "40000.123456789012345678", "39999.000000001"
    terms = {"quantity": "0.010000000000000001", "order_type": "STOP_LIMIT", "order_side": "SELL"}
    desk.order(
        "child",
        **terms,
        **WORKED,
        exec_spawn_id="parent",
        order_list_id="L-1",
        tags=["op:seven"],
        options={"price": price, "trigger_price": trigger},
    )
    desk.order("leg", age_s=30, parent_order_id="entry")
    told, leg = desk.holdings().recent.orders
    expected = PastOrder(
        ts_ns=NOW_NS - 60 * SECOND_NS,
        client_order_id="child",
        strategy_id="S-000",
        instrument_id=INSTRUMENT,
        side="SELL",
        quantity=terms["quantity"],
        price=price,
        operation_id="seven",
        parent_id="parent",
        type="STOP_LIMIT",
        trigger_price=trigger,
        account_id="BINANCE-001",
        list_id="L-1",
    )
    assert expected == told
    assert ("leg", None, None, "", "") == (leg.operation_id, leg.price, leg.trigger_price, leg.parent_id, leg.list_id)


@pytest.mark.parametrize(("most", "counts"), [(100, {"A": 7, "S-000": 3}), (5, {"A": 5, "S-000": 3}), (0, {})])
def test_orders_are_counted_per_strategy_as_far_as_a_ramp_asks(desk, most, counts):
    """However old they are; a strategy that sent none is not named."""
    for strategy, count in (("A", 7), ("S-000", 3), ("EXTERNAL", 2)):
        for number in range(count):
            desk.order(f"{strategy}-{number}", age_s=10**6, strategy=strategy)
    desk.order("Z-1", "OrderInitialized", "OrderDenied", strategy="Z")
    assert counts == desk.holdings(most).recent.orders_by_strategy


def test_the_newest_are_kept_when_there_are_too_many(desk, monkeypatch):
    """What a window looks for is what happened last."""
    monkeypatch.setattr(recent, "ORDERS_MAX", 2)
    for number in range(5):
        desk.order(f"O-{number}", age_s=60 - number)
    assert ["O-3", "O-4"] == ids_of(desk.holdings().recent)


def test_the_last_word_on_a_parent_says_whether_its_reservation_stands(desk):
    """Of parents that are open; a refused attempt for more leaves what was reserved before."""
    for name in ("standing", "released", "again", "refused", "for more", "silent"):
        desk.order(name, "OrderInitialized", **WORKED)
    desk.order("over", "OrderInitialized", "OrderCanceled", **WORKED)
    for name in ("standing", "released", "again", "for more", "over"):
        desk.decide(name, "approved", "reserve")
    desk.decide("standing", "approved", "submit")
    desk.decide("released", "approved", "release")
    desk.decide("again", "approved", "release")
    desk.decide("again", "approved", "reserve")
    desk.decide("refused", "refused", "reserve")
    desk.decide("for more", "refused", "reserve")
    assert {"standing", "again", "for more"} == set(desk.holdings().recent.reserved)


def test_restore_leaves_it_in_the_cache_for_the_gate(desk, tmp_path):
    """Under its key, before any other actor is registered."""
    desk.order("O-1")
    holdings = desk.holdings()
    path = tmp_path / "holdings.json"
    path.write_bytes(msgspec.json.encode(holdings))
    clock, cache = TestClock(), Cache()
    msgbus = MessageBus(trader_id=TraderId("T-1"), clock=clock)
    Restore(RestoreConfig(path=str(path))).register_base(Portfolio(msgbus, cache, clock), msgbus, cache, clock)
    found = msgspec.json.decode(cache.get(RECENT), type=Recent)
    assert (holdings.recent, ["O-1"]) == (found, ids_of(found))


FILL = {"last_qty": "1", "last_px": "100", "commission": "0 USDT", "currency": "USDT", "liquidity_side": "TAKER"}


def test_fills_come_along_as_far_back_as_a_breaker_counts_them(desk):
    """The oldest first; who counts none gets none."""
    for age_s in (30, 90, 10):
        filled = {**FILL, "trade_id": f"T-{age_s}", "position_id": f"P-{age_s}"}
        desk.order(f"O-{age_s}", *SUBMITTED, "OrderAccepted", "OrderFilled", age_s=age_s, **filled)
    found = desk.holdings(fills_s=time.time() - NOW_NS / SECOND_NS + 60).recent.fills
    assert [(30, "S-000", ACCOUNT), (10, "S-000", ACCOUNT)] == [
        ((NOW_NS - each.ts_ns) // SECOND_NS, each.strategy_id, each.account_id) for each in found
    ]
    assert [] == asyncio.run(desk._read(100, 0.0)).recent.fills
