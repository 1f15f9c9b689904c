"""What has been archived is proven like the rest: the file is what the database says, and the tables are its fold."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from audit_stage import AuditStage, changed
from pyarrow import parquet
from shipper_log import STRATEGY, Trader

from nautilus_ext.persistence import audit_journal, audit_tables, order_ledger, rows
from nautilus_ext.persistence.archive_file import SCHEMA, Content, path_of
from nautilus_ext.persistence.audit import DIFFERENT, EQUAL, UNPROVEN
from nautilus_ext.persistence.audit_tables import TABLES
from nautilus_ext.persistence.comparison import MARKED

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from nautilus_ext.persistence.audit import Report

pytest_plugins = ["audit_fixtures"]

ORDERS = 4
EVENTS = ORDERS * 6 + 3  # of a run, with its instrument and two decisions
HASH = "a" * 64


@pytest.fixture
def archived(closed: AuditStage, tmp_path: Path) -> tuple[AuditStage, Path]:
    """Three runs, the last of which is archived; the file."""
    return closed, closed.archive(3, tmp_path / "archive")


def _line(report: Report, name: str = "archived runs") -> str:
    (text,) = (check.text for check in report.checks if check.name == name)
    return text


def test_every_column_of_every_row_that_came_from_an_archived_run_is_compared(
    archived: tuple[AuditStage, Path],
) -> None:
    """The tables keep what the run left; whoever changes it is found by its file."""
    book, _ = archived
    for kind, table in TABLES.items():
        book.keep(table)
        columns = {name: of for name, of in book.columns(table).items() if name not in MARKED}
        batch = sorted(columns.keys() - {*rows.KEYS[kind], "run", "seq"})
        ((ctid,),) = book.fetch(f"SELECT ctid::text FROM {table} WHERE run = 3 ORDER BY seq DESC LIMIT 1")
        values = ", ".join(f'"{name}" = {changed(name, columns[name])}' for name in batch)
        book.execute(f"UPDATE {table} SET {values} WHERE ctid = '{ctid}'")
        report = book.audit()
        assert (DIFFERENT, {(table, name) for name in batch}) == (
            report.verdict,
            {(each.table, each.field) for each in report.listed},
        )
        book.put_back(table)
        book.execute(f"DELETE FROM {table} WHERE run = 3")
        assert {table} == {each.table for each in book.audit().listed}
        book.put_back(table)
    assert EQUAL == book.audit().verdict


def _missing(path: Path) -> None:
    path.unlink()


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-20])


def _garbled(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[4:400] = bytes(396)
    path.write_bytes(data)


def _other_columns(path: Path) -> None:
    parquet.write_table(parquet.read_table(path).drop_columns(["payload"]), path)


@pytest.mark.parametrize("harm", [_missing, _cut, _garbled, _other_columns])
def test_a_file_that_cannot_be_read_is_not_proven(
    archived: tuple[AuditStage, Path], harm: Callable[[Path], None]
) -> None:
    """It is named, and the rest is compared all the same."""
    book, path = archived
    harm(path)
    report = book.audit()
    assert (UNPROVEN, []) == (report.verdict, report.listed)
    assert _line(report).startswith(f"0 of 1 run, 0 events; run 3: {path}: ")
    book.execute("UPDATE unified_orders SET quantity = quantity + 1 WHERE client_order_id = 'R1-2'")
    assert DIFFERENT == book.audit().verdict


def _fewer(events: list[dict[str, Any]]) -> None:
    del events[-1]


def _another_price(events: list[dict[str, Any]]) -> None:
    event = next(event for event in events if event["type"] == "OrderFilled")
    event["payload"] = event["payload"].replace("40000.1", "40000.2")


def _swapped(events: list[dict[str, Any]]) -> None:
    events[4], events[5] = events[5], events[4]


@pytest.mark.parametrize(
    ("harm", "fields"),
    [(_fewer, {"rows", "sha256", "events"}), (_another_price, {"sha256"}), (_swapped, {"sha256", "event"})],
)
def test_a_file_with_another_content_is_a_difference(
    archived: tuple[AuditStage, Path], harm: Callable[[list[dict[str, Any]]], None], fields: set[str]
) -> None:
    """A row less, another value in a row, two rows in another order."""
    book, path = archived
    table = parquet.read_table(path)
    events = table.to_pylist()
    harm(events)
    parquet.write_table(type(table).from_pylist(events, schema=SCHEMA), path)
    report = book.audit()
    assert (DIFFERENT, {("archive", "run 3")}) == (report.verdict, {(each.table, each.key) for each in report.listed})
    assert fields == {each.field for each in report.listed}


def test_a_run_that_somebody_only_calls_archived_is_not_proven(closed: AuditStage, tmp_path: Path) -> None:
    """Without a file, with a name that promises nothing, or with the file of another run."""
    other = closed.archive(1, tmp_path)
    closed.execute("DELETE FROM order_events WHERE run = 2")
    for archive, verdict in (
        ("x", UNPROVEN),
        (str(path_of(tmp_path, 2, Content(EVENTS, HASH))), UNPROVEN),
        (str(other), DIFFERENT),
    ):
        closed.execute(f"UPDATE runs SET archived_at = now(), archive = '{archive}' WHERE run = 2")
        report = closed.audit()
        assert (archive, verdict) == (archive, report.verdict)
        assert "run 2" in (_line(report) if verdict == UNPROVEN else str(report.listed[0]))


def test_without_an_archive_nothing_is_said_of_it(closed: AuditStage) -> None:
    """No line, and no look at a file."""
    assert "archived runs" not in {check.name for check in closed.audit().checks}


def _told_again(prefix: str) -> list[bytes]:
    """What a venue tells of filled orders when the next run begins: two events of each, under ids of their own."""
    trader, found = Trader(prefix, seq=1 + ORDERS * 6 + 2), []
    for number in range(ORDERS):
        made, _, _, filled, *_ = trader.order(reconciliation=True, strategy_id="EXTERNAL" if number % 2 else STRATEGY)
        found += [made, filled]
    numbered = []
    for seq, frame in enumerate(found, 1 + ORDERS * 6 + 3):
        _, kind, *times, body = msgspec.json.decode(frame)
        body |= {"event_id": f"again-{prefix}-{seq:08x}", "reconciliation": True}
        numbered.append(msgspec.json.encode([seq, kind, *times, body]))
    return numbered


@pytest.mark.parametrize("kept", [0, 2, 2_000])
@pytest.mark.parametrize("when", ["before", "between", "never"])
def test_orders_that_a_later_run_tells_again_are_proven_wherever_their_events_are(
    closed: AuditStage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, when: str, kept: int
) -> None:
    """The shipper knew the archived part or did not, the fold has forgotten it or has not; both runs end in files."""
    if when == "before":
        closed.archive(1, tmp_path)
    run = closed.run(ORDERS, prefix="R4", extra=_told_again("R1"), clean=False)
    closed.execute(f"UPDATE runs SET ended_at = now(), clean_end = true WHERE run = {run}")
    monkeypatch.setattr(order_ledger, "CLOSED_ORDERS_MAX", kept)
    monkeypatch.setattr(audit_journal, "CHUNK_RECORDS", 7)
    monkeypatch.setattr(audit_tables, "AGAIN_ORDERS", 3)
    if when == "between":
        closed.archive(1, tmp_path)
    assert (EQUAL, []) == (closed.audit().verdict, closed.audit().listed)
    closed.archive(run, tmp_path)
    assert (EQUAL, []) == (closed.audit().verdict, closed.audit().listed)
    tampered = set()
    for table, order_id, sql in (
        ("unified_orders", "R1-2", "UPDATE {} SET filled_quantity = 7 WHERE client_order_id = '{}'"),
        ("unified_fills", "R1-3", "DELETE FROM {} WHERE client_order_id = '{}'"),
        ("unified_fills", "R1-1", "UPDATE {} SET price = 7 WHERE client_order_id = '{}'"),
    ):
        closed.execute(sql.format(table, order_id))
        tampered.add((table, order_id))
        assert tampered == {(each.table, each.key.partition("/")[0]) for each in closed.audit().listed}
