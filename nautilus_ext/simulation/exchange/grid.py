"""A listing's grid: Decimals at the border, whole ticks and lots in the books, whole atoms in the accounts. Pure.

An atom is 10^-27 of a currency: fine enough that price * quantity * multiplier is a whole number of them on every grid
that a listing may have. Money is therefore added and compared as ints: exact, whatever its size, and quick.
"""

from __future__ import annotations

from decimal import Context, Decimal
from typing import TYPE_CHECKING

from nautilus_ext.simulation.market import GRID_DIGITS_MAX

if TYPE_CHECKING:
    from nautilus_ext.simulation.market import Listing

MARGIN_INIT = Decimal("0.05")  # of the value, before leverage
MARGIN_MAINT = Decimal("0.025")
MONEY_DIGITS = 8  # decimals of fees, margins and realized profits
ATOM_DIGITS = 3 * GRID_DIGITS_MAX  # of tick, lot and multiplier together
COUNT_MAX = 10**18  # ticks or lots: what a 64-bit integer of the ledger holds

_ONE = 10**ATOM_DIGITS
_CENT = 10 ** (ATOM_DIGITS - MONEY_DIGITS)  # the smallest money that an account is charged
_AVERAGE = Decimal("1E-12")  # finer than any tick; the last digits of a division say nothing
_CONTEXT = Context(prec=100)  # the usual 28 digits would round


def to_atoms(amount: Decimal) -> int:
    """What is finer than an atom is refused: it is nobody's money."""
    atoms = _CONTEXT.scaleb(amount, ATOM_DIGITS)
    if not atoms.is_finite() or atoms != atoms.to_integral_value():
        raise ValueError(f"{amount} is no amount: it must be finite, with at most {ATOM_DIGITS} decimals")
    return int(atoms)


def to_decimal(atoms: int) -> Decimal:
    cents, rest = divmod(atoms, _CENT)
    if not rest:
        return _CONTEXT.scaleb(Decimal(cents), -MONEY_DIGITS)
    return plain(_CONTEXT.scaleb(Decimal(atoms), -ATOM_DIGITS))


def plain(number: Decimal) -> Decimal:
    """Without trailing zeros, and never as 6E+4."""
    short = number.normalize(_CONTEXT)
    return short.quantize(Decimal(1), context=_CONTEXT) if int(short.as_tuple().exponent) > 0 else short


def rounded(numerator: int, denominator: int) -> int:
    """The nearest whole number, a tie to the even one: the same for a gain and for the loss beside it."""
    whole, rest = divmod(numerator, denominator)
    twice = 2 * rest
    return whole + (twice > denominator or (twice == denominator and whole & 1))


def to_money(numerator: int, denominator: int = 1) -> int:
    """Atoms, rounded to what an account is charged."""
    return rounded(numerator, denominator * _CENT) * _CENT


class Grid:
    """Converts one listing's numbers, and knows what a trade of it is worth."""

    def __init__(self, listing: Listing) -> None:
        self.listing = listing
        self.instrument_id = listing.instrument_id
        self.spot = listing.kind == "spot"
        self.inverse = listing.kind == "inverse"
        self.base = listing.base
        self.currency = listing.base if self.inverse else listing.quote  # what a trade of it is settled in
        self.fee_currency = self.currency
        self._tick, self._lot = listing.tick, listing.lot
        self._ticks_max = _CONTEXT.multiply(listing.tick, COUNT_MAX)
        self._lots_max = _CONTEXT.multiply(listing.lot, COUNT_MAX)
        self.lot_atoms = to_atoms(_CONTEXT.multiply(listing.lot, listing.multiplier))  # spot: of the base asset
        self._tick_atoms = to_atoms(listing.tick)
        self._linear_atoms = self.lot_atoms * self._tick_atoms // _ONE
        self._maker_fee = listing.maker_fee.as_integer_ratio()
        self._taker_fee = listing.taker_fee.as_integer_ratio()

    # -- prices and quantities ----------------------------------------------------------------------

    def ticks(self, price: Decimal) -> int | None:
        """None: not on the grid, below the first tick, or too large for a ledger."""
        return _count(price, self._tick, self._ticks_max)

    def price(self, ticks: int) -> Decimal:
        return _CONTEXT.multiply(self._tick, ticks)

    def lots(self, quantity: Decimal) -> int | None:
        return _count(quantity, self._lot, self._lots_max)

    def quantity(self, lots: int) -> Decimal:
        return _CONTEXT.multiply(self._lot, lots)

    # -- values -------------------------------------------------------------------------------------

    def value(self, ticks: int, lots: int) -> Decimal:
        """In the settlement currency: exact, but of an inverse listing rounded to money."""
        return to_decimal(self.value_atoms(ticks, lots))

    def value_atoms(self, ticks: int, lots: int) -> int:
        atoms = self.cost_atoms(ticks, lots)
        return to_money(atoms) if self.inverse else atoms

    def cost_atoms(self, ticks: int, lots: int) -> int:
        """As the value, but never rounded to money: average prices come from it."""
        if self.inverse:
            return rounded(lots * self.lot_atoms * _ONE, ticks * self._tick_atoms)
        return ticks * lots * self._linear_atoms

    def average_price(self, cost_atoms: int, lots: int) -> Decimal | None:
        """The price at which so many lots cost so much; both signed alike."""
        if not lots or not cost_atoms:
            return None
        size, cost = abs(lots) * self.lot_atoms, abs(cost_atoms)
        atoms = rounded(size * _ONE, cost) if self.inverse else rounded(cost * _ONE, size)
        return plain(_CONTEXT.scaleb(Decimal(atoms), -ATOM_DIGITS).quantize(_AVERAGE, context=_CONTEXT))

    def fee(self, value: Decimal, maker: bool) -> Decimal:  # noqa: FBT001 - a listing has two fees: the flag is as much its operand as the value
        return to_decimal(self.fee_atoms(to_atoms(value), maker=maker))

    def fee_atoms(self, value_atoms: int, *, maker: bool) -> int:
        part, whole = self._maker_fee if maker else self._taker_fee
        return to_money(value_atoms * part, whole)


def _count(amount: Decimal, unit: Decimal, most: Decimal) -> int | None:
    if not amount.is_finite() or not unit <= amount <= most:
        return None
    count, rest = _CONTEXT.divmod(amount, unit)
    return None if rest else int(count)
