"""A verdict of the risk gate from the bus to its row: exactly, before what it caused, and through kill -9."""

from __future__ import annotations

import json
import random
import socket
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import pytest
from mirror_engine import INSTRUMENT, log_of, make_engine
from shipper_stage import BOOK, Stage

from nautilus_ext.messages import RISK_DECISIONS, RiskDecision
from nautilus_ext.persistence import Mirror, MirrorConfig
from nautilus_ext.schema import books

NODE = Path(__file__).with_name("decision_node.py")
LONG = Decimal("12345678901234567890123456789012345678901234567890.000000000000000001")
IDS = {"strategy_id": "S-001", "instrument_id": INSTRUMENT.id.value}
NUMBERS = {"limit": LONG, "value": Decimal("-0.1"), "would_be": LONG + Decimal("0.000000000000000001")}
DECISIONS = [
    RiskDecision(**IDS, client_order_id="O-1", verdict="approved", ts_ns=1),
    RiskDecision(
        **IDS,
        client_order_id="O-1",
        verdict="refused",
        ts_ns=2**62,
        code="MAX_EXPOSURE",
        scope="account=BINANCE-001",
        unit="USDT",
        **NUMBERS,
        details={"action": "modify", "text": 'says "ä"\n\0', "price": "1E-18"},
    ),
    RiskDecision(
        **IDS, client_order_id="O-2", verdict="refused", ts_ns=3, code="NO_PRICE", details={"action": "submit"}
    ),
    RiskDecision(
        client_order_id="O-3",
        strategy_id="S-1",
        instrument_id="no instrument",
        verdict="refused",
        ts_ns=4,
        code="NO_INSTRUMENT",
    ),
]


@pytest.fixture
def stage(database, tmp_path):
    one = Stage(database.app_url, tmp_path)
    yield one
    one.kill()


def rows_of(stage) -> list[tuple]:
    names = ", ".join(f'"{name}"' for name in RiskDecision.__struct_fields__)
    found = stage.query(f"SELECT seq, {names} FROM risk_decisions ORDER BY run, seq")
    return [(*row[:-1], json.loads(row[-1])) for row in found]


@pytest.mark.parametrize("flush", ["event", "batch"])
def test_a_decision_reaches_its_row_as_it_was_published(stage, flush):
    """Every digit, what is None, what stands beside; NUL alone is replaced. The journal has it in its place."""
    start = stage.start_run()
    place = {"folder": str(stage.folder), "book_id": BOOK, "run": start.run, "epoch": start.epoch}
    engine, mirror = make_engine(), Mirror(MirrorConfig(**place, flush=flush))
    engine.add_actor(mirror)
    for decision in DECISIONS:
        engine.kernel.msgbus.publish(RISK_DECISIONS, decision)
    engine.dispose()
    assert mirror.finish(clean=True) == 0
    numbers = {record.body["ts_ns"]: record.seq for record in log_of(stage.folder) if record.type == "RiskDecision"}
    assert stage.run_to_end(start) == 0
    expected = [
        (numbers[each.ts_ns], *(getattr(each, name) for name in each.__struct_fields__[:-1]), each.details)
        for each in DECISIONS
    ]
    expected[1][-1]["text"] = 'says "ä"\n\ufffd'
    assert expected == rows_of(stage)
    assert [] == stage.rejected()
    journal = stage.query("SELECT seq, client_order_id FROM order_events WHERE type = 'RiskDecision' ORDER BY seq")
    assert [(row[0], row[1]) for row in expected] == [tuple(row) for row in journal]


def test_no_denial_is_without_its_decision_after_kill_9(stage):
    """What the bus had taken is in the tables; the decision is the record before the denial that it caused."""
    orders = random.randrange(20, 200)
    print(f"killed after {orders} orders")
    process = subprocess.Popen(
        [sys.executable, str(NODE), str(stage.folder), BOOK], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    start = stage.start_run(books.Claim(BOOK, "PAPER-001", "paper", "i", socket.gethostname(), process.pid, "0", "1"))
    process.stdin.write(f"{start.run} {start.epoch}\n")
    process.stdin.close()
    said = [process.stdout.readline() for _ in range(orders)]
    process.kill()
    said += process.stdout.readlines()
    process.wait(10)
    assert stage.run_to_end(start) == 0
    denied = stage.query("SELECT client_order_id, seq FROM order_events WHERE type = 'OrderDenied' ORDER BY seq")
    decided = {row[1]: (row[0], row[-1]["number"]) for row in rows_of(stage)}
    whole = [line.strip() for line in said if line.endswith("\n")]
    assert len(whole) >= orders
    assert whole == [row["client_order_id"] for row in denied][: len(whole)]
    expected = {row["client_order_id"]: (row["seq"] - 1, row["client_order_id"][2:]) for row in denied}
    assert expected == {each: decided[each] for each in expected}
    assert [] == stage.rejected()
