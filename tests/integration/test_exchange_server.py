"""The exchange's server over its real socket: requests, streams, market data, what it refuses, how it ends."""

from __future__ import annotations

import os
import random
import secrets
import signal
import socket
import sqlite3
import time
from contextlib import closing
from decimal import Decimal
from itertools import islice
from uuid import uuid4

import msgspec
import psutil
import pytest
from exchange_client import LinkLost, RawClient, end_server, exchange_in
from exchange_recount import Witness, adds_up, keeps_its_word

from nautilus_ext.errors import MachineError
from nautilus_ext.simulation import default_listings, default_market, launch, sessions, tape, wire
from nautilus_ext.simulation.exchange.orders import Accepted, AccountChanged, Canceled, Filled, NewOrder
from nautilus_ext.simulation.faults import Faults, Scripted
from nautilus_ext.simulation.ledger import FILE
from nautilus_ext.simulation.world import VenueTerms, World

SPOT, PERPETUAL = "BTCUSDT.SIM1", "BTCUSDT-PERP.SIM2"
START_S = 15.0
SOON_S = 5.0
FAR = Decimal(30_000)


def quiet_world(**given) -> World:
    """Its market makes the first step at the start, and the next ones when a test asks for them."""
    return World(market=default_market(seed=3, interval_ms=60_000), **({"linger_s": 20.0} | given))


def limit(name: str, price: Decimal = FAR, **given) -> NewOrder:
    fields = {"instrument_id": SPOT, "side": "BUY", "type": "LIMIT", "quantity": Decimal("0.1"), "price": price}
    return NewOrder(client_order_id=name, **(fields | given))


def market_order(name: str, **given) -> NewOrder:
    return limit(name, type="MARKET", **({"price": None} | given))


@pytest.fixture
def exchange_folder(fast_folder):
    with exchange_in(fast_folder) as folder:
        yield folder


@pytest.fixture(scope="module")
def shared_folder(fast_folder):
    """For tests that change nothing but an account of their own: one server for all of them."""
    with exchange_in(fast_folder) as folder:
        launch.ensure(folder, quiet_world(linger_s=100.0), START_S)
        yield folder


@pytest.fixture
def shared(shared_folder):
    address = launch.find(shared_folder)
    assert address is not None, "a test before this one has ended the server"
    return address


@pytest.fixture
def trader(shared):
    trader = RawClient("SIM1", uuid4().hex)
    assert isinstance(trader.connect(shared), wire.Welcome)
    yield trader
    trader.close()


@pytest.fixture
def started(exchange_folder):
    return launch.ensure(exchange_folder, quiet_world(), START_S)


@pytest.fixture
def client(started):
    client = RawClient("SIM1", "one")
    assert isinstance(client.connect(started), wire.Welcome)
    yield client
    client.close()


@pytest.fixture
def reader(started):
    """Reads the market of all venues, and trades nowhere."""
    reader = RawClient("SIM1", "nobody")
    assert isinstance(reader.connect(started, venue=None, terms=None), wire.Welcome)
    reader.ask(wire.Control, venue="SIM1", action="pause")
    yield reader
    reader.close()


def refused(answer) -> str:
    assert isinstance(answer, wire.Refused), answer
    return answer.code


def log_of(folder) -> str:
    return (folder / "server.log").read_text()


def is_dead(address) -> bool:
    return not launch._lives(address)


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
    witness = Witness(shared_folder)
    assert witness.of(witness.accounts, client) == []


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
    assert [row for row in Witness(shared_folder).accounts if row["account"] == wrong.account] == []


def test_one_session_trades_for_an_account(started, client):
    """Another one is refused while it lives; the same one replaces its own former connection, which can act no more."""
    other = RawClient("SIM1", "one")
    assert refused(other.connect(started)) == "ACCOUNT_IN_USE"
    again = RawClient("SIM1", "one", session=client.session)
    assert isinstance(again.connect(started), wire.Welcome)
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
    witness = Witness(exchange_folder)
    keeps_its_word(witness, client)
    adds_up(witness, quiet_world())


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
    assert isinstance(client.ask(wire.Place, orders=(limit("b"),)), wire.Done)


@pytest.mark.parametrize(
    ("order", "code"),
    [
        (limit("a", instrument_id="NO.SIM1"), "UNKNOWN_INSTRUMENT"),
        (limit("a", instrument_id=PERPETUAL), "UNKNOWN_INSTRUMENT"),
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
    witness = Witness(shared_folder)
    assert witness.of(witness.orders, trader) == []


def test_closed_and_unknown_orders_are_told_apart(started, client):
    """By the ledger: the venue has forgotten both. Each order of a CancelMany has its own answer."""
    client.ask(wire.Place, orders=(limit("a"), limit("b"), limit("c")))
    assert isinstance(client.ask(wire.Cancel, client_order_id="a"), wire.Done)
    assert refused(client.ask(wire.Cancel, client_order_id="a")) == "ORDER_CLOSED"
    assert refused(client.ask(wire.Cancel, client_order_id="x")) == "UNKNOWN_ORDER"
    assert refused(client.ask(wire.Cancel, client_order_id="x", venue_order_id="SIM1-1")) == "ORDER_CLOSED"
    assert refused(client.ask(wire.Cancel, client_order_id="x", venue_order_id="9" * 65)) == "BAD_REQUEST"
    assert refused(client.ask(wire.Modify, client_order_id="b", price="no number")) == "BAD_ORDER"
    assert refused(client.ask(wire.Modify, client_order_id="b", price="1E+99999")) == "BAD_ORDER"
    assert refused(client.ask(wire.Modify, client_order_id="b", price=str(FAR))) == "NO_CHANGE"
    assert isinstance(client.ask(wire.Modify, client_order_id="b", price="29000"), wire.Done)
    answer = client.ask(wire.CancelMany, client_order_ids=("a", "b", "x"))
    assert answer.refused == ("ORDER_CLOSED", "", "UNKNOWN_ORDER")
    assert isinstance(client.ask(wire.CancelAll), wire.Done)
    assert client.ask(wire.GetOrders, open_only=True).orders == ()


def test_a_long_answer_comes_in_pages(started, client):
    """Oldest first, each order once."""
    for begin in range(0, 1_050, wire.ORDERS_PER_LIST_MAX):
        orders = tuple(limit(f"o{begin + one}", quantity=Decimal("0.001")) for one in range(wire.ORDERS_PER_LIST_MAX))
        assert isinstance(client.ask(wire.Place, orders=orders), wire.Done)
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
    assert isinstance(reader.ask(wire.Control, venue="SIM1", action="step", steps=30), wire.Done)
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
    reader.ask(wire.Control, venue="SIM1", action="step", steps=20)
    client.ask(wire.Cancel, client_order_id="a")
    reader.ask(wire.Control, venue="SIM1", action="step", steps=20)
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
    reader.ask(wire.Control, venue="SIM1", action="halt")
    assert refused(client.ask(wire.Place, orders=(limit("b"),))) == "HALTED"
    assert isinstance(client.ask(wire.Cancel, client_order_id="a"), wire.Done)
    reader.ask(wire.Control, venue="SIM1", action="step", steps=3)
    reader.ask(wire.Control, venue="SIM1", action="open")
    assert isinstance(client.ask(wire.Place, orders=(limit("b"),)), wire.Done)
    statuses = [message.status for message in reader.unasked if isinstance(message, wire.StatusMessage)]
    assert statuses == ["TRADING", "HALT", "TRADING"]
    assert len([message for message in reader.unasked if isinstance(message, wire.QuoteMessage)]) == 1


def test_a_stale_venue_is_silent_and_trades_on(reader, client):
    """Only its quotes stop; a fresh one follows the market again."""
    reader.ask(wire.Subscribe, channel="quotes", instrument_id=SPOT)
    reader.ask(wire.Control, venue="SIM1", action="stale")
    reader.ask(wire.Control, venue="SIM1", action="step", steps=5)
    assert len(reader.unasked) == 1
    client.ask(wire.Place, orders=(market_order("a"),))
    assert client.wait(lambda: any(isinstance(event, Filled) for event in client.events))
    reader.ask(wire.Control, venue="SIM1", action="fresh")
    reader.ask(wire.Control, venue="SIM1", action="step", steps=2)
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
        (wire.GetBook, {"instrument_id": PERPETUAL}, "UNKNOWN_INSTRUMENT"),
        (wire.CancelAll, {"instrument_id": PERPETUAL}, "UNKNOWN_INSTRUMENT"),
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


# -- what must not hurt it ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"\xff\xff\xff\xff",
        b"\x00\x00\x00\x00",
        b"\x00\x00\x00\x01\xc1",
        wire.framed(msgspec.msgpack.encode({"type": "Place", "request": 1, "orders": 7})),
        wire.framed(msgspec.msgpack.encode({"type": "Cancel", "request": 2, "client_order_id": None})),
        wire.framed(b"\x91" * 100_000),
        wire.framed(b"\xa5\xff\xff\xff\xff\xff"),
    ],
)
def test_malformed_input_closes_that_connection_only(shared, trader, shared_folder, data):
    """It is named in the log, and everybody else goes on."""
    lines = log_of(shared_folder).count("dropped connection")
    with closing(socket.create_connection((shared.host, shared.port), SOON_S)) as stranger:
        stranger.sendall(data)
        assert stranger.recv(1) == b""
    assert isinstance(trader.ask(wire.GetAccount), wire.Account)
    assert log_of(shared_folder).count("dropped connection") == lines + 1


def test_no_bytes_can_end_the_server(shared, trader):
    """Random ones, and whole messages with some bytes changed; the seed is printed."""
    seed = int(os.environ.get("SEED") or secrets.randbits(32))
    print(f"SEED={seed}")
    rnd = random.Random(seed)
    hello = wire.frame(wire.Hello(request=1, session="s", venue="SIM1", terms=trader.terms))
    place = wire.frame(wire.Place(request=2, orders=(limit("a", expire_ns=5, linked_ids=("b",)),)))
    for _ in range(300):
        data = bytearray(rnd.choice((hello, place, hello + place)))
        for _ in range(rnd.randint(1, 6)):
            data[rnd.randrange(4, len(data))] = rnd.randrange(256)
        with closing(socket.create_connection((shared.host, shared.port), SOON_S)) as stranger:
            stranger.sendall(wire.frame(wire.Hello(request=1, session="s")) * rnd.randint(0, 1) + bytes(data))
    assert isinstance(trader.ask(wire.GetAccount), wire.Account)


def test_a_client_that_does_not_read_is_dropped(started, reader, exchange_folder, wait_until):
    """When it has too much to read; the one who reads gets everything."""
    lazy = RawClient("SIM1", "lazy")
    lazy.connect(started, venue=None, terms=None)
    for name in (listing.instrument_id for listing in default_listings()):
        lazy.ask(wire.Subscribe, channel="book", instrument_id=name)
    for _ in range(60):
        assert isinstance(reader.ask(wire.Control, venue="SIM1", action="step", steps=500), wire.Done)
        if f"{sessions.OUTBOX_BYTES_MAX:,} is the most" in log_of(exchange_folder):
            break
    else:
        pytest.fail("it was never dropped")
    assert isinstance(reader.ask(wire.ListInstruments), wire.Instruments)


def test_there_are_only_so_many_connections(started, client, exchange_folder):
    """The one too many is closed; those that are there are served."""
    strangers = [socket.create_connection((started.host, started.port), SOON_S) for _ in range(100)]
    try:
        assert strangers[-1].recv(1) == b""
        assert isinstance(client.ask(wire.GetAccount), wire.Account)
    finally:
        for stranger in strangers:
            stranger.close()


def test_a_full_disk_ends_the_server_before_it_answers(started, client, exchange_folder, wait_until):
    """It cannot keep its word, so it gives none; with space again all that was answered is there."""
    size = (exchange_folder / f"{FILE}-wal").stat().st_size + 50_000
    psutil.Process(started.pid).rlimit(psutil.RLIMIT_FSIZE, (size, size))
    with pytest.raises(LinkLost):
        _place_many(client, 2_000)
    wait_until(lambda: is_dead(started))
    assert "cannot go on" in log_of(exchange_folder).splitlines()[-1]
    client.connect(launch.ensure(exchange_folder, quiet_world(), START_S))
    assert client.wait(lambda: client.last_seq == client.beat_seq)
    witness = Witness(exchange_folder)
    keeps_its_word(witness, client)
    adds_up(witness, quiet_world())


def _place_many(client: RawClient, orders: int) -> None:
    for number in range(orders):
        assert isinstance(client.ask(wire.Place, orders=(limit(f"o{number}"),)), wire.Done)


def test_its_ledger_can_be_read_while_it_runs(client, exchange_folder):
    """A reader that takes its time does not hold up the server."""
    with closing(sqlite3.connect(exchange_folder / FILE)) as slow:
        slow.execute("BEGIN")
        before = slow.execute("SELECT count(*) FROM orders").fetchone()
        assert isinstance(client.ask(wire.Place, orders=(limit("a"),)), wire.Done)
        assert slow.execute("SELECT count(*) FROM orders").fetchone() == before
    assert len(Witness(exchange_folder).orders) == 1


# -- latency, faults, restarts ------------------------------------------------------------------------


def test_latency_delays_both_ways_and_keeps_the_order(exchange_folder):
    """An answer is back after twice the venue's latency, and nothing overtakes."""
    slow = quiet_world(venues=(VenueTerms(name="SIM1", latency_ms=100),))
    client = RawClient("SIM1", "one")
    client.connect(launch.ensure(exchange_folder, slow, START_S))
    began_s = time.monotonic()
    numbers = [client.send(wire.Place, orders=(limit(f"o{number}"),)) for number in range(20)]
    assert client.wait(lambda: numbers[-1] in client.answers)
    assert 0.2 <= time.monotonic() - began_s < 1.0
    assert [number for number in client.answers if number in numbers] == numbers
    names = [event.order.client_order_id for event in client.events if isinstance(event, Accepted)]
    assert names == [f"o{number}" for number in range(20)]


def _set_faults(client: RawClient, **faults) -> None:
    text = msgspec.json.encode(Faults(**faults))
    assert isinstance(client.ask(wire.Control, venue=client.venue, action="faults", faults=text), wire.Done)


def _fault_counts(client: RawClient) -> dict[str, int]:
    return client.ask(wire.Control, venue=client.venue, action="faults").faults


@pytest.mark.parametrize("fault", ["rejected", "rate_limited", "lost_answer", "drop_before", "drop_after", "restart"])
def test_a_scripted_fault_happens_once_and_where_it_was_written(started, client, exchange_folder, fault):
    """The second Place has it; whether the order is there is what the fault says, and it is counted."""
    _set_faults(client, script=(Scripted("Place", fault, 2),))
    assert isinstance(client.ask(wire.Place, orders=(limit("a"),)), wire.Done)
    if fault in ("drop_before", "drop_after", "restart"):
        with pytest.raises(LinkLost):
            client.ask(wire.Place, orders=(limit("b"),))
        assert isinstance(client.connect(launch.ensure(exchange_folder, quiet_world(), START_S)), wire.Welcome)
    else:
        answer = client.ask(wire.Place, 0.5, orders=(limit("b"),))
        assert {"lost_answer": None}.get(fault, fault.upper()) == (answer and refused(answer))
    is_there = fault in ("lost_answer", "drop_after", "restart")
    assert len(client.ask(wire.GetOrders, client_order_id="b").orders) == is_there
    assert isinstance(client.ask(wire.Place, orders=(limit("c"),)), wire.Done)
    assert _fault_counts(client) == ({} if fault == "restart" else {fault: 1})
    assert f"fault 1 at SIM1: {fault} for" in log_of(exchange_folder)
    assert launch.find(exchange_folder).port == started.port
    assert client.wait(lambda: len([one for one in client.events if isinstance(one, Accepted)]) == 2 + is_there)


@pytest.mark.parametrize("fault", ["duplicate_answer", "late_answer", "reordered_answer"])
def test_an_answer_comes_twice_late_or_after_the_next(client, fault):
    """It comes all the same."""
    _set_faults(client, script=(Scripted("GetAccount", fault, 1),), late_ms=200)
    one, two = client.send(wire.GetAccount), client.send(wire.GetOrders)
    assert client.wait(lambda: {one, two} <= client.answers.keys())
    order = [number for number in client.answers if number in (one, two)]
    assert order == ([one, two] if fault == "duplicate_answer" else [two, one])
    assert client.twice == (1 if fault == "duplicate_answer" else 0)


@pytest.mark.parametrize("fault", ["lost_item", "late_item", "duplicate_item", "reordered_item"])
def test_a_stream_with_faults_is_whole_in_the_end(client, fault):
    """By its numbers the client sees what is missing, and asks for it again."""
    _set_faults(client, script=(Scripted("Accepted", fault, 1), Scripted("Canceled", fault, 1)), late_ms=50)
    client.ask(wire.Place, orders=(limit("a"),))
    client.ask(wire.Cancel, client_order_id="a")
    assert client.wait(lambda: client.last_seq == 5, SOON_S)
    assert [type(event) for event in client.events] == [Accepted, AccountChanged, Canceled, AccountChanged]
    assert _fault_counts(client) == {fault: 2}


def test_after_a_restart_orders_queue_as_before(started, client, exchange_folder):
    """Balances, positions and the place in the queue are those of before."""
    client.ask(wire.Place, orders=(limit("a"), limit("b"), market_order("m")))
    before = (client.ask(wire.GetOrders), client.ask(wire.GetAccount))
    end_server(exchange_folder, signal.SIGKILL)
    assert refused_or_welcome(client.connect(launch.ensure(exchange_folder, quiet_world(), START_S))).run == 2
    after = (client.ask(wire.GetOrders), client.ask(wire.GetAccount))
    assert before[0].orders == after[0].orders
    assert before[1].state.balances == after[1].state.balances
    client.ask(wire.Place, orders=(limit("c"),))
    numbers = [order.priority for order in client.ask(wire.GetOrders, open_only=True).orders]
    assert numbers == sorted(numbers)


def refused_or_welcome(answer) -> wire.Welcome:
    assert isinstance(answer, wire.Welcome), answer
    return answer


# -- the end, and other worlds ------------------------------------------------------------------------


def test_it_ends_soon_after_the_last_bye(started, client, wait_until):
    """In order: the address is gone with it."""
    assert isinstance(client.ask(wire.Bye), wire.Done)
    client.close()
    wait_until(lambda: is_dead(started), SOON_S)


def test_it_waits_for_a_client_that_was_lost(exchange_folder, wait_until):
    """For `linger_s`: a killed node comes back to its orders; then it ends."""
    address = launch.ensure(exchange_folder, quiet_world(linger_s=2.0), START_S)
    client = RawClient("SIM1", "one")
    client.connect(address)
    client.close()
    lost_s = time.monotonic()
    wait_until(lambda: is_dead(address), SOON_S)
    assert 1.9 < time.monotonic() - lost_s < 4.0
    assert "no client is left" in log_of(exchange_folder)


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_in_order(started, client, exchange_folder, how):
    """Its clients are told, the address goes, the log says why."""
    end_server(exchange_folder, how)
    with pytest.raises(LinkLost):
        client.wait(lambda: False, SOON_S)
    assert launch.find(exchange_folder) is None
    assert not (exchange_folder / "server.json").exists()
    assert log_of(exchange_folder).splitlines()[-1].endswith(f"run 1: ended, {how.name}")


def test_another_world_is_refused_while_somebody_trades(started, client, exchange_folder):
    """With the cure; without clients the server makes way, and the accounts are there in the new world."""
    other = World(market=default_market(seed=4, interval_ms=60_000), linger_s=20.0)
    client.ask(wire.Place, orders=(limit("a"),))
    with pytest.raises(MachineError, match="stop the nodes that use it"):
        launch.ensure(exchange_folder, other, START_S)
    assert isinstance(client.ask(wire.GetAccount), wire.Account)
    client.close()
    address = launch.ensure(exchange_folder, other, START_S)
    assert address.pid != started.pid
    client.connect(address, world=other.digest)
    assert [order.client_order_id for order in client.ask(wire.GetOrders, open_only=True).orders] == ["a"]


def test_a_world_that_breaks_orders_is_not_begun(started, client, exchange_folder):
    """Their listing has another tick: the start fails and names it. Without the order it is begun."""
    shifted = [
        msgspec.structs.replace(each, tick=Decimal("0.5")) if each.instrument_id == SPOT else each
        for each in default_listings()
    ]
    other = World(market=default_market(shifted, seed=3, interval_ms=60_000), linger_s=20.0)
    client.ask(wire.Place, orders=(limit("a"),))
    client.close()
    with pytest.raises(MachineError, match=r"BTCUSDT.SIM1: tick was 0.01 and is now 0.5"):
        launch.ensure(exchange_folder, other, START_S)
    client.connect(launch.ensure(exchange_folder, quiet_world(), START_S))
    client.ask(wire.CancelAll)
    client.close()
    assert launch.ensure(exchange_folder, other, START_S).world == other.digest
