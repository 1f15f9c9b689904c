"""Nets of what is held and what works, and the sums over them: how far each can go. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nautilus_ext.risk.facts import Listing

ZERO = Decimal(0)
ROUNDED = Decimal("1E-6")  # more than what sums are rounded up by while they are behind


class Cell:
    """One net position and what works on both sides of it.

    Orders marked reduce-only buy back at most what somebody is short of, and sell what somebody is long: of two
    strategies that hold against each other each can be closed alone. `closing` counts such orders.
    """

    __slots__ = (
        "buys",
        "closing_buys",
        "closing_sells",
        "held",
        "longest",
        "longs",
        "sells",
        "share",
        "shortest",
        "shorts",
    )

    def __init__(self) -> None:
        self.held = self.longs = self.shorts = ZERO
        self.buys = self.sells = self.closing_buys = self.closing_sells = ZERO
        self.longest = self.shortest = ZERO
        self.share = ZERO  # what of its sums is its own, in the base currency

    @property
    def worst(self) -> Decimal:
        return max(self.longest, -self.shortest)

    def close(self, side: int, amount: Decimal) -> None:
        """Add to what works and is marked reduce-only."""
        if side > 0:
            self.closing_buys += amount
        else:
            self.closing_sells += amount
        self._settle()

    def hold(self, former: Decimal, quantity: Decimal) -> None:
        """A position that was so large is so large now."""
        for amount, sign in ((former, -1), (quantity, 1)):
            if amount > 0:
                self.longs += amount * sign
            else:
                self.shorts -= amount * sign
        self.held = self.longs - self.shorts
        self._settle()

    def _settle(self) -> None:
        """All buys filled and no sale is the longest it can become; the other way round, the shortest."""
        longest, shortest = self.held + self.buys, self.held - self.sells
        if self.closing_buys:
            longest += min(self.closing_buys, self.shorts)
        if self.closing_sells:
            shortest -= min(self.closing_sells, self.longs)
        self.longest, self.shortest = longest, shortest

    def reach(self, side: int) -> Decimal:
        """How far the position can go to the side of an order, seen from there."""
        return self.longest if side > 0 else -self.shortest


class Total:
    """A sum of worst cases in the base currency; which instruments of it have no value. See `Ledger.settle`."""

    __slots__ = ("unvalued", "value")

    def __init__(self) -> None:
        self.value = ZERO
        self.unvalued: set[str] = set()

    @property
    def known(self) -> Decimal | None:
        return None if self.unvalued else self.value


class Coins:
    """The longest and the shortest that an asset can become over all its instruments, in coins. See `Ledger.settle`."""

    __slots__ = ("ahead", "longest", "shortest", "unvalued")

    def __init__(self) -> None:
        self.longest = self.shortest = ZERO
        self.ahead = ROUNDED
        self.unvalued: set[str] = set()

    def reach(self, side: int) -> Decimal | None:
        if self.unvalued:
            return None
        return self.longest if side > 0 else -self.shortest


@dataclass(slots=True)
class Mark:
    """What one unit of an instrument is worth, in the base currency and in coins."""

    listing: Listing
    coins: Coins
    value: Decimal | None = None
    in_coins: Decimal | None = None
    cells: list[tuple[Cell, tuple[Total, ...]]] = field(default_factory=list)
    whole: Cell = field(default_factory=Cell)
    longest: Decimal = ZERO  # what of the asset's coins is its own
    shortest: Decimal = ZERO
    seen: tuple[Listing | None, Decimal | None, Decimal | None] = (None, None, None)  # what made the values

    @property
    def known(self) -> Decimal | None:
        """The worst case of the instrument alone."""
        return None if self.value is None else self.whole.worst * self.value


@dataclass(slots=True)
class Places:
    """Where an order of a key counts."""

    mark: Mark
    whole: Cell
    own: Cell
    account: Cell
    cells: tuple[tuple[Cell, tuple[Total, ...]], ...]
