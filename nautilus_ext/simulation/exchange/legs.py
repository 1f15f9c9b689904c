"""What one order's fills and end do to the orders that hang on it. Pure.

A leg follows its parent: it begins to work when the parent fills, and is never larger than what the parent has filled.
It is done when all that was ordered is, or when the parent has ended and all that it filled is: until then it waits.
Linked orders follow each other: OCO cancels the others at the first fill, OUO makes them smaller by each.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nautilus_ext.simulation.exchange.orders import Updated
from nautilus_ext.simulation.exchange.working import Stage

if TYPE_CHECKING:
    from nautilus_ext.simulation.exchange.register import Register
    from nautilus_ext.simulation.exchange.working import Order


def after_fill(order: Order, lots: int, register: Register) -> None:
    if order.legs:  # they begin when the match is over: a leg must not meet its own parent in the book
        order.fresh += lots
        register.fed.append(order)
    if not order.linked:
        return
    for other in register.linked(order):
        if other.stage == Stage.CLOSED:  # the one before took it along
            continue
        if order.new.contingency == "OCO":
            other.matching.close(other, "CANCELED", f"OCO: {order.new.client_order_id} has filled", alone=True)
        else:
            _reduce(other, lots, order)


def after_close(order: Order, register: Register, *, alone: bool = False) -> None:
    """Canceled, expired or rejected. `alone`: a linked order ended it by filling, and that one goes on."""
    own_id = order.new.client_order_id
    if order.filled and not order.fresh:
        _release(order)
    for leg in () if order.filled else order.legs:
        if leg.stage == Stage.HELD:
            leg.matching.close(leg, "CANCELED", f"PARENT: {own_id} ended unfilled")
    for other in () if alone else register.linked(order):
        if other.stage != Stage.CLOSED:
            other.matching.close(other, "CANCELED", f"LINKED: {own_id} is {order.status.lower()}")


def attach(leg: Order, parent: Order) -> None:
    parent.legs.append(leg)
    leg.parent = parent


def _reduce(other: Order, lots: int, by: Order) -> None:
    """By what the other one has filled."""
    if other.ordered - other.filled <= lots:
        other.matching.close(other, "CANCELED", f"OUO: {by.new.client_order_id} has filled", alone=True)
        return
    other.ordered -= lots
    size = max(other.filled, other.lots - lots)
    if size == other.filled:  # all that its parent filled so far is done
        other.matching.leave(other)
        other.stage = Stage.HELD
    other.matching.shrink(other, size)


def feed(parent: Order) -> None:
    """Gives the legs what their parent has filled since the last time, then lets them work."""
    lots, parent.fresh = parent.fresh, 0
    if not lots:
        return
    grown = [leg for leg in parent.legs if leg.stage != Stage.CLOSED and _grow(leg, lots, parent)]
    if parent.stage == Stage.CLOSED:
        _release(parent)
    for leg in grown:
        if leg.stage in (Stage.WAITING, Stage.WORKING):  # its sibling may have filled meanwhile
            leg.matching.start(leg)


def _grow(leg: Order, lots: int, parent: Order) -> bool:
    """Whether it has something to do that it had not before."""
    was_held = leg.stage == Stage.HELD
    is_first = parent.filled == lots
    size = min(leg.ordered, lots if is_first else leg.lots + lots)
    if size == leg.lots and not was_held:
        return False
    leg.matching.leave(leg)
    leg.change(lots=size)
    if parent.stage == Stage.CLOSED:
        leg.ordered = size
    leg.begin_stage()
    leg.queue_up(leg.matching.register.next_priority())
    leg.matching.register.say(Updated, leg)
    return True


def _release(parent: Order) -> None:
    """It fills no more: its legs are as large as they will ever be, and those that have done that are done."""
    legs, parent.legs = parent.legs, []
    for leg in legs:
        leg.parent = None
        if leg.stage == Stage.CLOSED or leg.ordered == leg.lots:
            continue
        if leg.open:
            leg.ordered = leg.lots
            leg.matching.register.say(Updated, leg)
        else:
            reason = f"PARENT: {parent.new.client_order_id} ended, and what it filled is done"
            leg.matching.close(leg, "CANCELED", reason, alone=True)
