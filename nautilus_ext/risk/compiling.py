"""From the limits of an instrument, a strategy and an account to the controls that are asked for each order. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from nautilus_ext.config.risk import MESSAGE_KINDS
from nautilus_ext.risk import controls as c
from nautilus_ext.risk.limits import expression
from nautilus_ext.risk.verdicts import Refused

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from nautilus_ext.config.risk import MessageLimit, Ramp
    from nautilus_ext.risk.halts import Halt
    from nautilus_ext.risk.ledger import Ledger, Places
    from nautilus_ext.risk.limits import Effective, Rulebook
    from nautilus_ext.risk.windows import Window


class Counted(NamedTuple):
    """A window over messages and what it counts."""

    window: Window
    limit: MessageLimit
    scope: str


@dataclass(slots=True)
class Controls:
    """All controls of one instrument, strategy and account."""

    places: Places
    permissions: list[c.Forbidden | c.Sides | c.OrderTypes] = field(default_factory=list)
    sizes: list[tuple[c.LargestQuantity | c.SmallestQuantity, Ramp | None]] = field(default_factory=list)
    notionals: list[tuple[c.OrderNotional, Ramp | None]] = field(default_factory=list)
    collars: list[c.PriceCollar] = field(default_factory=list)
    reaches: list[tuple[c.Position | c.Exposure, Ramp | None]] = field(default_factory=list)
    reduce_only: list[c.ReduceOnly] = field(default_factory=list)
    counted: dict[str, list[Counted]] = field(default_factory=lambda: {kind: [] for kind in MESSAGE_KINDS})
    duplicates: list[tuple[int, str]] = field(default_factory=list)  # ms, scope
    self_match: tuple[str, str] | None = None  # what is done, scope
    balance: str | None = None  # scope
    unset: Refused | None = None  # what must be limited and is not
    needs_price: bool = False
    needs_rate: bool = False


class Compiling:
    """One use: `compile`."""

    def __init__(
        self, book: Rulebook, places: Places, window: Callable[[str, MessageLimit], Window], ledger: Ledger
    ) -> None:
        self._book = book
        self._places = places
        self._listing = places.mark.listing
        self._window = window
        self._ledger = ledger
        self._made = Controls(places)

    def compile(self, limits: Iterable[Effective], narrowing: Halt | None = None) -> Controls:
        limits = list(limits)
        if narrowing is not None:
            self._made.reduce_only.append(c.ReduceOnly(narrowing.scope, narrowing))
        for limit in limits:
            getattr(self, f"_{limit.key}")(limit)
        made, keys = self._made, {limit.key for limit in limits if limit.ramp is None}
        made.unset = self._unset(keys) if self._book.needs_limits else None
        needs_value = bool(made.notionals) or any(isinstance(each, c.Exposure) for each, _ in made.reaches)
        is_in_coins = self._listing.is_inverse and any(limit.kind == "asset" for limit in limits)
        made.needs_rate = needs_value
        made.needs_price = needs_value or is_in_coins or bool(made.collars) or made.balance is not None
        return made

    def _unset(self, keys: set[str]) -> Refused | None:
        missing = []
        if not keys & {"max_order_quantity", "max_order_notional"}:
            missing.append("max_order_quantity or max_order_notional")
        if "max_position" not in keys:
            missing.append("max_position")
        if not missing:
            return None
        text = f"unset={' and '.join(missing)} (risk.needs_limits)"
        return Refused(code="NO_LIMIT", scope=f"instrument={self._listing.instrument_id}", text=text)

    # -- one method per key of a scope --------------------------------------------------------------

    def _max_order_quantity(self, limit: Effective) -> None:
        self._made.sizes.append((c.LargestQuantity(limit.value, limit.scope, _new(limit)), limit.ramp))

    def _min_order_quantity(self, limit: Effective) -> None:
        self._made.sizes.append((c.SmallestQuantity(limit.value, limit.scope), None))

    def _max_order_notional(self, limit: Effective) -> None:
        control = c.OrderNotional(limit.value, limit.scope, self._book.base_currency, _new(limit))
        self._made.notionals.append((control, limit.ramp))

    def _price_collar_bps(self, limit: Effective) -> None:
        self._made.collars.append(c.PriceCollar(limit.value, limit.scope))

    def _max_position(self, limit: Effective) -> None:
        places = self._places
        unit = self._listing.asset if limit.kind == "asset" else "quantity"
        nets = {"asset": places.mark.coins, "strategy": places.own, "account": places.account}
        net = nets.get(limit.kind, places.whole)
        self._made.reaches.append((c.Position(limit.value, limit.scope, net, unit, _new(limit)), limit.ramp))

    def _max_exposure(self, limit: Effective) -> None:
        is_one = limit.kind == "instrument"
        total = self._places.mark if is_one else self._ledger.total(limit.kind, limit.member)
        control = c.Exposure(limit.value, limit.scope, total, self._book.base_currency, _new(limit))
        self._made.reaches.append((control, limit.ramp))

    def _messages(self, limit: Effective) -> None:
        """A window that the file names twice counts a message once."""
        counted = Counted(self._window(limit.scope, limit.value), limit.value, limit.scope)
        for kind in dict.fromkeys(limit.value.types):
            if all(each.window is not counted.window for each in self._made.counted[kind]):
                self._made.counted[kind].append(counted)

    def _duplicate_window_ms(self, limit: Effective) -> None:
        if limit.value:
            self._made.duplicates.append((limit.value, limit.scope))

    def _self_match(self, limit: Effective) -> None:
        """The narrowest scope decides: it comes last."""
        self._made.self_match = None if limit.value == "off" else (limit.value, limit.scope)

    def _check_balance(self, limit: Effective) -> None:
        """As above: an account whose collateral cannot be reckoned like this is left out by its own scope."""
        self._made.balance = limit.scope if limit.value else None

    def _reduce_only(self, limit: Effective) -> None:
        if limit.value:
            self._made.reduce_only.append(c.ReduceOnly(limit.scope))

    def _allowed_instruments(self, limit: Effective) -> None:
        if not self._names(limit.value):
            self._forbid(limit, f"instrument={self._listing.instrument_id} is not among allowed_instruments")

    def _restricted_instruments(self, limit: Effective) -> None:
        if self._names(limit.value):
            self._forbid(limit, f"instrument={self._listing.instrument_id} is among restricted_instruments")

    def _allowed_venues(self, limit: Effective) -> None:
        if self._listing.venue not in limit.value:
            self._forbid(limit, f"venue={self._listing.venue} is not among allowed_venues")

    def _allowed_sides(self, limit: Effective) -> None:
        self._made.permissions.append(c.Sides(frozenset(limit.value), limit.scope))

    def _allowed_order_types(self, limit: Effective) -> None:
        self._made.permissions.append(c.OrderTypes(frozenset(limit.value), limit.scope))

    def _forbid(self, limit: Effective, text: str) -> None:
        self._made.permissions.append(c.Forbidden(limit.scope, text))

    def _names(self, patterns: list[str]) -> bool:
        names = [name for name in (self._listing.instrument_id, self._listing.canonical_id) if name]
        return any(expression(pattern).fullmatch(name) for name in names for pattern in patterns)


def _new(limit: Any) -> str:
    return c.NEW if limit.ramp is not None else ""
