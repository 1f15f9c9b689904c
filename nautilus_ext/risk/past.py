"""Orders that were sent before a restart, as the rules know orders. Pure."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

from nautilus_ext.risk.facts import Order

if TYPE_CHECKING:
    from nautilus_ext.messages import PastOrder


def order_of(past: PastOrder) -> Order:
    return Order(
        client_order_id=past.client_order_id,
        strategy_id=past.strategy_id,
        instrument_id=past.instrument_id,
        side=1 if past.side == "BUY" else -1,
        quantity=Decimal(past.quantity),
        type=past.type,
        account_id=past.account_id,
        price=None if past.price is None else Decimal(past.price),
        trigger_price=None if past.trigger_price is None else Decimal(past.trigger_price),
        parent_id=past.parent_id,
        operation_id=past.operation_id,
        list_id=past.list_id,
    )
