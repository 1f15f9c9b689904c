"""The page about the wire says all that the code has."""

from __future__ import annotations

import re
import sqlite3
from pathlib import Path
from typing import get_args

import pytest

import nautilus_ext.simulation
from nautilus_ext.simulation import faults, wire
from nautilus_ext.simulation.exchange import orders
from nautilus_ext.simulation.server import address, tables

FOLDER = Path(nautilus_ext.simulation.__file__).parent
PAGE = (Path(__file__).parents[3] / "docs" / "adapters" / "simulated-wire.md").read_text(encoding="utf-8")
WORDS = set(re.findall(r"`([^`\n]+)`", PAGE))

MESSAGES = [kind for union in (wire.AnyRequest, wire.AnyAnswer, wire.Unasked) for kind in get_args(union.__value__)]
EVENTS = [*get_args(orders.OrderEvent.__value__), orders.AccountChanged]
CODE = re.compile(r"Refusal\(\s*\"([A-Z_]+)\"|(?:code = |, )\"(OFF_GRID|BAD_ORDER)\"")
REASON = re.compile(r"f?\"([A-Z]{3}[A-Z_]*): ")


def sources() -> str:
    return "\n".join(path.read_text(encoding="utf-8") for path in FOLDER.rglob("*.py"))


def test_every_message_and_event_is_there():
    """By its name."""
    assert sorted({kind.__name__ for kind in (*MESSAGES, *EVENTS)} - WORDS) == []


@pytest.mark.parametrize(
    "kind", [kind for kind in MESSAGES if kind is not wire.GetFills], ids=lambda kind: kind.__name__
)
def test_every_field_of_a_message_is_in_its_row(kind):
    """Except the number that all requests and answers have."""
    (row,) = re.findall(rf"^\| `{kind.__name__}` \|.*$", PAGE, re.MULTILINE)
    assert [name for name in kind.__struct_fields__ if name != "request" and f"`{name}`" not in row] == []


def test_every_refusal_and_every_reason_is_there():
    """Wherever in the code it is made, the two that a fault makes included."""
    codes = {code for found in CODE.findall(sources()) for code in found if code}
    codes |= {fault.upper() for fault in ("rejected", "rate_limited")}
    matching = "\n".join(path.read_text(encoding="utf-8") for path in (FOLDER / "exchange").glob("*.py"))
    reasons = set(REASON.findall(matching)) | {"INSUFFICIENT_BALANCE", "INSUFFICIENT_MARGIN"}
    assert {"ORDER_CLOSED", "STREAM_GONE", "TOO_MANY_ACCOUNTS", "OFF_GRID"} <= codes, "the search finds them"
    assert {"SELF_TRADE", "POST_ONLY_WOULD_TAKE", "TRIGGER_IN_MARKET"} <= reasons, "the search finds them"
    assert sorted((codes | reasons) - WORDS) == []


def test_every_fault_action_file_and_bound_is_there():
    """With its present number."""
    actions = get_args(wire.Control.__annotations__["action"]) or re.findall(
        r'"(\w+)"', wire.Control.__annotations__["action"]
    )
    files = [address.ADDRESS_FILE, address.LOCK_FILE, address.LAUNCH_LOCK_FILE, address.LOG_FILE]
    assert sorted({*faults.REQUEST_FAULTS, *faults.ITEM_FAULTS, *actions, *files} - WORDS) == []
    for bound in (wire.FRAME_BYTES_MAX, wire.REPORTS_PER_ANSWER_MAX, wire.ORDERS_PER_LIST_MAX):
        assert f"{bound:,}" in PAGE


def test_every_table_is_there():
    """As the ledger makes them; and each field of an order, a fill and a position has a column."""
    sql = sqlite3.connect(":memory:")
    sql.executescript(tables.TABLES)
    names = [name for (name,) in sql.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    assert sorted(set(names) - WORDS) == []
    for table, fields in (
        ("orders", tables.ORDER_COLUMNS),
        ("fills", tables.FILL_COLUMNS),
        ("positions", tables.POSITION_COLUMNS),
    ):
        columns = {row[1] for row in sql.execute(f"PRAGMA table_info({table})")}
        assert set(fields) <= columns
    sql.close()
