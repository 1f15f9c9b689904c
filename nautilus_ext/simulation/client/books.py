"""Order books as they arrive from the exchange: a snapshot, then changes without gap, in the engine's own types."""

from __future__ import annotations

from heapq import nlargest, nsmallest
from typing import TYPE_CHECKING

from nautilus_trader.model.data import BookOrder, OrderBookDelta, OrderBookDeltas, OrderBookDepth10
from nautilus_trader.model.enums import BookAction, OrderSide, RecordFlag
from nautilus_trader.model.objects import Price, Quantity

if TYPE_CHECKING:
    from nautilus_trader.model.instruments import Instrument

    from nautilus_ext.simulation.wire import BookChange, BookLevels

    type Levels = tuple[tuple[int, int], ...]

DEPTH = 10


class BookReader:
    """One instrument's book. `number` is None until a snapshot came, and again from a gap on until the next one."""

    def __init__(self, instrument: Instrument) -> None:
        self.instrument_id = instrument.id
        self.number: int | None = None
        self._tick_raw = instrument.price_increment.raw
        self._lot_raw = instrument.size_increment.raw
        self._price_precision = instrument.price_precision
        self._size_precision = instrument.size_precision
        self._bids: dict[int, int] = {}
        self._asks: dict[int, int] = {}

    def begin(self, book: BookLevels, ts_ns: int) -> OrderBookDeltas:
        """The snapshot: what was there before is forgotten."""
        self.number = book.number
        self._bids, self._asks = dict(book.bids), dict(book.asks)
        return self.snapshot(book, ts_ns)

    def snapshot(self, book: BookLevels, ts_ns: int) -> OrderBookDeltas:
        first = OrderBookDelta.clear(self.instrument_id, book.number, book.ts_ns, ts_ns)
        rows = [(OrderSide.BUY, *level) for level in book.bids] + [(OrderSide.SELL, *level) for level in book.asks]
        flags = [RecordFlag.F_SNAPSHOT.value] * len(rows)
        if flags:
            flags[-1] |= RecordFlag.F_LAST.value
        deltas = [
            OrderBookDelta(self.instrument_id, BookAction.ADD, self._order(*row), flag, book.number, book.ts_ns, ts_ns)
            for row, flag in zip(rows, flags, strict=True)
        ]
        return OrderBookDeltas(self.instrument_id, [first, *deltas])

    def change(self, change: BookChange, ts_ns: int) -> OrderBookDeltas | None:
        """None when it does not follow what came last: then only a snapshot helps."""
        if self.number is None or change.number > self.number + 1:
            self.number = None
            return None
        if change.number <= self.number:
            return None  # it came before
        self.number = change.number
        rows = [
            *((OrderSide.BUY, ticks, lots, _set(self._bids, ticks, lots)) for ticks, lots in change.bids),
            *((OrderSide.SELL, ticks, lots, _set(self._asks, ticks, lots)) for ticks, lots in change.asks),
        ]
        if not rows:
            return None
        deltas = []
        for index, (side, ticks, lots, action) in enumerate(rows):
            flags = RecordFlag.F_LAST.value if index == len(rows) - 1 else 0
            order = self._order(side, ticks, lots)
            deltas.append(OrderBookDelta(self.instrument_id, action, order, flags, change.number, change.ts_ns, ts_ns))
        return OrderBookDeltas(self.instrument_id, deltas)

    def depth(self, ts_event_ns: int, ts_ns: int) -> OrderBookDepth10:
        bids = [self._order(OrderSide.BUY, ticks, self._bids[ticks]) for ticks in nlargest(DEPTH, self._bids)]
        asks = [self._order(OrderSide.SELL, ticks, self._asks[ticks]) for ticks in nsmallest(DEPTH, self._asks)]
        counts = [[1] * len(side) + [0] * (DEPTH - len(side)) for side in (bids, asks)]
        bids += [self._order(OrderSide.BUY, 0, 0)] * (DEPTH - len(bids))
        asks += [self._order(OrderSide.SELL, 0, 0)] * (DEPTH - len(asks))
        return OrderBookDepth10(self.instrument_id, bids, asks, *counts, 0, self.number or 0, ts_event_ns, ts_ns)

    def _order(self, side: OrderSide, ticks: int, lots: int) -> BookOrder:
        """Levels, not orders: the engine names them by their price."""
        price = Price.from_raw(ticks * self._tick_raw, self._price_precision)
        return BookOrder(side, price, Quantity.from_raw(lots * self._lot_raw, self._size_precision), 0)


def _set(levels: dict[int, int], ticks: int, lots: int) -> BookAction:
    if not lots:
        levels.pop(ticks, None)
        return BookAction.DELETE
    action = BookAction.UPDATE if ticks in levels else BookAction.ADD
    levels[ticks] = lots
    return action
