"""Each command, event and report of the simulated exchange's clients, in a real node against a real server."""

from __future__ import annotations

import time
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest
from exchange_desk import CLIENT, Desk, new_folder
from exchange_node import INVERSE, PERP, SPOT, ExchangeNode, Peer, node_config, stop_server

from nautilus_ext.simulation import wire
from nautilus_ext.simulation.wire import REPORTS_PER_ANSWER_MAX

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

AGREE_S = 10.0


@pytest.fixture(scope="module")
def one_desk(fast_folder: Path) -> Iterator[Desk]:
    folder = new_folder(fast_folder)
    try:
        with ExchangeNode(node_config(folder), folder) as node:
            desk = Desk(node, folder)
            yield desk
            desk.close()
    finally:
        stop_server(folder)


@pytest.fixture
def desk(one_desk: Desk) -> Iterator[Desk]:
    """The one node of this file; the market stands still, and after each test cache and ledger agree."""
    one_desk.peer.control("pause")
    yield one_desk
    one_desk.peer.faults()
    for instrument in (PERP, SPOT, INVERSE):
        one_desk.node(f"hand.end_all({instrument!r})")
    one_desk.agrees()
    for peer in one_desk.peers.values():
        peer.control("step", steps=2)  # strangers come back where a test has emptied the books


# -- submit -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("instrument", "quantity"), [(PERP, "0.010"), (SPOT, "0.01000"), (INVERSE, "100")])
@pytest.mark.parametrize("side", ["BUY", "SELL"])
def test_a_market_order_fills(desk, instrument, quantity, side):
    """On spot, linear and inverse listings, with fee and position."""
    order = desk.send("market", side, quantity, instrument)
    desk.becomes(order, "FILLED")
    assert ["Submitted", "Accepted", "Filled"] == desk.events(order)
    desk.agrees()


def test_a_quote_quantity_becomes_a_base_quantity_before_the_fill(desk):
    """2,000 USDT are about 0.033 BTC; from then on the order counts in BTC."""
    order = desk.send("market", "BUY", "2000.00000", SPOT, quote_quantity=True)
    desk.becomes(order, "FILLED")
    assert ["Submitted", "Accepted", "Updated", "Filled"] == desk.events(order)
    assert desk.node(f"hand.order({order!r}).is_quote_quantity") is False
    assert Decimal("0.03") < Decimal(desk.node(f"str(hand.order({order!r}).filled_qty)")) < Decimal("0.04")


def test_a_limit_order_rests_and_fills_bit_by_bit(desk):
    """Each fill once, the maker's fee, then it is filled."""
    price = desk.bid("-0.1")
    order = desk.send("limit", "BUY", "0.030", price=price)
    desk.becomes(order, "ACCEPTED")
    desk.peer.trade("SELL", "0.01", price)
    desk.becomes(order, "PARTIALLY_FILLED")
    desk.peer.trade("SELL", "0.02", price)
    desk.becomes(order, "FILLED")
    assert ["Submitted", "Accepted", "Filled", "Filled"] == desk.events(order)


@pytest.mark.parametrize(
    ("time_in_force", "events"),
    [("IOC", ["Submitted", "Accepted", "Canceled"]), ("FOK", ["Submitted", "Accepted", "Canceled"])],
)
def test_what_cannot_fill_at_once_is_canceled(desk, time_in_force, events):
    """IOC and FOK below the market."""
    order = desk.send("limit", "BUY", "0.010", price=desk.bid("1"), time_in_force=time_in_force)
    desk.becomes(order, "CANCELED")
    assert events == desk.events(order)


def test_an_order_expires_at_its_time(desk):
    """GTD, by the exchange's clock, while the market stands still."""
    order = desk.send("limit", "BUY", "0.010", price=desk.bid("1"), time_in_force="GTD", expire_s=0.5)
    desk.becomes(order, "EXPIRED")
    assert ["Submitted", "Accepted", "Expired"] == desk.events(order)


def test_a_post_only_order_that_would_take_is_rejected_as_such(desk):
    """The strategy can tell it from every other rejection."""
    order = desk.send("limit", "BUY", "0.010", price=desk.ask(), post_only=True)
    desk.becomes(order, "REJECTED")
    assert desk.node(f"hand.order({order!r}).last_event.due_post_only")
    assert desk.reasons(order)[0].startswith("POST_ONLY_WOULD_TAKE")


def test_a_reduce_only_order_reduces_and_no_more(desk):
    """Without a position it is rejected; with one it is cut to it."""
    if amount := Decimal(desk.ledger.positions().get(PERP, "0")):
        side = "SELL" if amount > 0 else "BUY"
        desk.becomes(desk.send("market", side, f"{abs(amount):.3f}"), "FILLED")
    refused = desk.send("market", "SELL", "0.010", reduce_only=True)
    desk.becomes(refused, "REJECTED")
    assert "REDUCE_ONLY" in desk.reasons(refused)[0]
    desk.becomes(desk.send("market", "BUY", "0.010"), "FILLED")
    cut = desk.send("market", "SELL", "0.030", reduce_only=True)
    desk.node.until(f"hand.order({cut!r}).is_closed")
    assert desk.node(f"str(hand.order({cut!r}).filled_qty)") == "0.010"
    desk.agrees()
    assert PERP not in desk.ledger.positions()


def test_only_a_part_of_an_order_is_shown(desk):
    """display_qty: the book shows 0.01 of 0.05, and all of it trades."""
    price = Decimal(desk.bid("-0.2"))
    order = desk.send("limit", "BUY", "0.050", price=str(price), display_qty="0.010")
    desk.becomes(order, "ACCEPTED")
    assert dict(desk.book()[0])[price] == Decimal("0.01")
    desk.peer.trade("SELL", "0.05", str(price))
    desk.becomes(order, "FILLED")


@pytest.mark.parametrize("kind", ["stop_market", "stop_limit", "limit_if_touched", "market_if_touched"])
def test_a_conditional_order_waits_for_its_trigger(desk, kind):
    """A trade at the trigger price sets it off; those with a limit say so."""
    ask, bid = Decimal(desk.ask()), Decimal(desk.bid())
    is_stop = kind.startswith("stop")
    trigger = ask + Decimal("0.3") if is_stop else bid - Decimal("0.3")
    limit = {"price": str(trigger + 5)} if "limit" in kind else {}
    order = desk.send(kind, "BUY", "0.010", trigger_price=str(trigger), **limit)
    desk.becomes(order, "ACCEPTED")
    side, taken = ("BUY", desk.book()[1]) if is_stop else ("SELL", desk.book()[0])
    up_to = [level for level in taken if (level[0] <= trigger if is_stop else level[0] >= trigger)]
    size = sum(level[1] for level in up_to) or Decimal("0.001")
    desk.peer.trade(side, f"{size + 1}", str(trigger))
    resting = str(trigger)
    if not up_to or up_to[-1][0] != trigger:
        with Peer(desk.folder, "SIM2") as other:  # nobody stands at the trigger itself: two make a trade there
            self_side = "SELL" if is_stop else "BUY"
            other.ask(wire.Place, orders=(_limit("M", self_side, "0.002", resting),))
            desk.peer.trade(side, "0.001", resting)
            other.ask(wire.CancelAll)
    desk.peer.control("step", steps=1)
    desk.node.until(f"hand.status({order!r}) != 'ACCEPTED'", 5.0)
    desk.peer.control("step", steps=1)
    desk.becomes(order, "FILLED")
    expected = ["Submitted", "Accepted", *(["Triggered"] if limit else []), "Filled"]
    assert expected == desk.events(order)


def _limit(name: str, side: str, quantity: str, price: str):
    from nautilus_ext.simulation.exchange.orders import NewOrder

    return NewOrder(
        client_order_id=name,
        instrument_id=PERP,
        side=side,
        type="LIMIT",
        quantity=Decimal(quantity),
        price=Decimal(price),
    )


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
def test_what_is_not_supported_is_denied_before_anything_is_sent(desk, arguments, more, reason):
    """With the reason; the exchange hears nothing of it."""
    text = ", ".join([*map(repr, arguments), *(f"{name}={value!r}" for name, value in more.items())])
    order = desk.node(f"hand.send({text.replace('Decimal', '__import__("decimal").Decimal')})")
    desk.becomes(order, "DENIED")
    assert ["Denied"] == desk.events(order)
    assert reason in desk.reasons(order)[0]
    assert order not in desk.ledger.orders()


def test_a_refusal_of_the_exchange_is_a_rejection_with_its_reason(desk):
    """More than the account can carry."""
    order = desk.send("limit", "BUY", "99999.000", price=desk.bid())
    desk.becomes(order, "REJECTED")
    assert desk.reasons(order)[0].startswith("INSUFFICIENT_MARGIN")


# -- lists ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("contingency", ["OUO", "OCO"])
def test_the_legs_of_a_bracket_wait_for_their_entry_and_end_each_other(desk, contingency):
    """Take profit fills, stop loss is canceled; quantities follow what has filled."""
    ask, bid = Decimal(desk.ask()), Decimal(desk.bid())
    price, target = bid + Decimal("0.1"), ask + Decimal("0.2")
    entry, stop, profit = desk.node(
        f"hand.send_bracket('BUY', '0.020', {contingency!r}, entry_price='{price}', "
        f"sl_trigger_price='{bid - 50}', tp_price='{target}')"
    )
    for each in (entry, stop, profit):
        desk.becomes(each, "ACCEPTED")
    assert desk.ledger.orders()[stop]["held"]
    desk.peer.trade("SELL", "0.02", str(price))
    desk.becomes(entry, "FILLED")
    desk.agrees()
    desk.peer.trade("BUY", "20", str(target))
    desk.becomes(profit, "FILLED")
    desk.becomes(stop, "CANCELED")


def test_an_entry_that_is_canceled_takes_its_legs_along(desk):
    """Nothing of the bracket is left."""
    bid = Decimal(desk.bid())
    ids = desk.node(
        f"hand.send_bracket('BUY', '0.020', entry_price='{bid - 5}', "
        f"sl_trigger_price='{bid - 50}', tp_price='{bid + 50}')"
    )
    for each in ids:
        desk.becomes(each, "ACCEPTED")
    desk.node(f"hand.end({ids[0]!r})")
    for each in ids:
        desk.becomes(each, "CANCELED")


def test_a_list_with_one_order_that_is_not_supported_is_denied_as_a_whole(desk):
    """Half a list would be another order than the one that was meant."""
    ids = desk.node(
        "hand.send_list(hand.make('limit', 'BUY', '0.010', price='50000.0'), "
        "hand.make('limit', 'BUY', '0.010', price='50000.0', time_in_force='AT_THE_OPEN'))"
    )
    for each in ids:
        desk.becomes(each, "DENIED")


# -- modify and cancel ------------------------------------------------------------------------------


def test_an_order_is_modified(desk):
    """Price and quantity; the exchange has the same."""
    order = desk.send("limit", "BUY", "0.020", price=desk.bid("5"))
    desk.becomes(order, "ACCEPTED")
    price = desk.bid("4")
    desk.node(f"hand.change({order!r}, price={price!r}, quantity='0.010')")
    desk.node.until(f"str(hand.order({order!r}).price) == {price!r}")
    assert ["Submitted", "Accepted", "PendingUpdate", "Updated"] == desk.events(order)
    assert Decimal(desk.ledger.orders()[order]["quantity"]) == Decimal("0.01")


def test_a_modify_that_is_refused_leaves_the_order_as_it_was(desk):
    """A quantity below what has filled."""
    price = desk.bid("-0.1")
    order = desk.send("limit", "BUY", "0.020", price=price)
    desk.becomes(order, "ACCEPTED")
    desk.peer.trade("SELL", "0.01", price)
    desk.becomes(order, "PARTIALLY_FILLED")
    desk.node(f"hand.change({order!r}, quantity='0.005')")
    desk.node.until(f"'OrderModifyRejected' in hand.events({order!r})")
    desk.becomes(order, "PARTIALLY_FILLED")
    assert desk.node(f"str(hand.order({order!r}).quantity)") == "0.020"


def test_one_some_and_all_orders_are_canceled(desk):
    """By one id, by several, by side and instrument."""
    buys = [desk.send("limit", "BUY", "0.010", price=desk.bid("5")) for _ in range(5)]
    sells = [desk.send("limit", "SELL", "0.010", price=desk.ask("5")) for _ in range(2)]
    spot = desk.send("limit", "BUY", "0.01000", SPOT, price=desk.bid("5", SPOT))
    for each in (*buys, *sells, spot):
        desk.becomes(each, "ACCEPTED")
    desk.node(f"hand.end({buys[0]!r})")
    desk.becomes(buys[0], "CANCELED")
    desk.node(f"hand.end_some({buys[1]!r}, {buys[2]!r})")
    desk.becomes(buys[1], "CANCELED")
    desk.becomes(buys[2], "CANCELED")
    desk.node("hand.end_all(side='BUY')")
    desk.becomes(buys[3], "CANCELED")
    desk.becomes(buys[4], "CANCELED")
    assert ["ACCEPTED"] * 2 == [desk.node(f"hand.status({each!r})") for each in sells]
    desk.node("hand.end_all()")
    desk.becomes(sells[0], "CANCELED")
    desk.becomes(sells[1], "CANCELED")
    assert desk.node(f"hand.status({spot!r})") == "ACCEPTED"


def test_the_orders_of_others_are_not_canceled_with_ones_own(desk):
    """cancel_all_orders of a strategy: an order of somebody else on the same account and instrument stays."""
    own = desk.send("limit", "BUY", "0.010", price=desk.bid("5"))
    desk.becomes(own, "ACCEPTED")
    desk.node(f"hand.send_as('OTHER-002', {CLIENT}, {own!r}, 'OTHER-1')")
    desk.becomes("OTHER-1", "ACCEPTED")
    desk.node("hand.end_all()")
    desk.becomes(own, "CANCELED")
    assert desk.node("hand.status('OTHER-1')") == "ACCEPTED"
    desk.node(f"hand.late_cancel({CLIENT}, 'OTHER-1')")
    desk.becomes("OTHER-1", "CANCELED")


def test_a_cancel_that_comes_too_late_is_refused(desk):
    """The exchange knows that it is closed; the order stays what it is."""
    order = desk.send("market", "BUY", "0.010")
    desk.becomes(order, "FILLED")
    desk.node(f"hand.late_cancel({CLIENT}, {order!r})")
    desk.node.until(f"'OrderCancelRejected' in hand.events({order!r})")
    assert "ORDER_CLOSED" in desk.reasons(order)[0]
    assert desk.node(f"hand.status({order!r})") == "FILLED"


# -- questions and reports --------------------------------------------------------------------------


def test_account_and_order_are_queried(desk):
    """A new account state; a report that changes nothing because there is nothing new."""
    order = desk.send("limit", "BUY", "0.010", price=desk.bid("5"))
    desk.becomes(order, "ACCEPTED")
    heard = desk.node("len(hand.heard)")
    desk.node("hand.query_account(clients['SIM2'].account_id)")
    desk.node.until(f"type(hand.heard[-1]).__name__ == 'AccountState' and len(hand.heard) > {heard}")
    reports = desk.node("node.kernel.exec_engine.report_count")
    desk.node(f"hand.ask({order!r})")
    desk.node.until(f"node.kernel.exec_engine.report_count == {reports + 1}")
    assert desk.node(f"hand.status({order!r})") == "ACCEPTED"


def test_a_report_is_found_by_either_id(desk):
    """By the venue's and by ours; None for what never was."""
    order = desk.send("market", "BUY", "0.010")
    desk.becomes(order, "FILLED")
    venue_id = desk.ledger.orders()[order]["venue_order_id"]
    for ids in (f"client_order_id={order!r}", f"venue_order_id={venue_id!r}"):
        seen = desk.node(f"hand.report({CLIENT}, {ids})")
        assert ("FILLED", order, "0.010") == (seen["order_status"], seen["client_order_id"], seen["filled_qty"])
    assert desk.node(f"hand.report({CLIENT}, 'NEVER')") is None


def test_reports_come_in_pages_and_with_filters(desk):
    """More orders than one answer holds; only the open ones; fills and positions."""
    count = "SELECT 1 FROM orders WHERE account = 'TEST-001' AND venue = 'SIM2' AND status != 'REJECTED'"
    price = desk.bid("20")
    rounds = (REPORTS_PER_ANSWER_MAX - len(desk.ledger.rows(count))) // 100 + 2
    for _ in range(rounds):
        desk.node(f"hand.send_list(*[hand.make('limit', 'BUY', '0.001', price={price!r}) for _ in range(100)])")
    desk.node.until(f"len([o for o in cache.orders_open() if str(o.price) == {price!r}]) == {rounds * 100}", 30.0)
    number = len(desk.ledger.rows(count))
    assert number > REPORTS_PER_ANSWER_MAX
    all_ids = [each["venue_order_id"] for each in desk.node(f"hand.order_reports({CLIENT}, open_only=False)")]
    assert number <= len(set(all_ids)) == len(all_ids)
    open_ones = desk.node(f"hand.order_reports({CLIENT}, open_only=True)")
    assert {"ACCEPTED"} == {each["order_status"] for each in open_ones}
    assert rounds * 100 == len(open_ones)
    fills = [row["trade_id"] for row in desk.ledger.fills() if row["venue"] == "SIM2"]
    assert fills == [each["trade_id"] for each in desk.node(f"hand.fill_reports({CLIENT})")]
    assert desk.node(f"hand.fill_reports({CLIENT}, hand.clock.utc_now())") == []
    held = Decimal(desk.ledger.positions().get(PERP, "0"))
    assert [held] == [Decimal(each) for each in desk.node(f"hand.position_reports({CLIENT}, {PERP!r})")]


# -- the venue itself -------------------------------------------------------------------------------


def test_a_halted_venue_says_so_and_takes_cancels_only(desk):
    """A status event per instrument; a new order is rejected, a cancel goes through."""
    order = desk.send("limit", "BUY", "0.010", price=desk.bid("5"))
    desk.becomes(order, "ACCEPTED")
    desk.node(f"hand.subscribe_instrument_status(hand.id({PERP!r}))")
    desk.node.until("any(type(each).__name__ == 'InstrumentStatus' for each in hand.data)")
    desk.peer.control("halt")
    try:
        desk.node.until("hand.data[-1].action.name == 'HALT' if hasattr(hand.data[-1], 'action') else False")
        refused = desk.send("limit", "BUY", "0.010", price="50000.0")
        desk.becomes(refused, "REJECTED")
        assert desk.reasons(refused)[0].startswith("HALTED")
        desk.node(f"hand.end({order!r})")
        desk.becomes(order, "CANCELED")
    finally:
        desk.peer.control("open")
    desk.node.until("hand.data[-1].action.name == 'TRADING' if hasattr(hand.data[-1], 'action') else False")
    desk.node(f"hand.unsubscribe_instrument_status(hand.id({PERP!r}))")


def test_every_kind_of_data_arrives(desk):
    """Quotes, trades, deltas that make the exchange's own book, depth, instruments, a snapshot on request."""
    desk.node("hand.data.clear()")
    where = f"hand.id({PERP!r})"
    for what in ("quote_ticks", "trade_ticks", "order_book_deltas", "order_book_depth", "instrument"):
        desk.node(f"hand.subscribe_{what}({where})")
    kinds = {"QuoteTick", "TradeTick", "OrderBookDeltas", "OrderBookDepth10", "CryptoPerpetual"}
    deadline_s = time.monotonic() + AGREE_S
    while not kinds <= desk.node("hand.data_kinds()").keys():
        assert time.monotonic() < deadline_s, desk.node("hand.data_kinds()")
        desk.peer.control("step", steps=5)
    desk.node(f"hand.request_order_book_snapshot({where})")
    prices = [[str(price) for price, _ in side] for side in desk.book()]
    desk.node.until(f"hand.book({PERP!r}) == {prices!r}")
    for what in ("quote_ticks", "trade_ticks", "order_book_deltas", "order_book_depth"):
        desk.node(f"hand.unsubscribe_{what}({where})")


def test_nothing_of_all_this_was_an_error(desk):
    """No traceback, no event that did not fit its order; warnings only of refused orders and of what never was."""
    lines = desk.node.said().splitlines()
    assert [line for line in lines if "[ERROR]" in line or "Traceback" in line] == []
    expected = ("Rejected(", "OrderDenied(", "Did not receive")
    assert [line for line in lines if "[WARN]" in line and not any(each in line for each in expected)] == []
