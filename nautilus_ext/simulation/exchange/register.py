"""What a venue knows beside its books: its open orders, its numbers, and what happened since somebody asked. Pure."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

import msgspec

from nautilus_ext.simulation.exchange.agenda import Agenda
from nautilus_ext.simulation.exchange.orders import Accepted, Canceled, Expired, Filled, Rejected, Triggered, Updated
from nautilus_ext.simulation.exchange.working import Stage

if TYPE_CHECKING:
    from nautilus_ext.simulation.exchange.matching import Matching
    from nautilus_ext.simulation.exchange.orders import Event, Fill, Status
    from nautilus_ext.simulation.exchange.working import Order


class Counters(msgspec.Struct, frozen=True, kw_only=True):
    """The numbers that come next: none is ever given twice, also not after a restore."""

    order: int = 1
    trade: int = 1
    match: int = 1
    priority: int = 1


class Print(msgspec.Struct, frozen=True):
    """A trade as everybody sees it."""

    instrument_id: str
    match_id: int
    ticks: int
    lots: int
    buyer_is_aggressor: bool
    ts_ns: int


class Register:
    """Of one venue. `ts_ns` is the moment of the command or step that is being carried out."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.ts_ns = 0
        self.open: dict[int, Order] = {}  # by number, oldest first
        self.events: list[tuple[str, Event]] = []
        self.prints: list[Print] = []
        self.touched: dict[str, set[str]] = {}  # account -> instruments whose position changed
        self.fed: deque[Order] = deque()  # parents with fills that their legs have not got yet
        self.moved: dict[Matching, None] = {}  # listings whose triggers are to be looked at
        self._ids: dict[tuple[str, str], Order] = {}
        self._expiries = Agenda()
        self._order = self._trade = self._match = self._priority = 1

    # -- numbers ------------------------------------------------------------------------------------

    @property
    def counters(self) -> Counters:
        return Counters(order=self._order, trade=self._trade, match=self._match, priority=self._priority)

    @counters.setter
    def counters(self, counters: Counters) -> None:
        self._order, self._trade = counters.order, counters.trade
        self._match, self._priority = counters.match, counters.priority

    def next_trade_id(self) -> str:
        number = self._trade
        self._trade = number + 1
        return f"{self.name}-T{number}"

    def next_match(self) -> int:
        self._match += 1
        return self._match - 1

    def next_priority(self) -> int:
        self._priority += 1
        return self._priority - 1

    # -- open orders --------------------------------------------------------------------------------

    def enter(self, order: Order) -> None:
        """Gives a new order its number."""
        order.number = self._order
        order.venue_order_id = f"{self.name}-{order.number}"
        self._order += 1
        self.put(order)

    def put(self, order: Order) -> None:
        self.open[order.number] = order
        self._ids[order.owner, order.new.client_order_id] = order
        if order.expire_ns:
            self._expiries.add(order.expire_ns, order.number)

    def leave(self, order: Order) -> None:
        del self.open[order.number]
        del self._ids[order.owner, order.new.client_order_id]
        if order.expire_ns:
            self._expiries.remove(order.expire_ns, order.number)

    def find(self, owner: str, client_order_id: str, venue_order_id: str | None = None) -> Order | None:
        if venue_order_id is None:
            return self._ids.get((owner, client_order_id))
        number = venue_order_id.removeprefix(f"{self.name}-")
        order = self.open.get(int(number)) if number.isascii() and number.isdecimal() else None
        if order is None or order.owner != owner or order.venue_order_id != venue_order_id:
            return None
        return order

    def linked(self, order: Order) -> list[Order]:
        """The open ones that its fills cancel or reduce; a link that the other does not know has no effect."""
        if not order.linked:
            return []
        found = (self._ids.get((order.owner, other)) for other in order.new.linked_ids)
        return [other for other in found if other is not None and other is not order and other.mutual(order)]

    def expired(self, ts_ns: int) -> Order | None:
        number = self._expiries.first_up_to(ts_ns)
        return None if number is None else self.open[number]

    # -- what happened ------------------------------------------------------------------------------

    def say(self, kind: type[Accepted | Updated | Triggered], order: Order) -> None:
        order.ts_last_ns = self.ts_ns
        self.events.append((order.owner, kind(order.state())))

    def say_filled(self, order: Order, fill: Fill) -> None:
        order.ts_last_ns = self.ts_ns
        self.events.append((order.owner, Filled(order.state(), fill)))

    def say_closed(self, order: Order, status: Status, reason: str) -> None:
        """Its last event; a filled order has said so with its fill."""
        kind = {"CANCELED": Canceled, "EXPIRED": Expired, "REJECTED": Rejected}[status]
        order.stage, order.status, order.reason, order.ts_last_ns = Stage.CLOSED, status, reason, self.ts_ns
        self.events.append((order.owner, kind(order.state())))

    def touch(self, owner: str, instrument_id: str | None = None) -> None:
        """The account says at the end of the command how it now stands."""
        instruments = self.touched.get(owner)
        if instruments is None:
            instruments = self.touched[owner] = set()
        if instrument_id is not None:
            instruments.add(instrument_id)
