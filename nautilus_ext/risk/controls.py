"""The controls: each a limit, its scope and one method that refuses or does not. Pure.

Some look at the order alone (`refusal`). The others measure how far positions and exposure can go, before the order
counts and after it (`measure`): whoever does not make it worse is never refused by them.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import ROUND_UP, Decimal
from typing import TYPE_CHECKING, Any

import msgspec

from nautilus_ext.risk.ledger import Coins, Total
from nautilus_ext.risk.verdicts import Refused

if TYPE_CHECKING:
    from collections.abc import Iterable

    from nautilus_ext.risk.facts import Listing, Order, Sight
    from nautilus_ext.risk.halts import Halt
    from nautilus_ext.risk.ledger import Cell, Mark, Places

BPS = Decimal(10_000)
CENT = Decimal("0.01")
LARGE = Decimal("1E+12")  # a number that is not rounded any more
ZERO = Decimal(0)
NEW = "while the strategy is new"
NAMED_MAX = 3  # instruments that a refusal names


@dataclass(frozen=True, slots=True)
class Forbidden:
    """A permission that is missing whatever the order says."""

    scope: str
    text: str

    def refusal(self, order: Order, sight: Sight) -> Refused | None:  # noqa: ARG002 - as all of them are asked
        return Refused(code="NOT_PERMITTED", scope=self.scope, text=self.text)


@dataclass(frozen=True, slots=True)
class Sides:
    limit: frozenset[str]
    scope: str

    def refusal(self, order: Order, sight: Sight) -> Refused | None:  # noqa: ARG002 - as above
        side = "BUY" if order.is_buy else "SELL"
        if side in self.limit:
            return None
        text = f"side={side} allowed={','.join(sorted(self.limit)) or 'none'}"
        return Refused(code="NOT_PERMITTED", scope=self.scope, text=text)


@dataclass(frozen=True, slots=True)
class OrderTypes:
    limit: frozenset[str]
    scope: str

    def refusal(self, order: Order, sight: Sight) -> Refused | None:  # noqa: ARG002 - as above
        if order.type in self.limit:
            return None
        text = f"order_type={order.type} allowed={','.join(sorted(self.limit)) or 'none'}"
        return Refused(code="NOT_PERMITTED", scope=self.scope, text=text)


@dataclass(frozen=True, slots=True)
class LargestQuantity:
    """Of the whole order, what is filled of it included: a change may not make more of it than a new one could be."""

    limit: Decimal
    scope: str
    text: str = ""

    def refusal(self, order: Order, sight: Sight) -> Refused | None:  # noqa: ARG002 - as above
        whole = order.quantity + order.filled
        if whole <= self.limit:
            return None
        numbers: dict[str, Any] = {"limit": self.limit, "value": order.filled, "would_be": whole, "text": self.text}
        return Refused(code="MAX_ORDER_QUANTITY", scope=self.scope, unit="quantity", **numbers)


@dataclass(frozen=True, slots=True)
class SmallestQuantity:
    limit: Decimal
    scope: str

    def refusal(self, order: Order, sight: Sight) -> Refused | None:  # noqa: ARG002 - as above
        whole = order.quantity + order.filled
        if whole >= self.limit:
            return None
        numbers: dict[str, Any] = {"limit": self.limit, "value": order.filled, "would_be": whole}
        return Refused(code="MIN_ORDER_QUANTITY", scope=self.scope, unit="quantity", **numbers)


@dataclass(frozen=True, slots=True)
class OrderNotional:
    limit: Decimal
    scope: str
    unit: str
    text: str = ""

    def refusal(self, order: Order, sight: Sight) -> Refused | None:
        value = notional(order, sight)
        if value is None or value <= self.limit:
            return None
        numbers: dict[str, Any] = {"limit": self.limit, "value": ZERO, "would_be": value, "text": self.text}
        return Refused(code="MAX_ORDER_NOTIONAL", scope=self.scope, unit=self.unit, **numbers)


@dataclass(frozen=True, slots=True)
class PriceCollar:
    """How far a limit price may be on the side where it costs: above for a purchase, below for a sale.

    Of an order that waits for a trigger the trigger is what its limit is held against; of one that a better price
    triggers, at once if the market is there, it is the better of both.
    """

    limit: Decimal
    scope: str

    def refusal(self, order: Order, sight: Sight) -> Refused | None:
        reference = self._reference(order, sight)
        if order.price is None or reference is None:
            return None
        away = (order.price - reference) * order.side
        if away * BPS <= self.limit * abs(reference):
            return None
        would_be = away * BPS / abs(reference) if reference else away * BPS
        text = f"price={order.price:f} reference={reference:f}"
        numbers: dict[str, Any] = {
            "limit": self.limit,
            "value": ZERO,
            "would_be": would_be.quantize(CENT, ROUND_UP) if would_be < LARGE else would_be,
            "text": text,
        }
        return Refused(code="PRICE_COLLAR", scope=self.scope, unit="bps", **numbers)

    @staticmethod
    def _reference(order: Order, sight: Sight) -> Decimal | None:
        trigger, price = order.trigger_price, sight.price
        if trigger is None or price is None or order.type != "LIMIT_IF_TOUCHED":
            return price if trigger is None else trigger
        return min(trigger, price) if order.is_buy else max(trigger, price)


@dataclass(frozen=True, slots=True)
class Position:
    """The net position that all working orders of the order's side would make; of an asset in coins."""

    limit: Decimal
    scope: str
    net: Cell | Coins
    unit: str = "quantity"
    text: str = ""
    code = "MAX_POSITION"

    def measure(self, side: int) -> Decimal | None:
        return self.net.reach(side)

    def unvalued(self) -> Iterable[str]:
        return self.net.unvalued if isinstance(self.net, Coins) else ()


@dataclass(frozen=True, slots=True)
class Exposure:
    """The sum of the worst cases of a scope, in the base currency."""

    limit: Decimal
    scope: str
    total: Total | Mark  # of several instruments, or of one
    unit: str
    text: str = ""
    code = "MAX_EXPOSURE"

    def measure(self, side: int) -> Decimal | None:  # noqa: ARG002 - both sides are in a worst case
        return self.total.known

    def unvalued(self) -> Iterable[str]:
        return self.total.unvalued if isinstance(self.total, Total) else (self.total.listing.instrument_id,)


def overstep(control: Position | Exposure, before: Decimal | None, after: Decimal | None) -> Refused | None:
    """Refuse what passes the limit and makes it worse, and what nobody can value."""
    if after is None:
        names = ", ".join(sorted(control.unvalued())[:NAMED_MAX])
        text = f"{control.code} cannot be reckoned: no price or no conversion of {names}"
        return Refused(code="NO_PRICE", scope=control.scope, text=text)
    if after <= control.limit or (before is not None and after <= before):
        return None
    numbers: dict[str, Any] = {"limit": control.limit, "value": before, "would_be": after, "text": control.text}
    return Refused(code=control.code, scope=control.scope, unit=control.unit, **numbers)


@dataclass(frozen=True, slots=True)
class ReduceOnly:
    """No order of a strategy may open or flip: what works on its side counts. A limit says so, or a halt."""

    scope: str
    halt: Halt | None = None

    def refusal(self, order: Order, places: Places) -> Refused | None:
        after = places.own.reach(order.side)
        if after <= 0:
            return None
        said = Refused(code="REDUCE_ONLY", scope=self.scope) if self.halt is None else self.halt.refusal()
        numbers: dict[str, Any] = {"limit": ZERO, "value": places.own.held, "would_be": after * order.side}
        return msgspec.structs.replace(said, unit="quantity", **numbers)


def notional(order: Order, sight: Sight) -> Decimal | None:
    """What an order is worth at most, in the base currency; None when nobody knows.

    A purchase pays its limit at most; a sale below the market, and a stop that it has passed, is filled at the market.
    """
    listing = sight.listing
    if listing is None or sight.rate is None:
        return None
    whole = (order.quantity + order.filled) * listing.multiplier * sight.rate
    if listing.is_inverse:
        return whole
    price = worst_price(order, sight)
    return None if price is None else whole * abs(price)


def worst_price(order: Order, sight: Sight) -> Decimal | None:
    own = order.price if order.price is not None else order.trigger_price
    if own is None:
        return sight.price
    has_better = order.is_buy and (order.price is not None or order.type == "MARKET_IF_TOUCHED")
    if has_better or sight.price is None:
        return own
    return max(own, sight.price)


def cash_need(growth: Decimal, order: Order, sight: Sight) -> tuple[str, Decimal | None]:
    """What an order takes from a cash account: money for a purchase, coins for a sale.

    A sale of what the account keeps as a position, as of shares, takes nothing unless it makes a position larger. What
    only reduces sells what is held: the stop and the target of an entry that has still to buy it need no coins now.
    """
    listing = _listing(sight)
    if order.is_reduce_only:
        return listing.quote, ZERO
    if not order.is_buy and listing.base and not (sight.account is not None and sight.account.is_single):
        return listing.base, order.quantity * listing.multiplier
    if not order.is_buy and growth <= 0:
        return listing.quote, ZERO
    price = worst_price(order, sight)
    if listing.is_inverse:
        value = order.quantity * listing.multiplier
        return listing.margin or listing.quote, value / price if price and price > 0 else None
    return listing.quote, None if price is None else order.quantity * listing.multiplier * abs(price)


def margin_need(growth: Decimal, order: Order, sight: Sight, leverage: Decimal) -> tuple[str, Decimal | None]:
    """What more of a position, long or short, takes from a margin account."""
    listing = _listing(sight)
    currency = listing.margin or listing.quote
    if growth <= 0 or not listing.margin_init:
        return currency, ZERO
    price = worst_price(order, sight)
    if not price or (listing.is_inverse and price < 0):
        return currency, None
    units = growth * listing.multiplier
    value = units / price if listing.is_inverse else units * abs(price)
    return currency, value * listing.margin_init / leverage


def _listing(sight: Sight) -> Listing:
    assert sight.listing is not None, "the judge has looked"
    return sight.listing
