"""What working orders tie up in their account. Pure.

Linked orders of one side can never all fill, so they share one hold: that of the largest.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nautilus_ext.simulation.exchange.working import Stage

if TYPE_CHECKING:
    from nautilus_ext.simulation.exchange.working import Order


def hold(order: Order) -> None:
    """For what is open of an order in the book; replaces what it held before."""
    order.matching.register.touch(order.owner)
    if order.linked:
        _hold_largest([order, *_family(order)])
    else:
        _hold(order)


def release(order: Order) -> None:
    order.matching.register.touch(order.owner)
    order.account.release(order.number)
    if order.linked:
        _hold_largest(_family(order))


def refuse(order: Order, lots: int, ticks: int) -> str | None:
    """Why its account could not carry it, as if it and its family held nothing yet."""
    family = _family(order)
    standing = [order, *family] if order.stands else family
    for member in standing:
        member.account.release(member.number)
    side, grid = order.new.side, order.matching.grid
    reason = order.account.refuse(grid, side, lots, ticks, reduce_only=order.reduce_only)
    _hold_largest(standing)
    return reason


def _family(order: Order) -> list[Order]:
    """The linked orders that stand on the same side of the same book."""
    if not order.linked:
        return []
    linked = order.matching.register.linked(order)
    return [
        other
        for other in linked
        if other.stands and other.stage == Stage.WORKING and other.buy == order.buy and other.matching is order.matching
    ]


def _hold_largest(members: list[Order]) -> None:
    if not members:
        return
    for member in members:
        member.account.release(member.number)
    _hold(max(members, key=_need))


def _need(order: Order) -> tuple[int, int]:
    """Comparable among orders of one side of one listing."""
    grid = order.matching.grid
    spot_sell = grid.spot and not order.buy
    return (order.open if spot_sell else grid.value_atoms(order.ticks, order.open), order.number)


def _hold(order: Order) -> None:
    order.account.hold(
        order.number, order.matching.grid, order.new.side, order.open, order.ticks, reduce_only=order.reduce_only
    )
