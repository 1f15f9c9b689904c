"""Orders, reports and money between the exchange's words and the engine's. No connection, no state."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

from nautilus_trader.core.uuid import UUID4  # pyright: ignore[reportAttributeAccessIssue] - compiled
from nautilus_trader.execution.reports import FillReport, OrderStatusReport, PositionStatusReport
from nautilus_trader.model.enums import (
    ContingencyType,
    LiquiditySide,
    OrderSide,
    OrderStatus,
    OrderType,
    PositionSide,
    TimeInForce,
    TriggerType,
)
from nautilus_trader.model.identifiers import AccountId, ClientOrderId, InstrumentId, TradeId, VenueOrderId
from nautilus_trader.model.objects import (
    FIXED_PRECISION,
    AccountBalance,
    Currency,
    MarginBalance,
    Money,
    Price,
    Quantity,
)

from nautilus_ext.simulation.exchange.orders import NewOrder

if TYPE_CHECKING:
    from nautilus_trader.model.instruments import Instrument
    from nautilus_trader.model.orders import Order

    from nautilus_ext.simulation.exchange.orders import AccountState, Fill, OrderState, PositionState

SIDES = {"BUY": OrderSide.BUY, "SELL": OrderSide.SELL}
TYPES = {
    name: OrderType[name]
    for name in ("MARKET", "LIMIT", "STOP_MARKET", "STOP_LIMIT", "MARKET_IF_TOUCHED", "LIMIT_IF_TOUCHED")
}
TIMES_IN_FORCE = {name: TimeInForce[name] for name in ("GTC", "IOC", "FOK", "GTD", "DAY")}
STATUSES = {
    name: OrderStatus[name]
    for name in ("ACCEPTED", "TRIGGERED", "PARTIALLY_FILLED", "FILLED", "CANCELED", "EXPIRED", "REJECTED")
}
CONTINGENCIES = {
    "NONE": ContingencyType.NO_CONTINGENCY,
    "OTO": ContingencyType.OTO,
    "OCO": ContingencyType.OCO,
    "OUO": ContingencyType.OUO,
}
# The exchange watches the last price and the best bid and ask together.
TRIGGERS = frozenset((TriggerType.DEFAULT, TriggerType.LAST_PRICE, TriggerType.BID_ASK, TriggerType.LAST_OR_BID_ASK))
CONDITIONAL = frozenset(TYPES) - {"MARKET", "LIMIT"}
TRIGGERED_STATE = frozenset(("STOP_LIMIT", "LIMIT_IF_TOUCHED"))  # the others become market orders at once

_TYPE_NAMES = {kind: name for name, kind in TYPES.items()}
_TIME_NAMES = {kind: name for name, kind in TIMES_IN_FORCE.items()}
_CONTINGENCY_NAMES = {kind: name for name, kind in CONTINGENCIES.items()}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Unsupported(Exception):
    """The exchange does not know such an order."""


# -- to the exchange --------------------------------------------------------------------------------


def to_new_order(order: Order) -> NewOrder:
    """Or Unsupported, with what the exchange does not know."""
    kind, time_in_force = _TYPE_NAMES.get(order.order_type), _TIME_NAMES.get(order.time_in_force)
    if kind is None:
        raise Unsupported(f"order type {order.type_string()}; it knows {', '.join(TYPES)}")
    if time_in_force is None:
        raise Unsupported(
            f"time in force {TimeInForce(order.time_in_force).name}; it knows {', '.join(TIMES_IN_FORCE)}"
        )
    if order.is_quote_quantity and kind != "MARKET":
        raise Unsupported(f"a quantity in the quote currency on a {kind} order; only on MARKET orders")
    if order.has_trigger_price and order.trigger_type not in TRIGGERS:
        raise Unsupported(
            f"trigger type {TriggerType(order.trigger_type).name}; it watches the last price, bid and ask"
        )
    display = order.display_qty if kind in {"LIMIT", "STOP_LIMIT", "LIMIT_IF_TOUCHED"} else None
    return NewOrder(
        client_order_id=order.client_order_id.value,
        instrument_id=order.instrument_id.value,
        side="BUY" if order.is_buy else "SELL",
        type=kind,  # pyright: ignore[reportArgumentType] - one of the keys above
        quantity=order.quantity.as_decimal(),
        quote_quantity=order.is_quote_quantity,
        price=order.price.as_decimal() if order.has_price else None,
        trigger_price=order.trigger_price.as_decimal() if order.has_trigger_price else None,
        time_in_force=time_in_force,  # pyright: ignore[reportArgumentType] - as above
        expire_ns=order.expire_time_ns if time_in_force == "GTD" else 0,
        post_only=order.is_post_only,
        reduce_only=order.is_reduce_only,
        display_quantity=display.as_decimal() if display is not None else None,
        parent_id=order.parent_order_id.value if order.parent_order_id is not None else None,
        linked_ids=tuple(each.value for each in order.linked_order_ids or ()),
        contingency=_CONTINGENCY_NAMES.get(order.contingency_type, "NONE"),  # pyright: ignore[reportArgumentType] - as above
    )


# -- numbers ----------------------------------------------------------------------------------------
# Through raw integers: the engine's constructors go through floats and lose the last digits of large numbers.


def to_price(number: Decimal, instrument: Instrument) -> Price:
    return Price.from_raw(int(number.scaleb(FIXED_PRECISION)), instrument.price_precision)


def to_quantity(number: Decimal, instrument: Instrument) -> Quantity:
    return Quantity.from_raw(int(number.scaleb(FIXED_PRECISION)), instrument.size_precision)


def to_money(number: Decimal, currency_code: str) -> Money:
    """Rounded to the currency's own precision: the engine counts US dollars in cents."""
    currency = Currency.from_str(currency_code)
    rounded = number.quantize(Decimal(1).scaleb(-currency.precision))
    return Money.from_raw(int(rounded.scaleb(FIXED_PRECISION)), currency)


# -- from the exchange ------------------------------------------------------------------------------


def to_balances(state: AccountState) -> tuple[list[AccountBalance], list[MarginBalance]]:
    balances = []
    for each in state.balances:
        total, locked = to_money(each.total, each.currency), to_money(each.locked, each.currency)
        balances.append(AccountBalance(total=total, locked=locked, free=total - locked))
    margins = [
        MarginBalance(
            initial=to_money(each.initial, each.currency),
            maintenance=to_money(each.maintenance, each.currency),
            instrument_id=InstrumentId.from_str(each.instrument_id),
        )
        for each in state.margins
    ]
    return balances, margins


def to_order_report(
    state: OrderState, instrument: Instrument, account_id: AccountId, ts_init: int, *, foreign: bool = False
) -> OrderStatusReport:
    """`foreign`: the client order id means nothing to this node, or something else."""
    return OrderStatusReport(
        account_id=account_id,
        instrument_id=instrument.id,
        venue_order_id=VenueOrderId(state.venue_order_id),
        client_order_id=None if foreign else ClientOrderId(state.client_order_id),
        order_side=SIDES[state.side],
        order_type=TYPES[state.type],
        time_in_force=TIMES_IN_FORCE[state.time_in_force],
        order_status=STATUSES[state.status],
        quantity=to_quantity(state.size, instrument),
        filled_qty=to_quantity(state.filled, instrument),
        avg_px=state.average_price,
        price=to_price(state.price, instrument) if state.price is not None else None,
        trigger_price=to_price(state.trigger_price, instrument) if state.trigger_price is not None else None,
        trigger_type=TriggerType.DEFAULT if state.type in CONDITIONAL else TriggerType.NO_TRIGGER,
        expire_time=_EPOCH + timedelta(microseconds=state.expire_ns // 1_000) if state.expire_ns else None,
        display_qty=to_quantity(state.display_quantity, instrument) if state.display_quantity is not None else None,
        post_only=state.post_only,
        reduce_only=state.reduce_only,
        contingency_type=CONTINGENCIES[state.contingency],
        parent_order_id=ClientOrderId(state.parent_id) if state.parent_id is not None and not foreign else None,
        linked_order_ids=[ClientOrderId(each) for each in state.linked_ids] if not foreign else None,
        cancel_reason=state.reason or None,
        report_id=UUID4(),
        ts_accepted=state.ts_accepted_ns,
        ts_last=state.ts_last_ns,
        ts_triggered=state.ts_last_ns if state.status == "TRIGGERED" else None,
        ts_init=ts_init,
    )


def to_vanished_report(order: Order, account_id: AccountId, ts_init: int) -> OrderStatusReport:
    """An order that works as far as the engine knows, and of which the exchange has no record."""
    is_accepted = order.venue_order_id is not None
    return OrderStatusReport(
        account_id=account_id,
        instrument_id=order.instrument_id,
        venue_order_id=order.venue_order_id if is_accepted else VenueOrderId(f"NONE-{order.client_order_id.value}"),
        client_order_id=order.client_order_id,
        order_side=order.side,
        order_type=order.order_type,
        time_in_force=order.time_in_force,
        order_status=OrderStatus.CANCELED if is_accepted else OrderStatus.REJECTED,
        quantity=order.quantity,
        filled_qty=order.filled_qty,
        price=order.price if order.has_price else None,
        trigger_price=order.trigger_price if order.has_trigger_price else None,
        trigger_type=order.trigger_type if order.has_trigger_price else TriggerType.NO_TRIGGER,
        cancel_reason="NOT_FOUND: the exchange has no such order",
        report_id=UUID4(),
        ts_accepted=order.ts_accepted,
        ts_last=ts_init,
        ts_init=ts_init,
    )


def to_fill_report(
    fill: Fill, instrument: Instrument, account_id: AccountId, ts_init: int, *, foreign: bool = False
) -> FillReport:
    return FillReport(
        account_id=account_id,
        instrument_id=instrument.id,
        venue_order_id=VenueOrderId(fill.venue_order_id),
        client_order_id=None if foreign else ClientOrderId(fill.client_order_id),
        trade_id=TradeId(fill.trade_id),
        order_side=SIDES[fill.side],
        last_qty=to_quantity(fill.quantity, instrument),
        last_px=to_price(fill.price, instrument),
        commission=to_money(fill.fee, fill.fee_currency),
        liquidity_side=liquidity(fill),
        report_id=UUID4(),
        ts_event=fill.ts_ns,
        ts_init=ts_init,
    )


def liquidity(fill: Fill) -> LiquiditySide:
    return LiquiditySide.MAKER if fill.maker else LiquiditySide.TAKER


def to_position_report(
    state: PositionState, instrument: Instrument, account_id: AccountId, ts_init: int
) -> PositionStatusReport:
    return PositionStatusReport(
        account_id=account_id,
        instrument_id=instrument.id,
        position_side=_position_side(state.quantity),
        quantity=to_quantity(abs(state.quantity), instrument),
        avg_px_open=state.average_price if state.quantity else None,
        report_id=UUID4(),
        ts_last=state.ts_last_ns,
        ts_init=ts_init,
    )


def to_flat_report(instrument: Instrument, account_id: AccountId, ts_init: int) -> PositionStatusReport:
    return PositionStatusReport(
        account_id=account_id,
        instrument_id=instrument.id,
        position_side=PositionSide.FLAT,
        quantity=Quantity.zero(instrument.size_precision),
        report_id=UUID4(),
        ts_last=ts_init,
        ts_init=ts_init,
    )


def _position_side(quantity: Decimal) -> PositionSide:
    if quantity == 0:
        return PositionSide.FLAT
    return PositionSide.LONG if quantity > 0 else PositionSide.SHORT
