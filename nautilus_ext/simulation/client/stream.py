"""What happens to an account, number by number: put in order, each item once, and what it makes of a picture. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from nautilus_ext.simulation.exchange.orders import AccountChanged, Filled

if TYPE_CHECKING:
    from collections.abc import Iterable

    from nautilus_ext.simulation.exchange.orders import AccountState, Fill, OrderState, PositionState
    from nautilus_ext.simulation.wire import StreamItem

AHEAD_MAX = 10_000  # items kept that came before their turn; what is beyond comes again when it is asked for


class InOrder:
    """Hands items on strictly by their number: an early one waits, a second one is dropped."""

    def __init__(self, position: int) -> None:
        self.position = position  # of the last item handed on
        self.known = position  # the highest number that is known to exist
        self._ahead: dict[int, StreamItem] = {}

    @property
    def gap(self) -> bool:
        return self.known > self.position

    def take(self, item: StreamItem) -> list[StreamItem]:
        """What is in turn now that this item is there: none, it, or it and more."""
        self.known = max(self.known, item.seq)
        if item.seq <= self.position:
            return []
        if item.seq > self.position + 1:
            if len(self._ahead) < AHEAD_MAX:
                self._ahead[item.seq] = item
            return []
        ready = [item]
        while (following := self._ahead.pop(ready[-1].seq + 1, None)) is not None:
            ready.append(following)
        self.position = ready[-1].seq
        for number in [number for number in self._ahead if number <= self.position] if self._ahead else ():
            del self._ahead[number]
        return ready

    def heard_of(self, number: int) -> None:
        """The other side has come as far as this: a tail that got lost becomes a gap."""
        self.known = max(self.known, number)


@dataclass
class Picture:
    """Orders, fills and the account as answers described them, each at a moment of its own.

    `follow` brings them all to the same moment: the items since the oldest answer are applied to it. An item that
    an answer contained already changes nothing, because items carry whole states.
    """

    state: AccountState
    orders: dict[str, OrderState] = field(default_factory=dict)  # by venue order id
    fills: dict[str, Fill] = field(default_factory=dict)  # by trade id
    positions: dict[str, PositionState] = field(default_factory=dict)  # by instrument id

    def follow(self, items: Iterable[StreamItem]) -> None:
        for item in items:
            event = item.event
            if isinstance(event, AccountChanged):
                self.state = event.state
                self.positions |= {each.instrument_id: each for each in event.positions}
                continue
            self.orders[event.order.venue_order_id] = event.order
            if isinstance(event, Filled):
                self.fills[event.fill.trade_id] = event.fill
