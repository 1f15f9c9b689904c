"""The audit proves that the tables are the fold of a whole journal, and names whatever somebody changed in them."""

from __future__ import annotations

import os
import random
from typing import TYPE_CHECKING

import pytest
from audit_stage import AuditStage, changed
from shipper_log import Trader

from nautilus_ext.persistence import rows
from nautilus_ext.persistence.audit import DIFFERENT, EQUAL, UNPROVEN
from nautilus_ext.persistence.audit_tables import TABLES
from nautilus_ext.persistence.comparison import MARKED

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from conftest import Database

pytest_plugins = ["audit_fixtures"]

TAMPERINGS = 30
NAMES = [*TABLES.values(), "order_events"]


@pytest.fixture
def book(database: Database, tmp_path: Path) -> Iterator[AuditStage]:
    """A book without a run."""
    stage = AuditStage(database.owner_url, database.app_url, tmp_path)
    yield stage
    stage.stage.kill()


def test_a_whole_book_is_proven_equal_by_the_application_role(filled: AuditStage) -> None:
    """Every table is named with its rows, and nothing is wrong."""
    report = filled.audit()
    assert (report.verdict, report.listed, report.notes) == (EQUAL, [], [])
    texts = {check.name: check.text for check in report.checks}
    assert texts["journal whole"] == "2 runs, 846 events"
    assert (texts["unified_orders"], texts["unified_fills"]) == ("140 rows", "140 rows")
    assert (texts["risk_decisions"], texts["routing_decisions"]) == ("2 rows", "2 rows")


def test_every_column_of_every_table_is_compared(filled: AuditStage) -> None:
    """All columns of one row are changed, as the owner; only the prices of quotes are in nobody's journal."""
    for table, names in ((table, rows.KEYS[kind]) for kind, table in TABLES.items()):
        filled.keep(table)
        columns = {name: kind for name, kind in filled.columns(table).items() if name not in MARKED}
        versions = {"run", "seq"} - set(names)
        for batch in (set(columns) - set(names) - versions, versions):
            values = ", ".join(f'"{name}" = {changed(name, columns[name])}' for name in sorted(batch))
            if batch:
                filled.execute(f"UPDATE {table} SET {values} WHERE ctid = '{filled.rows(table)[0]}'")
                assert {(table, name) for name in batch} == {(each.table, each.field) for each in filled.audit().listed}
                filled.put_back(table)
    assert filled.audit().verdict == EQUAL


@pytest.mark.parametrize("how", ["delete", "double", "empty"])
def test_rows_too_few_or_too_many_are_named(filled: AuditStage, how: str) -> None:
    """A row is deleted, a row is added, a table is emptied: the table is named, the others are not."""
    for table, key in {
        "unified_orders": "client_order_id", "unified_fills": "trade_id", "venue_positions": "opening_order_id",
        "unified_positions": "asset_key", "account_states": "account_id", "instruments": "instrument_id",
        "risk_decisions": "seq", "routing_decisions": "seq",
    }.items():  # fmt: skip
        filled.keep(table)
        one = f"SELECT ctid FROM {table} ORDER BY run, seq LIMIT 1"
        if how == "double":
            extra = f"{key} + 1000" if key == "seq" else f"{key} || '-2'"
            filled.execute(
                f"INSERT INTO {table} SELECT (jsonb_populate_record(t, jsonb_build_object('{key}', {extra}))).* "
                f"FROM {table} t WHERE ctid = ({one})"
            )
        else:
            filled.execute(f"DELETE FROM {table} WHERE {'true' if how == 'empty' else f'ctid = ({one})'}")
        report = filled.audit()
        assert (DIFFERENT, {table}) == (report.verdict, {finding.table for finding in report.listed})
        words = ("no row", "one") if how == "double" else ("a row", "none")
        assert {("row", *words)} == {(each.field, each.expected, each.found) for each in report.listed}
        filled.put_back(table)


def test_two_rows_that_were_swapped_are_named(filled: AuditStage) -> None:
    """Two orders exchange their states; two events exchange their payloads."""
    first, second = [
        row[0] for row in filled.fetch("SELECT client_order_id FROM unified_orders WHERE run = 1 ORDER BY seq LIMIT 2")
    ]
    swap = (
        "UPDATE {0} t SET {1} = o.{1} FROM {0} o WHERE t.run = 1 AND o.run = 1 AND t.{2} <> o.{2} "
        "AND t.{2} IN ('{3}', '{4}') AND o.{2} IN ('{3}', '{4}')"
    )
    filled.keep("unified_orders", "order_events")
    filled.execute(swap.format("unified_orders", "venue_order_id", "client_order_id", first, second))
    listed = filled.audit().listed
    assert [("unified_orders", "venue_order_id")] * 2 == [(finding.table, finding.field) for finding in listed]
    filled.put_back("unified_orders")
    filled.execute(swap.format("order_events", "payload", "seq", 5, 6))
    report = filled.audit()
    assert report.verdict == DIFFERENT
    assert "order_events" in {finding.table for finding in report.listed}


def test_a_missing_event_is_named_by_its_number(filled: AuditStage) -> None:
    """Gaps at the begin, inside and at the end, and events beyond the progress or of no run."""
    filled.keep("order_events")
    filled.execute("DELETE FROM order_events WHERE run = 1 AND (seq IN (1, 2, 100) OR seq = 423)")
    gaps = [str(finding) for finding in filled.audit().listed if finding.field == "gap"]
    assert [
        "order_events run 1: gap: expected events 1 to 2, found none",
        "order_events run 1: gap: expected event 100, found none",
        "order_events run 1: gap: expected event 423, found none",
    ] == gaps
    filled.put_back("order_events")
    filled.execute("UPDATE order_events SET seq = 9000 WHERE run = 1 AND seq = 423")
    assert {"newest event", "gap"} <= {finding.field for finding in filled.audit().listed}
    filled.put_back("order_events")
    filled.execute("UPDATE order_events SET run = 9 WHERE run = 2")
    assert ("runs", "run 9") in {(finding.table, finding.key) for finding in filled.audit().listed}


@pytest.mark.parametrize("payload", ['"x"', "null", "[1]", "7"])
def test_a_payload_that_is_no_object_is_named(filled: AuditStage, payload: str) -> None:
    """An order's event, an instrument, a decision, and an event of a type that no table knows."""
    filled.execute("UPDATE order_events SET type = 'Other' WHERE run = 2 AND seq = 7")
    where = "(run, seq) IN ((1, 1), (1, 3), (1, 422), (2, 7))"
    filled.execute(f"UPDATE order_events SET payload = '{payload}' WHERE {where}")
    report = filled.audit()
    said = {(each.key, each.found) for each in report.listed if (each.field, each.expected) == ("payload", "an object")}
    assert (DIFFERENT, {(key, payload) for key in ("1/1", "1/3", "1/422", "2/7")}) == (report.verdict, said)


def test_rejected_events_are_listed_and_no_gap(book: AuditStage) -> None:
    """What the tables refused is a finding each, with its number; the rest is whole."""
    trader = Trader("X", seq=10_000)
    bad = trader.record("AccountState", {"account_id": 7})
    book.run(4, prefix="R1", extra=[bad.replace(b"[10001,", b"[28,")])
    report = book.audit()
    assert report.verdict == DIFFERENT
    assert [("rejected_events", "1/28", "projection")] == [(each.table, each.key, each.field) for each in report.listed]


def test_thirty_random_tamperings_are_all_found(filled: AuditStage) -> None:
    """Any table, any row, any column, by seed; each is undone before the next one."""
    seed = int(os.environ.get("AUDIT_SEED", random.randrange(10**6)))
    print(f"AUDIT_SEED={seed}")
    dice = random.Random(seed)
    filled.keep(*NAMES)
    for number in range(TAMPERINGS):
        table = dice.choice(NAMES)
        kinds = {name: kind for name, kind in filled.columns(table).items() if name not in MARKED}
        column = dice.choice(list(kinds))
        timed = " WHERE type <> 'Instrument' AND type NOT LIKE '%Decision'" if column.startswith("ts_") else ""
        where = f"WHERE ctid = '{dice.choice(filled.rows(table + timed * (table == 'order_events')))}'"
        deletes = dice.random() < 0.3
        sql = f'UPDATE {table} SET "{column}" = {changed(column, kinds[column])} {where}'
        filled.execute(f"DELETE FROM {table} {where}" if deletes else sql)
        report = filled.audit()
        assert (number, table, column, DIFFERENT) == (number, table, column, report.verdict)
        assert table in {finding.table for finding in report.listed}
        filled.put_back(table)
    assert filled.audit().verdict == EQUAL


def test_what_only_the_local_log_has_is_not_proven(filled: AuditStage) -> None:
    """A run that was not shipped: its log is here, so nothing is lost and nothing is proven."""
    start, trader = filled.stage.start_run(), Trader("R3")
    log = filled.stage.begin_log(start)
    log.append_many([trader.instrument(), *trader.order()])
    log.close()
    report = filled.audit()
    assert report.verdict == UNPROVEN
    assert "run 3: 7 events are not in the tables yet: the local log has them" in report.checks[0].text
    assert filled.stage.run_to_end(start) == 0
    assert filled.audit().verdict == EQUAL


def test_events_that_are_nowhere_are_lost(filled: AuditStage) -> None:
    """The node said 430 events, the tables and the local log of this machine know 423."""
    filled.execute("UPDATE runs SET last_seq = 430, host = 'elsewhere' WHERE run = 2")
    assert filled.audit(host="here").verdict == UNPROVEN
    report = filled.audit(host="elsewhere")
    assert [
        "order_events run 2: end: expected events 424 to 430, found neither in the tables nor in the local log"
    ] == [str(finding) for finding in report.listed]


def test_a_run_without_an_end_is_named(book: AuditStage) -> None:
    """A killed run is no difference: all that it wrote is there; the note says how far it came."""
    book.run(4, prefix="R1", clean=False)
    book.run(4, prefix="R2")
    report = book.audit()
    assert report.verdict == EQUAL
    (note,) = report.notes
    assert note.startswith("run 1 has no end")
    assert "27 events, 27 are in the tables; run 2 heard of 0 events by reconciliation" in note
