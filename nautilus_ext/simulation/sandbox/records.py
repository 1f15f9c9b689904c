"""Orders and positions of the engine as records, and records as orders and positions."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

import msgspec
from nautilus_trader.core.uuid import UUID4  # pyright: ignore[reportAttributeAccessIssue] - compiled, without a stub
from nautilus_trader.model.enums import LiquiditySide, OrderSide, OrderStatus, PositionSide
from nautilus_trader.model.events import (
    OrderAccepted,
    OrderCanceled,
    OrderFilled,
    OrderInitialized,
    OrderSubmitted,
    OrderTriggered,
    OrderUpdated,
)
from nautilus_trader.model.identifiers import (
    ClientOrderId,
    InstrumentId,
    PositionId,
    StrategyId,
    TradeId,
    VenueOrderId,
)
from nautilus_trader.model.objects import FIXED_PRECISION, Money, Price, Quantity
from nautilus_trader.model.orders import MarketOrder
from nautilus_trader.model.orders.unpacker import OrderUnpacker
from nautilus_trader.model.position import Position
from nautilus_trader.serialization.serializer import MsgSpecSerializer

from nautilus_ext.simulation.sandbox.memory import OrderRecord, PositionRecord

if TYPE_CHECKING:
    from nautilus_trader.model.identifiers import AccountId, TraderId
    from nautilus_trader.model.instruments import Instrument
    from nautilus_trader.model.orders import Order

FOLDED_TAG = "REMEMBERED"


def instrument_record(instrument: Instrument) -> bytes:
    return MsgSpecSerializer(msgspec.json).serialize(instrument)


def instrument_of(definition: bytes) -> Instrument:
    return MsgSpecSerializer(msgspec.json).deserialize(definition)


def order_record(order: Order, position_id: PositionId | None) -> OrderRecord:
    return OrderRecord(
        initialized=OrderInitialized.to_dict(order.init_event),
        is_closed=order.is_closed,
        venue_order_id=_text(order.venue_order_id),
        position_id=_text(position_id),
        quantity=str(order.quantity),
        quote_quantity=order.is_quote_quantity,
        price=_text(order.price) if order.has_price else None,
        trigger_price=_text(order.trigger_price) if order.has_trigger_price else None,
        filled=str(order.filled_qty),
        average_price=order.avg_px,
        triggered=getattr(order, "is_triggered", False),
        activated=getattr(order, "is_activated", False),
    )


def relatives(order: Order, orders: Any) -> set[ClientOrderId]:
    """The order and those that its bracket's rules may look up. `orders` finds an order by id, or None."""
    found = {order.client_order_id, *(order.linked_order_ids or [])}
    if order.parent_order_id is not None:
        found.add(order.parent_order_id)
        parent = orders(order.parent_order_id)
        found |= set(parent.linked_order_ids or []) if parent is not None else set()
    return found


def order_of(record: OrderRecord, account_id: AccountId, instrument: Instrument) -> Order:
    """The order in the state in which it was: the same identifiers, its fills folded into one."""
    order = OrderUnpacker.unpack(_without_activation(record))
    ids = {
        "trader_id": order.trader_id,
        "strategy_id": order.strategy_id,
        "instrument_id": order.instrument_id,
        "client_order_id": order.client_order_id,
        "account_id": account_id,
    }
    order.apply(OrderSubmitted(**ids, **_stamps(order.ts_init)))
    ids["venue_order_id"] = VenueOrderId(record.venue_order_id) if record.venue_order_id is not None else None
    if not record.is_closed:
        order.apply(OrderAccepted(**ids, **_stamps(order.ts_init)))
    if _is_updated(order, record):
        order.apply(_updated(record, ids, order.ts_init))
    if record.triggered and not record.is_closed:
        order.apply(OrderTriggered(**ids, **_stamps(order.ts_init)))
    if Quantity.from_str(record.filled) > 0:
        order.apply(_folded_fill(order, record, ids, instrument))
    if record.is_closed and order.status != OrderStatus.FILLED:
        order.apply(OrderCanceled(**ids, **_stamps(order.ts_init)))
    return order


def _without_activation(record: OrderRecord) -> dict[str, Any]:
    """A trailing stop that trails already has nothing to wait for: the engine activates it at its first price."""
    values = record.initialized
    if record.activated:
        values = values | {"options": values["options"] | {"activation_price": None}}
    return values


def _is_updated(order: Order, record: OrderRecord) -> bool:
    price = _text(order.price) if order.has_price else None
    trigger = _text(order.trigger_price) if order.has_trigger_price else None
    now = (str(order.quantity), order.is_quote_quantity, price, trigger)
    return now != (record.quantity, record.quote_quantity, record.price, record.trigger_price)


def _updated(record: OrderRecord, ids: dict[str, Any], at_ns: int) -> OrderUpdated:
    return OrderUpdated(
        **ids,
        quantity=Quantity.from_str(record.quantity),
        price=Price.from_str(record.price) if record.price is not None else None,
        trigger_price=Price.from_str(record.trigger_price) if record.trigger_price is not None else None,
        is_quote_quantity=record.quote_quantity,
        **_stamps(at_ns),
    )


def _folded_fill(order: Order, record: OrderRecord, ids: dict[str, Any], instrument: Instrument) -> OrderFilled:
    return OrderFilled(
        **ids,
        trade_id=TradeId(str(UUID4())),
        position_id=PositionId(record.position_id) if record.position_id is not None else None,
        order_side=order.side,
        order_type=order.order_type,
        last_qty=Quantity.from_str(record.filled),
        last_px=exact(record.average_price),
        currency=instrument.quote_currency,
        commission=Money(0, instrument.get_cost_currency()),
        liquidity_side=LiquiditySide.MAKER,
        **_stamps(order.ts_init),
    )


def position_record(position: Position) -> PositionRecord:
    return PositionRecord(
        position_id=position.id.value,
        instrument_id=position.instrument_id.value,
        strategy_id=position.strategy_id.value,
        opening_order_id=position.opening_order_id.value,
        side="BUY" if position.side == PositionSide.LONG else "SELL",
        quantity=str(position.quantity),
        average_price=position.avg_px_open,
        realized_pnl=_text(position.realized_pnl),
        opened_ns=position.ts_opened,
    )


def position_of(
    record: PositionRecord, trader_id: TraderId, account_id: AccountId, instrument: Instrument
) -> tuple[Position, Order]:
    """The position, and the order that stands for all that made it."""
    order = _opening_order(record, trader_id)
    ids = {
        "trader_id": trader_id,
        "strategy_id": order.strategy_id,
        "instrument_id": order.instrument_id,
        "client_order_id": order.client_order_id,
        "account_id": account_id,
    }
    realized = Money.from_str(record.realized_pnl) if record.realized_pnl is not None else None
    currency = instrument.get_cost_currency()
    fill = OrderFilled(
        **ids,
        venue_order_id=VenueOrderId(str(UUID4())),
        trade_id=TradeId(str(UUID4())),
        position_id=PositionId(record.position_id),
        order_side=order.side,
        order_type=order.order_type,
        last_qty=order.quantity,
        last_px=exact(record.average_price),
        currency=instrument.quote_currency,
        # What a position realised is what its fills brought less their fees: here in one sum.
        commission=Money(-realized.as_decimal() if realized is not None else 0, currency),
        liquidity_side=LiquiditySide.TAKER,
        **_stamps(record.opened_ns),
    )
    order.apply(OrderSubmitted(**ids, **_stamps(record.opened_ns)))
    order.apply(fill)
    return Position(instrument, fill), order


def _opening_order(record: PositionRecord, trader_id: TraderId) -> MarketOrder:
    return MarketOrder(
        trader_id=trader_id,
        strategy_id=StrategyId(record.strategy_id),
        instrument_id=InstrumentId.from_str(record.instrument_id),
        client_order_id=ClientOrderId(record.opening_order_id),
        order_side=OrderSide.BUY if record.side == "BUY" else OrderSide.SELL,
        quantity=Quantity.from_str(record.quantity),
        init_id=UUID4(),
        ts_init=record.opened_ns,
        tags=[FOLDED_TAG],
    )


def exact(price: float) -> Price:
    """All digits of an average price that a price can hold."""
    value = Decimal(repr(price))
    exponent = value.as_tuple().exponent
    assert isinstance(exponent, int), f"{price} is no price"
    return Price(value, min(FIXED_PRECISION, max(0, -exponent)))


def _stamps(at_ns: int) -> dict[str, Any]:
    return {"event_id": UUID4(), "ts_event": at_ns, "ts_init": at_ns}


def _text(value: Any) -> str | None:
    return None if value is None else str(value)
