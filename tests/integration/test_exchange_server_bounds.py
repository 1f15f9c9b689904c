"""What no client, no file and no restart may do to the exchange's server: each has a bound, or a line with the cure."""

from __future__ import annotations

import json
import resource
import signal
import socket
import sqlite3
import subprocess
import sys
from contextlib import closing
from decimal import Decimal

import msgspec
import pytest
from exchange_client import (
    SOON_S,
    SPOT,
    START_S,
    LinkLost,
    RawClient,
    end_server,
    exchange_in,
    is_dead,
    limit,
    log_of,
    market_order,
    quiet_world,
    refused,
    welcomed,
)

from nautilus_ext.errors import MachineError
from nautilus_ext.simulation import default_market, wire
from nautilus_ext.simulation.client.config import SimulatedExecClientConfig
from nautilus_ext.simulation.exchange.register import Register
from nautilus_ext.simulation.market import SIZE_MAX
from nautilus_ext.simulation.server import desk, launch, process, requests, sessions
from nautilus_ext.simulation.server.address import ADDRESS_FILE, LOG_FILE, read_address
from nautilus_ext.simulation.server.floor import Floor
from nautilus_ext.simulation.server.ledger import FILE, Ledger
from nautilus_ext.simulation.server.reception import Reception
from nautilus_ext.simulation.world import VenueTerms, World

pytest_plugins = ["exchange_fixtures"]

LONG = "\x00" * 1_000_000


def _terms(client: RawClient, **changes):
    return msgspec.structs.replace(client.terms, **changes)


# -- what is refused ----------------------------------------------------------------------------------


@pytest.mark.parametrize("amount", [SIZE_MAX + 1, Decimal(5 * 10**9), Decimal("0.0000000000000000001"), Decimal(-1)])
def test_terms_that_cannot_be_booked_are_refused(shared, trader, shared_folder, amount):
    """And leave no account: the server lives, and the same name is then opened with others."""
    rich = RawClient("SIM1", f"rich{amount}")
    assert refused(rich.connect(shared, terms=_terms(rich, starting_balances={"USDT": amount}))) == "BAD_TERMS"
    welcomed(rich.connect(shared))
    assert isinstance(trader.ask(wire.GetAccount), wire.Account)
    rich.close()


def test_the_venue_has_the_last_word_on_terms(exchange_folder, monkeypatch):
    """What it does not take is booked nowhere, even when nothing before it saw the mistake."""
    monkeypatch.setattr(requests, "bad_terms", lambda _terms: None)
    exchange_folder.mkdir()
    ledger = Ledger(exchange_folder)
    reception = Reception(Floor(quiet_world(), ledger, print), lambda: False, lambda: False)
    client = RawClient("SIM1", "rich")
    hello = wire.Hello(
        request=1, session="s", venue="SIM1", terms=_terms(client, starting_balances={"USDT": SIZE_MAX * 5})
    )
    answer = reception.greet(sessions.Session(None), hello)  # type: ignore[arg-type]  # it meets nobody
    assert getattr(answer, "code", "") == "BAD_TERMS"
    assert ledger.accounts == {}
    ledger.close()


@pytest.mark.parametrize(
    "text", ["0" * 127 + "25", "1_0", " 1", "1 ", "\u0661", "\uff11", "", ".", "NaN", "Infinity", "1e1000", "0x1"]
)
def test_a_number_is_what_its_whole_text_says(trader, text):
    """Neither its beginning nor what Python alone would make of it."""
    name = f"n{len(trader.sent)}"
    trader.ask(wire.Place, orders=(limit(name),))
    assert refused(trader.ask(wire.Modify, client_order_id=name, quantity=text)) == "BAD_ORDER"


@pytest.mark.parametrize("number", ["\u0661", "01", " 1", "1_0", "", "2"])
def test_an_order_is_found_by_its_very_id(number):
    """Other digits, or zeros before them, name no order."""

    class Order:
        owner, number, expire_ns, new = "me", 0, 0, limit("a")
        venue_order_id = ""

    register = Register("SIM1")
    register.enter(order := Order())  # type: ignore[arg-type]  # as much of one as it looks at
    assert register.find("me", "", "SIM1-1") is order
    assert register.find("me", "", f"SIM1-{number}") is None


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        (wire.Place, {"orders": (limit(LONG),)}),
        (wire.Place, {"orders": (limit("a", linked_ids=(LONG, LONG)),)}),
        (wire.Place, {"orders": (limit("a", instrument_id=LONG),)}),
        (wire.Place, {"orders": (limit("a", parent_id=LONG),)}),
        (wire.Modify, {"client_order_id": "a", "quantity": LONG}),
        (wire.GetBook, {"instrument_id": LONG}),
        (wire.Control, {"venue": LONG, "action": "halt"}),
        (wire.Control, {"venue": "SIM1", "action": "faults", "faults": LONG.encode()}),
        (wire.ListInstruments, {"venue": LONG}),
    ],
)
def test_a_refusal_repeats_little_of_the_request(trader, kind, fields):
    """However long that was."""
    answer = trader.ask(kind, **fields)
    assert refused(answer)
    assert len(answer.text) <= desk.REFUSAL_CHARS_MAX


# -- how much of anything -----------------------------------------------------------------------------


def test_bytes_on_their_way_are_bounded(exchange_folder, wait_until):
    """A venue's latency is no store for a client's megabytes."""
    slow = quiet_world(venues=(VenueTerms(name="SIM1", latency_ms=2_000),))
    address = launch.ensure(exchange_folder, slow, START_S)
    client = RawClient("SIM1", "one")
    client.connect(address)
    with pytest.raises(LinkLost):
        _send_12_mb(client)
    assert f"on their way; {sessions.INBOX_BYTES_MAX:,} is the most" in log_of(exchange_folder)
    assert not is_dead(address)


def _send_12_mb(client: RawClient) -> None:
    for _ in range(12):
        client.send(wire.Cancel, client_order_id="x" * 1_000_000)
        client.wait(lambda: False, 0.02)
    client.wait(lambda: False, SOON_S)


def test_a_stranger_sends_little_before_its_hello(shared, shared_folder):
    """Also when its frame is not whole yet."""
    with closing(socket.create_connection((shared.host, shared.port), SOON_S)) as stranger:
        stranger.sendall(b"\x00\x10\x00\x00" + b"x" * (sessions.UNGREETED_BYTES_MAX + 1))
        assert stranger.recv(1) == b""
    assert f"more than {sessions.UNGREETED_BYTES_MAX:,} bytes before its Hello" in log_of(shared_folder)


def test_a_full_server_says_so(started, exchange_folder):
    """To whom it cannot take; nobody who was there loses anything."""
    clients = [RawClient("SIM1", f"c{number}") for number in range(process.SESSIONS_MAX)]
    for client in clients:
        welcomed(client.connect(started, terms=None, resume_after=None))
    assert refused(RawClient("SIM1", "late").connect(started)) == "TOO_MANY_CLIENTS"
    assert isinstance(clients[0].ask(wire.ListInstruments), wire.Instruments)
    clients[0].close()
    late = RawClient("SIM1", "late")
    welcomed(late.connect(started))
    for client in (*clients, late):
        client.close()


# -- restarts -----------------------------------------------------------------------------------------


def test_what_the_staff_did_lasts_over_a_restart(started, client, exchange_folder):
    """A halted venue stays halted until it is opened; a stale one stays stale."""
    for venue, action in (("SIM1", "halt"), ("SIM2", "stale")):
        client.control(action, venue=venue)
    end_server(exchange_folder, signal.SIGKILL)
    client.connect(launch.ensure(exchange_folder, quiet_world(), START_S))
    assert refused(client.ask(wire.Place, orders=(limit("a"),))) == "HALTED"
    assert client.ask(wire.GetBook, instrument_id=SPOT).book.asks
    assert _meta(exchange_folder, "staff.SIM2") == "stale"
    for venue, action in (("SIM1", "open"), ("SIM2", "fresh")):
        client.control(action, venue=venue)
    end_server(exchange_folder, signal.SIGKILL)
    client.connect(launch.ensure(exchange_folder, quiet_world(), START_S))
    client.done(wire.Place, orders=(market_order("b"),))
    assert _meta(exchange_folder, "staff.SIM2") == ""


def test_a_stale_venue_is_silent_after_a_restart(exchange_folder):
    """Its book stands still while the market goes on."""
    world = World(market=default_market(seed=3, interval_ms=10), linger_s=20.0)
    client = RawClient("SIM1", "one")
    client.connect(launch.ensure(exchange_folder, world, START_S))
    client.control("stale")
    end_server(exchange_folder, signal.SIGKILL)
    client.connect(launch.ensure(exchange_folder, world, START_S))
    first = client.ask(wire.GetBook, instrument_id=SPOT).book
    client.wait(lambda: False, 0.3)
    assert client.ask(wire.GetBook, instrument_id=SPOT).book.number == first.number
    client.close()


def _meta(folder, name: str) -> str:
    with closing(sqlite3.connect(folder / FILE)) as sql:
        return sql.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()[0]


# -- damaged files ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change",
    [
        {"pid": -1},
        {"pid": 0},
        {"pid": 2**70},
        {"pid": 2**40},
        {"port": 0},
        {"port": 70_000},
        {"port": -5},
        {"host": "a\x00b"},
        {"host": "x" * 300},
        {"started": None},
    ],
)
def test_an_address_that_cannot_be_is_a_leftover(exchange_folder, change):
    """The launcher starts a server as if nothing stood there."""
    exchange_folder.mkdir()
    me = {"host": "127.0.0.1", "port": 5_000, "pid": 1, "started": 1.0, "world": "w"}
    (exchange_folder / ADDRESS_FILE).write_bytes(msgspec.json.encode(me))
    assert read_address(exchange_folder) is not None

    (exchange_folder / ADDRESS_FILE).write_text(json.dumps(me | change))
    assert read_address(exchange_folder) is None
    assert launch.find(exchange_folder) is None


def test_a_server_starts_over_an_impossible_address(exchange_folder):
    """And writes its own."""
    exchange_folder.mkdir()
    (exchange_folder / ADDRESS_FILE).write_text(
        '{"host": "127.0.0.1", "port": 99999, "pid": -1, "started": 1.0, "world": "w"}'
    )
    address = launch.ensure(exchange_folder, quiet_world(), START_S)
    assert launch.find(exchange_folder) == address


def test_a_log_that_is_a_folder_is_named(exchange_folder):
    """With the cure."""
    (exchange_folder / LOG_FILE).mkdir(parents=True)
    with pytest.raises(MachineError, match=rf"{LOG_FILE} is no file: move it away"):
        launch.ensure(exchange_folder, quiet_world(), START_S)


@pytest.mark.parametrize(
    "damage",
    [
        "DROP TABLE fills",
        "DROP TABLE accounts",
        "DROP TABLE stream",
        "DROP TABLE meta",
        "UPDATE meta SET value = 'x' WHERE name = 'run'",
        "UPDATE meta SET value = '{}' WHERE name = 'step'",
        "UPDATE meta SET value = 'x' WHERE name = 'world'",
        "UPDATE meta SET value = '[1]' WHERE name = 'counters.SIM1'",
        "UPDATE accounts SET starting_balances = '{'",
        "UPDATE accounts SET leverage = 'x'",
        'UPDATE accounts SET starting_balances = \'{"USDT": "5000000000"}\'',
        "UPDATE balances SET total = 'much'",
        "UPDATE orders SET quantity = 'x'",
        "UPDATE orders SET instrument_id = 'NONE.SIM1'",
        "UPDATE orders SET venue_order_id = venue_order_id || 'x'",
        "UPDATE orders SET linked_ids = '{'",
        "UPDATE positions SET quantity = 'x', instrument_id = 'ETHUSDT-PERP.SIM2'",
    ],
)
def test_a_damaged_ledger_is_named_with_the_cure(used_folder, exchange_folder, damage):
    """In one line, and no traceback: neither in the log nor for whoever starts it."""
    exchange_folder.mkdir()
    (exchange_folder / FILE).write_bytes(used_folder)
    with closing(sqlite3.connect(exchange_folder / FILE)) as sql:
        sql.execute(damage)
        sql.commit()
    with pytest.raises(MachineError) as caught:
        launch.ensure(exchange_folder, quiet_world(), START_S)
    assert str(exchange_folder / FILE) in str(caught.value)
    assert "choose another exchange name" in str(caught.value)
    assert "Traceback" not in log_of(exchange_folder)
    assert len(log_of(exchange_folder).splitlines()) == 1


@pytest.fixture(scope="module")
def used_folder(fast_folder):
    """The ledger of an exchange with orders, balances and a position."""
    with exchange_in(fast_folder) as folder:
        address = launch.ensure(folder, quiet_world(), START_S)
        spot, margin = RawClient("SIM1", "spot"), RawClient("SIM2", "margin", "MARGIN")
        spot.connect(address)
        margin.connect(address)
        spot.ask(wire.Place, orders=(limit("a"), market_order("m")))
        margin.ask(wire.Place, orders=(market_order("m", instrument_id="BTCUSDT-PERP.SIM2", quantity=Decimal(1)),))
        end_server(folder, signal.SIGTERM)
        yield (folder / FILE).read_bytes()


def test_a_full_disk_at_the_start_is_named(exchange_folder, tmp_path):
    """The path and the cure, from the server's own mouth where it still has one."""
    done = subprocess.run(
        [sys.executable, "-m", "nautilus_ext.simulation.server", str(exchange_folder)],
        input=quiet_world().to_json(),
        capture_output=True,
        check=False,
        timeout=START_S,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100)),
    )
    (said,) = done.stderr.decode().splitlines()
    assert done.returncode == 3
    assert str(exchange_folder) in said
    assert "free space" in said


# -- what the operator's file may say -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("starting_balances", ["5000000000 USDT"]),
        ("starting_balances", ["1000000000.01 USDT"]),
        ("account", "a\nb"),
        ("account", "a b"),
        ("account", "k\u00e4se"),
        ("account", "a\x00"),
        ("account", "x" * 65),
        ("account", ""),
    ],
)
def test_a_config_that_the_exchange_would_refuse_is_refused_first(field, value):
    """With the field's name; what fits to the last unit and character is taken."""
    fine = {"venue": "SIM1", "starting_balances": ["1000000000 USDT"], "account": "x" * 64}
    SimulatedExecClientConfig(**fine)
    with pytest.raises(ValueError, match=field):
        SimulatedExecClientConfig(**(fine | {field: value}))
