"""From what an owner sends to orders that can be worked on, or why not. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nautilus_ext.simulation.exchange import checks
from nautilus_ext.simulation.exchange.grid import COUNT_MAX, to_atoms
from nautilus_ext.simulation.exchange.orders import Refusal
from nautilus_ext.simulation.exchange.working import Order

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from nautilus_ext.simulation.exchange.accounts import Account
    from nautilus_ext.simulation.exchange.book import BookSide
    from nautilus_ext.simulation.exchange.grid import Grid
    from nautilus_ext.simulation.exchange.matching import Matching
    from nautilus_ext.simulation.exchange.orders import NewOrder
    from nautilus_ext.simulation.exchange.register import Register


def read(
    orders: Sequence[NewOrder], owner: str, account: Account, matchings: Mapping[str, Matching], register: Register
) -> list[Order] | Refusal:
    """All of a list, or the first reason against it. The orders have no number yet."""
    found: list[Order] = []
    for new in orders:
        matching = matchings.get(new.instrument_id)
        if matching is None:
            return Refusal("UNKNOWN_INSTRUMENT", f"{new.instrument_id} is not listed at {register.name}")
        order = Order(new, owner, account, matching, register.ts_ns)
        refusal = checks.of_new(order, register.ts_ns) or _known(order, found, register) or _convert(order)
        if refusal is not None:
            return refusal
        found.append(order)
    refusals = (_apart(order, found, register) for order in found)
    return next((refusal for refusal in refusals if refusal is not None), found)


def _known(order: Order, before: Sequence[Order], register: Register) -> Refusal | None:
    """Its own id must be new, its parent's must not."""
    own_id, parent_id = order.new.client_order_id, order.new.parent_id
    ids = {other.new.client_order_id for other in before}
    if own_id in ids or register.find(order.owner, own_id) is not None:
        return Refusal("DUPLICATE_ID", f"{own_id}: there is an order of that id")
    if parent_id is None or parent_id in ids:
        return None
    parent = register.find(order.owner, parent_id)
    if parent is not None and not parent.filled:
        return None
    return Refusal("BAD_ORDER", f"{own_id}: its parent {parent_id} is not before it in the list, nor open and unfilled")


def _apart(order: Order, listed: Sequence[Order], register: Register) -> Refusal | None:
    """A parent and its legs, or linked orders, that do not fit together. An id that nobody has yet is no fault."""
    ids = {other.new.client_order_id: other for other in listed}
    new, own_id = order.new, order.new.client_order_id
    linked_ids = new.linked_ids if order.linked else ()
    for other_id in (*linked_ids, *((new.parent_id,) if new.parent_id else ())):
        other = ids.get(other_id) or register.find(order.owner, other_id)
        if other is None or other is order:
            continue
        if other.matching is not order.matching:
            where = f"{new.instrument_id}, {other_id} on {other.new.instrument_id}"
            text = f"{own_id} is on {where}; parent, legs and linked orders must be on one listing"
            return Refusal("BAD_ORDER", text)
        if other_id in linked_ids and not other.mutual(order):
            text = f"{own_id}: {other_id} must be {new.contingency} too, and linked with it and with the same others"
            return Refusal("BAD_ORDER", text)
    return None


def _convert(order: Order) -> Refusal | None:
    """An amount of the quote currency becomes lots, at the prices that the book has now."""
    new = order.new
    if not new.quote_quantity:
        return None
    side, grid = order.matching.book.against(buy=order.buy), order.matching.grid
    if side.best_ticks is None:
        return Refusal("NO_LIQUIDITY", f"{new.client_order_id}: the other side of the book is empty")
    try:
        amount = to_atoms(new.quantity)
    except ValueError as error:
        return Refusal("BAD_ORDER", f"{new.client_order_id}: {error}")
    lots = _lots_for(amount, side, grid)
    if not 1 <= lots <= COUNT_MAX:
        text = f"{new.client_order_id}: quantity={new.quantity} {grid.listing.quote} is {lots} lots"
        return Refusal("BAD_ORDER", text)
    order.change(lots=lots)
    order.ordered = lots
    return None


def _lots_for(amount: int, side: BookSide, grid: Grid) -> int:
    """How many lots that many atoms of the quote currency are; beyond the book at its last price."""
    lots, unit = 0, 1
    for level in side.best_first():
        unit = grid.lot_atoms if grid.inverse else grid.cost_atoms(level.ticks, 1)
        part = min(level.lots, amount // unit)
        lots, amount = lots + part, amount - part * unit
        if part < level.lots:
            return lots
    return lots + amount // unit
