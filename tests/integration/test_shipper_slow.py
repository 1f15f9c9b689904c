"""A database that is too slow for any batch: the shipper waits, says so, and rejects nothing that is good."""

from __future__ import annotations

import asyncio
import re
import time
from datetime import datetime
from typing import TYPE_CHECKING

import pytest
from shipper_stage import BOOK, Stage

from nautilus_ext.errors import DatabaseError
from nautilus_ext.persistence.rows import RejectionRow
from nautilus_ext.persistence.segments import run_folder
from nautilus_ext.persistence.shipper import process as shipper_process
from nautilus_ext.persistence.shipper.process import Shipper
from nautilus_ext.persistence.shipper.status import Status
from nautilus_ext.persistence.shipper.writing import Step, Writer
from nautilus_ext.schema.connect import NO_LONG_TRANSACTION

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from conftest import Database

    from nautilus_ext.persistence.shipper.state import ShipperState

STATEMENT_S = 0.2
TRIES = 7  # after which the pause between two has grown to its bound
PAUSE_S_MIN = 1.5  # between the last two of them
SLEEP = "CREATE FUNCTION sleep() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep({}); RETURN NEW; END'"
TRIGGER = "CREATE TRIGGER sleep {} INSERT ON unified_orders FOR EACH ROW EXECUTE FUNCTION sleep()"
OPEN = """
    SELECT pid FROM pg_stat_activity
     WHERE application_name LIKE 'exec-suite shipper%' AND datname = current_database()
       AND (xact_start IS NOT NULL OR pid IN (SELECT pid FROM pg_locks))"""
TRIED = re.compile(r"^(\S+)Z run \d+ pid \d+: .*even 1 record .*statement_timeout_s \(0\.2 s\)", re.MULTILINE)


class Slow(Stage):
    """A book whose owner has put a sleep on each order's row."""

    def __init__(self, database: Database, folder: Path) -> None:
        super().__init__(database.app_url, folder)
        self._owner = Stage(database.owner_url, folder)

    def slow_down(self, row_s: float, when: str) -> None:
        self._owner.query(SLEEP.format(row_s))
        self._owner.query(TRIGGER.format(when))

    def speed_up(self) -> None:
        self._owner.query("DROP TRIGGER sleep ON unified_orders")

    def tries(self) -> list[datetime]:
        said = (self.folder / "shipper.log").read_text()
        return [datetime.fromisoformat(moment) for moment in TRIED.findall(said)]


@pytest.fixture
def stage(database: Database, tmp_path: Path) -> Iterator[Slow]:
    """A book on a fresh database, as the application's role; no process survives the test."""
    one = Slow(database, tmp_path)
    yield one
    one.kill()


def test_a_timeout_that_no_batch_meets_is_waited_out(stage: Slow, wait_until: Callable[..., None]) -> None:
    """It tries at growing intervals, names what to do all the while, and ships all when the trigger is gone."""
    start, last = stage.log_run(30)
    stage.slow_down(5, "AFTER")
    process = stage.spawn(start, statement_timeout_s=STATEMENT_S)
    wait_until(stage.tries, 20)
    seen: list[ShipperState] = []
    wait_until(lambda: seen.append(stage.state(start.run)) or len(stage.tries()) >= TRIES, 30)
    tries = stage.tries()
    assert (tries[-1] - tries[-2]).total_seconds() > PAUSE_S_MIN
    assert {True} == {"statement_timeout_s (0.2 s)" in state.last_error for state in seen}
    assert {True} == {"raise database.statement_timeout_s" in state.last_error for state in seen}
    assert (1, 0) == (seen[-1].shipped_seq, max(state.rejected for state in seen))
    assert ([], [1]) == (stage.rejected(), stage.seqs(start.run)), "only the instrument needs no row of an order"
    stage.speed_up()
    assert process.wait(30) == 0
    assert ([], list(range(1, last + 1))) == (stage.rejected(), stage.seqs(start.run))
    assert stage.progress(start.run) == (last, last)
    assert stage.differences() == []
    assert stage.state(start.run).last_error == ""


def test_what_is_in_time_one_by_one_is_shipped_one_by_one(stage: Slow) -> None:
    """Two orders at once would be too late: no smallest batch keeps the shipper from getting on."""
    start, last = stage.log_run(5)
    stage.slow_down(0.15, "BEFORE")
    assert stage.run_to_end(start, statement_timeout_s=STATEMENT_S) == 0
    assert ([], list(range(1, last + 1))) == (stage.rejected(), stage.seqs(start.run))
    assert stage.differences() == []
    assert "waiting for the database" not in (stage.folder / "shipper.log").read_text().partition("shipping")[2]
    assert stage.state(start.run).last_error == ""


def test_a_shipper_whose_node_is_gone_does_not_try_for_ever(stage: Slow, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without progress its patience ends, however often it could connect; the next start finds the log."""
    monkeypatch.setattr(shipper_process, "ORPHAN_S_MAX", 1.0)
    start, last = stage.log_run(5)
    stage.slow_down(5, "AFTER")
    folder = run_folder(stage.folder, start.run)
    shipper = Shipper(stage.order(start, statement_timeout_s=STATEMENT_S), Status(folder, start.run))
    began_s = time.monotonic()
    with pytest.raises(DatabaseError, match=r"even 1 record .*the node is gone, the rest stays in"):
        asyncio.run(asyncio.wait_for(shipper.run(), 20))
    assert time.monotonic() - began_s > 1.0
    assert ([], [1]) == (stage.rejected(), stage.seqs(start.run))
    stage.speed_up()
    assert stage.run_to_end(start) == 0
    assert stage.seqs(start.run) == list(range(1, last + 1))


async def test_a_shipper_that_has_nothing_to_ship_holds_no_lock_and_is_not_too_slow(stage: Slow) -> None:
    """No transaction is open before its first batch: a migration need not wait, and no time-out runs meanwhile."""
    start = await asyncio.to_thread(stage.start_run)
    writer = await Writer.open(stage.url, stage.order(start, statement_timeout_s=STATEMENT_S))
    assert [] == await asyncio.to_thread(stage.query, OPEN)
    await asyncio.sleep(2 * STATEMENT_S)
    await writer.write(Step(start.run, 0, 1, 1), {})
    assert [] == await asyncio.to_thread(stage.query, OPEN)
    await writer.close()
    assert (1, 1) == await asyncio.to_thread(stage.progress, start.run)


async def test_rows_may_take_their_time_within_a_batch(stage: Slow, monkeypatch: pytest.MonkeyPatch) -> None:
    """Encoding is a part of the COPY: the limit for a transaction in which nothing happens does not cut it."""

    class Late(list[RejectionRow]):
        def __iter__(self) -> Iterator[RejectionRow]:
            time.sleep(4 * STATEMENT_S)
            return super().__iter__()

    monkeypatch.setitem(NO_LONG_TRANSACTION, "idle_in_transaction_session_timeout", str(round(STATEMENT_S * 1_000)))
    start = await asyncio.to_thread(stage.start_run)
    writer = await Writer.open(stage.url, stage.order(start))
    rows = Late([RejectionRow(BOOK, start.run, 1, "decode", None, "no record", b"")])
    await writer.write(Step(start.run, 0, 1, 1), {RejectionRow: rows})
    await writer.close()
    assert [(1, "decode", None)] == await asyncio.to_thread(stage.rejected)
