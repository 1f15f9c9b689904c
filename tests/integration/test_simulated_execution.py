"""Each command, event and report of the simulated exchange's clients, in a real node against a real server."""

from __future__ import annotations

import time
from contextlib import closing
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest
from exchange_client import INVERSE, PERP, SPOT
from exchange_lab import AGREE_S, CLIENT
from exchange_ledger import at

from nautilus_ext.simulation import wire
from nautilus_ext.simulation.wire import REPORTS_PER_ANSWER_MAX

if TYPE_CHECKING:
    from collections.abc import Iterator

    from exchange_lab import Lab


pytest_plugins = ["exchange_fixtures"]


@pytest.fixture
def lab(one_lab: Lab) -> Iterator[Lab]:
    """The one node of this file; the market stands still, and after each test cache and ledger agree."""
    one_lab.peer.control("pause")
    yield one_lab
    one_lab.faults()
    for instrument in (PERP, SPOT, INVERSE):
        one_lab.node(f"hand.end_all({instrument!r})")
    assert one_lab.settled() == []
    for peer in one_lab.peers.values():
        peer.control("step", steps=2)  # strangers come back where a test has emptied the books


# -- submit -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("instrument", "quantity"), [(PERP, "0.010"), (SPOT, "0.01000"), (INVERSE, "100")])
@pytest.mark.parametrize("side", ["BUY", "SELL"])
def test_a_market_order_fills(lab, instrument, quantity, side):
    """On spot, linear and inverse listings, with fee and position."""
    order = lab.send("market", side, quantity, instrument)
    lab.becomes(order, "FILLED")
    assert ["Submitted", "Accepted", "Filled"] == lab.events(order)
    assert lab.settled() == []


def test_a_quote_quantity_becomes_a_base_quantity_before_the_fill(lab):
    """2,000 USDT are about 0.033 BTC; from then on the order counts in BTC."""
    order = lab.send("market", "BUY", "2000.00000", SPOT, quote_quantity=True)
    lab.becomes(order, "FILLED")
    assert ["Submitted", "Accepted", "Updated", "Filled"] == lab.events(order)
    assert lab.node(f"hand.order({order!r}).is_quote_quantity") is False
    assert Decimal("0.03") < Decimal(lab.node(f"str(hand.order({order!r}).filled_qty)")) < Decimal("0.04")


def test_a_limit_order_rests_and_fills_bit_by_bit(lab):
    """Each fill once, the maker's fee, then it is filled."""
    price = lab.bid("-0.1")
    order = lab.send("limit", "BUY", "0.030", price=price)
    lab.becomes(order, "ACCEPTED")
    lab.trade("SELL", "0.01", price)
    lab.becomes(order, "PARTIALLY_FILLED")
    lab.trade("SELL", "0.02", price)
    lab.becomes(order, "FILLED")
    assert ["Submitted", "Accepted", "Filled", "Filled"] == lab.events(order)


@pytest.mark.parametrize(
    ("time_in_force", "events"),
    [("IOC", ["Submitted", "Accepted", "Canceled"]), ("FOK", ["Submitted", "Accepted", "Canceled"])],
)
def test_what_cannot_fill_at_once_is_canceled(lab, time_in_force, events):
    """IOC and FOK below the market."""
    order = lab.send("limit", "BUY", "0.010", price=lab.bid("1"), time_in_force=time_in_force)
    lab.becomes(order, "CANCELED")
    assert events == lab.events(order)


def test_an_order_expires_at_its_time(lab):
    """GTD, by the exchange's clock, while the market stands still."""
    order = lab.send("limit", "BUY", "0.010", price=lab.bid("1"), time_in_force="GTD", expire_s=0.5)
    lab.becomes(order, "EXPIRED")
    assert ["Submitted", "Accepted", "Expired"] == lab.events(order)


def test_a_post_only_order_that_would_take_is_rejected_as_such(lab):
    """The strategy can tell it from every other rejection."""
    order = lab.send("limit", "BUY", "0.010", price=lab.ask(), post_only=True)
    lab.becomes(order, "REJECTED")
    assert lab.node(f"hand.order({order!r}).last_event.due_post_only")
    assert lab.reasons(order)[0].startswith("POST_ONLY_WOULD_TAKE")


def test_a_reduce_only_order_reduces_and_no_more(lab):
    """Without a position it is rejected; with one it is cut to it."""
    if amount := lab.held():
        side = "SELL" if amount > 0 else "BUY"
        lab.becomes(lab.send("market", side, f"{abs(amount):.3f}"), "FILLED")
    refused = lab.send("market", "SELL", "0.010", reduce_only=True)
    lab.becomes(refused, "REJECTED")
    assert "REDUCE_ONLY" in lab.reasons(refused)[0]
    lab.becomes(lab.send("market", "BUY", "0.010"), "FILLED")
    cut = lab.send("market", "SELL", "0.030", reduce_only=True)
    lab.node.until(f"hand.order({cut!r}).is_closed")
    assert lab.node(f"str(hand.order({cut!r}).filled_qty)") == "0.010"
    assert lab.settled() == []
    assert lab.held() == 0


def test_only_a_part_of_an_order_is_shown(lab):
    """display_qty: the book shows 0.01 of 0.05, and all of it trades."""
    price = Decimal(lab.bid("-0.2"))
    order = lab.send("limit", "BUY", "0.050", price=str(price), display_qty="0.010")
    lab.becomes(order, "ACCEPTED")
    assert dict(lab.book()[0])[price] == Decimal("0.01")
    lab.trade("SELL", "0.05", str(price))
    lab.becomes(order, "FILLED")


@pytest.mark.parametrize("kind", ["stop_market", "stop_limit", "limit_if_touched", "market_if_touched"])
def test_a_conditional_order_waits_for_its_trigger(lab, kind):
    """A trade at the trigger price sets it off; those with a limit say so."""
    ask, bid = Decimal(lab.ask()), Decimal(lab.bid())
    is_stop = kind.startswith("stop")
    trigger = ask + Decimal("0.3") if is_stop else bid - Decimal("0.3")
    limit = {"price": str(trigger + 5)} if "limit" in kind else {}
    order = lab.send(kind, "BUY", "0.010", trigger_price=str(trigger), **limit)
    lab.becomes(order, "ACCEPTED")
    side, taken = ("BUY", lab.book()[1]) if is_stop else ("SELL", lab.book()[0])
    up_to = [level for level in taken if (level[0] <= trigger if is_stop else level[0] >= trigger)]
    size = sum(level[1] for level in up_to) or Decimal("0.001")
    lab.trade(side, f"{size + 1}", str(trigger))
    if not up_to or up_to[-1][0] != trigger:
        with closing(lab.another_peer()) as other:  # nobody stands at the trigger itself: two make a trade there
            other.place(PERP, "SELL" if is_stop else "BUY", Decimal("0.002"), trigger)
            lab.trade(side, "0.001", str(trigger))
            other.done(wire.CancelAll)
    lab.peer.control("step", steps=1)
    lab.node.until(f"hand.status({order!r}) != 'ACCEPTED'", 5.0)
    lab.peer.control("step", steps=1)
    lab.becomes(order, "FILLED")
    expected = ["Submitted", "Accepted", *(["Triggered"] if limit else []), "Filled"]
    assert expected == lab.events(order)


@pytest.mark.parametrize(
    ("arguments", "more", "reason"),
    [
        (
            ("trailing_stop_market", "SELL", "0.010"),
            {"trailing_offset": 5, "trigger_price": "50000.0"},
            "TRAILING_STOP",
        ),
        (("limit", "BUY", "0.010"), {"price": "50000.0", "time_in_force": "AT_THE_CLOSE"}, "AT_THE_CLOSE"),
        (("stop_market", "BUY", "0.010"), {"trigger_price": "99999.0", "trigger_type": "MARK_PRICE"}, "MARK_PRICE"),
        (("limit", "BUY", "0.010"), {"price": "50000.0", "quote_quantity": True}, "quote currency"),
    ],
)
def test_what_is_not_supported_is_denied_before_anything_is_sent(lab, arguments, more, reason):
    """With the reason; the exchange hears nothing of it."""
    text = ", ".join([*map(repr, arguments), *(f"{name}={value!r}" for name, value in more.items())])
    order = lab.node(f"hand.send({text.replace('Decimal', '__import__("decimal").Decimal')})")
    lab.becomes(order, "DENIED")
    assert ["Denied"] == lab.events(order)
    assert reason in lab.reasons(order)[0]
    assert lab.written(order) is None


def test_a_refusal_of_the_exchange_is_a_rejection_with_its_reason(lab):
    """More than the account can carry."""
    order = lab.send("limit", "BUY", "99999.000", price=lab.bid())
    lab.becomes(order, "REJECTED")
    assert lab.reasons(order)[0].startswith("INSUFFICIENT_MARGIN")


# -- lists ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("contingency", ["OUO", "OCO"])
def test_the_legs_of_a_bracket_wait_for_their_entry_and_end_each_other(lab, contingency):
    """Take profit fills, stop loss is canceled; quantities follow what has filled."""
    ask, bid = Decimal(lab.ask()), Decimal(lab.bid())
    price, target = bid + Decimal("0.1"), ask + Decimal("0.2")
    entry, stop, profit = lab.node(
        f"hand.send_bracket('BUY', '0.020', {contingency!r}, entry_price='{price}', "
        f"sl_trigger_price='{bid - 50}', tp_price='{target}')"
    )
    for each in (entry, stop, profit):
        lab.becomes(each, "ACCEPTED")
    assert lab.written(stop)["held"]
    lab.trade("SELL", "0.02", str(price))
    lab.becomes(entry, "FILLED")
    assert lab.settled() == []
    lab.trade("BUY", "20", str(target))
    lab.becomes(profit, "FILLED")
    lab.becomes(stop, "CANCELED")


def test_an_entry_that_is_canceled_takes_its_legs_along(lab):
    """Nothing of the bracket is left."""
    bid = Decimal(lab.bid())
    ids = lab.node(
        f"hand.send_bracket('BUY', '0.020', entry_price='{bid - 5}', "
        f"sl_trigger_price='{bid - 50}', tp_price='{bid + 50}')"
    )
    for each in ids:
        lab.becomes(each, "ACCEPTED")
    lab.node(f"hand.end({ids[0]!r})")
    for each in ids:
        lab.becomes(each, "CANCELED")
    assert ["CANCELED"] * 3 == [lab.written(each)["status"] for each in ids]


def test_a_list_with_one_order_that_is_not_supported_is_denied_as_a_whole(lab):
    """Half a list would be another order than the one that was meant."""
    ids = lab.node(
        "hand.send_list(hand.make('limit', 'BUY', '0.010', price='50000.0'), "
        "hand.make('limit', 'BUY', '0.010', price='50000.0', time_in_force='AT_THE_OPEN'))"
    )
    for each in ids:
        lab.becomes(each, "DENIED")
    assert [None, None] == [lab.written(each) for each in ids]


# -- modify and cancel ------------------------------------------------------------------------------


def test_an_order_is_modified(lab):
    """Price and quantity; the exchange has the same."""
    order = lab.send("limit", "BUY", "0.020", price=lab.bid("5"))
    lab.becomes(order, "ACCEPTED")
    price = lab.bid("4")
    lab.node(f"hand.change({order!r}, price={price!r}, quantity='0.010')")
    lab.node.until(f"str(hand.order({order!r}).price) == {price!r}")
    assert ["Submitted", "Accepted", "PendingUpdate", "Updated"] == lab.events(order)
    assert Decimal(lab.written(order)["quantity"]) == Decimal("0.01")


def test_a_modify_that_is_refused_leaves_the_order_as_it_was(lab):
    """A quantity below what has filled."""
    price = lab.bid("-0.1")
    order = lab.send("limit", "BUY", "0.020", price=price)
    lab.becomes(order, "ACCEPTED")
    lab.trade("SELL", "0.01", price)
    lab.becomes(order, "PARTIALLY_FILLED")
    lab.node(f"hand.change({order!r}, quantity='0.005')")
    lab.node.until(f"'OrderModifyRejected' in hand.events({order!r})")
    lab.becomes(order, "PARTIALLY_FILLED")
    assert lab.node(f"str(hand.order({order!r}).quantity)") == "0.020"


def test_one_some_and_all_orders_are_canceled(lab):
    """By one id, by several, by side and instrument."""
    buys = [lab.send("limit", "BUY", "0.010", price=lab.bid("5")) for _ in range(5)]
    sells = [lab.send("limit", "SELL", "0.010", price=lab.ask("5")) for _ in range(2)]
    spot = lab.send("limit", "BUY", "0.01000", SPOT, price=lab.bid("5", SPOT))
    for each in (*buys, *sells, spot):
        lab.becomes(each, "ACCEPTED")
    lab.node(f"hand.end({buys[0]!r})")
    lab.becomes(buys[0], "CANCELED")
    lab.node(f"hand.end_some({buys[1]!r}, {buys[2]!r})")
    lab.becomes(buys[1], "CANCELED")
    lab.becomes(buys[2], "CANCELED")
    lab.node("hand.end_all(side='BUY')")
    lab.becomes(buys[3], "CANCELED")
    lab.becomes(buys[4], "CANCELED")
    assert ["ACCEPTED"] * 2 == [lab.node(f"hand.status({each!r})") for each in sells]
    lab.node("hand.end_all()")
    lab.becomes(sells[0], "CANCELED")
    lab.becomes(sells[1], "CANCELED")
    assert lab.node(f"hand.status({spot!r})") == "ACCEPTED"


def test_the_orders_of_others_are_not_canceled_with_ones_own(lab):
    """cancel_all_orders of a strategy: an order of somebody else on the same account and instrument stays."""
    own = lab.send("limit", "BUY", "0.010", price=lab.bid("5"))
    lab.becomes(own, "ACCEPTED")
    lab.node(f"hand.send_as('OTHER-002', {CLIENT}, {own!r}, 'OTHER-1')")
    lab.becomes("OTHER-1", "ACCEPTED")
    lab.node("hand.end_all()")
    lab.becomes(own, "CANCELED")
    assert lab.node("hand.status('OTHER-1')") == "ACCEPTED"
    lab.node(f"hand.late_cancel({CLIENT}, 'OTHER-1')")
    lab.becomes("OTHER-1", "CANCELED")


def test_a_cancel_that_comes_too_late_is_refused(lab):
    """The exchange knows that it is closed; the order stays what it is."""
    order = lab.send("market", "BUY", "0.010")
    lab.becomes(order, "FILLED")
    lab.node(f"hand.late_cancel({CLIENT}, {order!r})")
    lab.node.until(f"'OrderCancelRejected' in hand.events({order!r})")
    assert "ORDER_CLOSED" in lab.reasons(order)[0]
    assert lab.node(f"hand.status({order!r})") == "FILLED"


# -- questions and reports --------------------------------------------------------------------------


def test_account_and_order_are_queried(lab):
    """A new account state; a report that changes nothing because there is nothing new."""
    order = lab.send("limit", "BUY", "0.010", price=lab.bid("5"))
    lab.becomes(order, "ACCEPTED")
    heard = lab.node("len(hand.heard)")
    lab.node("hand.query_account(clients['SIM2'].account_id)")
    lab.node.until(f"type(hand.heard[-1]).__name__ == 'AccountState' and len(hand.heard) > {heard}")
    reports = lab.node("node.kernel.exec_engine.report_count")
    lab.node(f"hand.ask({order!r})")
    lab.node.until(f"node.kernel.exec_engine.report_count == {reports + 1}")
    assert lab.node(f"hand.status({order!r})") == "ACCEPTED"


def test_a_report_is_found_by_either_id(lab):
    """By the venue's and by ours; None for what never was."""
    order = lab.send("market", "BUY", "0.010")
    lab.becomes(order, "FILLED")
    venue_id = lab.written(order)["venue_order_id"]
    for ids in (f"client_order_id={order!r}", f"venue_order_id={venue_id!r}"):
        seen = lab.node(f"hand.report({CLIENT}, {ids})")
        assert ("FILLED", order, "0.010") == (seen["order_status"], seen["client_order_id"], seen["filled_qty"])
    assert lab.node(f"hand.report({CLIENT}, 'NEVER')") is None


def test_reports_come_in_pages_and_with_filters(lab):
    """More orders than one answer holds; only the open ones; fills and positions."""

    def placed() -> int:
        return sum(row["status"] != "REJECTED" for row in at(lab.ledger().orders, "SIM2", "TEST-001"))

    price = lab.bid("20")
    rounds = (REPORTS_PER_ANSWER_MAX - placed()) // 100 + 2
    for _ in range(rounds):
        lab.node(f"hand.send_list(*[hand.make('limit', 'BUY', '0.001', price={price!r}) for _ in range(100)])")
    lab.node.until(f"len([o for o in cache.orders_open() if str(o.price) == {price!r}]) == {rounds * 100}", 30.0)
    number = placed()
    assert number > REPORTS_PER_ANSWER_MAX
    all_ids = [each["venue_order_id"] for each in lab.node(f"hand.order_reports({CLIENT}, open_only=False)")]
    assert number <= len(set(all_ids)) == len(all_ids)
    open_ones = lab.node(f"hand.order_reports({CLIENT}, open_only=True)")
    assert {"ACCEPTED"} == {each["order_status"] for each in open_ones}
    assert rounds * 100 == len(open_ones)
    fills = [row["trade_id"] for row in at(lab.ledger().fills, "SIM2", "TEST-001")]
    assert fills == [each["trade_id"] for each in lab.node(f"hand.fill_reports({CLIENT})")]
    assert lab.node(f"hand.fill_reports({CLIENT}, hand.clock.utc_now())") == []
    assert [lab.held()] == [Decimal(each) for each in lab.node(f"hand.position_reports({CLIENT}, {PERP!r})")]


# -- the venue itself -------------------------------------------------------------------------------


def test_a_halted_venue_says_so_and_takes_cancels_only(lab):
    """A status event per instrument; a new order is rejected, a cancel goes through."""
    order = lab.send("limit", "BUY", "0.010", price=lab.bid("5"))
    lab.becomes(order, "ACCEPTED")
    lab.node(f"hand.subscribe_instrument_status(hand.id({PERP!r}))")
    lab.node.until("any(type(each).__name__ == 'InstrumentStatus' for each in hand.data)")
    lab.peer.control("halt")
    try:
        lab.node.until("hand.data[-1].action.name == 'HALT' if hasattr(hand.data[-1], 'action') else False")
        refused = lab.send("limit", "BUY", "0.010", price="50000.0")
        lab.becomes(refused, "REJECTED")
        assert lab.reasons(refused)[0].startswith("HALTED")
        lab.node(f"hand.end({order!r})")
        lab.becomes(order, "CANCELED")
    finally:
        lab.peer.control("open")
    lab.node.until("hand.data[-1].action.name == 'TRADING' if hasattr(hand.data[-1], 'action') else False")
    lab.node(f"hand.unsubscribe_instrument_status(hand.id({PERP!r}))")


def test_every_kind_of_data_arrives(lab):
    """Quotes, trades, deltas that make the exchange's own book, depth, instruments, a snapshot on request."""
    lab.node("hand.data.clear()")
    where = f"hand.id({PERP!r})"
    for what in ("quote_ticks", "trade_ticks", "order_book_deltas", "order_book_depth", "instrument"):
        lab.node(f"hand.subscribe_{what}({where})")
    kinds = {"QuoteTick", "TradeTick", "OrderBookDeltas", "OrderBookDepth10", "CryptoPerpetual"}
    deadline_s = time.monotonic() + AGREE_S
    while not kinds <= lab.node("hand.data_kinds()").keys():
        assert time.monotonic() < deadline_s, lab.node("hand.data_kinds()")
        lab.peer.control("step", steps=5)
    lab.node(f"hand.request_order_book_snapshot({where})")
    prices = [[str(price) for price, _ in side] for side in lab.book()]
    lab.node.until(f"hand.book({PERP!r}) == {prices!r}")
    for what in ("quote_ticks", "trade_ticks", "order_book_deltas", "order_book_depth"):
        lab.node(f"hand.unsubscribe_{what}({where})")


def test_nothing_of_all_this_was_an_error(lab):
    """No traceback, no event that did not fit its order; warnings only of refused orders and of what never was."""
    lines = lab.node.said().splitlines()
    assert [line for line in lines if "[ERROR]" in line or "Traceback" in line] == []
    expected = ("Rejected(", "OrderDenied(", "Did not receive")
    assert [line for line in lines if "[WARN]" in line and not any(each in line for each in expected)] == []
