"""What each scope has won and lost since it is watched: realized, as positions tell it, and what is open now. Pure.

Sums run along by place and currency and are kept over a restart: closed positions are in no cache then.
"""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from nautilus_ext.risk.halts import Place

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

SUMS_MAX = 10_000  # places and currencies; what is beyond is added up under a place that is only the node
UNKNOWN = Decimal("NaN")


class Sum(msgspec.Struct, frozen=True, array_like=True):
    """What one strategy has realized in one instrument on one account."""

    instrument_id: str
    strategy_id: str
    account_id: str
    currency: str
    amount: Decimal


class Seen(msgspec.Struct, frozen=True, array_like=True):
    """How much of an open position's result is in the sums."""

    position_id: str
    amount: Decimal


class Open(NamedTuple):
    """What an open position would bring now; None when nobody can say it."""

    place: Place
    currency: str
    amount: Decimal | None


class Results:
    """Fed with every word on a position; asked for the result of every scope."""

    def __init__(self, sums: Iterable[Sum] = (), seen: Iterable[Seen] = ()) -> None:
        self._sums = {(Place(*msgspec.structs.astuple(each)[:3]), each.currency): each.amount for each in sums}
        self._seen = {each.position_id: each.amount for each in seen}

    def begin(self, position_id: str, realized: Decimal) -> None:
        """What was open already when the watch began: its result so far belongs to no period."""
        self._seen.setdefault(position_id, realized)

    def take(self, place: Place, position_id: str, currency: str, realized: Decimal, *, kind: str) -> bool:
        """What a position has realized in all; tell whether a sum has changed."""
        if kind == "PositionOpened":
            self._seen.pop(position_id, None)  # another life under the same id
        change = realized - self._seen.get(position_id, Decimal(0))
        if kind == "PositionClosed":
            self._seen.pop(position_id, None)
        else:
            self._seen[position_id] = realized
        if change:
            key = (place, currency)
            if key not in self._sums and len(self._sums) >= SUMS_MAX:
                key = (Place(""), currency)
            self._sums[key] = self._sums.get(key, Decimal(0)) + change
        return bool(change)

    def by_scope(self, held: Iterable[Open], rate: Callable[[str], Decimal | None]) -> dict[str, Decimal]:
        """In the base currency; NaN where a price or a rate is missing: half a result is none."""
        rates: dict[str, Decimal | None] = {}
        found: dict[str, Decimal] = {}
        parts = [*((place, currency, amount) for (place, currency), amount in self._sums.items()), *held]
        for place, currency, amount in parts:
            if currency not in rates:
                rates[currency] = rate(currency)
            each = rates[currency]
            value = Decimal(0) if amount == 0 else UNKNOWN if amount is None or each is None else amount * each
            for scope in place.scopes():
                found[scope] = found.get(scope, Decimal(0)) + value
        return found

    def sums(self) -> list[Sum]:
        return [Sum(*place, currency, amount) for (place, currency), amount in self._sums.items()]

    def seen(self) -> list[Seen]:
        return [Seen(*each) for each in self._seen.items()]
