"""The events of one book wherever they are, chunk by chunk: in `order_events`, or in the files of archived runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from nautilus_ext.persistence import records
from nautilus_ext.persistence.archive_file import chunks
from nautilus_ext.persistence.records import Record
from nautilus_ext.persistence.rows import JournalRow

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable
    from pathlib import Path

    import asyncpg

CHUNK_RECORDS = 5_000
END = 2**62

_COLUMNS = ", ".join(JournalRow._fields)
_IS_REJECTED = "EXISTS (SELECT FROM rejected_events x WHERE (x.book_id, x.run, x.seq) = (e.book_id, e.run, e.seq))"
_JOURNAL = f"""
    SELECT {_COLUMNS}, {_IS_REJECTED} FROM order_events e
     WHERE book_id = $1 AND run = $2 AND seq > $3 AND seq <= $4 ORDER BY seq LIMIT {CHUNK_RECORDS}"""  # noqa: S608 - our own names
_REJECTED = "SELECT seq FROM rejected_events WHERE book_id = $1 AND run = $2 AND seq BETWEEN $3 AND $4"
# OFFSET keeps it an index probe for each order.
ORDER_RECORDS = f"""
    SELECT found.* FROM unnest($2::text[]) AS wanted (id), LATERAL (
        SELECT run, seq, type, ts_event, ts_init, payload FROM order_events e
         WHERE book_id = $1 AND client_order_id = wanted.id AND (run, seq) <= ($3, $4) AND NOT {_IS_REJECTED}
        OFFSET 0) AS found"""  # noqa: S608 - our own names


class Chunk(NamedTuple):
    """Some events of one run, and the numbers of those that no table could take."""

    rows: list[JournalRow]
    rejected: set[int]

    @property
    def records(self) -> list[Record]:
        return [
            Record(row.run, row.seq, row.type, row.ts_event, row.ts_init, row.payload)
            for row in self.rows
            if row.seq not in self.rejected
        ]


class Journal:
    """Reads on a connection inside of a snapshot; the files were verified."""

    def __init__(self, connection: asyncpg.Connection, book_id: str, files: dict[int, Path]) -> None:
        self._connection = connection
        self.book_id = book_id
        self.files = files

    async def chunks(self, run: int, after: int = 0, upto: int = END) -> AsyncIterator[Chunk]:
        if run in self.files:
            async for chunk in self._archived(run):
                yield chunk
            return
        while found := await self._connection.fetch(_JOURNAL, self.book_id, run, after, upto):
            after = found[-1]["seq"]
            yield Chunk([JournalRow(*row[:-1]) for row in found], {row["seq"] for row in found if row[-1]})

    async def _archived(self, run: int) -> AsyncIterator[Chunk]:
        for found in chunks(self.files[run], CHUNK_RECORDS):
            rows = [JournalRow(*row)._replace(payload=(row[-1] or "").encode()) for row in found]
            rejected = await self._connection.fetch(_REJECTED, self.book_id, run, rows[0].seq, rows[-1].seq)
            yield Chunk(rows, {row["seq"] for row in rejected})

    async def order_records(self, ids: Iterable[str], upto: tuple[int, int]) -> list[Record]:
        """All that `order_events` has of these orders, up to an event."""
        return [Record(*row) for row in await self._connection.fetch(ORDER_RECORDS, self.book_id, list(ids), *upto)]

    async def of_orders(self, ids: Iterable[str]) -> dict[str, list[Record]]:
        """All that is known of these orders, the archive included: each file is read for it."""
        found: dict[str, list[Record]] = {order_id: [] for order_id in ids}
        for run in self.files:
            async for chunk in self.chunks(run):
                _sort(chunk.records, found)
        _sort(await self.order_records(found, (2**31 - 1, END)), found)
        return found


def _sort(some: Iterable[Record], found: dict[str, list[Record]]) -> None:
    for record in some:
        told = found.get(records.ids(record).client_order_id or "")
        if told is not None:
            told.append(record)
