"""What every config of a strategy refuses."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterator


def all_finite(config: msgspec.Struct) -> None:
    """NaN and Infinity are valid Decimals, but no comparison with them says anything."""
    for name, value in msgspec.structs.asdict(config).items():
        for number in _decimals(value):
            if not number.is_finite():
                raise ValueError(f"{name} {number} must be a finite number")


def _decimals(value: object) -> Iterator[Decimal]:
    values = value.values() if isinstance(value, dict) else (value,)
    return (each for each in values if isinstance(each, Decimal))
