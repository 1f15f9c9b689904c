"""The strangers' orders as they stand in one book, moved to what the market model wants. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nautilus_ext.simulation.exchange.book import Resting

if TYPE_CHECKING:
    from nautilus_ext.simulation.exchange.book import BookSide, Level
    from nautilus_ext.simulation.exchange.matching import Matching
    from nautilus_ext.simulation.exchange.strangers import Strangers
    from nautilus_ext.simulation.market import Quote, Trade

type Wanted = dict[int, int]  # lots by price


class Crowd:
    """Keeps what is still wanted in its place, takes away the newest of what is not, adds at the back."""

    def __init__(self, strangers: Strangers, matching: Matching) -> None:
        self._strangers = strangers
        self._matching = matching
        self._wanted: tuple[Wanted, Wanted] = ({}, {})  # bids, asks: strangers stand nowhere else

    def step(self, quote: Quote, trade: Trade | None) -> None:
        book = self._matching.book
        before, self._wanted = self._wanted, self._strangers.ladder(quote)
        bids, asks = self._wanted
        _withdraw(book.bids, before[0], bids)
        _withdraw(book.asks, before[1], asks)
        self._come(book.bids, bids)
        self._come(book.asks, asks)
        self._matching.register.moved[self._matching] = None
        if trade is not None:
            buy = trade.buyer_is_aggressor
            self._matching.take_for_stranger(buy=buy, lots=trade.lots, limit=None)
            self._refill(book.against(buy=buy), asks if buy else bids)

    def put_back(self, quote: Quote) -> None:
        """Into a book that was restored: what this quote wants, and nothing trades."""
        self._wanted = self._strangers.ladder(quote)
        for side, wanted in zip((self._matching.book.bids, self._matching.book.asks), self._wanted, strict=True):
            self._refill(side, wanted)

    def _come(self, side: BookSide, wanted: Wanted) -> None:
        """What crosses our orders trades with them first."""
        against = self._matching.book.against(buy=side.buy)
        for ticks, missing in _missing(side, wanted):
            left = missing
            if against.reaches(ticks):
                left = self._matching.take_for_stranger(buy=side.buy, lots=missing, limit=ticks)
            if left:
                _join(side, ticks, left)

    def _refill(self, side: BookSide, wanted: Wanted) -> None:
        """After a trade the best is again what the model says; where an order of ours stands across, nobody comes."""
        against = self._matching.book.against(buy=side.buy)
        for ticks, missing in _missing(side, wanted):
            if not against.reaches(ticks):
                _join(side, ticks, missing)


def _missing(side: BookSide, wanted: Wanted) -> list[tuple[int, int]]:
    levels = side.levels
    found = []
    for ticks, lots in wanted.items():
        level = levels.get(ticks)
        missing = lots if level is None else lots - level.strange
        if missing > 0:
            found.append((ticks, missing))
    return found


def _withdraw(side: BookSide, before: Wanted, wanted: Wanted) -> None:
    levels = side.levels
    for ticks in before:
        level = levels.get(ticks)
        if level is not None:
            excess = level.strange - wanted.get(ticks, 0)
            if excess > 0:
                _take_away(side, level, excess)


def _take_away(side: BookSide, level: Level, lots: int) -> None:
    while lots > 0:
        newest = level.strangers[-1]
        if newest.shown > lots:
            side.resize(newest, newest.shown - lots)
            return
        lots -= newest.shown
        side.remove(newest)


def _join(side: BookSide, ticks: int, lots: int) -> None:
    """Neighbours in a queue are one: who of them comes first makes no difference to anybody."""
    level = side.levels.get(ticks)
    if level is not None and level.last().stranger:
        side.resize(level.last(), level.last().shown + lots)
    else:
        side.add(Resting(buy=side.buy, ticks=ticks, shown=lots))
