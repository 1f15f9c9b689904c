"""What is said about orders at the exchange: orders in, states and events out. Pure; the wire carries the same.

Prices and quantities are Decimals in the listing's own units; inside the books they are whole ticks and lots.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Literal

import msgspec

type Side = Literal["BUY", "SELL"]
type OrderType = Literal["MARKET", "LIMIT", "STOP_MARKET", "STOP_LIMIT", "MARKET_IF_TOUCHED", "LIMIT_IF_TOUCHED"]
type TimeInForce = Literal["GTC", "IOC", "FOK", "GTD", "DAY"]
type Contingency = Literal["NONE", "OTO", "OCO", "OUO"]
type Status = Literal["ACCEPTED", "TRIGGERED", "PARTIALLY_FILLED", "FILLED", "CANCELED", "EXPIRED", "REJECTED"]
type AccountKind = Literal["CASH", "MARGIN"]

OPEN = ("ACCEPTED", "TRIGGERED", "PARTIALLY_FILLED")


class NewOrder(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An order as its owner sends it. `client_order_id` is unique per account, for ever."""

    client_order_id: str
    instrument_id: str
    side: Side
    type: OrderType
    quantity: Decimal
    quote_quantity: bool = False  # `quantity` is an amount of the quote currency; MARKET only
    price: Decimal | None = None
    trigger_price: Decimal | None = None
    time_in_force: TimeInForce = "GTC"
    expire_ns: int = 0  # GTD only
    post_only: bool = False
    reduce_only: bool = False
    display_quantity: Decimal | None = None  # what others may see of it; None shows all
    parent_id: str | None = None  # client order id: held until that order fills, and never larger than its fills
    linked_ids: tuple[str, ...] = ()  # client order ids of the other legs
    contingency: Contingency = "NONE"  # OCO: a fill cancels the linked; OUO: a fill reduces them


class OrderState(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An order as the exchange has it. `held`: a leg that waits for its parent to fill, or to fill more."""

    venue_order_id: str
    client_order_id: str
    account: str
    instrument_id: str
    side: Side
    type: OrderType
    time_in_force: TimeInForce
    quantity: Decimal
    filled: Decimal
    status: Status
    ts_accepted_ns: int
    ts_last_ns: int
    average_price: Decimal | None = None
    price: Decimal | None = None
    trigger_price: Decimal | None = None
    expire_ns: int = 0
    post_only: bool = False
    reduce_only: bool = False
    display_quantity: Decimal | None = None
    parent_id: str | None = None
    linked_ids: tuple[str, ...] = ()
    contingency: Contingency = "NONE"
    held: bool = False
    triggered: bool = False  # a conditional order whose trigger was reached
    reason: str = ""  # why it was rejected, canceled or cut
    priority: int = 0  # its place in time: lower is earlier
    ordered: Decimal | None = None  # legs: the most that `quantity` may become: it grows with what the parent fills
    shown: Decimal | None = None  # with a display quantity: what others see of it now

    @property
    def size(self) -> Decimal:
        """As its owner knows it: a leg is done when all of this is."""
        return self.quantity if self.ordered is None else self.ordered


class Fill(msgspec.Struct, frozen=True, kw_only=True):
    """One execution of one order. The other side has a fill of its own with the same `match_id`."""

    trade_id: str
    match_id: int
    venue_order_id: str
    client_order_id: str
    account: str
    instrument_id: str
    side: Side
    quantity: Decimal
    price: Decimal
    fee: Decimal
    fee_currency: str
    maker: bool
    ts_ns: int


class Balance(msgspec.Struct, frozen=True):
    currency: str
    total: Decimal
    locked: Decimal


class Margin(msgspec.Struct, frozen=True):
    """What one instrument's position and orders tie up, in its settlement currency."""

    instrument_id: str
    currency: str
    initial: Decimal
    maintenance: Decimal


class AccountState(msgspec.Struct, frozen=True, kw_only=True):
    account: str
    kind: AccountKind
    balances: tuple[Balance, ...]
    margins: tuple[Margin, ...]
    ts_ns: int


class PositionState(msgspec.Struct, frozen=True, kw_only=True):
    """A position in a derivative; what a spot account holds is its balances. `quantity` is signed."""

    account: str
    instrument_id: str
    quantity: Decimal
    average_price: Decimal | None
    cost: Decimal  # signed value at entry, in the settlement currency: exact, the average price is derived from it
    realized: Decimal
    ts_last_ns: int


class AccountTerms(msgspec.Struct, frozen=True, kw_only=True):
    """What an account is opened with. It is opened once; terms that come later do not change it."""

    account: str
    kind: AccountKind
    starting_balances: dict[str, Decimal]  # by currency
    leverage: Decimal = Decimal(1)  # margin accounts


class Refusal(msgspec.Struct, frozen=True):
    """Why a command was not carried out: nothing has changed because of it."""

    code: str  # UPPER_SNAKE, documented in the wire format
    text: str


# -- events, in the order in which they happened ----------------------------------------------------


class _OfOrder(msgspec.Struct, frozen=True, tag=True):
    order: OrderState  # as it is after the event


class Accepted(_OfOrder, frozen=True):
    """It works, or waits for its trigger or its parent."""


class Rejected(_OfOrder, frozen=True):
    """Judged and refused by the matching: recorded, with its reason in the order."""


class Updated(_OfOrder, frozen=True):
    """Its quantity, price or trigger price has changed."""


class Triggered(_OfOrder, frozen=True):
    """From now on it works as a limit order."""


class Filled(_OfOrder, frozen=True):
    """In part or to its end."""

    fill: Fill


class Canceled(_OfOrder, frozen=True):
    """By its owner, or by the exchange with a reason."""


class Expired(_OfOrder, frozen=True):
    """Its time is over."""


class AccountChanged(msgspec.Struct, frozen=True, tag=True):
    """Balances and margins after the events before it; at most one per command or step and account."""

    state: AccountState
    positions: tuple[PositionState, ...] = ()  # those that changed


type OrderEvent = Accepted | Rejected | Updated | Triggered | Filled | Canceled | Expired
type Event = OrderEvent | AccountChanged
