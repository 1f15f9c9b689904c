"""What a running node looks like at one moment. Plain values: gathered on the node's loop, drawn elsewhere."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class PositionRow:
    instrument: str
    strategy: str
    side: str
    quantity: str
    average: str
    unrealized: str
    realized: str


@dataclass(frozen=True)
class Part:
    """One part of the node, such as a venue client or the database, and whether it is well."""

    name: str
    state: str
    well: bool


@dataclass(frozen=True)
class View:
    book: str
    run: int
    world: str
    running_s: float = 0.0
    counts: dict[str, int] = field(default_factory=dict)
    working: int = 0
    positions: list[PositionRow] = field(default_factory=list)
    positions_open: int = 0
    pnl: dict[str, str] = field(default_factory=dict)  # currency → total, realized and unrealized together
    parts: list[Part] = field(default_factory=list)
    halts: list[str] = field(default_factory=list)  # what is stopped, by whom and why
    recent: list[str] = field(default_factory=list)
    alerts: list[str] = field(default_factory=list)
