"""After a restart: make a pyramid's rows agree with the venue, as reconciliation has put it into the cache."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

from msgspec.structs import replace

from nautilus_ext.strategies import pyramid_rules as rules

if TYPE_CHECKING:
    from nautilus_trader.model.orders import Order

    from nautilus_ext.schema.portfolio_rows import PositionRow, Signal
    from nautilus_ext.strategies.pyramid import Pyramid


def match_venue(pyramid: Pyramid, claimed: tuple[Signal, ...]) -> None:
    """What was sent becomes a row, what has gone is closed, and the stops are where they should be."""
    rows = pyramid.rows
    for signal in claimed:
        _follow_up(pyramid, signal)
    for row in tuple(rows.open.values()):
        _close_what_exits_filled(pyramid, row)
    now_ns = pyramid.strategy.clock.timestamp_ns()
    for row, part in rules.missing_at_venue(tuple(rows.open.values()), pyramid.held(), _protected(pyramid)):
        pyramid.close(row, rules.Exit(part, now_ns, rules.AWAY))
    for row in tuple(rows.open.values()):
        _learn_stop(pyramid, row)
    if rows.open:
        pyramid.raise_stops(tuple(rows.open.values())[-1])
        count, price = rows.state.pyramid_count, rows.state.last_pyramid_price
        resumed = f"Resumed a pyramid: {len(rows.open)} open, {count} additions, the last at {price}"
        pyramid.strategy.log.info(resumed)


def _follow_up(pyramid: Pyramid, signal: Signal) -> None:
    """The process died between the claim and the row: its order tells what became of it."""
    order = pyramid.cache.order(pyramid.order_id(signal))
    if order is None:
        pyramid.ended(signal, "its order is not known at the venue", "lost")
        return
    if not order.is_closed:
        pyramid.entry = signal
    is_new = order.client_order_id.value not in pyramid.rows.open
    pyramid.entered(signal, order, _fees(pyramid, order) if is_new else Decimal(0))


def _close_what_exits_filled(pyramid: Pyramid, row: PositionRow) -> None:
    exits = [order for order in _exits(pyramid, row.position_id) if order.filled_qty > 0]
    part = sum((order.filled_qty.as_decimal() for order in exits), Decimal(0)) - row.closed_quantity
    if part > 0:
        last = max(exits, key=lambda order: order.ts_last)
        fee = _fees(pyramid, last) * part / max(last.filled_qty.as_decimal(), part)
        pyramid.close(row, rules.Exit(part, last.ts_last, rules.AWAY, Decimal(str(last.avg_px)), fee))


def _learn_stop(pyramid: Pyramid, row: PositionRow) -> None:
    """The venue may have moved it after the last row was written."""
    stop = pyramid.exit_order(row.position_id, rules.STOP)
    if stop is not None and not stop.is_closed and stop.trigger_price.as_decimal() != row.current_stop:
        pyramid.rows.put(replace(row, current_stop=stop.trigger_price.as_decimal()))


def _protected(pyramid: Pyramid) -> set[str]:
    return {name for name in pyramid.rows.open if any(not order.is_closed for order in _exits(pyramid, name))}


def _exits(pyramid: Pyramid, position_id: str) -> list[Order]:
    found = (pyramid.exit_order(position_id, suffix) for suffix in (rules.STOP, rules.TARGET))
    return [order for order in found if order is not None]


def _fees(pyramid: Pyramid, order: Order) -> Decimal:
    mine = (fee.as_decimal() for fee in order.commissions() if fee.currency == pyramid.rows.currency)
    return sum(mine, Decimal(0))
