"""Our own resting orders by price: what a new order would meet first. Pure."""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from decimal import Decimal

    from nautilus_ext.risk.facts import Order

WASTE_MIN = 64  # dead entries that are let lie, however few orders rest


class Resting:
    """A heap per instrument and side; what is gone is thrown away when it comes to the top, or when it is most."""

    def __init__(self) -> None:
        self._heaps: dict[tuple[str, int], list[tuple[Decimal, str]]] = {}
        self._prices: dict[tuple[str, int], dict[str, Decimal]] = {}

    def add(self, order: Order) -> None:
        """An order with a price, unless it waits for a trigger, rests from the moment it is sent."""
        price = order.price
        if price is None or order.trigger_price is not None:
            return
        place, name, is_buy = (order.instrument_id, order.side), order.client_order_id, order.side > 0
        prices = self._prices.get(place)
        if prices is None:
            prices, self._heaps[place] = self._prices.setdefault(place, {}), []
        prices[name] = price
        heap = self._heaps[place]
        heapq.heappush(heap, (-price if is_buy else price, name))
        if len(heap) > 2 * len(prices) + WASTE_MIN:
            heap[:] = [(-price if is_buy else price, name) for name, price in prices.items()]
            heapq.heapify(heap)

    def remove(self, order: Order) -> None:
        self._prices.get((order.instrument_id, order.side), {}).pop(order.client_order_id, None)

    def met_by(self, order: Order, reach: Decimal | None) -> list[str]:
        """The orders on the other side that an order which pays up to `reach` would meet, the best first.

        None: it pays what is asked, and nobody knows what that is.
        """
        place = (order.instrument_id, -order.side)
        prices = self._prices.get(place)
        if not prices or not self._is_met(order, self._best(place, prices), reach):
            return []
        met = [name for name, price in prices.items() if self._is_met(order, price, reach)]
        return sorted(met, key=lambda name: prices[name] * order.side)

    def best(self, instrument_id: str, side: int) -> Decimal | None:
        prices = self._prices.get((instrument_id, side))
        return self._best((instrument_id, side), prices) if prices else None

    def _best(self, place: tuple[str, int], prices: dict[str, Decimal]) -> Decimal:
        heap, sign = self._heaps[place], -place[1]
        while prices.get(heap[0][1]) != heap[0][0] * sign:
            heapq.heappop(heap)
        return heap[0][0] * sign

    @staticmethod
    def _is_met(order: Order, price: Decimal, reach: Decimal | None) -> bool:
        if reach is None:
            return True
        return price <= reach if order.is_buy else price >= reach
