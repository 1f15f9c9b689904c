"""Orders that were made and never left the node that was killed: nobody will send them, so they end here.

They are looked at when reconciliation is over: an order that reached its venue is not among them any more. One that
the emulator has released counts as sent before that, since Nautilus cannot take in what a venue says of a RELEASED one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nautilus_trader.core.uuid import UUID4  # pyright: ignore[reportAttributeAccessIssue] - compiled, without a stub
from nautilus_trader.model.enums import OrderStatus
from nautilus_trader.model.events import OrderCanceled, OrderDenied, OrderSubmitted

if TYPE_CHECKING:
    from collections.abc import Collection

REASON = "NOT_SENT: the node was killed before the order left it"


def sent_by_the_emulator(cache: Any, now_ns: int) -> list[OrderSubmitted]:
    """Make released orders SUBMITTED, and return what is to be said of it.

    What the venue tells of one is taken in then; of one that never got there Nautilus's check of orders in flight says
    so. Without an account at the venue nothing was ever sent there.
    """
    said = []
    for order in cache.orders():
        account = cache.account_for_venue(order.instrument_id.venue)
        if order.status == OrderStatus.RELEASED and account is not None:
            ids = (order.trader_id, order.strategy_id, order.instrument_id, order.client_order_id)
            said.append(OrderSubmitted(*ids, account.id, UUID4(), now_ns, now_ns))
            order.apply(said[-1])
            cache.update_order(order)
    return said


def ends_of_unsent(cache: Any, now_ns: int) -> list[OrderDenied | OrderCanceled]:
    """Return the event that ends each of them; the emulator has its own, and gives a leg to its entry's fill."""
    emulated = set(cache.orders_emulated())
    unsent = [order for order in cache.orders() if order.status == OrderStatus.INITIALIZED and order not in emulated]
    ids = {order.client_order_id for order in unsent}
    return [_end(order, now_ns) for order in unsent if not _waits(cache, order, ids)]


def _waits(cache: Any, order: Any, unsent: Collection[Any]) -> bool:
    """Tell a leg whose entry goes on from one that nothing will ever release."""
    entry = cache.order(order.parent_order_id) if order.parent_order_id is not None else None
    return entry is not None and not entry.is_closed and entry.client_order_id not in unsent


def _end(order: Any, now_ns: int) -> OrderDenied | OrderCanceled:
    """Deny what nothing came of; a parent, whose children may have traded, is cancelled as its algorithm would."""
    ids = (order.trader_id, order.strategy_id, order.instrument_id, order.client_order_id)
    if order.exec_algorithm_id is not None and order.is_primary:
        return OrderCanceled(*ids, None, None, UUID4(), now_ns, now_ns)
    return OrderDenied(*ids, REASON, UUID4(), now_ns)
