"""What an archive reads and holds depends on the runs that go, not on the book that they are part of."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from pyarrow import parquet
from shipper_stage import BOOK

from nautilus_ext.persistence import archive, archive_runs
from nautilus_ext.persistence.audit import EQUAL, opened

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

    import asyncpg
    from audit_stage import AuditStage

pytest_plugins = ["audit_fixtures"]

EVENTS = 4 * 6 + 3  # of a run of four orders, with its instrument and two decisions
PASSES_MAX = 6  # over a run's own events: counted, its orders, its positions, its orders in other runs
MANY = 20_000
# Rows of the journal that this transaction has read, from the table and from its indexes, as the server counts them.
ROWS_READ = """
    SELECT sum(pg_stat_get_xact_tuples_returned(oid))::bigint FROM (
        SELECT 'order_events'::regclass::oid AS oid
        UNION SELECT indexrelid FROM pg_index WHERE indrelid = 'order_events'::regclass) AS journal"""


async def _judged(book: AuditStage, before: datetime) -> tuple[list[archive_runs.Candidate], int]:
    async with opened(book.stage.url, 5.0, "test") as reader, reader.transaction(readonly=True):
        read = await reader.fetchval(ROWS_READ)
        found = await archive_runs.candidates(reader, BOOK, before, book.stage.folder)
        return found, await reader.fetchval(ROWS_READ) - read


def _grow(book: AuditStage, run: int, events: int) -> None:
    """Add events of four orders each to a run: a long history, as far as an archive looks at it."""
    book.execute(f"""
        INSERT INTO order_events (book_id, run, seq, type, client_order_id, position_id, ts_event, ts_init, payload)
        SELECT '{BOOK}', {run}, n, 'OrderAccepted', 'Y-' || n / 4, 'P', n, n, '{{}}'
          FROM (SELECT last_seq FROM runs WHERE run = {run}) AS r, generate_series(last_seq + 1, last_seq + {events}) n;
        UPDATE runs SET last_seq = last_seq + {events}, durable_seq = durable_seq + {events} WHERE run = {run};
        ANALYZE order_events""")


@pytest.fixture
def aged(closed: AuditStage) -> tuple[AuditStage, datetime]:
    """Runs 1 and 2 are old enough, run 3 is not; the moment that parts them."""
    closed.execute("UPDATE runs SET ended_at = now() - interval '2 days' WHERE run < 3")
    ((before,),) = closed.fetch("SELECT now() - interval '1 day'")
    return closed, before


def test_only_the_events_of_runs_that_are_old_enough_are_read(aged: tuple[AuditStage, datetime]) -> None:
    """The server counts the rows that it reads: as many when the rest of the book has grown threefold."""
    book, before = aged
    counts = []
    for more in (MANY, 2 * MANY):
        _grow(book, run=3, events=more)
        found, read = asyncio.run(_judged(book, before))
        assert [("", EVENTS), ("", EVENTS), ("it ended later", 0)] == [(each.reason, each.events) for each in found]
        counts.append(read)
    assert EVENTS < counts[0] <= PASSES_MAX * 2 * EVENTS
    assert counts[0] == counts[1]


def test_the_count_of_rows_notices_who_reads_the_whole_book(aged: tuple[AuditStage, datetime]) -> None:
    """The check itself can fail."""
    book, before = aged
    _grow(book, run=2, events=MANY)
    assert asyncio.run(_judged(book, before))[1] > MANY


class Counted:
    """A connection that remembers how many rows each answer had."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection = connection
        self.rows: list[int] = []

    async def fetch(self, *question: Any) -> list[Any]:
        found = await self._connection.fetch(*question)
        self.rows.append(len(found))
        return found


def test_a_run_is_written_chunk_by_chunk(closed: AuditStage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither an answer of the database nor a row group has more rows than a chunk, and nothing is lost."""
    monkeypatch.setattr(archive, "CHUNK_ROWS", 10)

    async def work() -> tuple[Path, list[int]]:
        async with opened(closed.stage.url, 5.0, "test") as reader, opened(closed.owner_url, 5.0, "test") as owner:
            counted: Any = Counted(reader)
            return await archive.archive_run(counted, owner, BOOK, 1, tmp_path), counted.rows

    path, rows = asyncio.run(work())
    assert [10, 10, 7, 0] == rows
    about = parquet.read_metadata(path)
    assert [10, 10, 7] == [about.row_group(group).num_rows for group in range(about.num_row_groups)]
    assert EVENTS == archive.read_back(path).rows
    assert EQUAL == closed.audit().verdict


def test_so_many_runs_are_judged_at_once_and_the_next_one_says_so(
    closed: AuditStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The oldest come first; who has an order in common with a run that was not judged stays as well."""
    monkeypatch.setattr(archive_runs, "RUNS_MAX", 1)
    ((later,),) = closed.fetch("SELECT now() + interval '1 day'")
    waits = "the oldest 1 runs are judged first: archive again when some have gone"
    assert ["", waits] == [each.reason for each in asyncio.run(_judged(closed, later))[0]]
    closed.execute("UPDATE order_events SET client_order_id = 'R1-1' WHERE run = 3 AND client_order_id = 'R3-1'")
    kept = "it has an order in common with run 3, which stays"
    assert [kept, waits] == [each.reason for each in asyncio.run(_judged(closed, later))[0]]
