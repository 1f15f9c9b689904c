"""The exchange's server over its real socket: requests, streams, market data, and what it refuses."""

from __future__ import annotations

import signal
import socket
import time
from decimal import Decimal
from itertools import islice
from uuid import uuid4

import msgspec
import pytest
from exchange_client import (
    FAR,
    PERP,
    SOON_S,
    SPOT,
    START_S,
    LinkLost,
    RawClient,
    end_server,
    limit,
    market_order,
    quiet_world,
    refused,
    welcomed,
)
from exchange_ledger import Ledger, at
from exchange_recount import adds_up, keeps_its_word

from nautilus_ext.simulation import default_listings, tape, wire
from nautilus_ext.simulation.exchange.orders import Accepted, AccountChanged, Filled
from nautilus_ext.simulation.server import launch

pytest_plugins = ["exchange_fixtures"]


# -- Hello --------------------------------------------------------------------------------------------


def test_a_connection_begins_with_hello(shared):
    """Whatever comes before is refused, and so is a second one."""
    client = RawClient("SIM1", uuid4().hex)
    client._socket = socket.create_connection((shared.host, shared.port))
    assert refused(client.ask(wire.ListInstruments)) == "HELLO_FIRST"
    assert isinstance(client.ask(wire.Hello, session="s"), wire.Welcome)
    assert refused(client.ask(wire.Hello, session="s")) == "HELLO_TWICE"
    assert refused(client.ask(wire.GetAccount)) == "NOT_TRADING"


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"protocol": 99}, "OTHER_PROTOCOL"),
        ({"venue": "NOWHERE"}, "UNKNOWN_VENUE"),
        ({"venue": None}, "BAD_REQUEST"),
        ({"session": ""}, "BAD_REQUEST"),
        ({"resume_after": 7}, "STREAM_AHEAD"),
    ],
)
def test_a_wrong_hello_opens_nothing(shared, shared_folder, changes, code):
    """It is refused with its code, and no account is made of it."""
    client = RawClient("SIM1", uuid4().hex)
    assert refused(client.connect(shared, **changes)) == code
    ledger = Ledger(shared_folder)
    assert at(ledger.accounts, client.venue, client.account) == []


@pytest.mark.parametrize(
    "terms",
    [
        {"account": ""},
        {"account": "x" * 65},
        {"starting_balances": {"USDT": Decimal("NaN")}},
        {"starting_balances": {"USDT": Decimal(-1)}},
        {"starting_balances": {"USDT": Decimal("1E+999999")}},
        {"leverage": Decimal(0)},
    ],
)
def test_bad_terms_open_no_account(shared, shared_folder, terms):
    """Names, balances and leverage that cannot be booked are refused."""
    client = RawClient("SIM1", uuid4().hex)
    wrong = msgspec.structs.replace(client.terms, **terms)
    assert refused(client.connect(shared, terms=wrong)) == "BAD_TERMS"
    assert [row for row in Ledger(shared_folder).accounts if row["account"] == wrong.account] == []


def test_one_session_trades_for_an_account(started, client):
    """Another one is refused while it lives; the same one replaces its own former connection, which can act no more."""
    other = RawClient("SIM1", "one")
    assert refused(other.connect(started)) == "ACCOUNT_IN_USE"
    again = RawClient("SIM1", "one", session=client.session)
    welcomed(again.connect(started))
    with pytest.raises(LinkLost):
        client.wait(lambda: False, SOON_S)
    again.close()
    assert other.wait(lambda: isinstance(other.connect(started), wire.Welcome), SOON_S)


# -- orders -------------------------------------------------------------------------------------------


def test_what_an_order_caused_is_in_the_stream_and_in_the_ledger(started, client, exchange_folder):
    """Accepted, filled, then the account; by id, by filter and on disk it is the same."""
    assert client.ask(wire.Place, orders=(market_order("a"), limit("b"))) == wire.Done(request=2)
    assert client.wait(lambda: client.last_seq == 5)
    kinds = [type(event) for event in client.events]
    assert [Accepted, Accepted, Filled, AccountChanged] == kinds
    filled = client.events[2]
    (order,) = client.ask(wire.GetOrders, client_order_id="a").orders
    assert filled.order == order
    assert client.ask(wire.GetOrders, venue_order_id=order.venue_order_id).orders == (order,)
    assert [each.client_order_id for each in client.ask(wire.GetOrders, open_only=True).orders] == ["b"]
    assert client.ask(wire.GetFills, client_order_id="a").fills == (filled.fill,)
    account = client.ask(wire.GetAccount)
    assert (account.state.balances, account.seq) == (client.events[3].state.balances, 5)
    ledger = Ledger(exchange_folder)
    keeps_its_word(ledger, client)
    adds_up(ledger, quiet_world())


def test_an_id_is_used_once_for_ever(started, client, exchange_folder):
    """Also when its order is closed or was rejected, and also after a restart; a refused order used none."""
    poor = limit("poor", quantity=Decimal(900_000))
    assert client.ask(wire.Place, orders=(limit("a"),)) == wire.Done(request=2)
    assert client.ask(wire.Place, orders=(poor,)) == wire.Done(request=3)
    assert client.ask(wire.Cancel, client_order_id="a") == wire.Done(request=4)
    for name in ("a", "poor"):
        assert refused(client.ask(wire.Place, orders=(limit(name),))) == "DUPLICATE_ID"
    assert refused(client.ask(wire.Place, orders=(limit("b"), limit("b")))) == "DUPLICATE_ID"
    assert refused(client.ask(wire.Place, orders=(limit("b"), limit("a")))) == "DUPLICATE_ID"
    end_server(exchange_folder, signal.SIGKILL)
    client.connect(launch.ensure(exchange_folder, quiet_world(), START_S))
    assert refused(client.ask(wire.Place, orders=(limit("a"),))) == "DUPLICATE_ID"
    client.done(wire.Place, orders=(limit("b"),))


@pytest.mark.parametrize(
    ("order", "code"),
    [
        (limit("a", instrument_id="NO.SIM1"), "UNKNOWN_INSTRUMENT"),
        (limit("a", instrument_id=PERP), "UNKNOWN_INSTRUMENT"),
        (limit("a", price=Decimal("30000.001")), "OFF_GRID"),
        (limit("a", quantity=Decimal("1E+999999")), "BAD_ORDER"),
        (limit("a", quantity=Decimal("NaN")), "BAD_ORDER"),
        (limit("a", price=None), "BAD_ORDER"),
        (limit("a" * 65), "BAD_ORDER"),
        (limit("a\n"), "BAD_ORDER"),
        (limit("a", expire_ns=2**64 - 1, time_in_force="GTD"), "BAD_REQUEST"),
    ],
)
def test_a_wrong_order_leaves_no_trace(trader, shared_folder, order, code):
    """The list that it stands in is refused whole."""
    assert refused(trader.ask(wire.Place, orders=(limit("good"), order))) == code
    ledger = Ledger(shared_folder)
    assert at(ledger.orders, trader.venue, trader.account) == []


def test_closed_and_unknown_orders_are_told_apart(started, client):
    """By the ledger: the venue has forgotten both. Each order of a CancelMany has its own answer."""
    client.ask(wire.Place, orders=(limit("a"), limit("b"), limit("c")))
    client.done(wire.Cancel, client_order_id="a")
    assert refused(client.ask(wire.Cancel, client_order_id="a")) == "ORDER_CLOSED"
    assert refused(client.ask(wire.Cancel, client_order_id="x")) == "UNKNOWN_ORDER"
    assert refused(client.ask(wire.Cancel, client_order_id="x", venue_order_id="SIM1-1")) == "ORDER_CLOSED"
    assert refused(client.ask(wire.Cancel, client_order_id="x", venue_order_id="9" * 65)) == "BAD_REQUEST"
    assert refused(client.ask(wire.Modify, client_order_id="b", price="no number")) == "BAD_ORDER"
    assert refused(client.ask(wire.Modify, client_order_id="b", price="1E+99999")) == "BAD_ORDER"
    assert refused(client.ask(wire.Modify, client_order_id="b", price=str(FAR))) == "NO_CHANGE"
    client.done(wire.Modify, client_order_id="b", price="29000")
    answer = client.ask(wire.CancelMany, client_order_ids=("a", "b", "x"))
    assert answer.refused == ("ORDER_CLOSED", "", "UNKNOWN_ORDER")
    client.done(wire.CancelAll)
    assert client.ask(wire.GetOrders, open_only=True).orders == ()


def test_a_long_answer_comes_in_pages(started, client):
    """Oldest first, each order once."""
    for begin in range(0, 1_050, wire.ORDERS_PER_LIST_MAX):
        orders = tuple(limit(f"o{begin + one}", quantity=Decimal("0.001")) for one in range(wire.ORDERS_PER_LIST_MAX))
        client.done(wire.Place, orders=orders)
    first = client.ask(wire.GetOrders)
    assert (len(first.orders), first.more) == (wire.REPORTS_PER_ANSWER_MAX, True)
    second = client.ask(wire.GetOrders, after=first.orders[-1].venue_order_id)
    found = [order.client_order_id for order in (*first.orders, *second.orders)]
    assert (found, second.more) == ([f"o{number}" for number in range(1_100)], False)


def test_a_stream_is_sent_again_from_any_number(started, client):
    """Resume and Hello repeat what came after, with the same content; a number that was never given is refused."""
    client.ask(wire.Place, orders=(market_order("a"), limit("b")))
    client.wait(lambda: client.last_seq == 5)
    assert client.ask(wire.Resume, after=0) == wire.Done(request=3)
    assert client.wait(lambda: client.twice == 4), "the items were compared as they came"
    assert 1 in client.items, "the one of before the first Hello came too"
    assert refused(client.ask(wire.Resume, after=6)) == "STREAM_AHEAD"
    fresh = RawClient("SIM1", "one", session=client.session)
    fresh.connect(started, resume_after=0)
    assert fresh.wait(lambda: len(fresh.items) == 5)
    assert fresh.items == client.items


# -- the market ---------------------------------------------------------------------------------------


def test_without_orders_the_market_is_the_models_tape(reader):
    """Quotes and trades of every listing, step by step."""
    ids = [listing.instrument_id for listing in default_listings()]
    for channel in ("quotes", "trades"):
        for name in ids:
            reader.ask(wire.Subscribe, channel=channel, instrument_id=name)
    expected = list(islice(tape(quiet_world().market), 31))
    began = [message for message in reader.unasked if isinstance(message, wire.QuoteMessage)]
    assert [_ticks(message) for message in began] == [_ticks(quote) for quote in expected[0].quotes]
    reader.unasked.clear()
    reader.control("step", steps=30)
    for name in ids:
        seen = [message for message in reader.unasked if message.instrument_id == name]
        quotes = [_ticks(message) for message in seen if isinstance(message, wire.QuoteMessage)]
        assert quotes == [_ticks(one) for step in expected[1:] for one in step.quotes if one.instrument_id == name]
        trades = [(each.price_ticks, each.lots) for each in seen if isinstance(each, wire.TradeMessage)]
        wanted = [one for step in expected[1:] for one in step.trades if one.instrument_id == name]
        assert trades == [(one.price_ticks, one.lots) for one in wanted]


def _ticks(quote) -> tuple:
    return (quote.instrument_id, quote.bid_ticks, quote.ask_ticks, quote.bid_lots, quote.ask_lots)


def test_a_book_put_together_from_changes_is_the_book(reader, client):
    """The snapshot and numbered changes give what GetBook gives, with our orders in it."""
    reader.ask(wire.Subscribe, channel="book", instrument_id=SPOT)
    client.ask(wire.Place, orders=(limit("a"), limit("b", side="SELL", price=Decimal(90_000))))
    reader.control("step", steps=20)
    client.ask(wire.Cancel, client_order_id="a")
    reader.control("step", steps=20)
    book = reader.ask(wire.GetBook, instrument_id=SPOT).book
    snapshot, *changes = reader.unasked
    bids, asks = dict(snapshot.book.bids), dict(snapshot.book.asks)
    for number, change in enumerate(changes, snapshot.book.number + 1):
        assert number == change.number
        bids.update(change.bids)
        asks.update(change.asks)
    assert book.number == changes[-1].number
    assert dict(book.bids) == {ticks: lots for ticks, lots in bids.items() if lots}
    assert dict(book.asks) == {ticks: lots for ticks, lots in asks.items() if lots}
    assert 9_000_000 in asks


def test_a_halted_venue_takes_cancels_only(reader, client):
    """It says so, its market stands still, and opens again."""
    reader.ask(wire.Subscribe, channel="status", instrument_id=SPOT)
    reader.ask(wire.Subscribe, channel="quotes", instrument_id=SPOT)
    client.ask(wire.Place, orders=(limit("a"),))
    reader.control("halt")
    assert refused(client.ask(wire.Place, orders=(limit("b"),))) == "HALTED"
    client.done(wire.Cancel, client_order_id="a")
    reader.control("step", steps=3)
    reader.control("open")
    client.done(wire.Place, orders=(limit("b"),))
    statuses = [message.status for message in reader.unasked if isinstance(message, wire.StatusMessage)]
    assert statuses == ["TRADING", "HALT", "TRADING"]
    assert len([message for message in reader.unasked if isinstance(message, wire.QuoteMessage)]) == 1


def test_a_stale_venue_is_silent_and_trades_on(reader, client):
    """Only its quotes stop; a fresh one follows the market again."""
    reader.ask(wire.Subscribe, channel="quotes", instrument_id=SPOT)
    reader.control("stale")
    reader.control("step", steps=5)
    assert len(reader.unasked) == 1
    client.ask(wire.Place, orders=(market_order("a"),))
    assert client.wait(lambda: any(isinstance(event, Filled) for event in client.events))
    reader.control("fresh")
    reader.control("step", steps=2)
    assert len(reader.unasked) == 4, "the first, our fill, two steps"


def test_an_order_expires_while_the_market_is_paused(reader, client):
    """By the clock, not by the next step."""
    expire_ns = time.time_ns() + 300_000_000
    client.ask(wire.Place, orders=(limit("a", time_in_force="GTD", expire_ns=expire_ns),))
    assert client.wait(lambda: client.events[-1:] and getattr(client.events[-2], "order", None), SOON_S)
    assert client.wait(lambda: any(type(event).__name__ == "Expired" for event in client.events), SOON_S)


@pytest.mark.parametrize(
    ("request_type", "fields", "code"),
    [
        (wire.Subscribe, {"channel": "book", "instrument_id": "NO.SIM1"}, "UNKNOWN_INSTRUMENT"),
        (wire.GetBook, {"instrument_id": PERP}, "UNKNOWN_INSTRUMENT"),
        (wire.CancelAll, {"instrument_id": PERP}, "UNKNOWN_INSTRUMENT"),
        (wire.ListInstruments, {"venue": "NOWHERE"}, "UNKNOWN_VENUE"),
        (wire.Control, {"venue": "NOWHERE", "action": "halt"}, "UNKNOWN_VENUE"),
        (wire.Control, {"venue": "SIM1", "action": "step"}, "BAD_REQUEST"),
        (wire.Control, {"venue": "SIM1", "action": "faults", "faults": b'{"rates": {"x": 1}}'}, "BAD_REQUEST"),
        (wire.Control, {"venue": "SIM1", "action": "faults", "faults": b'{"late_ms": 0}'}, "BAD_REQUEST"),
        (wire.GetOrders, {"since_ns": 2**63}, "BAD_REQUEST"),
        (wire.GetFills, {"until_ns": -1}, "BAD_REQUEST"),
        (wire.Place, {"orders": ()}, "BAD_REQUEST"),
        (wire.CancelMany, {"client_order_ids": ()}, "BAD_REQUEST"),
        (wire.Resume, {"after": -1}, "STREAM_AHEAD"),
    ],
)
def test_a_wrong_request_is_refused_and_the_connection_stays(trader, request_type, fields, code):
    """With a code of its own; the next request is answered."""
    assert refused(trader.ask(request_type, **fields)) == code
    assert isinstance(trader.ask(wire.GetAccount), wire.Account)
