"""Amounts in steps: whatever was added to a sum and is taken away again leaves exactly nothing behind. Pure.

A product or a quotient may have more digits than a Decimal keeps. Such rests would add up in a sum that is kept for
months, and a position of 1E-26 is one that can be neither closed nor opened.
"""

from __future__ import annotations

from decimal import ROUND_CEILING, ROUND_FLOOR, Context, Decimal, getcontext, localcontext
from functools import wraps
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

STEP = Decimal("1E-12")  # of money and of coins; sums are exact below 10,000,000,000,000,000
QUANTITY_STEP = Decimal("1E-16")  # the finest quantity of an order
EXACT = Context(prec=28)
_WIDE = Context(prec=120)  # a larger number than a sum can keep exactly is no error


def up(amount: Decimal, step: Decimal = STEP) -> Decimal:
    return amount.quantize(step, ROUND_CEILING, _WIDE)


def down(amount: Decimal, step: Decimal = STEP) -> Decimal:
    return amount.quantize(step, ROUND_FLOOR, _WIDE)


def exactly[**P, R](act: Callable[P, R]) -> Callable[P, R]:
    """Reckon with all digits, whatever a strategy has set for its own arithmetic, which is in the same thread."""

    @wraps(act)
    def exact(*args: P.args, **kwargs: P.kwargs) -> R:
        if getcontext().prec >= EXACT.prec:
            return act(*args, **kwargs)
        with localcontext(EXACT):
            return act(*args, **kwargs)

    return exact
