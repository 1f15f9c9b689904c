"""What the shipper says about itself: its state for the node in a file, and lines for people on stderr."""

from __future__ import annotations

import os
import sys
import time
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from nautilus_ext.embedded import postmaster
from nautilus_ext.persistence.shipper.state import LOG_FILE, Phase, ShipperState, write_state

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from nautilus_ext.persistence.rows import RejectionRow

STATE_S = 0.1  # how often the file is replaced while things move
PULSE_S = 1.0  # and while they do not
LINE_CHARS_MAX = 1_000
REPORTS_MAX = 1_000  # remembered, so that damage that is met again after an outage is told once


class Status:
    """The one place that knows how far shipping has come; `folder` is that of the run in the order."""

    def __init__(self, folder: Path, run: int, tell: Callable[[str], None] | None = None) -> None:
        self._tell = tell  # None: stderr, which is the shipper's own log
        self._folder = folder
        self._run = run
        self._log = folder.parent / LOG_FILE
        self._phase: Phase = "waiting for the database"
        self._shipped_seq = self._known_seq = 0
        self._segment, self._offset = 0, 0
        self._rejected = self._missing = 0
        self._outage = ""
        self._slow = ""
        self._damage = ""
        self._reported: dict[str, None] = {}
        self._written_s = 0.0

    @property
    def phase(self) -> Phase:
        return self._phase

    def enter(self, phase: Phase, outage: str = "") -> None:
        """Change the phase; the file says so before anything else happens."""
        if outage and outage != self._outage:
            self.say(outage)
        if phase != self._phase:
            self.say(phase)
        self._phase, self._outage = phase, outage
        self.write()

    def report(self, text: str) -> None:
        """Tell of damage: in the state from now on, in the log once."""
        self._damage = text[:LINE_CHARS_MAX]
        if text in self._reported:
            return
        if len(self._reported) >= REPORTS_MAX:
            self._reported.pop(next(iter(self._reported)))
        self._reported[text] = None
        self.say(text)

    def slow(self, text: str) -> None:
        """Tell that the database does not take a batch in time: in the state until it takes one, in the log once."""
        if text != self._slow:
            self.say(text)
        self._slow = text
        self.write()

    def in_time(self) -> None:
        """Take back what `slow` told, if it did."""
        if self._slow:
            self.say("the database takes batches in time again")
        self._slow = ""

    def reject(self, row: RejectionRow) -> None:
        """Count a record that was refused, and name it."""
        self._rejected += 1
        self.report(f"run {row.run}, record {row.seq} ({row.type}) was refused, stage {row.stage}: {row.error}")

    def resume(self, *, shipped_seq: int, rejected: int) -> None:
        """Take over what the database says of the own run."""
        self._shipped_seq, self._known_seq = shipped_seq, max(shipped_seq, self._known_seq)
        self._rejected = rejected

    def move(self, shipped_seq: int, known_seq: int, place: tuple[int, int]) -> None:
        self._shipped_seq, self._known_seq = shipped_seq, known_seq
        self._segment, self._offset = place

    def miss(self, missing: int) -> None:
        """Say how many records of the own run are nowhere; nothing more comes."""
        self._missing = missing

    def is_due(self, period_s: float = STATE_S) -> bool:
        return time.monotonic() - self._written_s >= period_s

    def write(self) -> None:
        with suppress(OSError):  # a full disk, or the folder is gone: what matters is in the database
            write_state(self._folder, self._state())
            postmaster.bound_log(self._log)
        self._written_s = time.monotonic()

    def _state(self) -> ShipperState:
        return ShipperState(
            pid=os.getpid(),
            run=self._run,
            shipped_seq=self._shipped_seq,
            known_seq=self._known_seq,
            segment=self._segment,
            offset=self._offset,
            rejected=self._rejected,
            missing=self._missing,
            last_error=self._outage or self._slow or self._damage,
            at_ns=time.time_ns(),
            phase=self._phase,
        )

    def say(self, text: str) -> None:
        """One line in the log whatever the text."""
        flat = " ".join(text[:LINE_CHARS_MAX].split())
        if self._tell is not None:
            self._tell(flat)
            return
        with suppress(OSError):
            sys.stderr.write(f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S.%fZ} run {self._run} pid {os.getpid()}: {flat}\n")
            sys.stderr.flush()
