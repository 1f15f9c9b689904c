"""What the simulated exchange's clients make of lost answers, lost connections, killed servers and killed nodes."""

from __future__ import annotations

import os
import random
import threading
import time
from decimal import Decimal
from typing import TYPE_CHECKING

import psutil
import pytest
from exchange_desk import CLIENT, Desk, new_folder
from exchange_node import (
    PERP,
    ExchangeNode,
    Peer,
    exchange_folder,
    exec_client,
    node_config,
    server_pid,
    stop_server,
)

from nautilus_ext.simulation import wire
from nautilus_ext.simulation.faults import ITEM_FAULTS, Scripted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

SEED = int(os.environ.get("TROUBLE_SEED", "0")) or random.randrange(1, 10**9)
ROUNDS = int(os.environ.get("TROUBLE_ROUNDS", "3"))
LATE_MS = 800  # more than the clients wait for an answer
SETTLE_S = 15.0


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
    """The market stands still; after each test the faults are over, nothing works, cache and ledger agree."""
    one_desk.meet_again()
    one_desk.peer.control("pause")
    yield one_desk
    one_desk.meet_again()
    one_desk.peer.faults()
    one_desk.node.until(f"{CLIENT}.is_connected", SETTLE_S)
    one_desk.node("hand.end_all()")
    one_desk.agrees()
    one_desk.peer.control("pause")
    one_desk.peer.control("step", steps=2)


def script(*lines: tuple[str, str]) -> tuple[Scripted, ...]:
    return tuple(Scripted(on=on, fault=fault) for on, fault in lines)


def resting(desk: Desk, below: str = "500", quantity: str = "0.010") -> str:
    order = desk.send("limit", "BUY", quantity, price=desk.bid(below))
    desk.becomes(order, "ACCEPTED")
    return order


# -- an answer that does not come -------------------------------------------------------------------

HARMLESS = ["drop_after", "lost_answer", "late_answer", "duplicate_answer", "reordered_answer", "restart"]


@pytest.mark.parametrize("fault", HARMLESS)
def test_an_order_that_arrived_is_never_taken_for_rejected(desk, fault):
    """Whatever becomes of the answer and of the connection: accepted, and filled once."""
    desk.peer.faults(script=script(("Place", fault)), late_ms=LATE_MS)
    order = desk.send("market", "BUY", "0.010")
    desk.becomes(order, "FILLED")
    assert ["Submitted", "Accepted", "Filled"] == desk.events(order)


def test_an_order_that_never_arrived_is_rejected_with_the_evidence(desk):
    """The connection was lost before the exchange looked at it: found out by asking, not by guessing."""
    desk.peer.faults(script=script(("Place", "drop_before")))
    order = desk.send("limit", "BUY", "0.010", price=desk.bid("500"))
    desk.becomes(order, "REJECTED")
    assert "UNANSWERED: it never arrived: the exchange has no such order" in desk.reasons(order)[0]
    assert order not in desk.ledger.orders()


@pytest.mark.parametrize(("fault", "code"), [("rejected", "REJECTED"), ("rate_limited", "RATE_LIMITED")])
def test_a_refusal_is_a_rejection_at_once(desk, fault, code):
    """Said by the exchange: nothing is to be found out."""
    desk.peer.faults(script=script(("Place", fault)))
    order = desk.send("limit", "BUY", "0.010", price=desk.bid("500"))
    desk.becomes(order, "REJECTED")
    assert desk.reasons(order)[0].startswith(code)


@pytest.mark.parametrize("fault", ["drop_before", *HARMLESS, "rate_limited"])
def test_a_cancel_gets_through(desk, fault):
    """Sent again where it may not have arrived: the order is canceled, once."""
    order = resting(desk)
    desk.peer.faults(script=script(("Cancel", fault)), late_ms=LATE_MS)
    desk.node(f"hand.end({order!r})")
    desk.becomes(order, "CANCELED")
    assert ["Submitted", "Accepted", "PendingCancel", "Canceled"] == desk.events(order)


@pytest.mark.parametrize("kind", ["CancelAll", "CancelMany"])
@pytest.mark.parametrize("fault", ["drop_before", "drop_after", "lost_answer"])
def test_a_cancel_of_several_gets_through(desk, kind, fault):
    """All of them, each once."""
    orders = [resting(desk) for _ in range(3)]
    desk.peer.faults(script=script((kind, fault)))
    desk.node("hand.end_all()" if kind == "CancelAll" else f"hand.end_some(*{orders!r})")
    for order in orders:
        desk.becomes(order, "CANCELED")
        assert ["Submitted", "Accepted", "Canceled"] == [each for each in desk.events(order) if each != "PendingCancel"]


@pytest.mark.parametrize("fault", HARMLESS)
def test_a_modify_that_arrived_is_an_update(desk, fault):
    """The answer is not needed: the stream tells."""
    order, price = resting(desk), desk.bid("400")
    desk.peer.faults(script=script(("Modify", fault)), late_ms=LATE_MS)
    desk.node(f"hand.change({order!r}, price={price!r})")
    desk.node.until(f"str(hand.order({order!r}).price) == {price!r}")
    desk.becomes(order, "ACCEPTED")
    assert ["Submitted", "Accepted", "PendingUpdate", "Updated"] == desk.events(order)


def test_a_modify_that_never_arrived_is_refused(desk):
    """The order is what it was, and the strategy knows."""
    order, price = resting(desk), desk.bid("400")
    was = desk.node(f"str(hand.order({order!r}).price)")
    desk.peer.faults(script=script(("Modify", "drop_before")))
    desk.node(f"hand.change({order!r}, price={price!r})")
    desk.node.until(f"'OrderModifyRejected' in hand.events({order!r})")
    assert "UNANSWERED: it never arrived" in desk.reasons(order)[0]
    assert ("ACCEPTED", was) == (desk.node(f"hand.status({order!r})"), desk.node(f"str(hand.order({order!r}).price)"))


@pytest.mark.parametrize("fault", ["drop_before", "drop_after", "lost_answer", "late_answer", "rate_limited"])
def test_a_question_is_asked_again(desk, fault):
    """A report comes in spite of it."""
    order = resting(desk)
    desk.peer.faults(script=script(("GetOrders", fault)), late_ms=LATE_MS)
    assert desk.node(f"hand.report({CLIENT}, {order!r})")["order_status"] == "ACCEPTED"


@pytest.mark.parametrize("fault", ITEM_FAULTS)
@pytest.mark.parametrize("event", ["Accepted", "Filled", "Canceled", "AccountChanged"])
def test_an_event_that_is_lost_late_doubled_or_out_of_order_counts_once(desk, fault, event):
    """Partial fills and a cancel: the sequence that the strategy sees is the one that happened."""
    desk.peer.faults(script=script((event, fault)))
    price = desk.bid("-0.1")
    order = desk.send("limit", "BUY", "0.030", price=price)
    desk.becomes(order, "ACCEPTED")
    desk.peer.trade("SELL", "0.01", price)
    desk.peer.trade("SELL", "0.01", price)
    desk.node.until(f"str(hand.order({order!r}).filled_qty) == '0.020'")
    desk.node(f"hand.end({order!r})")
    desk.becomes(order, "CANCELED")
    assert ["Submitted", "Accepted", "Filled", "Filled", "PendingCancel", "Canceled"] == desk.events(order)


def test_an_order_that_the_engine_has_given_up_comes_back(desk):
    """The engine concludes UNKNOWN while nobody answers; when the order lives and fills all the same, it is known."""
    price = desk.bid("-0.1")
    process = psutil.Process(server_pid(desk.folder))
    process.suspend()
    try:
        order = desk.send("limit", "BUY", "0.010", price=price)
        desk.becomes(order, "SUBMITTED")
        desk.node.until(f"not {CLIENT}.is_connected")
        desk.node(f"node.kernel.exec_engine._resolve_inflight_order(hand.order({order!r}))")
        desk.becomes(order, "REJECTED")
    finally:
        process.resume()
    desk.node.until(f"{CLIENT}.is_connected", SETTLE_S)
    desk.node.until(f"any(str(each.price) == {price!r} for each in cache.orders_open())")
    desk.peer.trade("SELL", "0.01", price)
    desk.agrees()


def test_all_kinds_of_trouble_at_once(desk):
    """A hundred orders under every fault by chance; at the end everybody knows the same. Each fill once."""
    print(f"TROUBLE_SEED={SEED}")
    rng = random.Random(SEED)
    rates = dict.fromkeys(["rejected", "rate_limited", "drop_before", "drop_after", "lost_answer"], 0.02)
    rates |= dict.fromkeys(["late_answer", "duplicate_answer", "reordered_answer", "restart"], 0.01)
    rates |= dict.fromkeys(ITEM_FAULTS, 0.02)
    desk.peer.faults(seed=SEED, rates=rates, late_ms=100)
    orders: list[str] = []
    for _ in range(100):
        orders.append(desk.node(_random_order(rng)))
        action = rng.random()
        if action < 0.3:
            desk.node(f"hand.order({rng.choice(orders)!r}).is_open and hand.end({rng.choice(orders)!r})")
        elif action < 0.4:
            some = rng.choice(orders)
            desk.node(f"hand.order({some!r}).is_open and hand.change({some!r}, quantity='0.015')")
        time.sleep(rng.uniform(0, 0.02))
    desk.node.until("not cache.orders_inflight()", 60.0)
    desk.node("hand.end_all()")
    desk.node.until("not cache.orders_open() and not cache.orders_inflight()", 60.0)


def _random_order(rng: random.Random) -> str:
    side = rng.choice(["BUY", "SELL"])
    if rng.random() < 0.4:
        return f"hand.send('market', {side!r}, '0.005')"
    return f"hand.send('limit', {side!r}, '0.010', price={'59000.0' if side == 'BUY' else '61000.0'!r})"


def test_reports_that_are_asked_for_while_orders_fill_change_nothing(desk):
    """A report is applied at once, an event waits in a queue: none may overtake it, or a fill is counted twice."""
    before, price = len(desk.node.said()), desk.bid("-0.1")
    orders = [desk.send("limit", "BUY", "0.050", price=price) for _ in range(4)]
    for order in orders:
        desk.becomes(order, "ACCEPTED")
    stop = threading.Event()
    trader = threading.Thread(target=_trade_until, args=(stop, desk, price, 0.0, 190))
    trader.start()
    asked = 0
    while trader.is_alive():
        desk.node(f"[hand.ask(each) for each in {orders!r}] and None")
        desk.node(f"hand.order_reports({CLIENT}, open_only=False) and None")
        asked += 1
    trader.join()
    desk.agrees()
    assert asked > 3
    said = desk.node.said()[before:]
    assert "inferred" not in said
    assert "[ERROR]" not in said


# -- killed -----------------------------------------------------------------------------------------


def test_an_exchange_that_is_killed_comes_back_with_everything(desk):
    """kill -9 with orders resting and on their way: the data client starts it again, nothing is lost or doubled."""
    kept = [resting(desk) for _ in range(3)]
    pid = server_pid(desk.folder)
    sent = [desk.send("market", "BUY", "0.001") for _ in range(10)]
    psutil.Process(pid).kill()
    late = [desk.send("market", "BUY", "0.001") for _ in range(3)]
    desk.node.until(f"not {CLIENT}.is_connected")
    desk.node.until("all(each.is_connected for each in clients.values())", SETTLE_S)
    assert server_pid(desk.folder) != pid
    desk.node.until(f"all(hand.order(each).is_closed for each in {sent + late!r})", SETTLE_S)
    desk.meet_again()
    desk.agrees()
    assert {"ACCEPTED"} == {desk.node(f"hand.status({each!r})") for each in kept}
    placed = desk.ledger.orders()
    for each in sent + late:
        assert (each in placed) == (desk.node(f"hand.status({each!r})") == "FILLED"), desk.reasons(each)
    desk.becomes(desk.send("market", "SELL", "0.001"), "FILLED")
    said = desk.node.said()
    assert "Traceback" not in said


def test_a_client_tells_the_truth_about_its_connection(desk):
    """Not connected while the exchange stands still (or is dead), connected after it; a line each, not a flood."""
    lines = len(desk.node.said().splitlines())
    process = psutil.Process(server_pid(desk.folder))
    process.kill()
    desk.node.until("not clients['SIM3'].is_connected", SETTLE_S)
    desk.node.until("all(each.is_connected for each in clients.values())", SETTLE_S)
    told = [line for line in desk.node.said().splitlines()[lines:] if "connection lost" in line or "again" in line]
    assert len(told) <= 2 * 6, told  # three execution clients, three venues of the data client


@pytest.fixture
def folder(fast_folder: Path) -> Iterator[Path]:
    folder = new_folder(fast_folder)
    yield folder
    stop_server(folder)


def test_a_node_that_is_killed_finds_orders_positions_and_balances(folder):
    """kill -9, a fill while it is dead, a new start: the exchange's ledger is in the cache."""
    with ExchangeNode(node_config(folder), folder) as first:
        desk = Desk(first, folder)
        desk.peer.control("pause")
        desk.becomes(desk.send("market", "BUY", "0.020"), "FILLED")
        desk.becomes(desk.send("market", "BUY", "0.00500", "BTCUSDT.SIM1"), "FILLED")
        desk.becomes(desk.send("market", "SELL", "500", "BTCUSD-PERP.SIM3"), "FILLED")
        stays, fills = resting(desk), resting(desk, below="-0.1", quantity="0.030")
        price = first(f"str(hand.order({fills!r}).price)")
        first.kill()
    desk.peer.trade("SELL", "0.01", price)
    with ExchangeNode(node_config(folder), folder) as second:
        desk.node = second
        desk.agrees()
        assert ("ACCEPTED", "PARTIALLY_FILLED") == (
            second(f"hand.status({stays!r})"),
            second(f"hand.status({fills!r})"),
        )
        desk.peer.trade("SELL", "0.02", price)
        desk.becomes(fills, "FILLED")
        desk.node(f"hand.late_cancel({CLIENT}, {stays!r})")
        desk.becomes(stays, "CANCELED")
        desk.agrees()
        assert "Traceback" not in second.said()
    desk.close()


@pytest.mark.parametrize("lookback_mins", [None, 1])
def test_positions_that_turned_round_cost_no_order_at_a_restart(folder, lookback_mins):
    """Long, short, flat, long again, with orders that rest: the engine trims such a history, and must not trim them."""
    engine = {} if lookback_mins is None else {"reconciliation_lookback_mins": lookback_mins}
    with ExchangeNode(node_config(folder), folder) as first:
        desk = Desk(first, folder)
        desk.peer.control("pause")
        early = resting(desk)
        for side, quantity in (("BUY", "0.020"), ("SELL", "0.030"), ("BUY", "0.010"), ("BUY", "0.005")):
            desk.becomes(desk.send("market", side, quantity), "FILLED")
            resting(desk)
        first.kill()
    with ExchangeNode(node_config(folder, exec_engine=engine), folder) as second:
        desk.node = second
        desk.agrees()
        assert second(f"hand.status({early!r})") == "ACCEPTED"
        assert "Traceback" not in second.said()
        desk.close()


def test_an_exchange_that_has_forgotten_everything_is_reconciled_with(folder):
    """Its ledger is gone under a running node: what worked there is canceled, positions and money are what it says."""
    with ExchangeNode(node_config(folder), folder) as node:
        desk = Desk(node, folder)
        desk.peer.control("pause")
        desk.becomes(desk.send("market", "BUY", "0.020"), "FILLED")
        works = resting(desk)
        psutil.Process(server_pid(folder)).kill()
        for path in exchange_folder(folder).glob("exchange.sqlite*"):
            path.unlink()
        desk.becomes(works, "CANCELED")
        desk.node.until("hand.positions() == {}")
        desk.node.until("all(each.is_connected for each in clients.values())", SETTLE_S)
        fresh = desk.send("market", "BUY", "0.010")
        desk.becomes(fresh, "FILLED")
        assert desk.account_differences() == []
        assert "begin anew" in node.said()
        assert "Traceback" not in node.said()
        desk.close()


@pytest.mark.parametrize("number", range(ROUNDS))
def test_what_fills_while_a_node_starts_is_counted_once(folder, number):
    """Between connect and mass status, and while it is applied: no fill lost, none doubled, whatever the moment.

    Half of what can fill does so before the node has even begun; a latency makes the dangerous time long.
    """
    print(f"TROUBLE_SEED={SEED} round {number}")
    rng = random.Random(SEED + number)
    terms = {"venues": [{"name": "SIM2", "latency_ms": rng.choice([0, 5, 20])}]}
    with ExchangeNode(node_config(folder, **terms), folder) as first:
        desk = Desk(first, folder)
        desk.peer.control("pause")
        price = desk.bid("-0.1")
        orders = [desk.send("limit", "BUY", "0.050", price=price) for _ in range(10)]
        for order in orders:
            desk.becomes(order, "ACCEPTED")
        first.kill()
    stop = threading.Event()
    trader = threading.Thread(target=_trade_until, args=(stop, desk, price, rng.uniform(0.002, 0.006)))
    trader.start()
    with ExchangeNode(node_config(folder, **terms), folder) as second:
        desk.node = second
        time.sleep(0.3)
        stop.set()
        trader.join()
        desk.agrees()
        filled = [Decimal(row["filled"]) for row in desk.ledger.orders().values()]
        assert Decimal("0.01") < sum(filled) < Decimal("0.5")
        said = second.said()
        assert "Traceback" not in said
        assert "[ERROR]" not in said
        assert "inferred" not in said
    desk.close()


def _trade_until(stop: threading.Event, desk: Desk, price: str, pause_s: float, number: int = 480) -> None:
    with Peer(desk.folder, "SIM2") as peer:
        for _ in range(number):
            if stop.is_set():
                return
            peer.trade("SELL", "0.001", price)
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
        desk = Desk(node, folder)
        desk.agrees()
        desk.close()


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
            desk = Desk(first, folder)
            desk.agrees()
            assert {PERP: "0.001"} == desk.ledger.positions("second")
            assert desk.peer.ask(wire.ListInstruments).listings
            desk.close()
