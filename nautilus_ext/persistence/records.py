"""Records of the log as they leave it, and the typed events in them: only what the tables need.

The body of an event is what Nautilus's `to_dict` says; it goes to the journal byte for byte as the node wrote it.
Structs are `gc=False`: they hold no cycles, and the collector would walk hundreds of thousands of them in vain.
"""

from __future__ import annotations

from decimal import Decimal
from functools import lru_cache
from typing import Any, NamedTuple

import msgspec

NUMBER_DIGITS_MAX = 60  # before the point, and noughts after it; Nautilus's own have at most 34
MONIES_KEPT_MAX = 10_000
NUL = b"\\u0000"  # legal in JSON, refused by Postgres


class Record(NamedTuple):
    """One frame of the log of a run."""

    run: int
    seq: int
    type: str
    ts_event: int
    ts_init: int
    body: bytes

    @property
    def version(self) -> tuple[int, int]:
        return self[:2]


class Ids(msgspec.Struct, gc=False):
    """What the journal's own columns say of any record."""

    event_id: str | None = None
    client_order_id: str | None = None
    parent_client_order_id: str | None = None
    position_id: str | None = None
    account_id: str | None = None
    instrument_id: str | None = None
    strategy_id: str | None = None


class OrderEvent(msgspec.Struct, gc=False):
    """Any event of an order that carries no numbers."""

    event_id: str
    strategy_id: str
    instrument_id: str
    client_order_id: str
    account_id: str | None = None
    venue_order_id: str | None = None
    reason: str | None = None
    reconciliation: bool = False


class OrderInitialized(OrderEvent, kw_only=True, gc=False):
    order_side: str
    order_type: str
    quantity: Decimal
    time_in_force: str
    post_only: bool
    reduce_only: bool
    quote_quantity: bool
    options: msgspec.Raw
    emulation_trigger: str = "NO_TRIGGER"
    contingency_type: str = "NO_CONTINGENCY"
    order_list_id: str | None = None
    linked_order_ids: list[str] | None = None
    parent_order_id: str | None = None
    exec_algorithm_id: str | None = None
    exec_algorithm_params: msgspec.Raw = msgspec.Raw(b"null")
    exec_spawn_id: str | None = None
    tags: list[str] | None = None


class OrderOptions(msgspec.Struct, gc=False):
    price: Decimal | None = None
    trigger_price: Decimal | None = None
    expire_time_ns: int | None = None


class OrderUpdated(OrderEvent, kw_only=True, gc=False):
    quantity: Decimal
    price: Decimal | None = None
    trigger_price: Decimal | None = None
    is_quote_quantity: bool = False


class OrderFilled(OrderEvent, kw_only=True, gc=False):
    trade_id: str
    order_side: str
    order_type: str
    last_qty: Decimal
    last_px: Decimal
    currency: str
    commission: str
    liquidity_side: str
    position_id: str | None = None


class PositionSnapshot(msgspec.Struct, gc=False):
    """A position as it stands after a fill: each event carries all of it."""

    event_id: str
    strategy_id: str
    instrument_id: str
    position_id: str
    account_id: str
    opening_order_id: str
    entry: str
    side: str
    quantity: Decimal
    peak_qty: Decimal
    last_qty: Decimal
    last_px: Decimal
    avg_px_open: float
    realized_pnl: str
    closing_order_id: str | None = None
    avg_px_close: float = 0.0
    ts_opened: int | None = None
    ts_closed: int | None = None


class PositionAdjusted(msgspec.Struct, gc=False):
    event_id: str
    strategy_id: str
    instrument_id: str
    position_id: str
    account_id: str
    quantity_change: Decimal | None = None
    pnl_change: str | None = None


class AccountState(msgspec.Struct, gc=False):
    event_id: str
    account_id: str
    account_type: str
    balances: msgspec.Raw
    margins: msgspec.Raw
    reported: bool
    base_currency: str | None = None


class Held(msgspec.Struct, gc=False):
    """What a node knows to be open after its reconciliation.

    A position: account, instrument, strategy, position id, opening order, side, quantity.
    """

    positions: list[tuple[str, str, str, str, str, str, str]] = []
    orders: list[str] = []


class Instrument(msgspec.Struct, gc=False):
    instrument_id: str
    venue: str
    venue_type: str
    instrument_type: str
    is_inverse: bool
    multiplier: Decimal
    price_precision: int
    size_precision: int
    definition: msgspec.Raw
    quote_currency: str | None = None
    settlement_currency: str | None = None
    canonical_id: str | None = None
    asset_key: str | None = None
    base_asset: str | None = None


class Risk(msgspec.Struct, gc=False):
    """`messages.RiskDecision`, its details left as they were written."""

    client_order_id: str
    strategy_id: str
    instrument_id: str
    verdict: str
    ts_ns: int
    code: str = ""
    scope: str = ""
    unit: str = ""
    limit: Decimal | None = None
    value: Decimal | None = None
    would_be: Decimal | None = None
    details: msgspec.Raw = msgspec.Raw(b"{}")


class Routing(msgspec.Struct, gc=False):
    """`messages.RoutingDecision`, its lists left as they were written."""

    parent_client_order_id: str
    strategy_id: str
    instrument_id: str
    plan: int
    slice: int
    ts_ns: int
    chosen: msgspec.Raw = msgspec.Raw(b"[]")
    alternatives: msgspec.Raw = msgspec.Raw(b"[]")
    reason: str = ""


class Marks(msgspec.Struct, gc=False):
    """Newest prices: instrument, price, when."""

    marks: list[tuple[str, Decimal, int]]


ORDER_TYPES = frozenset(
    f"Order{name}"
    for name in (
        *("Initialized", "Denied", "Emulated", "Released", "Submitted", "Accepted", "Rejected", "Canceled", "Expired"),
        *("Triggered", "PendingUpdate", "PendingCancel", "ModifyRejected", "CancelRejected", "Updated", "Filled"),
    )
)
SNAPSHOT_TYPES = frozenset({"PositionOpened", "PositionChanged", "PositionClosed"})

_frame = msgspec.json.Decoder(tuple[int, str, int, int, msgspec.Raw])
_ids = msgspec.json.Decoder(Ids)
_options = msgspec.json.Decoder(OrderOptions)
_DECODERS: dict[str, msgspec.json.Decoder[Any]] = {
    **dict.fromkeys(ORDER_TYPES, msgspec.json.Decoder(OrderEvent)),
    **dict.fromkeys(SNAPSHOT_TYPES, msgspec.json.Decoder(PositionSnapshot)),
    "OrderInitialized": msgspec.json.Decoder(OrderInitialized),
    "OrderUpdated": msgspec.json.Decoder(OrderUpdated),
    "OrderFilled": msgspec.json.Decoder(OrderFilled),
    "PositionAdjusted": msgspec.json.Decoder(PositionAdjusted),
    "AccountState": msgspec.json.Decoder(AccountState),
    "Held": msgspec.json.Decoder(Held),
    "Instrument": msgspec.json.Decoder(Instrument),
    "RiskDecision": msgspec.json.Decoder(Risk),
    "RoutingDecision": msgspec.json.Decoder(Routing),
    "Marks": msgspec.json.Decoder(Marks),
}
_NUMBERS = {
    **dict.fromkeys(SNAPSHOT_TYPES, ("quantity", "peak_qty", "last_qty", "last_px")),
    "OrderInitialized": ("quantity",),
    "OrderUpdated": ("quantity", "price", "trigger_price"),
    "OrderFilled": ("last_qty", "last_px"),
    "PositionAdjusted": ("quantity_change",),
    "Instrument": ("multiplier",),
    "RiskDecision": ("limit", "value", "would_be"),  # straight to their table: the driver makes 0 of one too large
}
_MONIES = {
    **dict.fromkeys(SNAPSHOT_TYPES, ("realized_pnl",)),
    "OrderFilled": ("commission",),
    "PositionAdjusted": ("pnl_change",),
}
_KINDS = {kind: (decoder.decode, _NUMBERS.get(kind, ()), _MONIES.get(kind, ())) for kind, decoder in _DECODERS.items()}


def decode(run: int, payload: bytes) -> Record:
    """Read a frame; raises msgspec.DecodeError when it is none."""
    seq, kind, ts_event, ts_init, body = _frame.decode(payload)
    raw = bytes(body)
    return Record(run, seq, kind, ts_event, ts_init, _without_nul(raw) if NUL in raw else raw)


def typed(record: Record) -> Any:
    """Return the event of a record, None for a type that no table knows.

    Raises msgspec.DecodeError or ArithmeticError: what it lets through, the tables can add up.
    """
    kind = _KINDS.get(record.type)
    if kind is None:
        return None
    decode_body, numbers, monies = kind
    event = decode_body(record.body)
    for name in numbers:
        number = getattr(event, name)
        if number is not None:
            checked(number)
    for name in monies:
        amount = getattr(event, name)
        if amount is not None:
            money(amount)
    if record.type == "Marks":
        for _, price, _ in event.marks:
            checked(price)
    return event


def ids(record: Record) -> Ids:
    """Return what the journal's columns say, even of a record that `typed` refuses."""
    try:
        return _ids.decode(record.body)
    except msgspec.DecodeError:
        return Ids()


def options(event: OrderInitialized) -> OrderOptions:
    said = _options.decode(event.options)
    for number in (said.price, said.trigger_price):
        if number is not None:
            checked(number)
    return said


@lru_cache(maxsize=MONIES_KEPT_MAX)  # checked when it is read, added to its order, written as a fill
def money(text: str) -> tuple[Decimal, str | None]:
    """`0.018 USDT` → (0.018, USDT)."""
    amount, _, currency = text.partition(" ")
    return checked(Decimal(amount)), currency or None


def checked(number: Decimal) -> Decimal:
    """Refuse what is no amount of anything, so that no sum ever meets it."""
    if not number.is_finite() or not -NUMBER_DIGITS_MAX <= number.adjusted() <= NUMBER_DIGITS_MAX:
        raise msgspec.ValidationError(f"{number:.2E} is no amount: at most {NUMBER_DIGITS_MAX} digits are taken")
    return number


def _without_nul(body: bytes) -> bytes:
    return msgspec.json.encode(_cleaned(msgspec.json.decode(body)))


def _cleaned(value: Any) -> Any:
    if isinstance(value, str):
        return value.replace("\0", "\ufffd")
    if isinstance(value, list):
        return [_cleaned(each) for each in value]
    if isinstance(value, dict):
        return {_cleaned(key): _cleaned(each) for key, each in value.items()}
    return value
