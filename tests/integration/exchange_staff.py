"""Somebody at the exchange who is no Nautilus client: pauses the market, moves prices, sets faults."""

from __future__ import annotations

from collections import Counter
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import msgspec
from exchange_client import ANSWER_TIMEOUT_S, RawClient, limit

from nautilus_ext.simulation import wire

if TYPE_CHECKING:
    from nautilus_ext.simulation.faults import Faults

ENDLESS = {"USDT": Decimal(100_000_000), "BTC": Decimal(100_000)}


class Staff(RawClient):
    """An account of his own at one venue, and the keys to the machine room."""

    def __init__(self, venue: str) -> None:
        super().__init__(venue, f"staff-{uuid4().hex}", kind="MARGIN", money=ENDLESS)
        self._orders = 0
        self._faults_before: Counter[str] = Counter()

    def wait_for_heartbeat(self) -> None:
        self.ask(wire.GetAccount)  # what came before its answer is history
        beats = self.beats
        assert self.wait(lambda: self.beats > beats), f"no heartbeat within {ANSWER_TIMEOUT_S} s"

    def set_faults(self, faults: Faults) -> None:
        self._faults_before = Counter(self.control("faults", faults=msgspec.json.encode(faults)).faults)

    def faults_seen(self) -> dict[str, int]:
        """How often each fault has happened since they were set."""
        return dict(Counter(self.control("faults").faults) - self._faults_before)

    def book(self, instrument_id: str, depth: int = 0) -> wire.BookLevels:
        return self.ask(wire.GetBook, instrument_id=instrument_id, depth=depth).book

    def touch(self, instrument_id: str) -> tuple[tuple[int, int], tuple[int, int]]:
        """Best bid and best ask as (ticks, lots)."""
        book = self.book(instrument_id, depth=1)
        return book.bids[0], book.asks[0]

    def place(self, instrument_id: str, side: str, quantity: Decimal, price: Decimal, **more: Any) -> None:
        self._orders += 1
        order = limit(f"S{self._orders}", price, instrument_id=instrument_id, side=side, quantity=quantity, **more)
        self.done(wire.Place, orders=(order,))

    def take(self, instrument_id: str, side: str, quantity: Decimal, price: Decimal) -> None:
        """What rests there up to this price; nothing is left in the book."""
        self.place(instrument_id, side, quantity, price, time_in_force="IOC")
