"""What no table takes costs its own record, from the venue's mouth to the audit's exit code."""

from __future__ import annotations

import json
import signal
from typing import TYPE_CHECKING, Any

import asyncpg
import msgspec
import pytest
from conftest import CONFIGS
from poisoned_venue import DONE, HUGE, LONG_ID, MEMORY, NUL, REASON, STRANGER, SURROGATE, TRADES_AFTER

from nautilus_ext.embedded import EmbeddedPostgres
from nautilus_ext.persistence.audit import DIFFERENT

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from conftest import Shell

BOOK = "PAPER-001.paper"
VICTIM = "Victim-900"
REFUSED = "SELECT seq, stage, type, error, raw FROM rejected_events WHERE book_id = $1 ORDER BY seq"
EVENTS = "SELECT seq, type, payload::text AS payload FROM order_events WHERE book_id = $1 ORDER BY seq"
ORDERS = "SELECT tags[1] AS kind, * FROM unified_orders WHERE book_id = $1 AND strategy_id = $2 ORDER BY created_ns"
RUN = "SELECT last_seq, durable_seq, clean_end, exit_code FROM runs WHERE book_id = $1"
REFUSED_KINDS = ("OrderAccepted", "OrderUpdated", "OrderInitialized", "OrderUpdated", "RiskDecision")


async def _tables(shell: Shell) -> dict[str, list[Any]]:
    with EmbeddedPostgres.join(shell.data / "postgres") as server:
        connection = await asyncpg.connect(server.app_url)
        try:
            found = {"refused": await connection.fetch(REFUSED, BOOK), "events": await connection.fetch(EVENTS, BOOK)}
            orders = await connection.fetch(ORDERS, BOOK, VICTIM)
            return {**found, "orders": orders, "runs": await connection.fetch(RUN, BOOK)}
        finally:
            await connection.close()


@pytest.fixture
def poisoned(config: Callable[..., str]) -> str:
    """The shipped paper config with a second mind in one venue, and a strategy that provokes it."""
    document = json.loads((CONFIGS / "paper.json").read_text())
    clients, strategies = document["exec_clients"], document["strategies"]
    clients["SIM2"]["factory"]["path"] = "poisoned_venue:PoisonedFactory"
    paths = {"strategy_path": "poisoned_venue:Victim", "config_path": "poisoned_venue:VictimConfig"}
    return config(exec_clients=clients, strategies=[*strategies, {**paths, "config": {"order_id_tag": "900"}}])


async def test_poison_from_a_venue_costs_its_own_records_and_the_audit_names_each(
    shell: Shell, poisoned: str, tmp_path: Path
) -> None:
    """Trading and persistence go on, what was refused is kept byte for byte, and `audit` exits with 1 for it alone."""
    here = {"PYTHONPATH": str(CONFIGS.parent / "tests" / "acceptance"), MEMORY: str(tmp_path / "said")}
    running = shell.start(poisoned, **here)
    running.until(DONE)
    running.process.send_signal(signal.SIGTERM)
    assert 0 == running.end(), running.output
    assert f"but {len(REFUSED_KINDS)} that they refused: see rejected_events" in running.output

    tables = await _tables(shell)
    _assert_the_rest_arrived(tables)
    _assert_kept(tables["refused"], (tmp_path / "said").read_text().splitlines())

    code, output = shell.verb("audit", poisoned, "--json", **here)
    report = json.loads(output)
    assert (DIFFERENT, DIFFERENT) == (code, report["verdict"]), output
    expected = [("rejected_events", f"1/{row['seq']}", "projection") for row in tables["refused"]]
    assert expected == [(each["table"], each["key"], each["field"]) for each in report["listed"]]
    assert {"nothing rejected"} == {check["name"] for check in report["checks"] if not check["proven"]}


def _assert_the_rest_arrived(tables: dict[str, list[Any]]) -> None:
    """Every number stands in the journal; the orders ended as the venue said; the trades after the poison are there."""
    (run,) = tables["runs"]
    assert (run["last_seq"], True, 0) == (run["durable_seq"], run["clean_end"], run["exit_code"])
    assert list(range(1, run["last_seq"] + 1)) == [event["seq"] for event in tables["events"]]
    of_kind = {order["kind"]: order for order in tables["orders"] if order["kind"]}
    ends = {kind: order["status"] for kind, order in of_kind.items()}
    assert ends == {
        "nul": "FILLED", "surrogate": "FILLED", "reason": "REJECTED", "long id": "CANCELED", "number": "CANCELED",
        "type": "CANCELED", "enum": "CANCELED", "unencodable": "CANCELED", "decision": "CANCELED",
    }  # fmt: skip
    assert REASON == of_kind["reason"]["rejection_reason"]
    assert ["FILLED"] * TRADES_AFTER == [order["status"] for order in tables["orders"] if not order["kind"]]
    journal = "\n".join(event["payload"] for event in tables["events"])
    assert json.dumps(NUL.replace("\0", "\ufffd"), ensure_ascii=False) in journal
    assert json.dumps(ascii({"text": SURROGATE})) in journal
    assert "OrderTeleported" in {event["type"] for event in tables["events"]}
    assert '"moon"' in journal


def _assert_kept(refused: list[Any], said: list[str]) -> None:
    """The raw bytes are the record as it was written: its number, its kind, and each body as the venue said it."""
    assert sorted(REFUSED_KINDS) == sorted(row["type"] for row in refused)
    assert {"projection"} == {row["stage"] for row in refused}
    assert all(row["error"] for row in refused)
    raw = [row["raw"] for row in refused]
    for row in refused:
        assert row["raw"].startswith(b'[%d,"%s",' % (row["seq"], row["type"].encode()))
    number, stranger = (msgspec.json.encode(json.loads(line)) for line in said)
    assert 1 == sum(each.endswith(number + b"]") for each in raw)
    assert 1 == sum(each.endswith(stranger + b"]") for each in raw)
    (accepted,) = (row["raw"] for row in refused if row["type"] == "OrderAccepted")
    assert LONG_ID == json.loads(accepted)[4]["venue_order_id"]
    (decision,) = (json.loads(row["raw"])[4] for row in refused if row["type"] == "RiskDecision")
    assert (HUGE, {"text": NUL}) == (decision["limit"], decision["details"])
    assert 1 == sum(b'"unencodable"' in each and b"no words for it" in each for each in raw)
    assert 1 == sum(STRANGER.encode() in each and b"SIDEWAYS" in each for each in raw)
