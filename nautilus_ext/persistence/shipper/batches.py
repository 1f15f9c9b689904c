"""Batches of one run: records → rows → one transaction; a record that the database refuses is found by halving.

One batch is on its way to the database (the flight) while the next one is projected beside it, in a thread.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from nautilus_ext.errors import ProjectionDefect
from nautilus_ext.persistence import positions
from nautilus_ext.persistence.projections import journal_row
from nautilus_ext.persistence.records import ids
from nautilus_ext.persistence.rows import JournalRow, PositionRow, RejectionRow
from nautilus_ext.persistence.shipper.loading import load
from nautilus_ext.persistence.shipper.writing import Step, TooSlow, is_data_error, is_too_slow

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from nautilus_ext.persistence.ledger import Ledger, Needs
    from nautilus_ext.persistence.records import Record
    from nautilus_ext.persistence.shipper.numbering import Item
    from nautilus_ext.persistence.shipper.pace import Pace
    from nautilus_ext.persistence.shipper.status import Status
    from nautilus_ext.persistence.shipper.writing import Rows, Writer

ERROR_CHARS_MAX = 2_000


class Flight:
    """A batch on its way: what it holds, and what it writes that nobody else can read yet."""

    def __init__(self, write: asyncio.Task[None], items: Sequence[Item], rows: Rows) -> None:
        self.write = write
        self.items = items
        self._orders = {row.client_order_id for row in rows.get(JournalRow, ())}
        self._lives = {positions.life_of(row) for row in rows.get(PositionRow, ())}

    def hides(self, needs: Needs) -> bool:
        """Tell whether what is needed can be read only when this batch is committed."""
        lives = map(positions.life_of, needs.positions)
        return needs.start or not self._orders.isdisjoint(needs.orders) or not self._lives.isdisjoint(lives)


class Batches:
    """Commits the items of one run in their order; `durable_seq` is how far it has come."""

    def __init__(
        self, writer: Writer, ledger: Ledger, status: Status, pace: Pace, *, book_id: str, run: int, durable_seq: int
    ) -> None:
        self.run = run
        self.durable_seq = durable_seq
        self._pace = pace
        self._writer = writer
        self._ledger = ledger
        self._status = status
        self._book_id = book_id
        self._known_seq = durable_seq
        self._flight: Flight | None = None
        self._failures = 0

    async def ship(self, items: Sequence[Item], known_seq: int) -> None:
        """Project a batch and send it on its way as soon as the one before is durable."""
        self._known_seq = known_seq
        rows: Rows | None = None
        while rows is None:
            try:
                rows = await self._project(items)
            except Exception as error:  # noqa: BLE001 - judged when nothing is in between any more
                await self.land()
                await self._divide(items, error)
                return
            failures = self._failures
            await self.land()
            if failures != self._failures:
                rows = None  # it was built on a batch that failed
        self._flight = Flight(asyncio.create_task(self._write(rows, _last(items))), items, rows)

    async def land(self) -> None:
        """Wait until all that was shipped is durable, what was refused excepted."""
        flight, self._flight = self._flight, None
        if flight is None:
            return
        try:
            await flight.write
        except Exception as error:  # noqa: BLE001 - judged there
            await self._divide(flight.items, error)

    @property
    def records_max(self) -> int:
        return self._pace.records_max

    @property
    def is_flying(self) -> bool:
        return self._flight is not None

    async def abandon(self) -> None:
        """Leave a batch to its fate: the progress in the database says what became of it."""
        flight, self._flight = self._flight, None
        if flight is not None:
            flight.write.cancel()
            await asyncio.gather(flight.write, return_exceptions=True)

    async def conclude(self, last_seq: int) -> None:
        """Say that nothing follows: what is missing up to the last record never comes."""
        await self.land()
        if last_seq > self.durable_seq:
            self._known_seq = last_seq
            await self._write({}, last_seq)

    async def beside[Result](self, work: Callable[..., Result], *arguments: Any) -> Result:
        """Compute in a thread while a batch is on its way; at once when none is."""
        if self._flight is None:
            return work(*arguments)
        return await asyncio.to_thread(work, *arguments)

    async def _divide(self, items: Sequence[Item], error: Exception) -> None:
        """Find the guilty record in log2 rounds, or what the database does in time; all else is raised again.

        A defect of our own makes no record guilty: what comes before it is written, and it is raised.
        """
        self._failures += 1
        self._ledger.forget()
        if is_too_slow(error):
            self._slow_down(len(items))
        elif not (is_data_error(error) or isinstance(error, ProjectionDefect)):
            raise error
        if len(items) == 1:
            if isinstance(error, ProjectionDefect):
                raise error  # all before it is in the tables; it waits in the log, and so does what follows
            await self._reject(items[0], error)
            return
        middle = len(items) // 2
        for half in (items[:middle], items[middle:]):
            try:
                await self._write(await self._project(half), _last(half))
            except Exception as worse:  # noqa: BLE001 - judged in the next round
                await self._divide(half, worse)

    def _slow_down(self, records: int) -> None:
        """Say what is wrong at once: to find out that no size helps takes a dozen statements to their time-out."""
        slow = TooSlow(records, self._writer.statement_timeout_s)
        self._status.slow(str(slow))
        if not self._pace.too_slow(records):
            raise slow

    async def _project(self, items: Sequence[Item]) -> Rows:
        records = [item.record for item in items if item.record is not None]
        needs = await self.beside(self._ledger.needs, records)
        if needs and self._flight is not None and self._flight.hides(needs):
            await self.land()
            needs = self._ledger.needs(records)
        if needs:
            await load(self._writer, self._ledger, needs)
        return await self.beside(self._rows, items, records)

    def _rows(self, items: Sequence[Item], records: list[Record]) -> Rows:
        *projected, refused = self._ledger.apply(records)
        rows: Rows = {type(kind[0]): kind for kind in projected if kind}
        rejected = [self._rejection(item, "decode", item.error) for item in items if item.record is None]
        if refused:
            by_seq = {item.seq: item for item in items}
            rejected += [
                self._rejection(by_seq[record.seq], "projection", error) for record, error in refused if record.seq
            ]
        if rejected:
            rows[RejectionRow] = rejected
        return rows

    async def _write(self, rows: Rows, end: int) -> None:
        end = max(end, self.durable_seq)
        await self._writer.write(Step(self.run, self.durable_seq, end, max(self._known_seq, end)), rows)
        self.durable_seq = end
        self._pace.in_time()
        self._status.in_time()
        for row in rows.get(RejectionRow, ()):
            self._status.reject(row)

    async def _reject(self, item: Item, error: Exception) -> None:
        """Keep its journal row if that can be kept; what has no number was a price, and the next one comes."""
        text = _one_line(error)
        if not item.seq or item.record is None:
            self._status.report(f"run {self.run}: a record could not be stored and is left out: {text}")
            await self._write({}, item.seq)
            return
        journal = journal_row(self._book_id, item.record, ids(item.record))
        try:
            rows: Rows = {JournalRow: [journal], RejectionRow: [self._rejection(item, "projection", text)]}
            await self._write(rows, item.seq)
        except Exception as worse:
            if not is_data_error(worse):
                raise
            await self._write({RejectionRow: [self._rejection(item, "journal", _one_line(worse))]}, item.seq)

    def _rejection(self, item: Item, stage: str, error: str) -> RejectionRow:
        kind = item.record.type if item.record is not None else None
        return RejectionRow(
            self._book_id, self.run, item.seq, stage, kind and storable(kind), storable(error), item.payload
        )


def _last(items: Sequence[Item]) -> int:
    return max((item.seq for item in items), default=0)


def _one_line(error: Exception) -> str:
    """Say what was wrong without the details, which quote whole rows."""
    return f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"


def storable(text: str) -> str:
    """Drop what no text column takes."""
    return text.replace("\0", "").encode(errors="replace").decode()[:ERROR_CHARS_MAX]
