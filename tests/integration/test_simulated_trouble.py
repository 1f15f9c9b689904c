"""What the simulated exchange's clients make of lost answers, lost connections, killed servers and killed nodes."""

from __future__ import annotations

import os
import random
import threading
import time
from contextlib import closing
from decimal import Decimal
from typing import TYPE_CHECKING

import psutil
import pytest
from exchange_client import PERP, exchange_in, faults_told
from exchange_lab import CLIENT, Lab
from exchange_node import ExchangeNode, exchange_folder, exec_client, node_config

from nautilus_ext.simulation import wire
from nautilus_ext.simulation.faults import ITEM_FAULTS, Scripted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

SEED = int(os.environ.get("TROUBLE_SEED", "0")) or random.randrange(1, 10**9)
ROUNDS = int(os.environ.get("TROUBLE_ROUNDS", "3"))
LATE_MS = 800  # more than the clients wait for an answer
SETTLE_S = 15.0


pytest_plugins = ["exchange_fixtures"]


@pytest.fixture
def lab(one_lab: Lab) -> Iterator[Lab]:
    """The market stands still; after each test the faults are over, nothing works, cache and ledger agree."""
    one_lab.meet()
    one_lab.peer.control("pause")
    yield one_lab
    one_lab.meet()
    one_lab.faults()
    one_lab.node.until(f"{CLIENT}.is_connected", SETTLE_S)
    one_lab.node("hand.end_all()")
    assert one_lab.settled() == []
    one_lab.peer.control("pause")
    one_lab.peer.control("step", steps=2)


@pytest.fixture
def folder(fast_folder: Path) -> Iterator[Path]:
    with exchange_in(fast_folder) as folder:
        yield folder


def script(*lines: tuple[str, str]) -> tuple[Scripted, ...]:
    return tuple(Scripted(on=on, fault=fault) for on, fault in lines)


def resting(lab: Lab, below: str = "500", quantity: str = "0.010") -> str:
    order = lab.send("limit", "BUY", quantity, price=lab.bid(below))
    lab.becomes(order, "ACCEPTED")
    return order


# -- an answer that does not come -------------------------------------------------------------------

HARMLESS = ["drop_after", "lost_answer", "late_answer", "duplicate_answer", "reordered_answer", "restart"]


@pytest.mark.parametrize("fault", HARMLESS)
def test_an_order_that_arrived_is_never_taken_for_rejected(lab, fault):
    """Whatever becomes of the answer and of the connection: accepted, and filled once."""
    lab.faults(script=script(("Place", fault)), late_ms=LATE_MS)
    order = lab.send("market", "BUY", "0.010")
    lab.becomes(order, "FILLED")
    assert ["Submitted", "Accepted", "Filled"] == lab.events(order)


def test_an_order_that_never_arrived_is_rejected_with_the_evidence(lab):
    """The connection was lost before the exchange looked at it: found out by asking, not by guessing."""
    lab.faults(script=script(("Place", "drop_before")))
    order = lab.send("limit", "BUY", "0.010", price=lab.bid("500"))
    lab.becomes(order, "REJECTED")
    assert "UNANSWERED: it never arrived: the exchange has no such order" in lab.reasons(order)[0]
    assert lab.written(order) is None


@pytest.mark.parametrize(("fault", "code"), [("rejected", "REJECTED"), ("rate_limited", "RATE_LIMITED")])
def test_a_refusal_is_a_rejection_at_once(lab, fault, code):
    """Said by the exchange: nothing is to be found out."""
    lab.faults(script=script(("Place", fault)))
    order = lab.send("limit", "BUY", "0.010", price=lab.bid("500"))
    lab.becomes(order, "REJECTED")
    assert lab.reasons(order)[0].startswith(code)


@pytest.mark.parametrize("fault", ["drop_before", *HARMLESS, "rate_limited"])
def test_a_cancel_gets_through(lab, fault):
    """Sent again where it may not have arrived: the order is canceled, once."""
    order = resting(lab)
    lab.faults(script=script(("Cancel", fault)), late_ms=LATE_MS)
    lab.node(f"hand.end({order!r})")
    lab.becomes(order, "CANCELED")
    assert ["Submitted", "Accepted", "PendingCancel", "Canceled"] == lab.events(order)


@pytest.mark.parametrize("kind", ["CancelAll", "CancelMany"])
@pytest.mark.parametrize("fault", ["drop_before", "drop_after", "lost_answer"])
def test_a_cancel_of_several_gets_through(lab, kind, fault):
    """All of them, each once."""
    orders = [resting(lab) for _ in range(3)]
    lab.faults(script=script((kind, fault)))
    lab.node("hand.end_all()" if kind == "CancelAll" else f"hand.end_some(*{orders!r})")
    for order in orders:
        lab.becomes(order, "CANCELED")
        assert ["Submitted", "Accepted", "Canceled"] == [each for each in lab.events(order) if each != "PendingCancel"]


@pytest.mark.parametrize("fault", HARMLESS)
def test_a_modify_that_arrived_is_an_update(lab, fault):
    """The answer is not needed: the stream tells."""
    order, price = resting(lab), lab.bid("400")
    lab.faults(script=script(("Modify", fault)), late_ms=LATE_MS)
    lab.node(f"hand.change({order!r}, price={price!r})")
    lab.node.until(f"str(hand.order({order!r}).price) == {price!r}")
    lab.becomes(order, "ACCEPTED")
    assert ["Submitted", "Accepted", "PendingUpdate", "Updated"] == lab.events(order)


def test_a_modify_that_never_arrived_is_refused(lab):
    """The order is what it was, and the strategy knows."""
    order, price = resting(lab), lab.bid("400")
    was = lab.node(f"str(hand.order({order!r}).price)")
    lab.faults(script=script(("Modify", "drop_before")))
    lab.node(f"hand.change({order!r}, price={price!r})")
    lab.node.until(f"'OrderModifyRejected' in hand.events({order!r})")
    assert "UNANSWERED: it never arrived" in lab.reasons(order)[0]
    assert ("ACCEPTED", was) == (lab.node(f"hand.status({order!r})"), lab.node(f"str(hand.order({order!r}).price)"))


@pytest.mark.parametrize("fault", ["drop_before", "drop_after", "lost_answer", "late_answer", "rate_limited"])
def test_a_question_is_asked_again(lab, fault):
    """A report comes in spite of it."""
    order = resting(lab)
    lab.faults(script=script(("GetOrders", fault)), late_ms=LATE_MS)
    assert lab.node(f"hand.report({CLIENT}, {order!r})")["order_status"] == "ACCEPTED"


@pytest.mark.parametrize("fault", ITEM_FAULTS)
@pytest.mark.parametrize("event", ["Accepted", "Filled", "Canceled", "AccountChanged"])
def test_an_event_that_is_lost_late_doubled_or_out_of_order_counts_once(lab, fault, event):
    """Partial fills and a cancel: the sequence that the strategy sees is the one that happened."""
    lab.faults(script=script((event, fault)))
    price = lab.bid("-0.1")
    order = lab.send("limit", "BUY", "0.030", price=price)
    lab.becomes(order, "ACCEPTED")
    lab.trade("SELL", "0.01", price)
    lab.trade("SELL", "0.01", price)
    lab.node.until(f"str(hand.order({order!r}).filled_qty) == '0.020'")
    lab.node(f"hand.end({order!r})")
    lab.becomes(order, "CANCELED")
    assert ["Submitted", "Accepted", "Filled", "Filled", "PendingCancel", "Canceled"] == lab.events(order)


def test_an_order_that_the_engine_has_given_up_comes_back(lab):
    """The engine concludes UNKNOWN while nobody answers; when the order lives and fills all the same, it is known."""
    price = lab.bid("-0.1")
    process = psutil.Process(lab.address.pid)
    process.suspend()
    try:
        order = lab.send("limit", "BUY", "0.010", price=price)
        lab.becomes(order, "SUBMITTED")
        lab.node.until(f"not {CLIENT}.is_connected")
        lab.node(f"node.kernel.exec_engine._resolve_inflight_order(hand.order({order!r}))")
        lab.becomes(order, "REJECTED")
    finally:
        process.resume()
    lab.node.until(f"{CLIENT}.is_connected", SETTLE_S)
    lab.node.until(f"any(str(each.price) == {price!r} for each in cache.orders_open())")
    lab.trade("SELL", "0.01", price)
    assert lab.settled() == []
    assert (lab.written(order)["status"], lab.node(f"hand.status({order!r})")) == ("FILLED", "REJECTED")


def test_all_kinds_of_trouble_at_once(folder):
    """A hundred orders under every fault by chance; at the end everybody knows the same. Each fill once.

    The faults are the exchange's own: those that a peer sets are gone after the first restart.
    """
    print(f"TROUBLE_SEED={SEED}")
    rng = random.Random(SEED)
    rates = dict.fromkeys(["rejected", "rate_limited", "drop_before", "drop_after", "lost_answer"], 0.02)
    rates |= dict.fromkeys(["late_answer", "duplicate_answer", "reordered_answer", "restart"], 0.01)
    rates |= dict.fromkeys(ITEM_FAULTS, 0.02)
    terms = {"venues": [{"name": "SIM2", "faults": {"seed": SEED, "rates": rates, "late_ms": 100}}]}
    with ExchangeNode(node_config(folder, **terms), folder) as node:
        orders = _send_a_hundred(node, rng)
        node.until("not cache.orders_inflight()", 60.0)
        _end_whatever_works(node)
        lab = Lab(node, folder)
        faults, fills = faults_told(exchange_folder(folder)), [row["client_order_id"] for row in lab.ledger().fills]
        print(f"fills={len(fills)} faults={dict(faults)}")
        assert lab.settled() == []
        assert faults.total() >= 10, "hardly any fault: the run says nothing"
        assert len(fills) >= 10, "hardly any fill: the run says nothing"
        assert set(fills) <= set(orders)
        lab.close()


def _send_a_hundred(node: ExchangeNode, rng: random.Random) -> list[str]:
    """And end or change some of them now and then; an exchange that restarts misses ten at most, not all the rest."""
    orders: list[str] = []
    for number in range(100):
        if number % 10 == 0:
            node.until(f"{CLIENT}.is_connected", SETTLE_S)
        orders.append(node(_random_order(rng)))
        action, some = rng.random(), rng.choice(orders)
        if action < 0.3:
            node(f"hand.order({some!r}).is_open and hand.end({some!r})")
        elif action < 0.4:
            node(f"hand.order({some!r}).is_open and hand.change({some!r}, quantity='0.015')")
        time.sleep(rng.uniform(0, 0.02))
    return orders


def _end_whatever_works(node: ExchangeNode) -> None:
    """As often as it takes: a fault may refuse this too, and then the order works on."""
    deadline_s = time.monotonic() + 60.0
    while node("bool(cache.orders_open() or cache.orders_inflight())"):
        assert time.monotonic() < deadline_s, node.said()[-5_000:]
        node("hand.end_all()")
        time.sleep(0.3)


def _random_order(rng: random.Random) -> str:
    side = rng.choice(["BUY", "SELL"])
    if rng.random() < 0.4:
        return f"hand.send('market', {side!r}, '0.005')"
    return f"hand.send('limit', {side!r}, '0.010', price={'59000.0' if side == 'BUY' else '61000.0'!r})"


def test_reports_that_are_asked_for_while_orders_fill_change_nothing(lab):
    """A report is applied at once, an event waits in a queue: none may overtake it, or a fill is counted twice."""
    before, price = len(lab.node.said()), lab.bid("-0.1")
    orders = [lab.send("limit", "BUY", "0.050", price=price) for _ in range(4)]
    for order in orders:
        lab.becomes(order, "ACCEPTED")
    stop = threading.Event()
    trader = threading.Thread(target=_trade_until, args=(stop, lab, price, 0.0, 190))
    trader.start()
    asked = 0
    while trader.is_alive():
        lab.node(f"[hand.ask(each) for each in {orders!r}] and None")
        lab.node(f"hand.order_reports({CLIENT}, open_only=False) and None")
        asked += 1
    trader.join()
    assert lab.settled() == []
    assert asked > 3
    said = lab.node.said()[before:]
    assert "inferred" not in said
    assert "[ERROR]" not in said


# -- killed -----------------------------------------------------------------------------------------


def test_an_exchange_that_is_killed_comes_back_with_everything(lab):
    """kill -9 with orders resting and on their way: the data client starts it again, nothing is lost or doubled."""
    kept = [resting(lab) for _ in range(3)]
    pid = lab.address.pid
    sent = [lab.send("market", "BUY", "0.001") for _ in range(10)]
    psutil.Process(pid).kill()
    late = [lab.send("market", "BUY", "0.001") for _ in range(3)]
    lab.node.until(f"not {CLIENT}.is_connected")
    lab.node.until("all(each.is_connected for each in clients.values())", SETTLE_S)
    assert lab.address.pid != pid
    lab.node.until(f"all(hand.order(each).is_closed for each in {sent + late!r})", SETTLE_S)
    lab.meet()
    assert lab.settled() == []
    assert {"ACCEPTED"} == {lab.node(f"hand.status({each!r})") for each in kept}
    placed = {row["client_order_id"] for row in lab.ledger().orders}
    for each in sent + late:
        assert (each in placed) == (lab.node(f"hand.status({each!r})") == "FILLED"), lab.reasons(each)
    lab.becomes(lab.send("market", "SELL", "0.001"), "FILLED")
    said = lab.node.said()
    assert "Traceback" not in said


def test_a_client_tells_the_truth_about_its_connection(lab):
    """Not connected while the exchange stands still (or is dead), connected after it; a line each, not a flood."""
    lines = len(lab.node.said().splitlines())
    process = psutil.Process(lab.address.pid)
    process.kill()
    lab.node.until("not clients['SIM3'].is_connected", SETTLE_S)
    lab.node.until("all(each.is_connected for each in clients.values())", SETTLE_S)
    told = [line for line in lab.node.said().splitlines()[lines:] if "connection lost" in line or "again" in line]
    assert len(told) <= 2 * 6, told  # three execution clients, three venues of the data client


def test_a_node_that_is_killed_finds_orders_positions_and_balances(folder):
    """kill -9, a fill while it is dead, a new start: the exchange's ledger is in the cache."""
    with ExchangeNode(node_config(folder), folder) as first:
        lab = Lab(first, folder)
        lab.peer.control("pause")
        lab.becomes(lab.send("market", "BUY", "0.020"), "FILLED")
        lab.becomes(lab.send("market", "BUY", "0.00500", "BTCUSDT.SIM1"), "FILLED")
        lab.becomes(lab.send("market", "SELL", "500", "BTCUSD-PERP.SIM3"), "FILLED")
        stays, fills = resting(lab), resting(lab, below="-0.1", quantity="0.030")
        price = first(f"str(hand.order({fills!r}).price)")
        first.kill()
    lab.trade("SELL", "0.01", price)
    with ExchangeNode(node_config(folder), folder) as second:
        lab.node = second
        assert lab.settled() == []
        assert ("ACCEPTED", "PARTIALLY_FILLED") == (
            second(f"hand.status({stays!r})"),
            second(f"hand.status({fills!r})"),
        )
        lab.trade("SELL", "0.02", price)
        lab.becomes(fills, "FILLED")
        lab.node(f"hand.late_cancel({CLIENT}, {stays!r})")
        lab.becomes(stays, "CANCELED")
        assert lab.settled() == []
        assert "Traceback" not in second.said()
    lab.close()


@pytest.mark.parametrize("lookback_mins", [None, 1])
def test_positions_that_turned_round_cost_no_order_at_a_restart(folder, lookback_mins):
    """Long, short, flat, long again, with orders that rest: the engine trims such a history, and must not trim them."""
    engine = {} if lookback_mins is None else {"reconciliation_lookback_mins": lookback_mins}
    with ExchangeNode(node_config(folder), folder) as first:
        lab = Lab(first, folder)
        lab.peer.control("pause")
        early = resting(lab)
        for side, quantity in (("BUY", "0.020"), ("SELL", "0.030"), ("BUY", "0.010"), ("BUY", "0.005")):
            lab.becomes(lab.send("market", side, quantity), "FILLED")
            resting(lab)
        first.kill()
    with ExchangeNode(node_config(folder, exec_engine=engine), folder) as second:
        lab.node = second
        assert lab.settled() == []
        assert second(f"hand.status({early!r})") == "ACCEPTED"
        assert "Traceback" not in second.said()
        lab.close()


def test_an_exchange_that_has_forgotten_everything_is_reconciled_with(folder):
    """Its ledger is gone under a running node: what worked there is canceled, positions and money are what it says."""
    with ExchangeNode(node_config(folder), folder) as node:
        lab = Lab(node, folder)
        lab.peer.control("pause")
        lab.becomes(lab.send("market", "BUY", "0.020"), "FILLED")
        works = resting(lab)
        psutil.Process(lab.address.pid).kill()
        for path in exchange_folder(folder).glob("exchange.sqlite*"):
            path.unlink()
        lab.becomes(works, "CANCELED")
        lab.node.until("not any(each.startswith('positions') for each in differences())")
        lab.node.until("all(each.is_connected for each in clients.values())", SETTLE_S)
        fresh = lab.send("market", "BUY", "0.010")
        lab.becomes(fresh, "FILLED")
        assert [each for each in lab.differences() if each.startswith(("positions", "cash"))] == []
        assert "begin anew" in node.said()
        assert "Traceback" not in node.said()
        lab.close()


@pytest.mark.parametrize("number", range(ROUNDS))
def test_what_fills_while_a_node_starts_is_counted_once(folder, number):
    """Between connect and mass status, and while it is applied: no fill lost, none doubled, whatever the moment.

    Half of what can fill does so before the node has even begun; a latency makes the dangerous time long.
    """
    print(f"TROUBLE_SEED={SEED} round {number}")
    rng = random.Random(SEED + number)
    terms = {"venues": [{"name": "SIM2", "latency_ms": rng.choice([0, 5, 20])}]}
    with ExchangeNode(node_config(folder, **terms), folder) as first:
        lab = Lab(first, folder)
        lab.peer.control("pause")
        price = lab.bid("-0.1")
        orders = [lab.send("limit", "BUY", "0.050", price=price) for _ in range(10)]
        for order in orders:
            lab.becomes(order, "ACCEPTED")
        first.kill()
    stop = threading.Event()
    trader = threading.Thread(target=_trade_until, args=(stop, lab, price, rng.uniform(0.002, 0.006)))
    trader.start()
    with ExchangeNode(node_config(folder, **terms), folder) as second:
        lab.node = second
        time.sleep(0.3)
        stop.set()
        trader.join()
        assert lab.settled() == []
        filled = [Decimal(row["filled"]) for row in lab.ledger().orders]
        assert Decimal("0.01") < sum(filled) < Decimal("0.5")
        said = second.said()
        assert "Traceback" not in said
        assert "[ERROR]" not in said
        assert "inferred" not in said
    lab.close()


def _trade_until(stop: threading.Event, lab: Lab, price: str, pause_s: float, number: int = 480) -> None:
    with closing(lab.another_peer()) as peer:
        for _ in range(number):
            if stop.is_set():
                return
            peer.take(PERP, "SELL", Decimal("0.001"), Decimal(price))
            time.sleep(pause_s)


# -- the start --------------------------------------------------------------------------------------


def started(config: dict, folder: Path, until: Callable[[str], bool]) -> str:
    """What a node says that cannot start."""
    node = ExchangeNode(config, folder)
    deadline_s = time.monotonic() + SETTLE_S
    while not until(node.said()):
        assert time.monotonic() < deadline_s, node.said()[-3_000:]
        time.sleep(0.05)
    node.kill()
    node.__exit__()
    return node.said()


def test_without_an_exchange_the_start_fails_with_its_reason(folder):
    """An execution client alone starts no exchange: one clear line, no traceback, not connected."""
    config = node_config(folder)
    config["data_clients"] = {}
    for client in config["exec_clients"].values():
        client["config"]["connect_timeout_s"] = 1.0
    said = started(config, folder, lambda text: text.count("cannot connect") >= 3)
    assert "cannot connect: no exchange 'paper' runs in" in said
    assert "Traceback" not in said


def test_without_reconciliation_events_arrive_all_the_same(folder):
    """Nobody asks for a mass status then: what waits for it is let go when the strategies start."""
    with ExchangeNode(node_config(folder, exec_engine={"reconciliation": False}), folder) as node:
        order = node("hand.send('market', 'BUY', '0.001')")
        node.until(f"hand.status({order!r}) == 'FILLED'")
        lab = Lab(node, folder)
        assert lab.settled() == []
        lab.close()


def test_an_account_that_another_node_trades_is_refused(folder):
    """Two nodes cannot share an account: the second does not start, and the first goes on."""
    with ExchangeNode(node_config(folder), folder) as first:
        config = node_config(folder)
        for client in config["exec_clients"].values():
            client["config"]["connect_timeout_s"] = 1.0
        said = started(config, folder, lambda text: text.count("cannot connect") >= 3)
        assert "ACCOUNT_IN_USE" in said
        other = first("hand.send('market', 'BUY', '0.001')")
        first.until(f"hand.status({other!r}) == 'FILLED'")


def test_two_nodes_on_accounts_of_their_own_trade_side_by_side(folder):
    """The same exchange, the same venue, two books."""
    with ExchangeNode(node_config(folder), folder) as first:
        config = node_config(folder)
        config["exec_clients"] = {
            "SIM2": exec_client("SIM2", "MARGIN", "5000 USDT", account="second", data_dir=str(folder))
        }
        with ExchangeNode(config, folder) as second:
            for node in (first, second):
                order = node("hand.send('market', 'BUY', '0.001')")
                node.until(f"hand.status({order!r}) == 'FILLED'")
            lab = Lab(first, folder)
            assert lab.settled() == []
            assert lab.held("second") == Decimal("0.001")
            assert lab.peer.ask(wire.ListInstruments).listings
            lab.close()
