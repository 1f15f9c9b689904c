"""One price-time book in whole ticks and lots. Pure: it knows queues, not why an order stands in them."""

from __future__ import annotations

from bisect import bisect_left
from collections import OrderedDict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

type Levels = tuple[tuple[int, int], ...]  # (ticks, lots), best first


class Resting:
    """What stands in a book. `shown` is what others see of it, and what it can trade before it queues up again."""

    __slots__ = ("buy", "shown", "ticks")

    stranger = True

    def __init__(self, *, buy: bool, ticks: int, shown: int) -> None:
        self.buy = buy
        self.ticks = ticks
        self.shown = shown


class Level:
    """All that stands at one price, in the order of its arrival."""

    __slots__ = ("lots", "queue", "strange", "strangers", "ticks")

    def __init__(self, ticks: int) -> None:
        self.ticks = ticks
        self.lots = 0
        self.strange = 0  # of `lots`: what strangers have here
        self.strangers: list[Resting] = []  # those of the queue, oldest first
        self.queue: OrderedDict[Resting, None] = OrderedDict()

    def first(self) -> Resting:
        return next(iter(self.queue))

    def last(self) -> Resting:
        return next(reversed(self.queue))


class BookSide:
    """The bids or the asks. `changed` collects the prices at which something became other than it was."""

    __slots__ = ("_keys", "_sign", "buy", "changed", "levels")

    def __init__(self, *, buy: bool) -> None:
        self.buy = buy
        self.levels: dict[int, Level] = {}
        self.changed: set[int] = set()
        self._sign = 1 if buy else -1
        self._keys: list[int] = []  # sorted so that the best is the last: there it is cheap to come and go

    @property
    def best_ticks(self) -> int | None:
        return self._keys[-1] * self._sign if self._keys else None

    def next_to_trade(self) -> Resting:
        """The next to trade; only to be asked for when there is one."""
        return self.levels[self._keys[-1] * self._sign].first()

    def best_first(self) -> Iterator[Level]:
        for key in reversed(self._keys):
            yield self.levels[key * self._sign]

    def reaches(self, limit: int | None) -> bool:
        """Whether an order of the other side with this limit (None: any price) would trade."""
        if not self._keys:
            return False
        return limit is None or self._keys[-1] >= limit * self._sign

    def add(self, resting: Resting) -> None:
        """At the back of its price's queue."""
        ticks = resting.ticks
        level = self.levels.get(ticks)
        if level is None:
            level = self.levels[ticks] = Level(ticks)
            key = ticks * self._sign
            self._keys.insert(bisect_left(self._keys, key), key)
        level.queue[resting] = None
        if resting.stranger:
            level.strangers.append(resting)
        self._count(level, resting, resting.shown)

    def remove(self, resting: Resting) -> None:
        level = self.levels[resting.ticks]
        del level.queue[resting]
        if resting.stranger:
            level.strangers.remove(resting)
        self._count(level, resting, -resting.shown)
        if not level.queue:
            del self.levels[level.ticks]
            key = level.ticks * self._sign
            del self._keys[bisect_left(self._keys, key)]

    def resize(self, resting: Resting, shown: int) -> None:
        """Shows so much of it from now on, in its old place."""
        self._count(self.levels[resting.ticks], resting, shown - resting.shown)
        resting.shown = shown

    def requeue(self, resting: Resting, shown: int) -> None:
        """Shows so much of it from now on, behind all others of its price."""
        self.resize(resting, shown)
        self.levels[resting.ticks].queue.move_to_end(resting)

    def _count(self, level: Level, resting: Resting, lots: int) -> None:
        level.lots += lots
        if resting.stranger:
            level.strange += lots
        self.changed.add(level.ticks)

    def shown(self, depth: int = 0) -> Levels:
        keys = self._keys[-depth:] if depth else self._keys
        return tuple((key * self._sign, self.levels[key * self._sign].lots) for key in reversed(keys))

    def take_changes(self) -> dict[int, int]:
        """Lots that are now at each changed price; 0: gone."""
        levels = self.levels
        changes = {ticks: levels[ticks].lots if ticks in levels else 0 for ticks in self.changed}
        self.changed.clear()
        return changes


class Book:
    """Both sides of one listing."""

    __slots__ = ("asks", "bids")

    def __init__(self) -> None:
        self.bids = BookSide(buy=True)
        self.asks = BookSide(buy=False)

    def side(self, *, buy: bool) -> BookSide:
        return self.bids if buy else self.asks

    def against(self, *, buy: bool) -> BookSide:
        """The side that an order of this side trades with."""
        return self.asks if buy else self.bids
