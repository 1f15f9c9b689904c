"""How far an order would get in the book as it is now. Pure: it asks, and changes nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from nautilus_ext.simulation.exchange.book import Level
    from nautilus_ext.simulation.exchange.working import Order


class Reach:
    """`lots` that it would get, at `worst_ticks` at the latest.

    As the matching will do it: own orders give nothing, reducing orders no more than their position, and linked orders
    less with each fill of another.
    """

    __slots__ = ("_gone", "_order", "_rooms", "lots", "worst_ticks")

    def __init__(self, order: Order) -> None:
        self.lots = self.worst_ticks = 0
        self._order = order
        self._rooms: dict[str, int] = {}  # by account: its position as the fills so far leave it, in lots
        self._gone: dict[int, int] = {}  # by order number: lots that linked fills so far take from it
        against = order.matching.book.against(buy=order.buy)
        for level in against.best_first():
            if self._too_far(level) or self.lots == order.open:
                break
            self._add(level)

    def _too_far(self, level: Level) -> bool:
        order = self._order
        if not order.ticks:
            return False
        return level.ticks > order.ticks if order.buy else level.ticks < order.ticks

    def _add(self, level: Level) -> None:
        for maker in level.queue:
            missing = self._order.open - self.lots
            if not missing:
                return
            lots = min(missing, maker.shown if maker.stranger else self._from_order(cast("Order", maker), missing))
            if lots:
                self.lots += lots
                self.worst_ticks = level.ticks

    def _from_order(self, maker: Order, missing: int) -> int:
        if maker.owner == self._order.owner:
            return 0
        lots = min(missing, maker.open - self._gone.get(maker.number, 0))
        matching = maker.matching
        if lots > 0 and maker.reduce_only:
            lots = min(lots, self._room(maker))
        if lots <= 0 or not maker.account.affords(matching.grid, maker.new.side, lots, maker.ticks):
            return 0
        self._rooms[maker.owner] = self._position(maker) + (lots if maker.buy else -lots)
        for other in matching.register.linked(maker):
            taken = other.open if maker.new.contingency == "OCO" else lots
            self._gone[other.number] = self._gone.get(other.number, 0) + taken
        return lots

    def _position(self, maker: Order) -> int:
        if maker.owner not in self._rooms:
            self._rooms[maker.owner] = maker.account.position_lots(maker.matching.grid.instrument_id)
        return self._rooms[maker.owner]

    def _room(self, maker: Order) -> int:
        position = self._position(maker)
        return max(0, -position if maker.buy else position)
