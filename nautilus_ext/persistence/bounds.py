"""What may wait for the tables, what happens past that, and which orders still pass then. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from decimal import Decimal

Policy = Literal["continue", "halt"]

HALTED = "UNSHIPPED_HALT"
CURE = "get the database back (the shipper's state says what keeps it), or raise the bound"


class Waiting(NamedTuple):
    """Bytes that are acknowledged or wait to be, and that no table has."""

    on_disk: int
    in_memory: int

    @property
    def bytes(self) -> int:
        return self.on_disk + self.in_memory


class Bounds(NamedTuple):
    """How much may wait, and what follows: trade on with an alert, or take no new orders."""

    unshipped_bytes_max: int
    memory_bytes_max: int
    policy: Policy

    def excess(self, waiting: Waiting) -> str:
        """Name the bound that is passed, the value and the cure; empty while all is within."""
        if waiting.bytes > self.unshipped_bytes_max:
            bound = f"persistence.unshipped_bytes_max ({self.unshipped_bytes_max:,})"
            text = f"{waiting.bytes:,} bytes wait for the database, more than {bound}"
            return f"{text}: {self._consequence}; {CURE}"
        if waiting.in_memory > self.memory_bytes_max // 2:
            text = f"{waiting.in_memory:,} bytes wait in memory for the disk of the log, {self.memory_bytes_max:,} fit"
            return f"{text}: {self._consequence}; free space"
        return ""

    @property
    def _consequence(self) -> str:
        return "no new orders until it is less" if self.policy == "halt" else "the node trades on"


class Exposure(NamedTuple):
    """What an order would meet: the net position, signed, and what works on the order's own side besides it."""

    held: Decimal
    working: Decimal


def reduces(*, is_buy: bool, quantity: Decimal, reduce_only: bool, exposure: Exposure) -> bool:
    """Tell whether an order can only make a position smaller, whatever else of its side is filled before it."""
    if reduce_only:
        return True
    open_against = -exposure.held if is_buy else exposure.held
    return quantity + exposure.working <= open_against
