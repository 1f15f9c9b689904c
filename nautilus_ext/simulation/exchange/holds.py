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


def refuse(order: Order, lots: int, ticks: int, *, taken: int = 0) -> str | None:
    """Why its account could not carry it, as if it and its family held nothing yet.

    What it takes at once is `taken` lots, and paid beside what its family then still holds.
    """
    family = _family(order)
    standing = [order, *family] if order.stands else family
    for member in standing:
        member.account.release(member.number)
    if taken and order.new.contingency == "OUO":  # OCO: the first fill ends the others
        _hold_largest(family, less=taken)
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


def _hold_largest(members: list[Order], less: int = 0) -> None:
    """`less`: when so many lots of each are gone."""
    for member in members:
        member.account.release(member.number)
    left = [member for member in members if member.open > less]
    if left:
        _hold(max(left, key=lambda member: _need(member, less)), less)


def _need(order: Order, less: int) -> tuple[int, int]:
    """Comparable among orders of one side of one listing."""
    grid, lots = order.matching.grid, order.open - less
    spot_sell = grid.spot and not order.buy
    return (lots if spot_sell else grid.value_atoms(order.ticks, lots), order.number)


def _hold(order: Order, less: int = 0) -> None:
    lots = order.open - less
    order.account.hold(
        order.number, order.matching.grid, order.new.side, lots, order.ticks, reduce_only=order.reduce_only
    )
