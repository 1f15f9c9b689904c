"""What is wrong with an order before anything has happened: it is refused, and leaves no trace. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nautilus_ext.simulation.exchange.orders import Refusal
from nautilus_ext.simulation.exchange.working import AT_ANY_PRICE, Stage

if TYPE_CHECKING:
    from collections.abc import Iterator
    from decimal import Decimal

    from nautilus_ext.simulation.exchange.orders import NewOrder
    from nautilus_ext.simulation.exchange.working import Order


def of_new(order: Order, ts_ns: int) -> Refusal | None:
    where = f"{order.new.client_order_id}: "
    for code, problems in (("BAD_ORDER", _bad(order, ts_ns)), ("OFF_GRID", _off_grid(order))):
        for problem in problems:
            return Refusal(code, where + problem)
    return None


def of_change(
    order: Order, *, quantity: Decimal | None, price: Decimal | None, trigger_price: Decimal | None
) -> Refusal | None:
    """Of what a modify asks for, as its owner wrote it."""
    grid, where = order.matching.grid, f"{order.new.client_order_id}: "
    listing = grid.listing
    problem, code = None, "BAD_ORDER"
    lots = grid.lots(quantity) if quantity is not None else order.ordered
    if price is not None and order.any_price:
        problem = f"a {order.new.type} has no price"
    elif trigger_price is not None and (not order.conditional or order.triggered):
        problem = f"a {order.new.type}{' that was triggered' if order.triggered else ''} has no trigger price"
    elif lots is None:
        problem, code = f"quantity={quantity} is no multiple of lot={listing.lot}", "OFF_GRID"
    elif price is not None and grid.ticks(price) is None:
        problem, code = f"price={price} is no multiple of tick={listing.tick}", "OFF_GRID"
    elif trigger_price is not None and grid.ticks(trigger_price) is None:
        problem, code = f"trigger_price={trigger_price} is no multiple of tick={listing.tick}", "OFF_GRID"
    elif lots <= order.filled:
        problem = f"quantity={quantity} must be above filled={grid.quantity(order.filled)}; cancel the order instead"
    elif order.new.parent_id and order.stage != Stage.HELD and lots > order.ordered:
        problem = f"quantity={quantity}; a leg that works can only become smaller"
    elif quantity is not None and order.display > lots:
        problem = f"quantity={quantity} is below display_quantity={order.new.display_quantity}"
    return None if problem is None else Refusal(code, where + problem)


def _bad(order: Order, ts_ns: int) -> Iterator[str]:
    new = order.new
    any_price = new.type in AT_ANY_PRICE
    if any_price != (new.price is None):
        yield f"a {new.type} has {'no' if any_price else 'a'} price"
    if order.conditional != (new.trigger_price is not None):
        yield f"a {new.type} has {'a' if order.conditional else 'no'} trigger_price"
    if new.quote_quantity and (new.type != "MARKET" or new.parent_id):
        yield "quote_quantity is for a MARKET order without a parent"
    if not new.quantity.is_finite() or new.quantity <= 0:
        yield f"quantity={new.quantity}; it must be above 0"
    yield from _bad_time(new, ts_ns)
    if new.post_only and (any_price or new.time_in_force in ("IOC", "FOK")):
        yield f"a {new.type} {new.time_in_force} cannot be post_only: it never rests"
    if new.display_quantity is not None and (any_price or order.display > max(order.lots, 1)):
        yield f"display_quantity={new.display_quantity} needs a price and a quantity that is not below it"
    if new.contingency in ("OCO", "OUO") and not new.linked_ids:
        yield f"{new.contingency} needs linked_ids"


def _bad_time(new: NewOrder, ts_ns: int) -> Iterator[str]:
    if new.time_in_force == "GTD":
        if new.type == "MARKET":
            yield "a MARKET order cannot be GTD: it never rests"
        if new.expire_ns <= ts_ns:
            yield f"expire_ns={new.expire_ns} is not after now={ts_ns}"
    elif new.expire_ns:
        yield f"expire_ns={new.expire_ns} is for GTD, this order is {new.time_in_force}"


def _off_grid(order: Order) -> Iterator[str]:
    new, listing = order.new, order.matching.grid.listing
    if not order.lots and not new.quote_quantity:
        yield f"quantity={new.quantity} is no multiple of lot={listing.lot}"
    if new.price is not None and not order.ticks:
        yield f"price={new.price} is no multiple of tick={listing.tick}"
    if new.trigger_price is not None and not order.trigger_ticks:
        yield f"trigger_price={new.trigger_price} is no multiple of tick={listing.tick}"
    if new.display_quantity is not None and not order.display:
        yield f"display_quantity={new.display_quantity} is no multiple of lot={listing.lot}"
