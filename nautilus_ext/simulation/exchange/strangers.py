"""The strangers' side of a book: from the model's best bid and ask to a ladder of orders. Pure.

What stands at a deeper price depends on that price alone: when the market moves, the orders that are still wanted stay
as they are and keep their place in the queue.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from zlib import crc32

if TYPE_CHECKING:
    from nautilus_ext.simulation.market import Listing, Quote

LEVELS_MAX = 100
_WORD = (1 << 64) - 1


class Strangers:
    """One listing's strangers."""

    def __init__(self, listing: Listing, *, levels: int, seed: int) -> None:
        if not 1 <= levels <= LEVELS_MAX:
            raise ValueError(f"levels is {levels}; it must be between 1 and {LEVELS_MAX}")
        self._deeper = levels - 1
        self._gap = listing.spread_ticks  # between two deeper levels
        self._depth_lots = int(listing.depth / listing.lot)
        self._salt = crc32(f"{seed}:{listing.instrument_id}".encode())

    def ladder(self, quote: Quote) -> tuple[dict[int, int], dict[int, int]]:
        """Wanted lots by price, bids and asks, best first. The best are the quote itself."""
        gap, lots = self._gap, self._lots
        bids, asks = {quote.bid_ticks: quote.bid_lots}, {quote.ask_ticks: quote.ask_lots}
        first_bid = (quote.bid_ticks - 1) // gap * gap
        for ticks in range(first_bid, max(0, first_bid - self._deeper * gap), -gap):
            bids[ticks] = lots(ticks)
        first_ask = (quote.ask_ticks // gap + 1) * gap
        for ticks in range(first_ask, first_ask + self._deeper * gap, gap):
            asks[ticks] = lots(ticks)
        return bids, asks

    def _lots(self, ticks: int) -> int:
        """Between half and one and a half of the mean depth; mixes the bits of price and salt."""
        mixed = ((ticks + self._salt) * 0x9E3779B97F4A7C15) & _WORD
        mixed = ((mixed ^ (mixed >> 31)) * 0xBF58476D1CE4E5B9) & _WORD
        return max(1, self._depth_lots // 2 + (mixed >> 16) % (self._depth_lots + 1))
