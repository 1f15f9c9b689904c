"""Why was this order refused? Asked in a shell; the tables were filled by a real shipper from a log."""

from __future__ import annotations

import json
from decimal import Decimal

import pytest
from conftest import CONFIGS
from order_book import SUBMITTED, OrderBook
from shipper_stage import Stage

from nautilus_ext import cli
from nautilus_ext.embedded import EmbeddedPostgres

LARGE = Decimal("12.000000000000000000000001")
POSITION = {"code": "MAX_POSITION", "scope": "instrument=BTC*", "unit": "quantity", "limit": Decimal(10)}
POSITION |= {"value": Decimal("8.5"), "would_be": LARGE}
DENIED = ("OrderInitialized", "OrderDenied")
WORKED = {"exec_algorithm_id": "TWAP"}
IN_LIST = {"order_list_id": "OL-1"}


@pytest.fixture
def book(database, tmp_path):
    stage = Stage(database.app_url, tmp_path)
    yield OrderBook(stage)
    stage.kill()


def fill(book):
    """One order for each answer."""
    book.order("refused", *DENIED, reason="MAX_POSITION: limit=10")
    book.decide("refused", "refused", "submit", **POSITION, details={"side": "BUY", "reference_price": "50000.5"})
    book.order("recorded", *SUBMITTED, "OrderAccepted")
    book.decide("recorded", "approved", "submit")
    rate = {"code": "MESSAGE_RATE", "unit": "messages/1s", "limit": Decimal(10), "value": 10, "would_be": Decimal(11)}
    book.decide("recorded", "refused", "modify", **rate, details={"text": "types=submit+modify"})
    book.order("unrecorded", *SUBMITTED, "OrderAccepted")
    book.order("nautilus", *DENIED, reason="NOTIONAL_EXCEEDS_FREE_BALANCE: free=1 USDT")
    book.order("rejected", *SUBMITTED, "OrderRejected", reason="-2019 margin is insufficient")
    book.order("killed", *DENIED, reason="NOT_SENT: the node was killed before the order left it")
    book.order("emulated", "OrderInitialized", "OrderEmulated")
    book.order("made", "OrderInitialized")
    book.order("canceled", "OrderInitialized", "OrderCanceled")
    book.order("external", *SUBMITTED, "OrderAccepted", strategy="EXTERNAL")
    book.order("parent", "OrderInitialized", **WORKED)
    book.decide("parent", "approved", "reserve")
    book.order("child", *DENIED, **WORKED, exec_spawn_id="parent", reason="MAX_POSITION: limit=10")
    book.decide("child", "refused", "submit", **POSITION)
    book.order("greedy", "OrderInitialized", "OrderCanceled", **WORKED)
    book.decide("greedy", "refused", "reserve", **POSITION)
    book.order("entry", *DENIED, **IN_LIST, reason="SELF_MATCH: limit=1")
    book.order("stop", *DENIED, **IN_LIST, reason="SELF_MATCH: limit=1")
    book.decide("stop", "refused", "submit", code="SELF_MATCH", limit=Decimal(1), would_be=Decimal(2), unit="price")
    book.decide("early", "refused", "submit", code="GATE_ERROR", details={"text": "ZeroDivisionError"})
    book.ship()


SAID = {
    "refused": (
        "refused",
        (
            "the risk gate refused the order (MAX_POSITION, instrument=BTC*)",
            "the position would be 12.000000000000000000000001; at most 10 is allowed (before it: 8.5)",
            "cancel what works on that side, reduce the position (such orders pass), or raise max_position",
            "limit 10, scope instrument=BTC*, was 8.5, would be 12.000000000000000000000001, unit quantity",
            "seen: side BUY, reference_price 50000.5",
            "--explain BTCUSDT-PERP.BINANCE --strategy S-000",
        ),
    ),
    "recorded": (
        "approved",
        (
            "the risk gate approved it on 20",
            "it is ACCEPTED",
            "a change of the order: refused, MESSAGE_RATE: it would be 11 messages/1s; at most 10 are allowed",
        ),
    ),
    "unrecorded": ("sent", ("no decision is recorded", "of approvals only each 100th", "it is ACCEPTED")),
    "nautilus": ("denied", ("Nautilus denied it", "NOTIONAL_EXCEEDS_FREE_BALANCE: free=1 USDT", "doctor CONFIG")),
    "rejected": ("rejected", ("the venue rejected it: -2019 margin is insufficient", "the venue's own")),
    "killed": ("denied", ("denied before it left the node", "may send a new order")),
    "emulated": ("waits", ("watches for its trigger",)),
    "made": ("waits", ("made and not sent, and no verdict is recorded",)),
    "canceled": ("unjudged", ("was never sent; no verdict is recorded",)),
    "external": ("external", ("no strategy of this book sent it",)),
    "parent": (
        "worked",
        ("TWAP works it", "approved on 20", "child  DENIED: MAX_POSITION: limit=10"),
    ),
    "child": ("refused", ("MAX_POSITION, instrument=BTC*", "parent  INITIALIZED", "its reserve  approved on 20")),
    "greedy": ("refused", ("the risk gate refused the reservation of its whole size (MAX_POSITION", "refused on 20")),
    "entry": ("refused", ("a list goes as a whole or not at all", "stop  DENIED: SELF_MATCH: limit=1")),
    "stop": ("refused", ("would trade with our own order at 1", "entry  DENIED")),
    "early": ("refused", ("the gate itself failed", "ZeroDivisionError", "not in the tables")),
}


def test_each_fate_of_an_order_has_its_answer(shell, config, book, capsys):
    """For people and for programs; what was never made here is told apart, exit 1."""
    fill(book)
    path = config(database={"url": book.stage.url})
    for order_id, (kind, parts) in SAID.items():
        assert 0 == cli.main(["why", path, order_id]), order_id
        output = capsys.readouterr().out
        assert [] == [part for part in parts if part not in output], output
        assert 0 == cli.main(["why", path, order_id, "--json"]), order_id
        assert kind == json.loads(capsys.readouterr().out)["answer"]["kind"], order_id
    code, output = shell.verb("why", path, "refused", "--json")
    assert 0 == code, output
    (decision,) = json.loads(output)["decisions"]
    assert ("10", "8.5", str(LARGE)) == (decision["limit"], decision["value"], decision["would_be"])
    assert {"action": "submit", "side": "BUY", "reference_price": "50000.5"} == decision["details"]
    code, output = shell.verb("why", path, "nobody's")
    assert 1 == code
    assert "it was never made here" in output
    assert "Traceback" not in output
    code, output = shell.verb("why", path, " ")
    assert (2, True) == (code, "give one as `orders` shows it" in output)


def test_what_the_gate_refuses_in_a_run_is_explained(shell, config):
    """From the real gate through log and shipper: each denied order has its verdict, and approvals are told apart."""
    document = json.loads((CONFIGS / "paper.json").read_text())
    document["backtest"]["synthetic"] = {**document["backtest"].get("synthetic", {}), "minutes": 1}
    document["risk"]["limits"]["instrument=BTC*"] = {"max_order_quantity": "0.01"}
    path = config(risk=document["risk"], backtest=document["backtest"])
    with EmbeddedPostgres.join(shell.data / "postgres"):
        code, output = shell.run(path, "--backtest")
        assert 0 == code, output
        denied, sent = (
            json.loads(shell.verb("orders", path, "--backtest", "--json", "--limit", "9", *which)[1])
            for which in (("--status", "DENIED", "--instrument", "BTCUSDT-PERP.SIM3"), ("--status", "FILLED"))
        )
        code, output = shell.verb("why", path, denied[0]["client_order_id"], "--backtest", "--json")
        assert 0 == code, output
        refused = json.loads(output)
        code, output = shell.verb("why", path, sent[0]["client_order_id"], "--backtest")
    assert 0 == code, output
    assert "it is FILLED" in output
    (decision,) = refused["decisions"]
    (said,) = refused["refusals"]
    assert ("refused", "MAX_ORDER_QUANTITY", "0.01") == (decision["verdict"], decision["code"], decision["limit"])
    assert Decimal("0.05") == Decimal(decision["would_be"])
    assert "at most 0.01 is allowed" in refused["answer"]["text"]
    assert said["event"]["reason"].startswith("MAX_ORDER_QUANTITY: limit=0.01")
    assert (decision["run"], decision["seq"]) < (said["run"], said["seq"])
