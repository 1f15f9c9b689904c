"""The positions that a ledger knows: all open ones, a few closed ones, and one sum per asset.

A batch costs what it changes, however long the history is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nautilus_ext.persistence import positions
from nautilus_ext.persistence.order_ledger import trim
from nautilus_ext.persistence.positions import AssetSums, PositionKey

if TYPE_CHECKING:
    from collections.abc import Iterable
    from decimal import Decimal

    from nautilus_ext.persistence.records import PositionAdjusted, PositionSnapshot, Record
    from nautilus_ext.persistence.rows import InstrumentRow, PositionRow, UnifiedPositionRow

CLOSED_POSITIONS_MAX = 2_000
LIVES_PER_NS_MAX = 16


class PositionLedger:
    def __init__(self) -> None:
        self._open: dict[PositionKey, PositionRow] = {}
        self._closed: dict[PositionKey, PositionRow] = {}
        self._by_instrument: dict[str, dict[PositionKey, None]] = {}
        self._lives: dict[tuple[str, ...], PositionKey] = {}  # the open life of each position id
        self._assets: dict[str, AssetSums] = {}
        self._changed: dict[PositionKey, PositionRow] = {}

    def begin(
        self,
        open_positions: Iterable[PositionRow],
        unified_positions: Iterable[UnifiedPositionRow],
        realized: Iterable[tuple[str, str, Decimal]],
    ) -> None:
        for row in unified_positions:
            sums = self._sums(row.asset_key)
            sums.base_asset, sums.version, sums.updated_ns = row.base_asset, (row.run, row.seq), row.updated_ns
        for asset_key, currency, amount in realized:
            self._sums(asset_key).realize(currency, amount)
        for row in open_positions:
            self._keep(positions.key_of(row), row)
            if row.asset_key is not None:
                self._sums(row.asset_key).count(row)

    def load(self, position_rows: Iterable[PositionRow]) -> None:
        """Take rows that stand in the table: closed ones, since the open ones are known."""
        for row in position_rows:
            key = positions.key_of(row)
            if self._known(key) is None:
                self._keep(key, row)

    def wants(self, record: Record, event: PositionSnapshot) -> list[PositionKey]:
        """Return the lives that the event may belong to and nobody knows."""
        key = positions.event_key(record, event)
        keys = [key, _next_life(key)] if record.type == "PositionOpened" else [key]
        return [each for each in keys if self._known(each) is None]

    def snapshot(self, book_id: str, record: Record, event: PositionSnapshot, instrument: InstrumentRow | None) -> None:
        """Take an event that tells the whole position, unless a newer one was here."""
        key = self._life(record, event)
        former = self._known(key)
        if former is not None and record[:2] <= (former.run, former.seq):
            return
        row = positions.snapshot_row(book_id, record, event, key, instrument)
        row = positions.at_mark_of(row, former or self._sibling(event.instrument_id))
        other = self._lives.get(key[:4])
        if other is not None and other != key and row.side != "FLAT":
            row = self._alone(row, other)
        self._replace(key, former, row)

    def adjust(self, record: Record, event: PositionAdjusted) -> None:
        """Change the open position of that id; one that is flat or unknown has nothing to adjust."""
        for key in self._by_instrument.get(event.instrument_id, ()):
            same = key[:4] == (event.account_id, event.instrument_id, event.strategy_id, event.position_id)
            former = self._open[key]
            if same and record[:2] > (former.run, former.seq):
                self._replace(key, former, positions.adjusted(former, record, event))
                return

    def mark(self, instrument_id: str, price: Decimal, ts_ns: int) -> None:
        for key in self._by_instrument.get(instrument_id, ()):
            former = self._open[key]
            if former.marked_ns is None or ts_ns >= former.marked_ns:
                self._replace(key, former, positions.marked(former, price, ts_ns))

    def rows(self, book_id: str) -> tuple[list[PositionRow], list[UnifiedPositionRow]]:
        """End the batch: the rows of what it changed."""
        changed = list(self._changed.values())
        assets = dict.fromkeys(row.asset_key for row in changed if row.asset_key is not None)
        self._changed = {}
        trim(self._closed, CLOSED_POSITIONS_MAX)
        return changed, [self._assets[asset_key].row(book_id) for asset_key in assets]

    def _life(self, record: Record, event: PositionSnapshot) -> PositionKey:
        """Return the key of the life that the event belongs to.

        In a backtest an order can open a position twice in one nanosecond, when the first part was closed in between:
        the second life gets the next nanosecond, else it would overwrite the first and its realized profit.
        What a later run tells of the same life (reconciliation replays old orders) replaces it.
        """
        key = positions.event_key(record, event)
        if record.type != "PositionOpened":
            held = self._lives.get(key[:4])
            if held is None or held.opening_order_id != key.opening_order_id:
                return key
            return held if 0 < held.opened_ns - key.opened_ns < LIVES_PER_NS_MAX else key
        former = self._known(key)
        while former is not None and former.side == "FLAT" and former.run == record.run and former.seq < record.seq:
            key = _next_life(key)
            former = self._known(key)
        return key

    def _alone(self, row: PositionRow, other: PositionKey) -> PositionRow:
        """Leave one open life to a position id: the older of the two, by record and by opening, has ended."""
        held = self._open[other]
        if (held.run, held.seq) < (row.run, row.seq) and held.opened_ns <= row.opened_ns:
            self._replace(other, held, positions.superseded(held, row))
        elif (held.run, held.seq) > (row.run, row.seq) and held.opened_ns >= row.opened_ns:
            return positions.superseded(row, held)
        return row

    def _replace(self, key: PositionKey, former: PositionRow | None, row: PositionRow) -> None:
        if row.asset_key is not None:
            self._sums(row.asset_key).replace(former, row)
        self._keep(key, row)
        self._changed[key] = row

    def _sums(self, asset_key: str) -> AssetSums:
        sums = self._assets.get(asset_key)
        if sums is None:
            sums = self._assets[asset_key] = AssetSums(asset_key)
        return sums

    def _known(self, key: PositionKey) -> PositionRow | None:
        return self._open.get(key) or self._closed.get(key)

    def _sibling(self, instrument_id: str) -> PositionRow | None:
        """Return another open position of the instrument: it knows the newest price."""
        return next((self._open[key] for key in self._by_instrument.get(instrument_id, ())), None)

    def _keep(self, key: PositionKey, row: PositionRow) -> None:
        self._closed.pop(key, None)
        if row.side != "FLAT":
            self._open[key] = row
            self._lives[key[:4]] = key
            self._by_instrument.setdefault(key.instrument_id, {})[key] = None
            return
        if self._open.pop(key, None) is not None:
            if self._lives.get(key[:4]) == key:
                del self._lives[key[:4]]
            siblings = self._by_instrument[key.instrument_id]
            del siblings[key]
            if not siblings:
                del self._by_instrument[key.instrument_id]
        self._closed[key] = row


def _next_life(key: PositionKey) -> PositionKey:
    return key._replace(opened_ns=key.opened_ns + 1)
