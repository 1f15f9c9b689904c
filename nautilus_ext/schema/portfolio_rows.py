"""The rows of the portfolio tables, as plain values. Pure.

`version` is the one that was read: 0 says that the row is new. A write raises it, and returns the row with the new one.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Literal

import msgspec

Outcome = Literal["claimed", "executed", "rejected", "lost"]


class PositionRow(msgspec.Struct, frozen=True, kw_only=True):
    """One entry of a strategy: the base of a pyramid, or an addition to it, with its stop and what became of it."""

    position_id: str  # the client order id of the entry
    strategy_id: str
    instrument_id: str
    side: Literal["LONG", "SHORT"]
    is_base_position: bool
    quantity: Decimal
    entry_price: Decimal
    currency: str
    opened_ns: int
    status: Literal["open", "partial", "closed"] = "open"
    rollover_status: Literal["none", "pending", "in_progress", "rolled", "failed"] = "none"
    closed_quantity: Decimal = Decimal(0)
    initial_stop: Decimal | None = None
    current_stop: Decimal | None = None
    limiter: str | None = None
    exit_price: Decimal | None = None
    realized_pnl: Decimal | None = None
    fingerprint: str | None = None
    closed_ns: int | None = None
    close_reason: str | None = None
    version: int = 0


class EquityRow(msgspec.Struct, frozen=True, kw_only=True):
    """Capital in one currency: at the start, and with the result of all that was closed since."""

    currency: str
    initial_capital: Decimal
    closed_equity: Decimal
    version: int = 0


class PyramidRow(msgspec.Struct, frozen=True, kw_only=True):
    """Where the pyramid of a strategy in an instrument stands; without a base there is none."""

    strategy_id: str
    instrument_id: str
    base_position_id: str | None = None
    pyramid_count: int = 0
    last_pyramid_price: Decimal | None = None
    version: int = 0


class Signal(msgspec.Struct, frozen=True, kw_only=True):
    """What makes a strategy send an order. The same fingerprint is acted upon once, for ever."""

    fingerprint: str
    strategy_id: str
    instrument_id: str
    signal_type: str
    signal_ns: int
    client_order_id: str


class SignalOutcome(msgspec.Struct, frozen=True):
    """What became of a claimed signal."""

    fingerprint: str
    outcome: Outcome
    reason: str | None = None


class Changes(msgspec.Struct, frozen=True, kw_only=True):
    """What is written together or not at all. The equity follows from the positions' realized profit."""

    positions: tuple[PositionRow, ...] = ()
    pyramid: PyramidRow | None = None
    outcomes: tuple[SignalOutcome, ...] = ()
