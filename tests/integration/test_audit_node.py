"""A node that holds its log is asked, and its answer is compared with the journal at exactly that event."""

from __future__ import annotations

import json
import threading
import time
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from shipper_log import ACCOUNT, INSTRUMENT, POSITION, STRATEGY, Trader

from nautilus_ext.persistence import audit_node, audit_runs, audit_venues
from nautilus_ext.persistence.audit import DIFFERENT, EQUAL, UNPROVEN
from nautilus_ext.persistence.segments import AUDIT_REQUEST, run_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from audit_stage import AuditStage

    from nautilus_ext.persistence.segments import SegmentWriter

pytest_plugins = ["audit_fixtures"]


class Node:
    """Holds the log of run 4 as a node does, and answers as it is told."""

    def __init__(self, book: AuditStage) -> None:
        self.start, self.trader = book.stage.start_run(), Trader("R4")
        self.log: SegmentWriter = book.stage.begin_log(self.start)
        self.log.append_many([self.trader.instrument(), *self.trader.order()])
        book.stage.spawn(self.start)
        self.folder = run_folder(book.stage.folder, self.start.run)
        self.orders: list[Any] = [["R4-1", "FILLED", "0.01", "0.010", "V-R4-1"]]
        self.positions: list[Any] = [
            [ACCOUNT, INSTRUMENT, STRATEGY, POSITION, "R4-1", "LONG", "10.000"],
        ]
        self.rounds: list[Any] = []  # what the venues say, question by question; the last one for ever
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._answer)

    def answer(self) -> None:
        self._thread.start()

    def _answer(self) -> None:
        request: Path = self.folder / AUDIT_REQUEST
        while not self._is_over.wait(0.005):
            if request.exists():
                question = json.loads(request.read_bytes())
                asked = question["id"]
                request.unlink()
                told = {"id": asked, "seq": self.trader.seq, "orders": self.orders, "positions": self.positions}
                if question["live"]:
                    told["venues"] = self.rounds.pop(0) if len(self.rounds) > 1 else self.rounds[0]
                self.log.append_many(list(Trader("R5", seq=self.trader.seq).order()))  # it trades on at once
                self.trader.seq += 6
                unnamed = self.folder / "unnamed"
                unnamed.write_text(json.dumps(told))
                unnamed.rename(self.folder / f"audit-{asked}.json")

    def close(self) -> None:
        self._is_over.set()
        if self._thread.ident is not None:
            self._thread.join()
        self.log.append(self.trader.end())
        self.log.close()


@pytest.fixture
def node(closed: AuditStage) -> Iterator[Node]:
    node = Node(closed)
    yield node
    node.close()


def _of_node(report: Any) -> list[tuple[str, str, str, str]]:
    return [(each.table, each.field, each.expected, each.found) for each in report.listed if each.table[:5] == "cache"]


def test_the_answer_is_compared_at_its_own_event_and_leaves_no_file(closed: AuditStage, node: Node) -> None:
    """The node has traded on meanwhile: what came later is compared with the tables, and not with its answer."""
    node.answer()
    report = closed.audit()
    assert (EQUAL, []) == (report.verdict, report.listed)
    assert ("running node", "run 4 at event 7: 1 orders, 1 open positions") == (
        report.checks[-1].name,
        report.checks[-1].text,
    )
    assert [] == [path.name for path in node.folder.glob("audit*")]


def test_whatever_the_cache_shows_otherwise_is_named(closed: AuditStage, node: Node) -> None:
    """Another status and quantity, an order that nobody wrote, a position that it does not have."""
    node.orders = [["R4-1", "CANCELED", "0.02", "0.010", "V-R4-1"], ["X-1", "ACCEPTED", "1", "0", None]]
    node.positions = []
    node.answer()
    report = closed.audit()
    assert report.verdict == DIFFERENT
    assert [
        ("cache order", "status", "FILLED", "CANCELED"),
        ("cache order", "quantity", "0.010", "0.02"),
        ("cache order", "row", "None", "ACCEPTED"),
        ("cache position", "row", "LONG", "None"),
    ] == _of_node(report)


def test_a_node_that_does_not_answer_proves_nothing(
    closed: AuditStage, node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its loop hangs: the audit says so within its bound, and everything else is proven all the same."""
    monkeypatch.setattr(audit_node, "ANSWER_S_MAX", 0.2)
    report = closed.audit()
    assert (UNPROVEN, []) == (report.verdict, report.listed)
    assert "run 4 runs here and did not answer" in [check.text for check in report.checks]
    (node.folder / AUDIT_REQUEST).unlink()


def test_tables_that_stay_behind_the_node_prove_nothing(
    closed: AuditStage, node: Node, monkeypatch: pytest.MonkeyPatch, wait_until: Callable[..., None]
) -> None:
    """The shipper was killed: the node's last events are in the local log only."""
    monkeypatch.setattr(audit_runs, "DURABLE_S_MAX", 0.3)
    wait_until(lambda: closed.stage.progress(4) == (7, 7))
    closed.stage.kill()
    node.log.append_many(list(node.trader.order()))
    node.answer()
    began_s = time.monotonic()
    report = closed.audit()
    assert (UNPROVEN, []) == (report.verdict, report.listed)
    assert "the tables were not as far as the node within 0.3 s" in [check.text for check in report.checks]
    assert time.monotonic() - began_s < 10


def _venue(**told: Any) -> dict[str, Any]:
    """What a venue says that agrees with the tables after the node's first order."""
    answer = {
        "client": "V", "account_id": ACCOUNT, "problem": "", "since_ns": 2**62,
        "orders": [["R4-1", "V-R4-1", "FILLED", "0.010", "0.01", None]],
        "fills": [], "positions": [[INSTRUMENT, "10", ["10.000"]]], "balances": [["USDT", "999999", ["999999"]]],
    }  # fmt: skip
    return answer | told


@pytest.fixture
def asked_quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit_venues, "ROUND_PAUSE_S", 0.0)


@pytest.mark.usefixtures("asked_quickly")
def test_what_a_venue_says_otherwise_counts_when_it_says_so_each_time(closed: AuditStage, node: Node) -> None:
    """An event that was on its way is no finding; one order stays wrong, and is named with both values."""
    wrong = _venue(orders=[["R4-1", "V-R4-1", "PARTIALLY_FILLED", "0.010", "0.005", None]])
    on_its_way = _venue(
        orders=[
            ["R4-1", "V-R4-1", "PARTIALLY_FILLED", "0.010", "0.005", None],
            ["X", "V-X", "ACCEPTED", "1", "0", None],
        ],
        positions=[[INSTRUMENT, "11", ["10.000"]]],
    )
    node.rounds = [[on_its_way], [wrong]]
    node.answer()
    report = closed.audit(live=True)
    assert [
        ("V order", "R4-1", "filled_quantity", "0.010", "0.005"),
        ("V order", "R4-1", "status", "FILLED", "PARTIALLY_FILLED"),
    ] == [tuple(each) for each in report.listed]
    assert (DIFFERENT, 2) == (report.verdict, report.differences)


@pytest.mark.usefixtures("asked_quickly")
def test_a_venue_that_agrees_in_the_end_is_proven(closed: AuditStage, node: Node) -> None:
    """Two positions that it was told of too early or too late are asked for again."""
    node.rounds = [[_venue(positions=[])], [_venue(positions=[[INSTRUMENT, "9", ["10.000"]]])], [_venue()]]
    node.answer()
    report = closed.audit(live=True)
    assert (EQUAL, []) == (report.verdict, report.listed)


@pytest.mark.usefixtures("asked_quickly")
def test_a_balance_that_the_cache_lacked_counts_though_the_question_put_it_right(
    closed: AuditStage, node: Node
) -> None:
    """The second question, asked because of an order, finds cache and tables as the venue says."""
    wrong = _venue(orders=[], balances=[["USDT", "999999", ["999998", "1000000"]]])
    node.rounds = [[wrong], [_venue()]]
    node.answer()
    report = closed.audit(live=True)
    assert [("V balance", "USDT", "total in the cache", "999998 or 1000000", "999999")] == [
        tuple(each) for each in report.listed
    ]
    assert ("venue V", False) in [(check.name, check.proven) for check in report.checks]


@pytest.mark.usefixtures("asked_quickly")
def test_a_balance_of_the_tables_is_held_against_the_venue(closed: AuditStage, node: Node) -> None:
    """Not when the account moved meanwhile, nor for a currency that its newest event did not speak of."""
    node.rounds = [[_venue(balances=[["USDT", "5", ["5"]], ["BTC", "1", ["1"]], ["EUR", "1", ["1", "2"]]])]]
    node.answer()
    report = closed.audit(live=True)
    (row,) = report.listed
    assert ("V balance", "USDT", "total in the tables", "5") == (row.table, row.key, row.field, row.found)
    assert Decimal(row.expected) in {Decimal(1_000_000 - turn) for turn in range(1, 5)}


@pytest.mark.usefixtures("asked_quickly")
def test_a_client_that_knows_no_balances_is_not_proven(closed: AuditStage, node: Node) -> None:
    """Its orders, fills and positions are compared all the same."""
    node.rounds = [[_venue(balances=None), _venue(client="W", balances=None, positions=[[INSTRUMENT, "11", ["10"]]])]]
    node.answer()
    report = closed.audit(live=True)
    assert ["W position"] == [each.table for each in report.listed]
    silence = "not asked: its client cannot be asked for balances"
    assert [("venue V", None, silence), ("venue W", False, f"{silence}; 1 difference")] == [
        check[:3] for check in report.checks[-2:]
    ]


def test_a_venue_that_cannot_be_asked_is_not_proven(closed: AuditStage, node: Node) -> None:
    """The line of each venue says how much it told, or why it told nothing."""
    node.rounds = [[_venue(), _venue(client="W", problem="it is not connected")]]
    node.answer()
    report = closed.audit(live=True)
    assert (UNPROVEN, []) == (report.verdict, report.listed)
    assert ["not asked: it is not connected"] == [check.text for check in report.checks if check.name == "venue W"]


def test_without_a_node_the_venues_are_not_proven(closed: AuditStage) -> None:
    """Everything else is; what was asked for cannot be decided."""
    report = closed.audit(live=True)
    assert (UNPROVEN, []) == (report.verdict, report.listed)
    assert "no node of this book answers here: nobody can ask its venues" == report.checks[-1].text
