"""The positions that a ledger knows: all open ones, a few closed ones, and one sum per asset.

A batch costs what it changes, however long the history is.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from nautilus_ext.persistence import positions
from nautilus_ext.persistence.order_ledger import trim
from nautilus_ext.persistence.orders import ZERO
from nautilus_ext.persistence.positions import AssetSums, Slot

if TYPE_CHECKING:
    from collections.abc import Iterable
    from decimal import Decimal

    from nautilus_ext.persistence.positions import Life, PositionKey
    from nautilus_ext.persistence.records import Held, PositionAdjusted, PositionSnapshot, Record
    from nautilus_ext.persistence.rows import InstrumentRow, PositionRow, UnifiedPositionRow

CLOSED_POSITIONS_MAX = 200
LIVES_PER_NS_MAX = 16


class PositionLedger:
    def __init__(self) -> None:
        self._open: dict[Life, PositionRow] = {}
        self._closed: dict[Life, PositionRow] = {}
        self._by_instrument: dict[str, dict[Life, None]] = {}
        self._lives: dict[Slot, Life] = {}  # the open life that a run told last of each position id
        self._slots: dict[Life, Slot] = {}
        self._assets: dict[str, AssetSums] = {}
        self._touched: dict[str, None] = {}
        self._changed: dict[Life, PositionRow] = {}

    def begin(
        self,
        open_positions: Iterable[PositionRow],
        unified_positions: Iterable[UnifiedPositionRow],
        realized: Iterable[tuple[str, str, Decimal]],
        told_as: Iterable[tuple[int, int, str, str]],
    ) -> None:
        for row in unified_positions:
            sums = self._sums(row.asset_key)
            sums.base_asset, sums.version, sums.updated_ns = row.base_asset, (row.run, row.seq), row.updated_ns
            if row.pnl_currency is not None:
                sums.realize(row.pnl_currency, ZERO)  # also of an asset whose parts all have another key by now
        for asset_key, currency, amount in realized:
            self._sums(asset_key).realize(currency, amount)
        told = {(run, seq): (strategy_id, position_id) for run, seq, strategy_id, position_id in told_as}
        for row in open_positions:
            names = told.get((row.run, row.seq), (row.strategy_id, row.position_id))
            self._keep(positions.life_of(row), row, Slot(row.account_id, row.instrument_id, *names, row.run))
            if row.asset_key is not None:
                self._sums(row.asset_key).count(row)

    def load(self, position_rows: Iterable[PositionRow]) -> None:
        """Take rows that stand in the table: closed ones, since the open ones are known."""
        for row in position_rows:
            life = positions.life_of(row)
            if self._known(life) is None:
                self._keep(life, row)

    def wants(self, record: Record, event: PositionSnapshot) -> list[PositionKey]:
        """Return the lives that the event may belong to and nobody knows."""
        life = positions.told_life(record, event)
        lives = [life, life.next()] if record.type == "PositionOpened" else [life]
        return [positions.told_key(event, each) for each in lives if self._known(each) is None]

    def snapshot(self, book_id: str, record: Record, event: PositionSnapshot, instrument: InstrumentRow | None) -> None:
        """Take an event that tells the whole position, unless a newer one was here.

        A life that is known stays with whom it was: nobody claims what a later run hears of it again.
        """
        life = self._life(record, event)
        former = self._known(life)
        if former is not None and record[:2] <= (former.run, former.seq):
            return
        key = positions.told_key(event, life)
        if former is not None:
            key = key._replace(strategy_id=former.strategy_id, position_id=former.position_id)
        row = positions.snapshot_row(book_id, record, event, key, instrument)
        row = positions.at_mark_of(row, former or self._sibling(event.instrument_id))
        slot = positions.told_slot(record, event)
        other = self._lives.get(slot)
        if other is not None and other != life and row.side != "FLAT":
            row = self._alone(row, other)
        self._replace(life, former, row, slot)

    def adjust(self, record: Record, event: PositionAdjusted) -> None:
        """Change the open position of that id; one that is flat or unknown has nothing to adjust."""
        slot = positions.told_slot(record, event)
        siblings = self._by_instrument.get(event.instrument_id, ())
        lives = [life for life in siblings if self._slots[life]._replace(run=record.run) == slot]
        if not lives:
            return
        life = max(lives, key=lambda each: self._open[each][-2:])
        former = self._open[life]
        if record[:2] > (former.run, former.seq):
            self._replace(life, former, positions.adjusted(former, record, event), slot)

    def hold(self, record: Record, event: Held) -> None:
        """End what was open at an account and instrument of which the node holds other positions only.

        Where it holds nothing, nothing is known: not every venue tells of what was held before.
        """
        held = Counter((account, instrument, order) for account, instrument, _, _, order, *_ in event.positions)
        pairs = dict.fromkeys((account, instrument) for account, instrument, _ in held)
        for account_id, instrument_id in pairs:
            lives = [life for life in self._by_instrument.get(instrument_id, ()) if life.account_id == account_id]
            for life in sorted(lives, key=lambda each: self._open[each][-2:], reverse=True):
                former = self._open[life]
                held[life[:3]] -= 1  # when an order opened several, those that were told last are held
                if held[life[:3]] < 0 and (former.run, former.seq) < record[:2]:
                    self._replace(life, former, positions.not_held(former, record))

    def mark(self, instrument_id: str, price: Decimal, ts_ns: int) -> None:
        for life in self._by_instrument.get(instrument_id, ()):
            former = self._open[life]
            if former.marked_ns is None or ts_ns >= former.marked_ns:
                self._replace(life, former, positions.marked(former, price, ts_ns))

    def rows(self, book_id: str) -> tuple[list[PositionRow], list[UnifiedPositionRow]]:
        """End the batch: the rows of what it changed."""
        changed, assets = list(self._changed.values()), self._touched
        self._changed, self._touched = {}, {}
        trim(self._closed, CLOSED_POSITIONS_MAX)
        return changed, [self._assets[asset_key].row(book_id) for asset_key in assets]

    def _life(self, record: Record, event: PositionSnapshot) -> Life:
        """Return the life that the event belongs to.

        In a backtest an order can open a position twice in one nanosecond, when the first part was closed in between:
        the second life gets the next nanosecond, else it would overwrite the first and its realized profit.
        What a later run tells of the same life (reconciliation replays old orders) replaces it.
        """
        life = positions.told_life(record, event)
        former = self._known(life)
        if record.type != "PositionOpened":
            held = self._lives.get(positions.told_slot(record, event))
            if held is None or held.opening_order_id != life.opening_order_id:
                return life
            return held if 0 < held.opened_ns - life.opened_ns < LIVES_PER_NS_MAX else life
        while former is not None and former.side == "FLAT" and former.run == record.run and former.seq < record.seq:
            life = life.next()
            former = self._known(life)
        return life

    def _alone(self, row: PositionRow, other: Life) -> PositionRow:
        """End the older of two open lives of a position id: a run has one at a time, and need not tell its end."""
        held = self._open[other]
        if held.seq > row.seq:
            return positions.superseded(row, held)
        self._replace(other, held, positions.superseded(held, row))
        return row

    def _replace(self, life: Life, former: PositionRow | None, row: PositionRow, slot: Slot | None = None) -> None:
        """Move the sums, too; a newer definition of the instrument may have another asset key."""
        if former is not None and former.asset_key is not None:
            self._sums(former.asset_key).take_out(former, row)
            self._touched[former.asset_key] = None
        if row.asset_key is not None:
            self._sums(row.asset_key).put_in(row)
            self._touched[row.asset_key] = None
        self._keep(life, row, slot)
        self._changed[life] = row

    def _sums(self, asset_key: str) -> AssetSums:
        sums = self._assets.get(asset_key)
        if sums is None:
            sums = self._assets[asset_key] = AssetSums(asset_key)
        return sums

    def _known(self, life: Life) -> PositionRow | None:
        return self._open.get(life) or self._closed.get(life)

    def _sibling(self, instrument_id: str) -> PositionRow | None:
        """Return another open position of the instrument: it knows the newest price."""
        return next((self._open[life] for life in self._by_instrument.get(instrument_id, ())), None)

    def _keep(self, life: Life, row: PositionRow, slot: Slot | None = None) -> None:
        """Put the row where it belongs; one that is told under no position id keeps the one that it had."""
        self._closed.pop(life, None)
        if row.side != "FLAT":
            self._open[life] = row
            self._by_instrument.setdefault(life.instrument_id, {})[life] = None
            if slot is not None:
                self._leave_slot(life)
                self._lives[slot], self._slots[life] = life, slot
            return
        self._leave_slot(life)
        if self._open.pop(life, None) is not None:
            siblings = self._by_instrument[life.instrument_id]
            del siblings[life]
            if not siblings:
                del self._by_instrument[life.instrument_id]
        self._closed[life] = row

    def _leave_slot(self, life: Life) -> None:
        slot = self._slots.pop(life, None)
        if slot is not None and self._lives.get(slot) == life:
            del self._lives[slot]
