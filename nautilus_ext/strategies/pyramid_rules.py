"""What a pyramid does to its rows. Pure: rows in, rows out."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Literal, NamedTuple

from msgspec.structs import replace

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from nautilus_ext.schema.portfolio_rows import PositionRow

BPS = Decimal(10_000)
STOP, TARGET = "-SL", "-TP"  # the exits of an entry are named after it, so that a restart finds them
AWAY = "closed while away"


class Exit(NamedTuple):
    """What closed a row or a part of it; without a price nobody knows what it brought."""

    quantity: Decimal
    ts_ns: int
    reason: str
    price: Decimal | None = None
    fee: Decimal = Decimal(0)


def fingerprint(strategy_id: str, instrument_id: str, kind: str, bar_ns: int) -> str:
    """What makes two signals the same one."""
    return f"{strategy_id} {instrument_id} {kind} {bar_ns}"


def is_step(side: str, last_price: Decimal, price: Decimal, step_bps: Decimal) -> bool:
    """Whether the price has moved far enough in favour for one more addition."""
    return towards(side) * (price - last_price) >= last_price * step_bps / BPS


def towards(side: str) -> Literal[1, -1]:
    return 1 if side == "LONG" else -1


def remaining(row: PositionRow) -> Decimal:
    return row.quantity - row.closed_quantity


class Contract(NamedTuple):
    """How an instrument turns prices into money."""

    multiplier: Decimal
    is_inverse: bool
    precision: int  # digits of its currency


def profit(row: PositionRow, out: Exit, contract: Contract) -> Decimal:
    """In the currency of the row, after the fee; nothing when the price is not known."""
    if out.price is None:
        return Decimal(0)
    moved = 1 / row.entry_price - 1 / out.price if contract.is_inverse else out.price - row.entry_price
    gained = towards(row.side) * moved * out.quantity * contract.multiplier - out.fee
    return round(gained, contract.precision)


def with_exit(row: PositionRow, out: Exit, contract: Contract) -> PositionRow:
    """The row after an exit: partial as long as something is left."""
    gained = profit(row, out, contract)
    closed = min(row.closed_quantity + out.quantity, row.quantity)
    is_all = closed == row.quantity
    return replace(
        row,
        status="closed" if is_all else "partial",
        closed_quantity=closed,
        exit_price=_average(row, out),
        realized_pnl=(row.realized_pnl or Decimal(0)) + gained,
        closed_ns=out.ts_ns if is_all else None,
        close_reason=out.reason,
    )


def _average(row: PositionRow, out: Exit) -> Decimal | None:
    """One part without a known price, and there is no average."""
    if row.closed_quantity == 0 or out.price is None or row.exit_price is None:
        return out.price if row.closed_quantity == 0 else None
    known = row.exit_price * row.closed_quantity + out.price * out.quantity
    return known / (row.closed_quantity + out.quantity)


def apportion(rows: Iterable[PositionRow], quantity: Decimal) -> list[tuple[PositionRow, Decimal]]:
    """Which rows a closing fill closes, and how much of each: in the order given."""
    parts = []
    for row in rows:
        part = min(remaining(row), quantity)
        if part > 0:
            parts.append((row, part))
            quantity -= part
    return parts


def missing_at_venue(
    rows: Sequence[PositionRow], held: Decimal, protected: set[str]
) -> list[tuple[PositionRow, Decimal]]:
    """What the rows say is open and the venue (`held`, signed) has not: rows without exits first, then the newest."""
    if not rows:
        return []
    there = max(towards(rows[0].side) * held, Decimal(0))
    surplus = sum(map(remaining, rows), Decimal(0)) - there
    order = sorted(rows, key=lambda row: (row.position_id in protected, -row.opened_ns))
    return apportion(order, surplus) if surplus > 0 else []
