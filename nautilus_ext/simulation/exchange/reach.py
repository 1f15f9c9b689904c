"""How far an order would get in the book as it is now. Pure: it asks, and changes nothing."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from nautilus_ext.simulation.exchange.book import Level, Resting
    from nautilus_ext.simulation.exchange.working import Order


class Reach:
    """`lots` that it would get, at `worst_ticks` at the latest; on a spot listing for `cost` atoms, fee by fee.

    As the matching will do it: own orders give nothing, reducing orders no more than their position, and linked orders
    less with each fill of another. What an account pays with is counted once for all its orders.
    """

    __slots__ = ("_ended", "_gone", "_order", "_rooms", "_spent", "cost", "lots", "worst_ticks")

    def __init__(self, order: Order) -> None:
        self.lots = self.worst_ticks = self.cost = 0
        self._order = order
        self._rooms: dict[str, int] = {}  # by account: its position as the fills so far leave it, in lots
        self._spent: dict[str, int] = {}  # by account: what the fills so far cost it, in atoms
        self._ended = False
        self._gone: dict[int, int] = {}  # by order number: lots that fills so far, also of linked ones, take from it
        against = order.matching.book.against(buy=order.buy)
        for level in against.best_first():
            if self._too_far(level) or self._ended or self.lots == order.open:
                break
            self._add(level)

    def _too_far(self, level: Level) -> bool:
        order = self._order
        if not order.ticks:
            return False
        return level.ticks > order.ticks if order.buy else level.ticks < order.ticks

    def _add(self, level: Level) -> None:
        """Slice by slice: what is hidden comes behind all others of its price."""
        grid = self._order.matching.grid
        queue = deque((maker, maker.shown) for maker in level.queue)
        while queue and self.lots < self._order.open and not self._ended:
            maker, shown = queue.popleft()
            wanted = min(self._order.open - self.lots, shown)
            lots = wanted if maker.stranger else self._from_order(cast("Order", maker), wanted)
            if not lots:
                continue
            self.lots += lots
            self.worst_ticks = level.ticks
            self.cost += self._order.account.cost(grid, self._order.new.side, lots, level.ticks)
            if not maker.stranger:
                self._requeue(queue, cast("Order", maker), shown - lots)

    def _requeue(self, queue: deque[tuple[Resting, int]], maker: Order, shown: int) -> None:
        left = maker.open - self._gone.get(maker.number, 0)
        if left > 0 and shown:
            queue.appendleft((maker, min(shown, left)))
        elif left > 0:
            queue.append((maker, min(maker.display, left)))

    def _from_order(self, maker: Order, missing: int) -> int:
        if maker.owner == self._order.owner:
            self._ended = self._takes_along(maker)
            return 0
        lots = min(missing, maker.open - self._gone.get(maker.number, 0))
        matching = maker.matching
        if lots > 0 and maker.reduce_only:
            lots = min(lots, self._room(maker))
        fill = (matching.grid, maker.new.side, lots, maker.ticks)
        spent = self._spent.get(maker.owner, 0)
        if lots <= 0 or not maker.account.affords(*fill, spent=spent):
            return 0
        self._spent[maker.owner] = spent + maker.account.cost(*fill)
        self._gone[maker.number] = self._gone.get(maker.number, 0) + lots
        self._rooms[maker.owner] = self._position(maker) + (lots if maker.buy else -lots)
        for other in matching.register.linked(maker):
            taken = other.open if maker.new.contingency == "OCO" else lots
            self._gone[other.number] = self._gone.get(other.number, 0) + taken
        return lots

    def _takes_along(self, own: Order) -> bool:
        """Met by itself, an order linked with this one is canceled and ends this one too."""
        order = self._order
        if own not in order.matching.register.linked(order):
            return False
        return own.open > self.lots if order.new.contingency == "OUO" else not self.lots

    def _position(self, maker: Order) -> int:
        if maker.owner not in self._rooms:
            self._rooms[maker.owner] = maker.account.position_lots(maker.matching.grid.instrument_id)
        return self._rooms[maker.owner]

    def _room(self, maker: Order) -> int:
        position = self._position(maker)
        return max(0, -position if maker.buy else position)
