"""What a shipper is told on its stdin, and what it says about itself in a file beside the log that it ships."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Literal

import msgspec

from nautilus_ext.persistence.segments import SHIPPER_STATE

if TYPE_CHECKING:
    from pathlib import Path

LOG_FILE = "shipper.log"
PRIVATE_MODE = 0o700
ORDER_BYTES_MAX = 32_000  # what a pipe takes at once, whoever reads it later

Phase = Literal["shipping", "waiting for the database", "failed", "fenced", "ended"]
LAST_PHASES = ("fenced", "ended")
SILENT_S_MAX = 10.0  # one that lives says something each second


class ShipperOrder(msgspec.Struct, frozen=True, kw_only=True):
    """Which run to ship, and where to: one JSON line on stdin, because the address holds a password."""

    journal_folder: str
    book_id: str
    run: int
    epoch: int
    embedded_folder: str | None = None
    embedded_port: int = 0
    url: str | None = None
    connect_timeout_s: float = 5.0
    statement_timeout_s: float = 30.0

    def __repr__(self) -> str:
        return f"ShipperOrder(book {self.book_id}, run {self.run}, epoch {self.epoch})"


class ShipperState(msgspec.Struct, frozen=True, kw_only=True):
    """How far a shipper has come. Nothing in it is secret."""

    pid: int = 0
    run: int = 0
    shipped_seq: int = 0
    known_seq: int = 0
    segment: int = 0  # what lies before this place of the log is durable
    offset: int = 0
    rejected: int = 0
    missing: int = 0  # at the end: at least so many records were in the log and could not be read
    last_error: str = ""
    at_ns: int = 0
    phase: Phase = "waiting for the database"

    @property
    def silence(self) -> str:
        """Say that it hangs, empty when it does not: one that waits for the database says so itself."""
        silent_s = time.time() - self.at_ns / 1e9
        if not self.at_ns or self.phase in LAST_PHASES or silent_s <= SILENT_S_MAX:
            return ""
        return f"the shipper (pid {self.pid}) has said nothing for {silent_s:,.0f} s: kill it, and another one starts"


def make_private(folder: Path) -> None:
    """Make the folder of a run, and that of its book above it, for this user alone."""
    folder.mkdir(parents=True, exist_ok=True)
    for each in (folder.parent, folder):
        each.chmod(PRIVATE_MODE)


def write_state(folder: Path, state: ShipperState) -> None:
    """Replace the file by rename: who reads it sees the old one or the new one."""
    unfinished = folder / f"{SHIPPER_STATE}.{os.getpid()}"
    unfinished.write_bytes(msgspec.json.encode(state))
    unfinished.replace(folder / SHIPPER_STATE)


def read_state(folder: Path) -> ShipperState:
    """Read what the shipper of a run said last; a state of nothing shipped before it said anything."""
    try:
        return msgspec.json.decode((folder / SHIPPER_STATE).read_bytes(), type=ShipperState)
    except (OSError, msgspec.MsgspecError):
        return ShipperState()
