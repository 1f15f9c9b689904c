"""Fills after which the node was killed before it said what became of their position: that is made up for here.

Nautilus publishes a fill and then its position. What the order has and the position lacks is applied as the engine
would have done it, while the cache is filled; the events follow before any other one.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from nautilus_trader.core.uuid import UUID4  # pyright: ignore[reportAttributeAccessIssue] - compiled, without a stub
from nautilus_trader.model.enums import OmsType
from nautilus_trader.model.events import OrderFilled, PositionChanged, PositionClosed, PositionOpened
from nautilus_trader.model.objects import Money
from nautilus_trader.model.position import Position

type PositionEvent = PositionOpened | PositionChanged | PositionClosed


def apply_untold(cache: Any, fill: OrderFilled, closed: str, now_ns: int) -> list[PositionEvent]:
    """Bring a fill into the position of its id, less what the node said it had closed; return what is to be said."""
    instrument, position = cache.instrument(fill.instrument_id), cache.position(fill.position_id)
    if instrument is None:
        raise ValueError(f"its instrument {fill.instrument_id} is not known")
    if Decimal(closed):
        fill = _split(fill, instrument.make_qty(closed))[1] or fill
    if position is None or position.is_closed:
        events = [_open(cache, instrument, fill, now_ns)]
    else:
        now, rest = _split(fill, position.quantity) if position.is_opposite_side(fill.order_side) else (fill, None)
        events: list[PositionEvent] = [_change(cache, position, now, now_ns)]
        if rest is not None:
            cache.snapshot_position(position)
            events.append(_open(cache, instrument, rest, now_ns))
    cache.add_position_id(fill.position_id, fill.instrument_id.venue, fill.client_order_id, fill.strategy_id)
    return events


def _change(cache: Any, position: Position, fill: OrderFilled, now_ns: int) -> PositionEvent:
    position.apply(fill)
    cache.update_position(position)
    kind = PositionClosed if position.is_closed else PositionChanged
    return kind.create(position, fill, UUID4(), now_ns)


def _open(cache: Any, instrument: Any, fill: OrderFilled, now_ns: int) -> PositionEvent:
    position = Position(instrument, fill)
    cache.add_position(position, OmsType.NETTING)
    return PositionOpened.create(position, fill, UUID4(), now_ns)


def _split(fill: OrderFilled, held: Any) -> tuple[OrderFilled, OrderFilled | None]:
    """Divide a fill that turns a position as Nautilus does: to the same digit of the commission."""
    if fill.last_qty <= held:
        return fill, None
    closed = Money(fill.commission * (held / fill.last_qty), fill.commission.currency)
    body = OrderFilled.to_dict(fill)
    return (
        OrderFilled.from_dict(body | {"last_qty": str(held), "commission": str(closed)}),
        OrderFilled.from_dict(
            body | {"last_qty": str(fill.last_qty - held), "commission": str(fill.commission - closed)}
        ),
    )
