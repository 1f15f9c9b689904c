"""The state of an order after its events: what Nautilus's own `Order` says after the same ones.

Events that Nautilus would refuse (a step that its state table does not know, another venue order id, a trade id that
was filled before) are refused here as well: they are in the journal because Nautilus publishes them all the same.
Averages and commissions are exact; Nautilus adds floats.
"""

from __future__ import annotations

from collections import deque
from decimal import Context, Decimal
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from nautilus_ext.persistence import records

if TYPE_CHECKING:
    from collections.abc import Iterable

    from nautilus_ext.persistence.records import OrderEvent, OrderFilled, OrderInitialized, OrderUpdated, Record

FILLS_KEPT_MAX = 100  # in the order's own row; every fill stands in unified_fills
ZERO = Decimal(0)
EXACT = Context(prec=120)  # sums and products of Nautilus's 128-bit numbers, without rounding
QUOTIENT = Context(prec=28)

# Nautilus's state table: what a status may become.
_ENDS = ("CANCELED", "EXPIRED", "PARTIALLY_FILLED", "FILLED")
_MAY_BECOME: dict[str, frozenset[str]] = {
    "INITIALIZED": frozenset(
        {"DENIED", "EMULATED", "RELEASED", "SUBMITTED", "REJECTED", "ACCEPTED", "CANCELED", "EXPIRED", "TRIGGERED"}
    ),
    "EMULATED": frozenset({"CANCELED", "EXPIRED", "RELEASED"}),
    "RELEASED": frozenset({"DENIED", "SUBMITTED", "CANCELED"}),
    "SUBMITTED": frozenset(
        {"PENDING_UPDATE", "PENDING_CANCEL", "REJECTED", "CANCELED", "ACCEPTED", "PARTIALLY_FILLED", "FILLED"}
    ),
    "ACCEPTED": frozenset({"REJECTED", "PENDING_UPDATE", "PENDING_CANCEL", "TRIGGERED", *_ENDS}),
    "CANCELED": frozenset({"PARTIALLY_FILLED", "FILLED"}),  # a fill that came late
    "PENDING_UPDATE": frozenset(
        {"REJECTED", "ACCEPTED", "TRIGGERED", "SUBMITTED", "PENDING_UPDATE", "PENDING_CANCEL", *_ENDS}
    ),
    "PENDING_CANCEL": frozenset({"REJECTED", "PENDING_CANCEL", "ACCEPTED", *_ENDS}),
    "TRIGGERED": frozenset({"REJECTED", "PENDING_UPDATE", "PENDING_CANCEL", *_ENDS}),
    "PARTIALLY_FILLED": frozenset({"PENDING_UPDATE", "PENDING_CANCEL", *_ENDS}),
}
_PENDING = ("PENDING_UPDATE", "PENDING_CANCEL")
_STEPS = {
    "OrderDenied": "DENIED",
    "OrderEmulated": "EMULATED",
    "OrderReleased": "RELEASED",
    "OrderSubmitted": "SUBMITTED",
    "OrderRejected": "REJECTED",
    "OrderAccepted": "ACCEPTED",
    "OrderPendingUpdate": "PENDING_UPDATE",
    "OrderPendingCancel": "PENDING_CANCEL",
    "OrderTriggered": "TRIGGERED",
    "OrderCanceled": "CANCELED",
    "OrderExpired": "EXPIRED",
}
_REFUSED_REQUESTS = {"OrderModifyRejected": "PENDING_UPDATE", "OrderCancelRejected": "PENDING_CANCEL"}
_TRIGGERABLE = frozenset({"STOP_LIMIT", "TRAILING_STOP_LIMIT", "LIMIT_IF_TOUCHED"})
_PRICED = frozenset({"LIMIT", "MARKET_TO_LIMIT", *_TRIGGERABLE})
_TRIGGERED_BY_PRICE = frozenset({"STOP_MARKET", "MARKET_IF_TOUCHED", "TRAILING_STOP_MARKET", *_TRIGGERABLE})
_CLOSED = frozenset({"DENIED", "REJECTED", "CANCELED", "EXPIRED", "FILLED"})


class OrderState:
    """One order, changed by its events in the order of their (run, seq)."""

    __slots__ = (
        "account_id",
        "client_order_id",
        "commissions",
        "created_ns",
        "emulation_trigger",
        "error_message",
        "event_ids",
        "expire_ns",
        "fill_count",
        "filled",
        "fills",
        "init",
        "instrument_id",
        "is_reconciled",
        "is_retold",
        "notional",
        "past_trade_ids",
        "previous_status",
        "price",
        "quantity",
        "quote_quantity",
        "rejection_reason",
        "status",
        "strategy_id",
        "trade_ids",
        "trigger_price",
        "updated_ns",
        "venue_order_id",
        "version",
    )

    def __init__(self, client_order_id: str) -> None:
        self.client_order_id = client_order_id
        self.init: OrderInitialized | None = None
        self.version = (0, 0)
        self.event_ids: set[str] = set()
        self.past_trade_ids: set[str] = set()  # filled in an earlier life of the id, or refused by the state table
        self.instrument_id = ""
        self.strategy_id = ""
        self.created_ns: int | None = None
        self.updated_ns = 0
        self.is_reconciled = False
        self.is_retold = False
        self.account_id: str | None = None
        self._begin()

    def _begin(self) -> None:
        self.status = self.previous_status = "INITIALIZED"
        self.quantity = ZERO
        self.quote_quantity = False
        self.price: Decimal | None = None
        self.trigger_price: Decimal | None = None
        self.expire_ns: int | None = None
        self.emulation_trigger: str | None = None
        self.venue_order_id: str | None = None
        self.trade_ids: set[str] = set()
        self.filled = self.notional = ZERO
        self.fill_count = 0
        self.fills: deque[bytes] = deque(maxlen=FILLS_KEPT_MAX)
        self.commissions: dict[str, Decimal] = {}
        self.rejection_reason: str | None = None
        self.error_message: str | None = None

    @property
    def is_closed(self) -> bool:
        return self.status in _CLOSED

    def apply(self, record: Record, event: Any) -> bool:
        """Take the next event in; answer whether it is a fill that no earlier record told."""
        if event.event_id in self.event_ids:  # written again by a later run: it moves the version, nothing else
            self.version = record[:2]
            return False
        kind = record.type
        is_new_fill = False
        if kind == "OrderFilled":
            is_new_fill = self._fill(record, event)
        elif kind == "OrderInitialized":
            self._initialize(event)
        else:
            self._step(kind, event)
        self.event_ids.add(event.event_id)
        if self.created_ns is None:
            self.created_ns = record.ts_event
        self.instrument_id = self.instrument_id or event.instrument_id
        self.strategy_id = self.strategy_id or event.strategy_id
        if event.account_id is not None:
            self.account_id = event.account_id
        if not self.is_retold:
            self.is_reconciled = self.is_reconciled or event.reconciliation
        self.updated_ns = record.ts_event
        self.version = record[:2]
        return is_new_fill

    def _initialize(self, event: OrderInitialized) -> None:
        """Begin, or begin again: a released emulated order becomes another type, a node that lost its cache finds it.

        What the venue tells of an order of ours says nothing of where it came from: that stays as we said it first.
        """
        chosen = records.options(event) if len(event.options) > 2 else None  # noqa: PLR2004 - {} says nothing
        ours = self.init if self.init is not None and (self.is_retold or not self.init.reconciliation) else None
        self.is_retold = ours is not None and event.reconciliation
        if self.init is not None:
            self.past_trade_ids |= self.trade_ids
            self._begin()
        if ours is not None and event.reconciliation:
            self.init = _retold(ours, event)
        else:
            self.init = event
            self.strategy_id = event.strategy_id
        self.quantity = event.quantity
        self.quote_quantity = event.quote_quantity
        self.emulation_trigger = None if event.emulation_trigger == "NO_TRIGGER" else event.emulation_trigger
        if chosen is not None:
            self.price, self.trigger_price = chosen.price, chosen.trigger_price
            self.expire_ns = chosen.expire_time_ns or None

    def _step(self, kind: str, event: OrderEvent) -> None:
        before = self.status
        if kind == "OrderUpdated":
            taken = self._update(event)  # pyright: ignore[reportArgumentType]
        elif self._is_other_venue_order(event):
            taken = False
        elif kind in _REFUSED_REQUESTS:
            self.error_message = event.reason
            taken = self.status != _REFUSED_REQUESTS[kind] or self._become(self.previous_status)
        else:
            taken = self._take(kind, event)
        if taken and before not in _PENDING:
            self.previous_status = before

    def _take(self, kind: str, event: OrderEvent) -> bool:
        if kind == "OrderTriggered" and (self.init is None or self.init.order_type not in _TRIGGERABLE):
            return False
        if not self._become(_STEPS[kind]):
            return False
        if kind == "OrderAccepted":
            self.venue_order_id = event.venue_order_id
        elif kind == "OrderReleased":
            self.emulation_trigger = None
        elif kind in ("OrderDenied", "OrderRejected"):
            self.rejection_reason = event.reason
        return True

    def _become(self, status: str) -> bool:
        if status not in _MAY_BECOME.get(self.status, ()):
            return False
        if not (self.status == "PENDING_UPDATE" and status == "SUBMITTED"):  # the one step that leads nowhere
            self.status = status
        return True

    def _is_other_venue_order(self, event: OrderEvent) -> bool:
        ours, theirs = self.venue_order_id, event.venue_order_id
        return ours is not None and theirs is not None and ours != theirs

    def _update(self, event: OrderUpdated) -> bool:
        if self.status == "PENDING_UPDATE" and not self._become(self.previous_status):
            return False
        kind = self.init.order_type if self.init is not None else ""
        if kind != "MARKET" and self.venue_order_id is not None and event.venue_order_id is not None:
            self.venue_order_id = event.venue_order_id
        self.quantity = event.quantity
        if event.price is not None and kind in _PRICED:
            self.price = event.price
        if event.trigger_price is not None and kind in _TRIGGERED_BY_PRICE:
            self.trigger_price = event.trigger_price
        self.quote_quantity = event.is_quote_quantity
        return True

    def _fill(self, record: Record, event: OrderFilled) -> bool:
        trade_id = event.trade_id
        if trade_id in self.trade_ids:
            return False
        is_new = trade_id not in self.past_trade_ids
        if self._is_other_venue_order(event):
            self.past_trade_ids.add(trade_id)
            return is_new
        commission, currency = records.money(event.commission)
        filled = EXACT.add(self.filled, event.last_qty)
        notional = EXACT.add(self.notional, EXACT.multiply(event.last_qty, event.last_px))
        charged = EXACT.add(self.commissions.get(currency or "", ZERO), commission)
        before = self.status
        self.venue_order_id = event.venue_order_id
        if not self._become("PARTIALLY_FILLED" if filled < self.quantity else "FILLED"):
            self.past_trade_ids.add(trade_id)
            return is_new
        if before not in _PENDING:
            self.previous_status = before
        if not self.is_retold:
            self.strategy_id = event.strategy_id
        self.trade_ids.add(trade_id)
        self.filled, self.notional = filled, notional
        self.fill_count += 1
        self.commissions[currency or ""] = charged
        self.fills.append(_fill_json(record, event, commission, currency))
        return is_new

    @property
    def average_price(self) -> Decimal | None:
        return QUOTIENT.divide(self.notional, self.filled) if self.filled else None


class Folded(NamedTuple):
    """An order after all its records: its state, its fills, and the records that could not be taken in."""

    state: OrderState | None
    fills: list[tuple[Record, OrderFilled]]
    refused: list[tuple[Record, Exception]]


def fold(order_records: Iterable[Record]) -> Folded:
    """Fold the records of one order, in whatever order and however often they come."""
    state: OrderState | None = None
    fills: list[tuple[Record, OrderFilled]] = []
    refused: list[tuple[Record, Exception]] = []
    for _, record in sorted({record[:2]: record for record in order_records}.items()):
        if record.type not in records.ORDER_TYPES:
            continue
        try:
            event = records.typed(record)
            state = state or OrderState(event.client_order_id)
            if state.apply(record, event):
                fills.append((record, event))
        except (msgspec.MsgspecError, ArithmeticError) as error:
            refused.append((record, error))
    return Folded(state, fills, refused)


def _retold(ours: OrderInitialized, event: OrderInitialized) -> OrderInitialized:
    """Return what we said of the order, with the terms that the venue knows better."""
    return msgspec.structs.replace(
        ours,
        order_side=event.order_side,
        order_type=event.order_type,
        quantity=event.quantity,
        time_in_force=event.time_in_force,
        post_only=event.post_only,
        reduce_only=event.reduce_only,
        quote_quantity=event.quote_quantity,
    )


def plain(number: Decimal) -> str:
    """0.00000001, not 1E-8."""
    return f"{number:f}"


def _fill_json(record: Record, event: OrderFilled, commission: Decimal, currency: str | None) -> bytes:
    return msgspec.json.encode(
        {
            "trade_id": event.trade_id,
            "qty": plain(event.last_qty),
            "px": plain(event.last_px),
            "commission": plain(commission),
            "currency": currency,
            "liquidity": event.liquidity_side,
            "ts": record.ts_event,
        }
    )
