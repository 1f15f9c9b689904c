"""What happens to an account, number by number: put in order, each item once, and what it makes of a picture. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Self

import msgspec

from nautilus_ext.simulation.exchange.orders import OPEN, AccountChanged, AccountState, Filled

if TYPE_CHECKING:
    from collections.abc import Iterable

    from nautilus_ext.simulation.exchange.orders import Fill, OrderState, PositionState
    from nautilus_ext.simulation.wire import Account, StreamItem

AHEAD_MAX = 10_000  # items kept that came before their turn; what is beyond comes again when it is asked for

_NO_ACCOUNT = AccountState(account="", kind="CASH", balances=(), margins=(), ts_ns=0)


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

    @classmethod
    def of_orders(cls, orders: Iterable[OrderState]) -> Self:
        """Of them alone."""
        return cls(_NO_ACCOUNT, {each.venue_order_id: each for each in orders})

    @classmethod
    def of_account(cls, answer: Account) -> Self:
        return cls(answer.state, positions={each.instrument_id: each for each in answer.positions})

    def add(self, orders: Iterable[OrderState], fills: Iterable[Fill]) -> None:
        self.orders |= {each.venue_order_id: each for each in orders}
        self.fills |= {each.trade_id: each for each in fills}

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

    def explained(self) -> set[str]:
        """Instruments whose position is the sum of the fills.

        Their position is left out of a mass status: the engine would trim orders and fills to what it takes for the
        position's own, and loses working orders thereby. It asks for each position afterwards anyway, and compares.
        """
        net: dict[str, Decimal] = {}
        for fill in self.fills.values():
            signed = fill.quantity if fill.side == "BUY" else -fill.quantity
            net[fill.instrument_id] = net.get(fill.instrument_id, Decimal(0)) + signed
        return {name for name, position in self.positions.items() if net.get(name, Decimal(0)) == position.quantity}

    def as_filled(self) -> list[OrderState]:
        """Orders by their last fills: the engine replays order by order, and average prices follow that order."""
        filled_ns = {each.venue_order_id: each.ts_ns for each in self.fills.values()}
        return sorted(self.orders.values(), key=lambda each: filled_ns.get(each.venue_order_id, each.ts_last_ns))


def before(state: OrderState, fill: Fill) -> OrderState:
    """The order as it was before this fill."""
    filled = state.filled - fill.quantity
    if not filled:
        return msgspec.structs.replace(state, filled=filled, status="ACCEPTED", average_price=None)
    value = (state.average_price or fill.price) * state.filled - fill.price * fill.quantity
    return msgspec.structs.replace(state, filled=filled, status="PARTIALLY_FILLED", average_price=value / filled)


def is_like(state: OrderState, given: dict[str, Any]) -> bool:
    return all(getattr(state, name) == value for name, value in given.items())


def has_changed(items: Iterable[StreamItem], own_id: str, given: dict[str, Any]) -> bool:
    """Whether the order has become what was wanted, or has come to its end."""
    states = [each.event.order for each in items if not isinstance(each.event, AccountChanged)]
    return any(state.status not in OPEN or is_like(state, given) for state in states if state.client_order_id == own_id)
