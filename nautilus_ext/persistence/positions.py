"""Rows of positions: each as its newest event tells it, and all of an asset added up as running sums."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from nautilus_ext.persistence import records, rows
from nautilus_ext.persistence.orders import EXACT, QUOTIENT, ZERO, plain
from nautilus_ext.persistence.projections import is_converted, moment, venue_of

if TYPE_CHECKING:
    from nautilus_ext.persistence.records import PositionAdjusted, PositionSnapshot, Record
    from nautilus_ext.persistence.rows import InstrumentRow, PositionRow, UnifiedPositionRow

ONE = Decimal(1)


class PositionKey(NamedTuple):
    """The key of a row: who had the life of a position when it was told first."""

    account_id: str
    instrument_id: str
    strategy_id: str
    position_id: str
    opening_order_id: str
    opened_ns: int


def key_of(row: PositionRow) -> PositionKey:
    return PositionKey(*rows.key_of(row))


class Life(NamedTuple):
    """One life of a position: the id is used again (netting), an order may even open it twice.

    Neither strategy nor position id belongs to it: a later run may tell it again as nobody's, under another id.
    """

    account_id: str
    instrument_id: str
    opening_order_id: str
    opened_ns: int

    def next(self) -> Life:
        return self._replace(opened_ns=self.opened_ns + 1)


def life_of(row: PositionRow | PositionKey) -> Life:
    return Life(row.account_id, row.instrument_id, row.opening_order_id, row.opened_ns)


def told_life(record: Record, event: PositionSnapshot) -> Life:
    opened_ns = record.ts_event if event.ts_opened is None else event.ts_opened  # PositionOpened does not say it
    return Life(event.account_id, event.instrument_id, event.opening_order_id, opened_ns)


def told_key(event: PositionSnapshot, life: Life) -> PositionKey:
    return PositionKey(
        life.account_id,
        life.instrument_id,
        event.strategy_id,
        event.position_id,
        life.opening_order_id,
        life.opened_ns,
    )


class Slot(NamedTuple):
    """A position id as a run tells it: a strategy may claim a life whose row stays with whom it was."""

    account_id: str
    instrument_id: str
    strategy_id: str
    position_id: str
    run: int


def told_slot(record: Record, event: PositionSnapshot | PositionAdjusted) -> Slot:
    return Slot(event.account_id, event.instrument_id, event.strategy_id, event.position_id, record.run)


def snapshot_row(
    book_id: str, record: Record, event: PositionSnapshot, key: PositionKey, instrument: InstrumentRow | None
) -> PositionRow:
    """Make the row of a position from an event, not marked yet."""
    signed = {"LONG": event.quantity, "SHORT": event.quantity.copy_negate()}.get(event.side, ZERO)
    entry = Decimal(repr(event.avg_px_open))
    multiplier = instrument.multiplier if instrument else ONE
    is_inverse = instrument is not None and is_converted(instrument)
    realized, currency = records.money(event.realized_pnl)
    return rows.PositionRow(
        book_id=book_id,
        account_id=key.account_id,
        instrument_id=key.instrument_id,
        strategy_id=key.strategy_id,
        position_id=key.position_id,
        opening_order_id=key.opening_order_id,
        canonical_id=instrument and instrument.canonical_id,
        asset_key=instrument and instrument.asset_key,
        base_asset=instrument and instrument.base_asset,
        venue=instrument.venue if instrument else venue_of(event.instrument_id),
        venue_type=instrument.venue_type if instrument else "NAUTILUS",
        closing_order_id=event.closing_order_id,
        entry=event.entry,
        side=event.side,
        signed_quantity=signed,
        base_quantity=base_quantity(signed, multiplier, entry, is_inverse=is_inverse),
        quantity=event.quantity,
        peak_quantity=event.peak_qty,
        last_quantity=event.last_qty,
        last_price=event.last_px,
        average_entry_price=entry,
        average_exit_price=Decimal(repr(event.avg_px_close)) if event.avg_px_close else None,
        currency=currency or "",
        realized_pnl=realized,
        multiplier=multiplier,
        is_inverse=is_inverse,
        current_price=None,
        marked_ns=None,
        unrealized_pnl=None,
        opened_ns=key.opened_ns,
        closed_ns=event.ts_closed,
        updated_at=moment(record.ts_event),
        updated_ns=record.ts_event,
        run=record.run,
        seq=record.seq,
    )


def base_quantity(signed: Decimal, multiplier: Decimal, entry: Decimal, *, is_inverse: bool) -> Decimal:
    """Return the quantity in base units; contracts of an inverse instrument are worth 1 / entry of them each."""
    units = EXACT.multiply(signed, multiplier)
    return QUOTIENT.divide(units, entry) if is_inverse and units else units


def marked(row: PositionRow, price: Decimal, ts_ns: int) -> PositionRow:
    """Return the row of an open position at a newer price."""
    return row._replace(current_price=price, marked_ns=ts_ns, unrealized_pnl=_unrealized(row, price))


def adjusted(row: PositionRow, record: Record, event: PositionAdjusted) -> PositionRow:
    """Add an adjustment, a commission in the base currency or a funding payment, to an open position.

    Nautilus 1.231 publishes none: its next snapshot contains it. A component of the user's own may.
    """
    signed = EXACT.add(row.signed_quantity, event.quantity_change or ZERO)
    pnl = records.money(event.pnl_change)[0] if event.pnl_change else ZERO
    changed = row._replace(
        side="LONG" if signed > 0 else "SHORT" if signed < 0 else "FLAT",
        signed_quantity=signed,
        base_quantity=base_quantity(signed, row.multiplier, row.average_entry_price, is_inverse=row.is_inverse),
        quantity=signed.copy_abs(),
        peak_quantity=max(row.peak_quantity, signed.copy_abs()),
        realized_pnl=EXACT.add(row.realized_pnl, pnl),
        updated_at=moment(record.ts_event),
        updated_ns=record.ts_event,
        run=record.run,
        seq=record.seq,
    )
    return at_mark_of(changed, row)


def superseded(row: PositionRow, by: PositionRow) -> PositionRow:
    """End an open life of which no event tells the end: a later life of the same run has its position id.

    Nautilus does so when a commission in the base currency leaves dust while a position is turned. The row keeps its
    version: an event of its own that comes late must still replace it.
    """
    return _flat(row)._replace(closing_order_id=by.opening_order_id, closed_ns=by.opened_ns)


def not_held(row: PositionRow, record: Record) -> PositionRow:
    """End an open life that a later run does not hold after it asked the venue: it ended unseen."""
    return _flat(row)._replace(
        closing_order_id=None,
        closed_ns=record.ts_event,
        updated_at=moment(record.ts_event),
        updated_ns=record.ts_event,
        run=record.run,
        seq=record.seq,
    )


def _flat(row: PositionRow) -> PositionRow:
    return row._replace(
        side="FLAT",
        signed_quantity=ZERO,
        base_quantity=ZERO,
        quantity=ZERO,
        current_price=None,
        marked_ns=None,
        unrealized_pnl=None,
    )


def at_mark_of(row: PositionRow, former: PositionRow | None) -> PositionRow:
    """Keep the price at which the position was marked before; one that is flat has none."""
    if row.side == "FLAT":
        return (
            row if row.current_price is None else row._replace(current_price=None, marked_ns=None, unrealized_pnl=None)
        )
    if former is None or former.current_price is None or former.marked_ns is None:
        return row
    return marked(row, former.current_price, former.marked_ns)


def _unrealized(row: PositionRow, price: Decimal) -> Decimal | None:
    units = EXACT.multiply(row.signed_quantity, row.multiplier)
    entry = row.average_entry_price
    if not row.is_inverse:
        return EXACT.multiply(units, EXACT.subtract(price, entry))
    if not price or not entry:
        return None
    if row.base_asset not in (None, row.currency):  # Nautilus counts the profit of Binance's COIN-M in dollars
        return EXACT.multiply(row.base_quantity, EXACT.subtract(price, entry))
    return EXACT.multiply(units, EXACT.subtract(QUOTIENT.divide(ONE, entry), QUOTIENT.divide(ONE, price)))


class AssetSums:
    """The open parts of one asset added up, and the realized profit of all its parts.

    Sums of exact numbers: what is added can be taken away again, in any order, without a trace.
    """

    __slots__ = (
        "asset_key",
        "base_asset",
        "bases",
        "costs",
        "current_price",
        "marked_ns",
        "open_counts",
        "quantities",
        "realized",
        "unmarked",
        "unrealized",
        "updated_ns",
        "venue_types",
        "version",
    )

    def __init__(self, asset_key: str) -> None:
        self.asset_key = asset_key
        self.base_asset: str | None = None
        self.open_counts: dict[str, int] = {}
        self.quantities: dict[str, Decimal] = {}
        self.venue_types: dict[str, str] = {}
        self.bases = {"LONG": ZERO, "SHORT": ZERO}
        self.costs = {"LONG": ZERO, "SHORT": ZERO}
        self.realized: dict[str, Decimal] = {}
        self.unrealized = ZERO
        self.unmarked = 0
        self.current_price: Decimal | None = None
        self.marked_ns = 0
        self.version = (0, 0)
        self.updated_ns = 0

    def take_out(self, former: PositionRow, record_row: PositionRow) -> None:
        """Take away what a part was before the change that `record_row` tells."""
        self.realize(former.currency, former.realized_pnl.copy_negate())
        self.count(former, -1)
        self._move(record_row)

    def put_in(self, row: PositionRow) -> None:
        self.realize(row.currency, row.realized_pnl)
        self.count(row)
        self.base_asset = row.base_asset
        self._move(row)

    def _move(self, row: PositionRow) -> None:
        if (row.run, row.seq) >= self.version:
            self.version = (row.run, row.seq)
            self.updated_ns = row.updated_ns

    def realize(self, currency: str, amount: Decimal) -> None:
        self.realized[currency] = EXACT.add(self.realized.get(currency, ZERO), amount)

    def count(self, row: PositionRow, sign: int = 1) -> None:
        """Add an open part to the sums, or take it away with sign -1."""
        if row.side == "FLAT":
            return
        venue = row.venue
        base = row.base_quantity if sign > 0 else row.base_quantity.copy_negate()
        self.quantities[venue] = EXACT.add(self.quantities.get(venue, ZERO), base)
        self.open_counts[venue] = self.open_counts.get(venue, 0) + sign
        self.venue_types[venue] = row.venue_type
        if not self.open_counts[venue]:
            del self.quantities[venue], self.open_counts[venue], self.venue_types[venue]
        self.bases[row.side] = EXACT.add(self.bases[row.side], base)
        cost = EXACT.multiply(base, row.average_entry_price)
        self.costs[row.side] = EXACT.add(self.costs[row.side], cost)
        if row.unrealized_pnl is None:
            self.unmarked += sign
            return
        pnl = row.unrealized_pnl if sign > 0 else row.unrealized_pnl.copy_negate()
        self.unrealized = EXACT.add(self.unrealized, pnl)
        if sign > 0 and row.marked_ns is not None and row.marked_ns >= self.marked_ns:
            self.current_price, self.marked_ns = row.current_price, row.marked_ns

    def row(self, book_id: str) -> UnifiedPositionRow:
        net = EXACT.add(self.bases["LONG"], self.bases["SHORT"])
        side = "LONG" if net > 0 else "SHORT"
        is_mixed = len(self.realized) != 1
        is_open = bool(self.open_counts)
        return rows.UnifiedPositionRow(
            book_id=book_id,
            asset_key=self.asset_key,
            base_asset=self.base_asset,
            aggregated_quantity=net,
            venue_positions=_json(
                {venue: plain(EXACT.normalize(quantity)) for venue, quantity in self.quantities.items()}
            ),
            venue_types=_json(self.venue_types),
            average_entry_price=QUOTIENT.divide(self.costs[side], self.bases[side]) if net else None,
            current_price=self.current_price if is_open else None,
            pnl_currency=None if is_mixed else next(iter(self.realized)),
            unrealized_pnl=None if is_mixed or self.unmarked else self.unrealized,
            realized_pnl=None if is_mixed else next(iter(self.realized.values())),
            updated_at=moment(self.updated_ns),
            updated_ns=self.updated_ns,
            run=self.version[0],
            seq=self.version[1],
        )


def _json(values: dict[str, str]) -> bytes:
    return msgspec.json.encode(values, order="sorted")
