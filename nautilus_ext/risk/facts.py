"""What the rules are told of an order, its instrument and the moment. Plain and frozen: no engine, no driver.

Quantities are in the instrument's own unit, prices in its quote currency, values in the base currency of the config.
"""

from __future__ import annotations

from decimal import Decimal

import msgspec


class Listing(msgspec.Struct, frozen=True, kw_only=True):
    """An instrument at a venue."""

    instrument_id: str
    venue: str
    asset: str  # its base asset, over all venues
    quote: str  # currency of its value: a price times a quantity, or contracts of an inverse one
    canonical_id: str = ""
    asset_key: str = ""  # the canonical id without its venue: the same thing wherever it is traded
    base: str = ""  # currency that a sale on a cash account hands over; empty where there is none
    margin: str = ""  # currency in which margin is due; empty: the quote currency
    is_inverse: bool = False
    multiplier: Decimal = Decimal(1)
    margin_init: Decimal = Decimal(0)


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """An order as it asks to be sent, or as it would be after a change; `quantity` is what could still be filled."""

    client_order_id: str
    strategy_id: str
    instrument_id: str
    side: int  # 1 buys, -1 sells
    quantity: Decimal
    type: str
    filled: Decimal = Decimal(0)
    account_id: str = ""  # empty: no account is known for it
    price: Decimal | None = None
    trigger_price: Decimal | None = None
    is_reduce_only: bool = False
    is_post_only: bool = False
    parent_id: str = ""  # the order that an algorithm works by sending this one
    operation_id: str = ""
    list_id: str = ""

    @property
    def is_buy(self) -> bool:
        return self.side > 0


class Account(msgspec.Struct, frozen=True, kw_only=True):
    """What an account can pay: its free balances by currency."""

    account_id: str
    is_margin: bool
    is_single: bool = False  # of one currency: what it buys is a position and no balance
    free: dict[str, Decimal]
    leverage: Decimal = Decimal(1)


class Sight(msgspec.Struct, frozen=True, kw_only=True):
    """What there is to see at the moment of a judgement. None: it is not known."""

    now_ns: int
    listing: Listing | None = None
    price: Decimal | None = None  # the reference price
    bid: Decimal | None = None
    ask: Decimal | None = None
    price_ns: int = 0
    rate: Decimal | None = None  # of the quote currency in the base currency
    account: Account | None = None
