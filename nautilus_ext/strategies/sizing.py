"""How much to send: from money to an instrument's own unit, and onto its grid."""

from __future__ import annotations

from decimal import ROUND_DOWN, Decimal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nautilus_trader.model.instruments import Instrument
    from nautilus_trader.model.objects import Quantity


def on_grid(instrument: Instrument, size: Decimal) -> Quantity | None:
    """`size` rounded down to whole lots; None when less than the venue's smallest order is left."""
    lot = instrument.size_increment.as_decimal()
    whole = (size / lot).quantize(Decimal(1), rounding=ROUND_DOWN) * lot
    smallest = max(lot, instrument.min_quantity.as_decimal() if instrument.min_quantity else lot)
    if whole < smallest:
        return None
    return instrument.make_qty(whole)


def size_of(instrument: Instrument, notional: Decimal, price: Decimal) -> Decimal:
    """The size that is worth `notional` of the quote currency."""
    multiplier = instrument.multiplier.as_decimal()
    if instrument.is_inverse:
        return notional / multiplier
    return notional / (multiplier * price)
