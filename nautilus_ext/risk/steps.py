"""Amounts in steps: whatever was added to a sum and is taken away again leaves exactly nothing behind. Pure.

A product or a quotient may have more digits than a Decimal keeps. Such rests would add up in a sum that is kept for
months, and a position of 1E-26 is one that can be neither closed nor opened.
"""

from __future__ import annotations

from decimal import ROUND_CEILING, ROUND_FLOOR, Context, Decimal

STEP = Decimal("1E-12")  # of money and of coins; sums are exact below 10,000,000,000,000,000
QUANTITY_STEP = Decimal("1E-16")  # the finest quantity of an order
_WIDE = Context(prec=120)  # a larger number than a sum can keep exactly is no error


def up(amount: Decimal, step: Decimal = STEP) -> Decimal:
    return amount.quantize(step, ROUND_CEILING, _WIDE)


def down(amount: Decimal, step: Decimal = STEP) -> Decimal:
    return amount.quantize(step, ROUND_FLOOR, _WIDE)
