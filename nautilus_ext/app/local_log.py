"""What the files on this machine say of a book's newest run: true also while the tables are away, or stand still."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from nautilus_ext.persistence.segments import NODE_LOCK, is_locked, last_seq, runs
from nautilus_ext.persistence.shipper.state import LAST_PHASES, ShipperState, read_state

if TYPE_CHECKING:
    from pathlib import Path


class LocalLog(NamedTuple):
    """A run by its own folder."""

    run: int
    is_alive: bool
    last_seq: int
    shipper: ShipperState

    @property
    def trouble(self) -> str:
        """What keeps the shipper from its work; empty when nothing does."""
        if self.shipper.phase in LAST_PHASES or not self.shipper.at_ns:
            return ""
        return self.shipper.silence or (self.shipper.last_error and f"the shipper: {self.shipper.last_error}")

    @property
    def text(self) -> str:
        node = "its node runs" if self.is_alive else "its node is gone"
        behind = max(self.last_seq - self.shipper.shipped_seq, 0)
        events = f"{self.last_seq:,} events in its log, {behind:,} of them not in the tables"
        return f"on this machine: run {self.run}, {node}; {events}"


def local_log(folder: Path) -> LocalLog | None:
    """Read the newest run of a book's folder; None where there is none, or none that we may read."""
    try:
        found = runs(folder)
        if not found:
            return None
        run, place = found[-1]
        shipper, alive = read_state(place), is_locked(place / NODE_LOCK)
        known = max(last_seq(place), shipper.known_seq)
    except OSError:
        return None
    return LocalLog(run, alive, known, shipper)
