"""Approved and refused are different types: what has not passed cannot be sent. Pure."""

from __future__ import annotations

from decimal import Decimal  # noqa: TC003 - msgspec reads the annotations

import msgspec

from nautilus_ext.risk.facts import Order  # noqa: TC001 - as above


class Refused(msgspec.Struct, frozen=True, kw_only=True):
    """Which limit, its scope, what was and would have been reached, the unit; `text` says what numbers cannot."""

    code: str
    scope: str = ""
    unit: str = ""
    limit: Decimal | None = None
    value: Decimal | None = None  # before the order
    would_be: Decimal | None = None
    text: str = ""

    def __str__(self) -> str:
        numbers = (("limit", self.limit), ("scope", self.scope), ("value", self.value), ("would_be", self.would_be))
        parts = [f"{name}={_plain(each)}" for name, each in numbers if each is not None and each != ""]
        parts += [f"unit={self.unit}"] if self.unit else []
        parts += [self.text] if self.text else []
        return f"{self.code}: {' '.join(parts)}" if parts else self.code


class Right(msgspec.Struct, frozen=True, kw_only=True):
    """By what an order passes that somebody has ordered; a limit of messages still holds it, and what is unknown."""

    by: str
    why: str
    until: str


class Lifted(msgspec.Struct, frozen=True, kw_only=True):
    """A refusal that an override set aside: who, why, until when."""

    refused: Refused
    by: str
    why: str
    until: str


class Approved(msgspec.Struct, frozen=True, kw_only=True):
    """An order that may be sent; the ledger counts it already."""

    order: Order
    lifted: tuple[Lifted, ...] = ()
    cancels_first: tuple[str, ...] = ()  # own resting orders that it would meet


def _plain(value: Decimal | str) -> str:
    return value if isinstance(value, str) else f"{value.normalize():f}"
