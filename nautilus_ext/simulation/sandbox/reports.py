"""What a sandbox venue answers when the engine reconciles: the truth, where Nautilus's own says that it has nothing."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

from nautilus_trader.core.uuid import UUID4  # pyright: ignore[reportAttributeAccessIssue] - compiled, without a stub
from nautilus_trader.execution.reports import OrderStatusReport, PositionStatusReport
from nautilus_trader.model.enums import OmsType, PositionSide, TrailingOffsetType, TriggerType
from nautilus_trader.model.objects import Quantity

if TYPE_CHECKING:
    from nautilus_trader.model.identifiers import InstrumentId
    from nautilus_trader.model.orders import Order
    from nautilus_trader.model.position import Position


def order_report(order: Order, now_ns: int) -> OrderStatusReport:
    return OrderStatusReport(
        account_id=order.account_id,
        instrument_id=order.instrument_id,
        venue_order_id=order.venue_order_id,
        client_order_id=order.client_order_id,
        order_side=order.side,
        order_type=order.order_type,
        time_in_force=order.time_in_force,
        order_status=order.status,
        quantity=order.quantity,
        filled_qty=order.filled_qty,
        price=order.price if order.has_price else None,
        trigger_price=order.trigger_price if order.has_trigger_price else None,
        trigger_type=getattr(order, "trigger_type", TriggerType.NO_TRIGGER),
        trailing_offset=getattr(order, "trailing_offset", None),
        trailing_offset_type=getattr(order, "trailing_offset_type", TrailingOffsetType.NO_TRAILING_OFFSET),
        limit_offset=getattr(order, "limit_offset", None),
        avg_px=Decimal(repr(order.avg_px)) if order.filled_qty > 0 else None,
        post_only=order.is_post_only,
        reduce_only=order.is_reduce_only,
        contingency_type=order.contingency_type,
        report_id=UUID4(),
        ts_accepted=order.ts_accepted,
        ts_last=order.ts_last,
        ts_init=now_ns,
    )


def position_reports(positions: list[Position], oms_type: OmsType, now_ns: int) -> list[PositionStatusReport]:
    """One per position where the venue keeps them apart, one net per instrument where it nets."""
    if oms_type == OmsType.HEDGING:
        return [_report([each], now_ns, is_apart=True) for each in positions]
    by_instrument: dict[InstrumentId, list[Position]] = {}
    for position in positions:
        by_instrument.setdefault(position.instrument_id, []).append(position)
    return [_report(each, now_ns, is_apart=False) for each in by_instrument.values()]


def _report(positions: list[Position], now_ns: int, *, is_apart: bool) -> PositionStatusReport:
    first = positions[0]
    signed = sum((each.signed_decimal_qty() for each in positions), Decimal(0))
    side = PositionSide.LONG if signed > 0 else PositionSide.SHORT if signed < 0 else PositionSide.FLAT
    return PositionStatusReport(
        account_id=first.account_id,
        instrument_id=first.instrument_id,
        position_side=side,
        quantity=Quantity(abs(signed), first.size_precision),
        avg_px_open=Decimal(repr(first.avg_px_open)) if len(positions) == 1 else None,
        venue_position_id=first.id if is_apart else None,
        report_id=UUID4(),
        ts_last=max(each.ts_last for each in positions),
        ts_init=now_ns,
    )
