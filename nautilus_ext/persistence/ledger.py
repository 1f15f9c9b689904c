"""The tables of one book in memory, as far as new records may change them: records in, changed rows out.

For each batch the caller asks what is needed, loads that, and applies the batch:

    needs = ledger.needs(batch)
    ledger.load(needs, …)          # what `needs` names, read from the database
    changes = ledger.apply(batch)  # the same batch
    …                              # write the changes in one transaction; when it fails: ledger.forget()

Records may come in any batches, twice, or late: the rows end as the fold of all records sorted by (run, seq).
But runs come one after another, an Instrument before what names it, and a PositionAdjusted and a Held in their order:
the log has them so.
"""

from __future__ import annotations

import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from nautilus_ext.errors import ProjectionDefect
from nautilus_ext.persistence import orders, projections, records, rows
from nautilus_ext.persistence.order_ledger import OrderLedger
from nautilus_ext.persistence.position_ledger import PositionLedger
from nautilus_ext.persistence.records import Marks, OrderEvent, PositionSnapshot

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from decimal import Decimal

    from nautilus_ext.persistence.positions import PositionKey
    from nautilus_ext.persistence.records import Record


# What values can do to code that is right; all else is a defect of the code.
DATA_ERRORS = (msgspec.MsgspecError, ArithmeticError, ValueError)


class Needs(NamedTuple):
    """What must be loaded before a batch is applied."""

    start: bool
    orders: list[str]
    positions: list[PositionKey]

    def __bool__(self) -> bool:
        return self.start or bool(self.orders) or bool(self.positions)


class Start(NamedTuple):
    """What a ledger begins with: instruments, open positions, sums by asset, realized PnL by (asset key, currency).

    And run, seq, strategy id and position id of each record that told an open position last: its row may have others.
    """

    instruments: Iterable[rows.InstrumentRow] = ()
    open_positions: Iterable[rows.PositionRow] = ()
    unified_positions: Iterable[rows.UnifiedPositionRow] = ()
    realized: Iterable[tuple[str, str, Decimal]] = ()
    told_as: Iterable[tuple[int, int, str, str]] = ()


class Rejection(NamedTuple):
    """A record that no table could take; its journal row is among the changes all the same."""

    record: Record
    error: str


class Changes(NamedTuple):
    """Rows to write, at most one per key."""

    journal: list[rows.JournalRow]
    orders: list[rows.OrderRow]
    fills: list[rows.FillRow]
    positions: list[rows.PositionRow]
    unified_positions: list[rows.UnifiedPositionRow]
    accounts: list[rows.AccountRow]
    instruments: list[rows.InstrumentRow]
    risk_decisions: list[rows.RiskRow]
    routing_decisions: list[rows.RoutingRow]
    rejected: list[Rejection]


class Ledger:
    """Projection of one book, bounded: open orders and positions, a few closed ones, one sum per asset."""

    def __init__(self, book_id: str) -> None:
        self._book_id = book_id
        self.forget()

    def forget(self) -> None:
        """Drop everything, after a transaction that failed: the next batch loads what it needs."""
        self._started = False
        self._instruments: dict[str, rows.InstrumentRow] = {}
        self._orders = OrderLedger()
        self._positions = PositionLedger()
        self._batch: Sequence[Record] = ()
        self._events: list[Any] = []

    def needs(self, batch: Sequence[Record]) -> Needs:
        """Name what must be loaded before `batch` is applied: what it moves and the ledger does not know."""
        self._read(batch)
        order_ids: dict[str, None] = {}
        position_keys: dict[PositionKey, None] = {}
        for record, event in zip(batch, self._events, strict=True):
            if isinstance(event, OrderEvent):
                if self._orders.wants(record, event.client_order_id):
                    order_ids[event.client_order_id] = None
            elif isinstance(event, PositionSnapshot):
                position_keys.update(dict.fromkeys(self._positions.wants(record, event)))
        return Needs(not self._started, list(order_ids), list(position_keys))

    def load(
        self,
        needs: Needs,
        *,
        start: Start | None = None,
        order_records: Iterable[Record] = (),
        position_rows: Iterable[rows.PositionRow] = (),
    ) -> None:
        """Take what was asked for: all journal records of the orders, and the rows of the positions that exist."""
        if needs.start:
            begin = start or Start()
            self._instruments = {row.instrument_id: row for row in begin.instruments}
            self._positions.begin(begin.open_positions, begin.unified_positions, begin.realized, begin.told_as)
            self._started = True
        self._orders.load(needs.orders, order_records)
        self._positions.load(position_rows)

    def apply(self, batch: Sequence[Record]) -> Changes:
        """Project a batch whose needs are loaded; never raises for what a record says: see `Changes.rejected`.

        ProjectionDefect is raised for what our own code does wrong: nothing is refused for it.
        """
        self._read(batch)
        changes = Changes(*([] for _ in Changes._fields))
        pairs = list(zip(batch, self._events, strict=True))
        numbered = {record[:2]: (record, event) for record, event in pairs if record.seq}
        for version in sorted(numbered):
            self._project(changes, *numbered[version])
        for _, event in pairs:
            if isinstance(event, Marks):
                self._mark(event)
        try:
            self._end(changes)
        except Exception as error:
            raise _defect(f"the {len(batch):,} records up to {batch[-1].seq} of run {batch[-1].run}", error) from error
        self._read(())
        return changes

    def alone(self, order_records: Iterable[Record]) -> tuple[rows.OrderRow | None, list[rows.FillRow]]:
        """Fold one order by itself, with the instruments as they are known now."""
        folded = orders.fold(order_records)
        known = self._instruments.get(folded.state.instrument_id) if folded.state else None
        try:
            row = projections.order_row(self._book_id, folded.state, known) if folded.state else None
        except (ArithmeticError, ValueError):
            row = None
        return row, [projections.fill_row(self._book_id, *fill, known) for fill in folded.fills]

    def _read(self, batch: Sequence[Record]) -> None:
        if batch is not self._batch:
            self._batch, self._events = batch, [_event(record) for record in batch]

    def _project(self, changes: Changes, record: Record, event: Any) -> None:
        failed = isinstance(event, Exception)
        known = records.ids(record) if failed or event is None else event
        changes.journal.append(projections.journal_row(self._book_id, record, known))
        if failed:
            changes.rejected.append(Rejection(record, _said(event)))
            return
        try:
            self._take(changes, record, event)
        except DATA_ERRORS as error:  # one record must not hold up the others
            changes.rejected.append(Rejection(record, _said(error)))
        except Exception as error:
            raise _defect(f"run {record.run}, record {record.seq} ({record.type})", error) from error

    def _take(self, changes: Changes, record: Record, event: Any) -> None:
        book_id = self._book_id
        match event:
            case OrderEvent():
                self._orders.take(record, event)
            case PositionSnapshot():
                self._positions.snapshot(book_id, record, event, self._instruments.get(event.instrument_id))
            case records.AccountState():
                changes.accounts.append(projections.account_row(book_id, record, event))
            case records.Instrument():
                self._define(changes, projections.instrument_row(book_id, record, event))
            case records.PositionAdjusted():
                self._positions.adjust(record, event)
            case records.Held():
                self._positions.hold(record, event)
            case records.Risk():
                changes.risk_decisions.append(projections.risk_row(book_id, record, event))
            case records.Routing():
                changes.routing_decisions.append(projections.routing_row(book_id, record, event))

    def _mark(self, event: Marks) -> None:
        for instrument_id, price, ts_ns in event.marks:
            self._positions.mark(instrument_id, price, ts_ns)

    def _end(self, changes: Changes) -> None:
        """Make the rows of what moved, once each."""
        found = self._orders.rows(self._book_id, self._instruments)
        changes.orders.extend(found.orders)
        changes.fills.extend(found.fills)
        changes.rejected.extend(Rejection(record, _said(error)) for record, error in found.refused)
        parts, unified = self._positions.rows(self._book_id)
        changes.positions.extend(parts)
        changes.unified_positions.extend(unified)
        changes.accounts[:] = {row.account_id: row for row in changes.accounts}.values()
        changes.instruments[:] = {row.instrument_id: row for row in changes.instruments}.values()

    def _define(self, changes: Changes, row: rows.InstrumentRow) -> None:
        known = self._instruments.get(row.instrument_id)
        if known is None or (known.run, known.seq) < (row.run, row.seq):
            self._instruments[row.instrument_id] = row
            changes.instruments.append(row)


def _event(record: Record) -> Any:
    try:
        return records.typed(record)
    except (msgspec.MsgspecError, ArithmeticError, ValueError) as error:
        return error


def _defect(where: str, error: Exception) -> ProjectionDefect:
    """Say what failed and where in the code, without the error's own text, which may quote what is in a record."""
    frames = traceback.extract_tb(error.__traceback__)
    at = f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else "?"
    return ProjectionDefect(f"{where}: a defect in the projection ({type(error).__name__} at {at})")


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
