"""What the cache of a running node shows at one moment: prices of open positions, and the answer to an audit."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

CLOSED_ORDERS_TOLD_MAX = 1_000


def marks(cache: Any) -> dict[str, tuple[str, int]]:
    """Return price and time per instrument with an open position."""
    latest = {position.instrument_id: position for position in cache.positions_open()}
    return {instrument_id.value: _mark(cache, position) for instrument_id, position in latest.items()}


def _mark(cache: Any, position: Any) -> tuple[str, int]:
    """Take the mid, else the last trade, else the last bar, else the fill that made the position."""
    instrument_id = position.instrument_id
    quote = cache.quote_tick(instrument_id)
    if quote is not None:
        bid, ask = quote.bid_price.as_decimal(), quote.ask_price.as_decimal()
        if bid and ask:  # zero: this side of the book is empty
            return format((bid + ask) / Decimal(2), "f"), quote.ts_event
    trade = cache.trade_tick(instrument_id)
    if trade is not None:
        return str(trade.price), trade.ts_event
    bars = [bar for kind in cache.bar_types(instrument_id=instrument_id) if (bar := cache.bar(kind)) is not None]
    if bars:
        bar = max(bars, key=lambda each: each.ts_event)
        return str(bar.close), bar.ts_event
    return str(position.last_event.last_px), position.last_event.ts_event


def audit_answer(cache: Any, asked: str, seq: int, recent_ids: Iterable[Any]) -> dict[str, Any]:
    """Return the orders that work, those of `recent_ids` that are closed (newest first), and the open positions."""
    closed = []
    for client_order_id in recent_ids:
        order = cache.order(client_order_id)
        if order is not None and order.is_closed:
            closed.append(order)
            if len(closed) == CLOSED_ORDERS_TOLD_MAX:
                break
    return {
        "id": asked,
        "seq": seq,
        "orders": [_order_row(order) for order in (*_working(cache), *closed)],
        "positions": [_position_row(position) for position in cache.positions_open()],
    }


def held(cache: Any) -> dict[str, Any]:
    """Return what the book holds: the open positions, and the names of the orders that work."""
    return {
        "positions": [_position_row(position) for position in cache.positions_open()],
        "orders": [order.client_order_id.value for order in _working(cache)],
    }


def _working(cache: Any) -> list[Any]:
    found = {
        order.client_order_id: order
        for orders in (cache.orders_open(), cache.orders_inflight(), cache.orders_emulated())
        for order in orders
    }
    return list(found.values())


def _order_row(order: Any) -> list[str | None]:
    return [
        order.client_order_id.value,
        order.status_string(),
        str(order.quantity),
        str(order.filled_qty),
        order.venue_order_id.value if order.venue_order_id else None,
    ]


def _position_row(position: Any) -> list[str]:
    return [
        position.account_id.value,
        position.instrument_id.value,
        position.strategy_id.value,
        position.id.value,
        position.opening_order_id.value,
        position.side.name,
        str(position.quantity),
    ]
