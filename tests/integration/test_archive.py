"""Old runs leave the journal for Parquet files: whole, proven, at once, and only by the owner."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from audit_stage import AuditStage
from pyarrow import parquet
from shipper_log import EVENTS_PER_ORDER, Trader
from shipper_stage import BOOK

from nautilus_ext.errors import DatabaseError
from nautilus_ext.persistence import archive, archive_runs
from nautilus_ext.persistence.audit import DIFFERENT, EQUAL, opened

if TYPE_CHECKING:
    from pathlib import Path


LATER = datetime(2200, 1, 1, tzinfo=UTC)
EVENTS = 4 * 6 + 3  # of a run of four orders, with its instrument and two decisions


pytest_plugins = ["audit_fixtures"]


@pytest.fixture
def book(closed: AuditStage) -> AuditStage:
    return closed


def _candidates(book: AuditStage, before: datetime = LATER) -> list[archive_runs.Candidate]:
    async def work() -> list[archive_runs.Candidate]:
        async with opened(book.stage.url, 5.0, "test") as reader:
            return await archive_runs.candidates(reader, BOOK, before, book.stage.folder)

    return asyncio.run(work())


def _journal(book: AuditStage, run: int) -> list[dict[str, Any]]:
    columns = ", ".join(f"{name}::text" if name == "payload" else name for name in archive.SCHEMA.names)
    return [dict(row) for row in book.fetch(f"SELECT {columns} FROM order_events WHERE run = $1 ORDER BY seq", run)]


def _tables(book: AuditStage) -> list[Any]:
    return [book.fetch(f"SELECT * FROM {name} ORDER BY run, seq") for name in ("unified_orders", "unified_fills")]


def test_a_run_goes_to_its_file_exactly_and_the_audit_reads_it_there(book: AuditStage, tmp_path: Path) -> None:
    """Every row, character by character; the tables keep theirs, and the rest is still proven."""
    journal, tables = _journal(book, 1), _tables(book)
    path = book.archive(1, tmp_path / "archive")
    assert journal == parquet.read_table(path).to_pylist()
    assert parquet.read_metadata(path).metadata[b"rows"] == str(EVENTS).encode()
    assert (0, EVENTS) == (len(_journal(book, 1)), len(_journal(book, 2)))
    assert tables == _tables(book)
    ((archived_at, said),) = book.fetch("SELECT archived_at, archive FROM runs WHERE run = 1")
    assert (True, str(path)) == (archived_at is not None, said)
    report = book.audit()
    assert (EQUAL, []) == (report.verdict, report.listed)
    assert {"journal whole": f"2 runs, {2 * EVENTS} events", "archived runs": f"1 of 1 run, {EVENTS} events"} == {
        check.name: check.text for check in report.checks[:2]
    }
    assert [2, 3] == [each.run for each in _candidates(book)]


def test_any_run_may_go_before_an_older_one_and_the_sums_still_agree(book: AuditStage, tmp_path: Path) -> None:
    """The newest account, instrument and sums stand in the archive: what is left does not overwrite them."""
    book.archive(3, tmp_path)
    assert (EQUAL, []) == (book.audit().verdict, book.audit().listed)
    book.archive(1, tmp_path)
    book.archive(2, tmp_path)
    assert (EQUAL, []) == (book.audit().verdict, book.audit().listed)
    book.run(4, prefix="R4")
    assert (EQUAL, []) == (book.audit().verdict, book.audit().listed)
    book.execute("UPDATE unified_positions SET realized_pnl = realized_pnl + 1")
    assert ["realized_pnl"] == [finding.field for finding in book.audit().listed]


def test_what_was_told_again_after_its_run_was_archived_is_no_difference(book: AuditStage, tmp_path: Path) -> None:
    """A venue reports old orders at the next start: the fill keeps the row of the archived run."""
    book.archive(1, tmp_path)
    book.run(4, prefix="R1")
    assert (EQUAL, []) == (book.audit().verdict, book.audit().listed)


@pytest.mark.parametrize(
    ("sql", "reason"),
    [
        ("UPDATE runs SET last_seq = last_seq + 1 WHERE run = 1", "1 events are not in the tables yet"),
        ("DELETE FROM order_events WHERE run = 1 AND seq = 9", "events are missing in it: see audit"),
        ("UPDATE unified_orders SET status = 'ACCEPTED' WHERE client_order_id = 'R1-2'", "an order of it still works"),
        ("UPDATE venue_positions SET side = 'LONG' WHERE run = 1", "a position of it is still open"),
    ],
)
def test_a_run_that_is_not_over_stays_and_says_why(book: AuditStage, sql: str, reason: str) -> None:
    """Whatever may still be needed here is kept here."""
    assert ["", "", ""] == [each.reason for each in _candidates(book)]
    book.execute(sql)
    assert [reason, "", ""] == [each.reason for each in _candidates(book)]


def _left_open(book: AuditStage, prefix: str) -> None:
    """Run once more and leave a position and a working order open at the end."""
    working = list(Trader(f"{prefix}-W", seq=1 + 3 * EVENTS_PER_ORDER + 2).order())[:3]
    run = book.run(3, prefix=prefix, extra=working, clean=False)
    book.execute(f"UPDATE runs SET ended_at = now(), clean_end = true WHERE run = {run}")


def test_what_a_backtest_left_open_does_not_keep_it(book: AuditStage, tmp_path: Path) -> None:
    """Its data has ended, so nothing of it goes on: it is archived, and its rows stay as they are, proven."""
    _left_open(book, "R4")
    assert "an order of it still works" == _candidates(book)[-1].reason
    book.execute("UPDATE books SET environment = 'backtest'")
    assert ["", "", "", ""] == [each.reason for each in _candidates(book)]
    book.archive(4, tmp_path)
    assert (EQUAL, []) == (book.audit().verdict, book.audit().listed)
    book.execute("UPDATE books SET environment = 'paper'")
    _left_open(book, "R5")
    assert (EQUAL, []) == (book.audit().verdict, book.audit().listed)
    book.execute("UPDATE runs SET ended_at = NULL, clean_end = false WHERE run = 5")
    book.execute("UPDATE books SET environment = 'backtest'")
    assert "it has not ended" == _candidates(book)[-1].reason


def test_runs_with_an_order_in_common_go_together_or_stay_together(book: AuditStage) -> None:
    """Run 3 has not ended, run 2 shares an order with it, run 1 one with run 2: all stay."""
    book.execute("UPDATE order_events SET client_order_id = 'R2-1' WHERE run = 1 AND client_order_id = 'R1-1'")
    assert ["", "", ""] == [each.reason for each in _candidates(book)]
    book.execute("UPDATE order_events SET client_order_id = 'R3-1' WHERE run = 2 AND client_order_id = 'R2-2'")
    book.execute("UPDATE runs SET ended_at = NULL, clean_end = false WHERE run = 3")
    assert [
        "it has an order in common with run 2, which stays",
        "it has an order in common with run 3, which stays",
        "it has not ended",
    ] == [each.reason for each in _candidates(book)]


def test_a_younger_run_stays(book: AuditStage) -> None:
    """A run that was never ended is as old as the start of the next one."""
    book.execute("UPDATE runs SET started_at = now() - interval '2 days'")
    book.execute("UPDATE runs SET ended_at = now() - interval '1 day' WHERE run = 1")
    book.execute("UPDATE runs SET ended_at = NULL, clean_end = false WHERE run = 2")
    ((before,),) = book.fetch("SELECT now() - interval '1 hour'")
    assert ["", "", "it ended later"] == [each.reason for each in _candidates(book, before)]


def test_the_application_role_cannot_archive(book: AuditStage, tmp_path: Path) -> None:
    """It may not delete from the journal; the message names the key of the owner's address, and nothing is lost."""
    with pytest.raises(DatabaseError, match=r"database\.migrate_url"):
        book.archive(1, tmp_path, owner_url=book.stage.url)
    assert len(_journal(book, 1)) == EVENTS
    for sql in ("DELETE FROM order_events", "UPDATE runs SET archived_at = now(), archive = 'x'"):
        with pytest.raises(Exception, match="permission denied"):
            book.fetch(sql)


def test_a_file_that_reads_back_otherwise_deletes_nothing(
    book: AuditStage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk lies: what is read back is not what was written."""
    monkeypatch.setattr(archive, "read_back", lambda _path: archive.Content(EVENTS, "other"))
    with pytest.raises(Exception, match="does not read as it was written"):
        book.archive(1, tmp_path)
    assert len(_journal(book, 1)) == EVENTS


def test_events_that_appear_meanwhile_are_not_deleted(
    book: AuditStage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The journal has more rows than the file when it is deleted: nothing is."""
    written = archive._write

    async def then_insert(*arguments: Any) -> archive.Content:
        content = await written(*arguments)
        book_id = BOOK
        await arguments[0].execute(
            "INSERT INTO order_events (book_id, run, seq, type, ts_event, ts_init, payload) "
            f"VALUES ('{book_id}', 1, 999, 'X', 1, 1, '{{}}'::text::jsonb)"
        )
        return content

    monkeypatch.setattr(archive, "_write", then_insert)
    with pytest.raises(DatabaseError, match="nothing was deleted"):
        book.archive(1, tmp_path)
    assert len(_journal(book, 1)) == EVENTS + 1


def _dies_at(urls: tuple[str, str], folder: Path, place: str) -> None:
    """Archive run 1 in this process and kill it when it comes to a place."""

    def die(*_: Any) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    book = AuditStage(*urls, folder)
    if place == "after the commit":
        book.archive(1, folder)
        die()
    setattr(archive, place, die)
    book.archive(1, folder)


@pytest.mark.parametrize("place", ["_as_text", "read_back", "_delete", "after the commit"])
def test_killed_anywhere_nothing_is_lost_and_a_second_call_finishes(
    book: AuditStage, tmp_path: Path, place: str
) -> None:
    """kill -9 while the file is written, before its name, before the deletion, after it."""
    journal = _journal(book, 1)
    urls = (book.owner_url, book.stage.url)
    process = multiprocessing.get_context("spawn").Process(target=_dies_at, args=(urls, tmp_path, place))
    process.start()
    process.join(30)
    assert process.exitcode == -signal.SIGKILL
    if place != "after the commit":
        assert journal == _journal(book, 1)
        assert book.audit().verdict == EQUAL
        book.archive(1, tmp_path)
    (path,) = tmp_path.glob("000001-*.parquet")
    assert journal == parquet.read_table(path).to_pylist()
    assert [] == _journal(book, 1)
    assert book.audit().verdict == EQUAL


def test_events_of_an_archived_run_that_come_back_are_a_difference(book: AuditStage, tmp_path: Path) -> None:
    """An archived run has no events in the journal; the audit says so when it has."""
    book.archive(1, tmp_path)
    book.execute("UPDATE order_events SET run = 1 WHERE run = 2")
    report = book.audit()
    assert report.verdict == DIFFERENT
    assert ("order_events", "run 1") in {(finding.table, finding.key) for finding in report.listed}
