"""One log from the first step of the start to the last one of the stop: it may begin before its file is known."""

from __future__ import annotations

import atexit
import logging
import threading
import time
from typing import TYPE_CHECKING, Self, TextIO

from nautilus_ext.config.masking import Masker
from nautilus_ext.logs.capture import Capture
from nautilus_ext.logs.files import RotatingFile
from nautilus_ext.logs.hooks import Hooks
from nautilus_ext.logs.intake import OURS, Entry, Intake
from nautilus_ext.logs.records import captured_record
from nautilus_ext.logs.writer import Alert, Writer

if TYPE_CHECKING:
    from pathlib import Path

    from nautilus_ext.logs.lines import Captured

CLOSE_TIMEOUT_S = 2.0


class LogSession:
    """Closed by whoever started it; a process has one at a time, one after the other is fine."""

    def __init__(self, level: str, masker: Masker, terminal: TextIO | None) -> None:
        self._intake = Intake(logging.getLevelNamesMapping()[level])
        self._writer = Writer(self._intake, masker, terminal)
        self._hooks = Hooks()
        self._capture: Capture | None = None
        self._masker = masker
        self._levels: dict[str, int] = {}
        self._close_lock = threading.Lock()
        self._closed = False

    @classmethod
    def start(cls, *, level: str = "INFO", masker: Masker | None = None, terminal: TextIO | None = None) -> Self:
        session = cls(level, masker or Masker(), terminal)
        session._open()
        return session

    def _open(self) -> None:
        for name in OURS:
            logger = logging.getLogger(name)
            self._levels[name] = logger.level
            logger.setLevel(self._intake.threshold)
        logging.getLogger().addHandler(self._intake)
        self._hooks.install()
        self._writer.start()
        atexit.register(self.close)

    def capture_output(self) -> TextIO:
        """From now on stdout and stderr go into the log; the stream returned, also for our lines, is the terminal."""
        assert self._capture is None, "output is captured already"
        self._capture = Capture(self._take, message_bytes_extra=self._masker.longest_bytes)
        if self._writer.terminal is not None:
            self._writer.terminal = self._capture.terminal
        return self._capture.terminal

    def attach_file(self, path: Path, *, max_bytes: int, retain_files: int) -> None:
        """The book is ours: what was logged so far goes into its file first."""
        self._writer.attach(RotatingFile(path, max_bytes=max_bytes, retain_files=retain_files))

    @property
    def alerts(self) -> list[Alert]:
        """The last warnings and errors, oldest first; for any thread."""
        return list(self._writer.alerts)

    @property
    def lost(self) -> int:
        """Records that are in no file: the queue was full, or the disk for too long."""
        return self._intake.dropped + self._writer.lost

    def close(self, timeout_s: float = CLOSE_TIMEOUT_S) -> None:
        """Drain within the time; what hangs longer is left behind. A second call does nothing."""
        with self._close_lock:
            if self._closed:
                return
            self._closed = True
        deadline_s = time.monotonic() + timeout_s
        if self._capture:
            self._capture.release(timeout_s / 2)
        atexit.unregister(self.close)
        self._hooks.remove()
        logging.getLogger().removeHandler(self._intake)
        for name, level in self._levels.items():
            logging.getLogger(name).setLevel(level)
        ended = self._writer.close(max(0.0, deadline_s - time.monotonic()))
        if self._capture and ended:
            self._capture.close_terminal()

    def _take(self, captured: Captured) -> None:
        levelno = logging.getLevelNamesMapping()[captured.level]
        record, shown = captured_record(captured, time.time_ns())
        self._intake.offer(Entry(levelno, record, shown=shown))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
