"""The exchange's server in trouble: bad clients, full disks, latency, faults, restarts, signals, other worlds."""

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

import msgspec
import psutil
import pytest
from exchange_client import (
    SOON_S,
    SPOT,
    START_S,
    LinkLost,
    RawClient,
    end_server,
    is_dead,
    limit,
    log_of,
    market_order,
    quiet_world,
    refused,
    welcomed,
)
from exchange_ledger import Ledger
from exchange_recount import adds_up, keeps_its_word

from nautilus_ext.errors import MachineError
from nautilus_ext.simulation import default_listings, default_market, wire
from nautilus_ext.simulation.exchange.orders import Accepted, AccountChanged, Canceled
from nautilus_ext.simulation.faults import Faults, Scripted
from nautilus_ext.simulation.regimes import Regime
from nautilus_ext.simulation.server import launch, sessions
from nautilus_ext.simulation.server.address import ADDRESS_FILE
from nautilus_ext.simulation.server.ledger import FILE
from nautilus_ext.simulation.world import VenueTerms, World

pytest_plugins = ["exchange_fixtures"]


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
        reader.control("step", steps=500)
        if f"{sessions.OUTBOX_BYTES_MAX:,} is the most" in log_of(exchange_folder):
            break
    else:
        pytest.fail("it was never dropped")
    assert isinstance(reader.ask(wire.ListInstruments), wire.Instruments)


def test_there_are_only_so_many_connections(started, client, exchange_folder):
    """One too many takes the place of the oldest that has not said Hello; who has said it is served."""
    strangers = [socket.create_connection((started.host, started.port), SOON_S) for _ in range(100)]
    try:
        assert strangers[0].recv(1) == b""
        assert isinstance(client.ask(wire.GetAccount), wire.Account)
        welcomed(RawClient("SIM1", "late").connect(started))
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
    ledger = Ledger(exchange_folder)
    keeps_its_word(ledger, client)
    adds_up(ledger, quiet_world())


def _place_many(client: RawClient, orders: int) -> None:
    for number in range(orders):
        client.done(wire.Place, orders=(limit(f"o{number}"),))


def test_its_ledger_can_be_read_while_it_runs(client, exchange_folder):
    """A reader that takes its time does not hold up the server."""
    with closing(sqlite3.connect(exchange_folder / FILE)) as slow:
        slow.execute("BEGIN")
        before = slow.execute("SELECT count(*) FROM orders").fetchone()
        client.done(wire.Place, orders=(limit("a"),))
        assert slow.execute("SELECT count(*) FROM orders").fetchone() == before
    assert len(Ledger(exchange_folder).orders) == 1


# -- latency, faults, restarts ------------------------------------------------------------------------


def test_latency_delays_both_ways_and_keeps_the_order(exchange_folder):
    """An answer is back after twice the venue's latency, and nothing overtakes."""
    slow = quiet_world(venues=(VenueTerms(name="SIM1", latency_ms=100),))
    client = RawClient("SIM1", "one")
    client.connect(launch.ensure(exchange_folder, slow, START_S))
    began_s = time.monotonic()
    numbers = [client.send(wire.Place, orders=(limit(f"o{number}"),)) for number in range(20)]
    assert client.wait(lambda: numbers[-1] in client.answers)
    assert 0.2 <= time.monotonic() - began_s < SOON_S
    assert [number for number in client.answers if number in numbers] == numbers
    names = [event.order.client_order_id for event in client.events if isinstance(event, Accepted)]
    assert names == [f"o{number}" for number in range(20)]


def _set_faults(client: RawClient, **faults) -> None:
    client.control("faults", faults=msgspec.json.encode(Faults(**faults)))


@pytest.mark.parametrize("fault", ["rejected", "rate_limited", "lost_answer", "drop_before", "drop_after", "restart"])
def test_a_scripted_fault_happens_once_and_where_it_was_written(started, client, exchange_folder, fault):
    """The second Place has it; whether the order is there is what the fault says, and it is counted."""
    _set_faults(client, script=(Scripted("Place", fault, 2),))
    client.done(wire.Place, orders=(limit("a"),))
    if fault in ("drop_before", "drop_after", "restart"):
        with pytest.raises(LinkLost):
            client.ask(wire.Place, orders=(limit("b"),))
        welcomed(client.connect(launch.ensure(exchange_folder, quiet_world(), START_S)))
    else:
        answer = client.ask(wire.Place, 0.5, orders=(limit("b"),))
        assert {"lost_answer": None}.get(fault, fault.upper()) == (answer and refused(answer))
    is_there = fault in ("lost_answer", "drop_after", "restart")
    assert len(client.ask(wire.GetOrders, client_order_id="b").orders) == is_there
    client.done(wire.Place, orders=(limit("c"),))
    assert client.control("faults").faults == ({} if fault == "restart" else {fault: 1})
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
    assert client.control("faults").faults == {fault: 2}


def test_after_a_restart_orders_queue_as_before(started, client, exchange_folder):
    """Balances, positions and the place in the queue are those of before."""
    client.ask(wire.Place, orders=(limit("a"), limit("b"), market_order("m")))
    before = (client.ask(wire.GetOrders), client.ask(wire.GetAccount))
    end_server(exchange_folder, signal.SIGKILL)
    assert welcomed(client.connect(launch.ensure(exchange_folder, quiet_world(), START_S))).run == 2
    after = (client.ask(wire.GetOrders), client.ask(wire.GetAccount))
    assert before[0].orders == after[0].orders
    assert before[1].state.balances == after[1].state.balances
    client.ask(wire.Place, orders=(limit("c"),))
    numbers = [order.priority for order in client.ask(wire.GetOrders, open_only=True).orders]
    assert numbers == sorted(numbers)


def test_a_venue_that_is_stale_at_a_restart_still_has_its_strangers(exchange_folder):
    """Our own orders alone are no market: without strangers they would trigger stops and price market orders."""
    silence = Regime(kind="stale", start_s=60, seconds=600, venue="SIM1")  # from the second step on
    market = default_market(seed=3, interval_ms=60_000, regimes=(silence,))
    world = World(market=market, linger_s=20.0)
    client = RawClient("SIM1", "one")
    client.connect(launch.ensure(exchange_folder, world, START_S))
    client.ask(wire.Place, orders=(limit("a"),))
    end_server(exchange_folder, signal.SIGKILL)
    assert welcomed(client.connect(launch.ensure(exchange_folder, world, START_S))).run == 2
    book = client.ask(wire.GetBook, instrument_id=SPOT).book
    assert len(book.asks) == 5
    assert len(book.bids) == 6
    client.close()


# -- the end, and other worlds ------------------------------------------------------------------------


def test_it_ends_soon_after_the_last_bye(started, client, exchange_folder, wait_until):
    """In order: the address is gone with it."""
    client.done(wire.Bye)
    client.close()
    wait_until(lambda: is_dead(started), SOON_S)
    assert not (exchange_folder / ADDRESS_FILE).exists()


def test_it_waits_for_a_client_that_was_lost(exchange_folder, wait_until):
    """For `linger_s`: a killed node comes back to its orders; then it ends."""
    address = launch.ensure(exchange_folder, quiet_world(linger_s=2.0), START_S)
    client = RawClient("SIM1", "one")
    client.connect(address)
    client.close()
    lost_s = time.monotonic()
    wait_until(lambda: is_dead(address), START_S)
    assert time.monotonic() - lost_s > 1.9
    assert "no client is left" in log_of(exchange_folder)


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_in_order(started, client, exchange_folder, how):
    """Its clients are told, the address goes, the log says why."""
    end_server(exchange_folder, how)
    with pytest.raises(LinkLost):
        client.wait(lambda: False, SOON_S)
    assert launch.find(exchange_folder) is None
    assert not (exchange_folder / ADDRESS_FILE).exists()
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
