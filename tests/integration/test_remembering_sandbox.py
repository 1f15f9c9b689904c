"""A sandbox that remembers: trade, kill -9 the node, start it again, trade on."""

from __future__ import annotations

import json
import os
import random
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from decimal import Decimal
from pathlib import Path

import pytest

CHILD = Path(__file__).with_name("sandbox_node.py")
ANSWER = "answer "
SEED = int(os.environ.get("SANDBOX_SEED", "1"))
PERP, SPOT, INVERSE = "ETHUSDT-PERP.SIM2", "BTCUSDT.SIM1", "BTCUSD-PERP.SIM3"
MARGIN = {"SIM2": {"starting_balances": ["100000 USDT"], "default_leverage": "10"}}
CASH = {"SIM1": {"account_type": "CASH", "starting_balances": ["50000 USDT", "1 BTC"]}}


class Node:
    """A node in a process of its own; a call is a command, and returns when its events are through."""

    def __init__(self, folder: Path, **asked) -> None:
        venues = asked.pop("venues", MARGIN)
        if not asked.get("plain"):
            venues = {venue: {"data_dir": str(folder), **of} for venue, of in venues.items()}
        asked = {"trader_id": "TEST-001", "venues": venues, **asked}
        self.process = subprocess.Popen(
            [sys.executable, str(CHILD), json.dumps(asked)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.lines: list[str] = []
        self.first = self._answer()

    def _answer(self):
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.startswith(ANSWER):
                return json.loads(line.removeprefix(ANSWER))
            self.lines.append(line)
        pytest.fail(f"no answer: {self.log[-5000:]}")

    @property
    def log(self) -> str:
        return "".join(self.lines)

    @property
    def problems(self) -> list[str]:
        return [line for line in self.lines if "[WARN]" in line or "[ERROR]" in line or "Traceback" in line]

    def __call__(self, name: str, **arguments):
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps([name, arguments]) + "\n")
        self.process.stdin.flush()
        return self._answer()

    def quote(self, instrument: str, bid: str, ask: str, size: str = "10") -> None:
        self("quotes", quotes=[{"instrument": instrument, "bid": bid, "ask": ask, "size": size}])

    def order(self, kind: str, instrument: str, side: str, quantity: str, **more) -> str:
        return self("order", kind=kind, instrument=instrument, side=side, quantity=quantity, **more)

    def state(self) -> dict:
        return self("state")

    def status(self, order_id: str) -> list:
        return self("status", client_order_id=order_id)

    def stop(self) -> None:
        """In good order."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(["stop", {}]) + "\n")
        self.process.stdin.flush()
        assert self.process.stdout is not None
        self.lines += self.process.stdout.readlines()
        assert self.process.wait(20) == 0, self.log[-5000:]

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(10)
        for stream in (self.process.stdin, self.process.stdout):
            assert stream is not None
            stream.close()


@pytest.fixture
def start(tmp_path):
    """Start a node; those of the test that still run are killed at its end."""
    nodes = []

    def _start(folder=tmp_path, **asked) -> Node:
        nodes.append(Node(folder, **asked))
        return nodes[-1]

    yield _start
    for node in nodes:
        if node.process.poll() is None:
            node.kill()


def memory_of(folder: Path, venue: str = "SIM2", trader: str = "TEST-001") -> Path:
    return folder / "sandbox" / trader / f"{venue}.sqlite"


def trade(node: Node) -> str:
    """A position of several fills, and a limit order that rests."""
    node.quote(PERP, "3000", "3001")
    node.order("market", PERP, "BUY", "1.5")
    node.quote(PERP, "3010", "3011.5")
    node.order("market", PERP, "BUY", "1")
    node.order("market", PERP, "SELL", "0.3")
    return node.order("limit", PERP, "BUY", "1", price="2990")


# -- what is there again ----------------------------------------------------------------------------


def test_after_kill_9_all_is_as_it_was_three_times_in_a_row(start):
    """Balances, margins, positions with average price and realised profit, resting orders: equal, strategies too."""
    node = start()
    resting = trade(node)
    before = {}
    for _ in range(3):
        before = node.state()
        assert before["positions"]
        assert resting in before["working"]
        node.kill()
        node = start()
        assert before == node.state()
        assert node.problems == []
        node.quote(PERP, "3005", "3006")
        node("modify", client_order_id=resting, price=str(2980 + random.Random(SEED).randrange(9)))
        node.order("market", PERP, "SELL", "0.2")
    assert "ETHUSDT-PERP.SIM2-Driven-001" in before["positions"]


def test_a_stop_in_good_order_forgets_no_more_than_a_kill(start):
    """Disconnected, disposed, and the file given back."""
    node = start()
    trade(node)
    before = node.state()
    node.stop()
    assert [] == [line for line in node.problems if "Residual" not in line and "on_stop" not in line]
    assert before == start().state()


def test_what_came_back_trades_on(start):
    """The resting order fills at its price, others are moved and cancelled, the position closes to the last lot."""
    node = start()
    fills = trade(node)
    moves = node.order("limit", PERP, "SELL", "1", price="3100")
    ends = node.order("limit", PERP, "BUY", "1", price="2900")
    node.kill()
    node = start()
    node.quote(PERP, "3000", "3001")
    node("modify", client_order_id=moves, price="3050")
    node("cancel", client_order_id=ends)
    assert "3050.00" == node.state()["working"][moves]["price"]
    assert "CANCELED" == node.status(ends)[0]
    node.quote(PERP, "2985", "2986")
    assert ["FILLED", "1.000", 2990.0, ""] == node.status(fills)
    node("cancel", client_order_id=moves)
    moved_and_gone = ["OrderPendingUpdate", "OrderUpdated", "OrderPendingCancel", "OrderCanceled"]
    assert [*moved_and_gone, "OrderFilled"] == node("events")[:5]
    node("close", instrument=PERP)
    state = node.state()
    assert {} == state["positions"] == state["working"] == state["net"]
    assert node.problems == []
    node.kill()
    assert state == start().state()


def test_what_the_engine_does_not_take_back_is_cancelled(start):
    """A market order larger than the quote: Nautilus's live sandbox fills a part and then forgets the rest."""
    node = start()
    node.quote(PERP, "3000", "3001", "1")
    stuck = node.order("market", PERP, "BUY", "3")
    assert "PARTIALLY_FILLED" == node.status(stuck)[0]
    rests = node.order("limit", PERP, "BUY", "1", price="2900")
    node.kill()
    node = start()
    (warning,) = node.problems
    assert f"Could not be put back and is cancelled: MARKET {stuck} (BUY 3.000 {PERP}, 1.000 of it filled)" in warning
    assert ["CANCELED", "1.000"] == node.status(stuck)[:2]
    assert {rests} == set(node.state()["working"])
    node.kill()
    assert [] == start().problems


def test_reduce_only_knows_the_position_that_came_back(start):
    """It closes what there is, never more, and is refused in the direction of the position."""
    node = start()
    trade(node)
    stop = node.order("stop_market", PERP, "SELL", "2.2", trigger_price="2800", reduce_only=True)
    node.kill()
    node = start()
    node.quote(PERP, "3000", "3001")
    wrong = node.order("market", PERP, "BUY", "1", reduce_only=True)
    status, _, _, reason = node.status(wrong)
    assert ("REJECTED", True) == (status, "REDUCE_ONLY" in reason)
    part = node.order("market", PERP, "SELL", "0.2", reduce_only=True)
    assert ["FILLED", "0.200"] == node.status(part)[:2]
    node.quote(PERP, "2790", "2791")
    assert "FILLED" == node.status(stop)[0]
    state = node.state()
    assert {"1.000"} == {each["quantity"] for each in state["positions"].values()}, "the limit order at 2990 filled too"
    large = node.order("market", PERP, "SELL", "5", reduce_only=True)
    assert ["FILLED", "1.000"] == node.status(large)[:2]
    assert {} == node.state()["positions"]


def test_a_partly_filled_order_fills_the_rest_and_no_more(start):
    """Also when several quotes come before the first fill is through."""
    node = start()
    node.quote(PERP, "3000", "3001", "10")
    order = node.order("limit", PERP, "BUY", "3", price="2995")
    node.quote(PERP, "2994", "2995", "1.2")
    assert ["PARTIALLY_FILLED", "1.200"] == node.status(order)[:2]
    before = node.state()
    node.kill()
    node = start()
    assert before == node.state()
    node("quotes", quotes=[{"instrument": PERP, "bid": "2990", "ask": "2991", "size": "10"}] * 5)
    assert ["FILLED", "3.000", 2995.0, ""] == node.status(order)
    assert {"3.000"} == {each["quantity"] for each in node.state()["positions"].values()}
    assert node.problems == []


def test_each_kind_of_order_works_again(start):
    """Stops, if-touched, trailing, triggered, GTD: each does after the restart what it would have done."""
    node = start()
    node.quote(PERP, "3000", "3001")
    node.order("market", PERP, "BUY", "5")
    placed = {
        "stop": node.order("stop_market", PERP, "SELL", "1", trigger_price="2950"),
        "stop_limit": node.order("stop_limit", PERP, "SELL", "1", trigger_price="2960", price="2955"),
        "triggered": node.order("stop_limit", PERP, "BUY", "1", trigger_price="3020", price="2970"),
        "touched": node.order("market_if_touched", PERP, "SELL", "1", trigger_price="3050"),
        "limit_touched": node.order("limit_if_touched", PERP, "SELL", "1", trigger_price="3060", price="3060"),
        "trailing": node.order("trailing_stop_market", PERP, "SELL", "1", trailing_offset="30", trigger_price="2940"),
        "waiting": node.order("trailing_stop_market", PERP, "SELL", "1", trailing_offset="5", activation_price="3080"),
        "expires": node.order("limit", PERP, "BUY", "1", price="2000", expires_in_s=2.5),
    }
    node.quote(PERP, "3021", "3022")
    assert "TRIGGERED" == node.status(placed["triggered"])[0]
    before = node.state()
    assert "2991.00" == before["working"][placed["trailing"]]["trigger_price"], "it follows: 3021 less 30"
    node.kill()
    node = start()
    assert before == node.state()
    time.sleep(2.5)  # what expires needs the time to pass
    node.quote(PERP, "3051", "3052")
    done = {name for name, order in placed.items() if node.status(order)[0] == "FILLED"}
    assert {"touched"} == done
    assert "EXPIRED" == node.status(placed["expires"])[0]
    assert "3021.00" == node.state()["working"][placed["trailing"]]["trigger_price"]
    node.quote(PERP, "3090", "3091")
    node.quote(PERP, "3084", "3085")
    done |= {name for name, order in placed.items() if node.status(order)[0] == "FILLED"}
    assert {"touched", "limit_touched", "waiting"} == done
    node.quote(PERP, "3055", "3056")
    assert "FILLED" == node.status(placed["trailing"])[0]
    node.quote(PERP, "2949", "2950")
    assert {"FILLED"} == {node.status(placed[name])[0] for name in ("stop", "triggered")}
    assert [] == [line for line in node.problems if "[ERROR]" in line or "Traceback" in line]


def test_the_legs_of_a_bracket_still_know_each_other(start, tmp_path):
    """The target fills and the stop is cancelled, although their entry filled before the restart."""
    venues = {"SIM2": {**MARGIN["SIM2"], "use_reduce_only": False}}
    node = start(venues=venues)
    node.quote(PERP, "3000", "3001")
    entry, stop, target = node(
        "bracket", instrument=PERP, side="BUY", quantity="1", entry=None, stop="2900", target="3100"
    )
    rests = node("bracket", instrument=PERP, side="BUY", quantity="1", entry="2950", stop="2850", target="3150")
    before = node.state()
    assert {stop, target, *rests} == set(before["working"])
    node.kill()
    node = start(venues=venues)
    assert before == node.state()
    assert "FILLED" == node.status(entry)[0]
    node.quote(PERP, "3101", "3102")
    assert ["FILLED", "CANCELED"] == [node.status(each)[0] for each in (target, stop)]
    node.quote(PERP, "2948", "2949")
    assert ["FILLED", "ACCEPTED", "ACCEPTED"] == [node.status(each)[0] for each in rests]
    node.quote(PERP, "2849", "2850")
    assert ["FILLED", "CANCELED"] == [node.status(each)[0] for each in rests[1:]]
    assert {} == node.state()["positions"]
    node.kill()
    with closing(sqlite3.connect(memory_of(tmp_path))) as database:
        assert [] == database.execute("SELECT client_order_id FROM orders").fetchall(), "what is over is forgotten"


def test_spot_balances_come_back_with_what_resting_orders_lock(start):
    """A cash account: what was bought is there, and the money of a resting order cannot be spent twice."""
    node = start(venues=CASH)
    node.quote(SPOT, "60000", "60001")
    node.order("market", SPOT, "BUY", "0.25")
    node.order("limit", SPOT, "BUY", "0.3", price="55000")
    before = node.state()
    assert "1.25000000 BTC" == before["balances"]["SIM1-001"]["BTC"][0]
    assert Decimal(before["balances"]["SIM1-001"]["USDT"][1].split()[0]) > 16_000
    node.kill()
    node = start(venues=CASH)
    assert before == node.state()
    node.quote(SPOT, "60000", "60001")
    denied = node.order("limit", SPOT, "BUY", "0.5", price="59000")
    assert "DENIED" == node.status(denied)[0]


def test_positions_that_are_kept_apart_stay_apart(start):
    """HEDGING: two positions of one instrument, and a third gets an id that was never used."""
    venues = {"SIM2": {**MARGIN["SIM2"], "oms_type": "HEDGING"}}
    node = start(venues=venues)
    node.quote(PERP, "3000", "3001")
    node.order("market", PERP, "BUY", "1")
    node.order("market", PERP, "SELL", "2")
    before = node.state()
    assert ["-2.000", "1.000"] == sorted(each["quantity"] for each in before["positions"].values())
    node.kill()
    node = start(venues=venues)
    assert before == node.state()
    node.quote(PERP, "3000", "3001")
    node.order("market", PERP, "BUY", "3")
    after = node.state()["positions"]
    assert before["positions"].items() < after.items()
    assert 3 == len(after)
    assert node.problems == []


def test_two_strategies_keep_their_own_positions_and_orders(start):
    """On one instrument: each closes what is its own."""
    tags = ["001", "002"]
    node = start(tags=tags)
    node.quote(PERP, "3000", "3001")
    node.order("market", PERP, "BUY", "2", tag="001")
    node.order("market", PERP, "SELL", "0.5", tag="002")
    mine = node.order("limit", PERP, "BUY", "1", tag="002", price="2900")
    before = node.state()
    node.kill()
    node = start(tags=tags)
    assert before == node.state()
    assert "Driven-002" == node.state()["working"][mine]["strategy"]
    node.quote(PERP, "3000", "3001")
    node("close", instrument=PERP, tag="001")
    assert {"-0.500"} == {each["quantity"] for each in node.state()["positions"].values()}


def test_checks_while_it_runs_find_nothing_wrong(start):
    """Nautilus's periodic comparison with the venue takes nothing for missing."""
    engine = {
        "reconciliation_startup_delay_secs": 0.0,
        "open_check_interval_secs": 0.2,
        "open_check_threshold_ms": 100,
        "open_check_open_only": False,
        "position_check_interval_secs": 0.2,
        "position_check_threshold_ms": 100,
    }
    node = start(exec_engine=engine)
    trade(node)
    node.kill()
    node = start(exec_engine=engine)
    before = node.state()
    time.sleep(2)  # ten rounds of both checks
    assert before == node.state()
    assert node.problems == []


# -- whose memory it is -----------------------------------------------------------------------------


def test_venues_and_traders_do_not_mix(start, tmp_path):
    """One folder: each account finds what is its own; an inverse contract is settled in its asset."""
    venues = MARGIN | CASH | {"SIM3": {"starting_balances": ["2 BTC", "1000 USDT"], "default_leverage": "5"}}
    first = start(venues=venues)
    trade(first)
    first.quote(SPOT, "60000", "60001")
    first.order("market", SPOT, "BUY", "0.25")
    first.quote(INVERSE, "60000", "60000.5", "1000")
    first.order("market", INVERSE, "SELL", "777")
    first.quote(INVERSE, "59000", "59000.5", "1000")
    first.order("market", INVERSE, "BUY", "111")
    second = start(venues=MARGIN, trader_id="OTHER-002")
    second.quote(PERP, "3000", "3001")
    second.order("market", PERP, "SELL", "1")
    before = first.state(), second.state()
    first.kill()
    second.kill()
    assert before[0] == start(venues=venues).state()
    assert before[1] == start(venues=MARGIN, trader_id="OTHER-002").state()
    assert {"SIM2-001", "SIM1-001", "SIM3-001"} == set(before[0]["balances"])
    found = sorted(str(path.relative_to(tmp_path / "sandbox")) for path in tmp_path.rglob("*.sqlite"))
    assert ["OTHER-002/SIM2.sqlite", *(f"TEST-001/SIM{number}.sqlite" for number in (1, 2, 3))] == found


def test_a_second_node_on_the_same_account_is_refused(start):
    """One clear error, and the first goes on."""
    first = start()
    second = start()
    assert "BookTaken" == second.first["error"]
    assert "a node of TEST-001 trades SIM2 on paper already; stop it" in second.first["message"]
    assert 5 == second.process.wait(10)
    trade(first)
    assert first.state()["positions"]


def test_a_damaged_file_is_set_aside(start, tmp_path):
    """The node starts from the configured balances, says why, keeps the file as it was, and remembers anew."""
    path = memory_of(tmp_path)
    path.parent.mkdir(parents=True)
    path.write_text("nothing that SQLite knows" * 200)
    node = start()
    (warning,) = node.problems
    assert "Starts anew, from the configured balances" in warning
    assert f"{path} is damaged (file is not a database); it is kept as SIM2.sqlite.unusable-" in warning
    (aside,) = path.parent.glob("SIM2.sqlite.unusable-*")
    assert "nothing that SQLite knows" * 200 == aside.read_text()
    trade(node)
    before = node.state()
    node.kill()
    assert before == start().state()


def test_a_folder_that_cannot_be_used_is_one_line(start, tmp_path):
    """No traceback: path, reason, cure."""
    (tmp_path / "sandbox").write_text("a file where the folder should be")
    node = start()
    assert "MachineError" == node.first["error"]
    assert f"{memory_of(tmp_path)} cannot be opened" in node.first["message"]


def test_what_could_not_be_written_is_written_later(start):
    """A disk that refuses is one error, not one per order; the node trades on, and nothing is missing afterwards."""
    node = start()
    refuse = "SELECT RAISE(ABORT, 'the disk is full')"
    node("database", statement=f"CREATE TEMP TRIGGER full BEFORE INSERT ON balances BEGIN {refuse}; END")
    resting = trade(node)
    (error,) = node.problems
    assert "SIM2.sqlite cannot be written (the disk is full): until that is cured a restart goes back" in error
    node("database", statement="DROP TRIGGER full")
    node("modify", client_order_id=resting, price="2981")
    before = node.state()
    assert 1 == node.log.count("SIM2.sqlite is written again")
    node.kill()
    assert before == start().state()


# -- the rest of it ---------------------------------------------------------------------------------


def test_it_is_nautiluss_sandbox_in_all_else(start, tmp_path):
    """The same orders on the same quotes: the same events, fills, balances and positions as without a memory."""

    def play(node: Node) -> tuple:
        trade(node)
        node("bracket", instrument=PERP, side="SELL", quantity="1", entry=None, stop="3200", target="2960")
        node.order("stop_limit", PERP, "BUY", "1", trigger_price="3020", price="3019")
        for bid in ("3025", "2990", "2955"):
            node.quote(PERP, bid, str(Decimal(bid) + 1), "0.7")
        node("close", instrument=PERP)
        state = node.state()
        for each in (*state["working"].values(), *state["positions"].values()):
            for name in ("venue_order_id", "opening_order_id", "ts_opened", "parent", "linked"):
                each.pop(name, None)
        return node("events"), {**state, "working": list(state["working"].values())}

    assert play(start(plain=True)) == play(start())


@pytest.mark.parametrize("number", range(2))
def test_no_part_of_a_change_survives_a_kill_at_any_moment(start, tmp_path, number):
    """Spot: what the account has of the asset is what it started with and what the position says, whenever it dies."""
    chance = random.Random(f"{SEED}.{number}")
    after_s = 0.2 + chance.random() * 0.6
    print(f"SANDBOX_SEED={SEED}: killed after {after_s:.4f} s")
    node = start(venues=CASH, busy=True)
    time.sleep(after_s)
    node.kill()
    database = sqlite3.connect(memory_of(tmp_path, "SIM1"))
    balances = dict(database.execute("SELECT currency, total FROM balances"))
    positions = [json.loads(record) for (record,) in database.execute("SELECT record FROM positions")]
    database.close()
    signed = sum(Decimal(each["quantity"]) * (1 if each["side"] == "BUY" else -1) for each in positions)
    assert Decimal(balances["BTC"].split()[0]) == 1 + signed
    assert Decimal(balances["USDT"].split()[0]) != 50_000, "it traded"
    node = start(venues=CASH)
    assert balances["BTC"] == node.state()["balances"]["SIM1-001"]["BTC"][0]
    assert [] == [line for line in node.problems if "[ERROR]" in line]
