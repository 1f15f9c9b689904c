"""What the operator sees: start-up steps with their times, then a calm live view or plain lines, then a summary.

The view is drawn by hand: a layout library took 12 ms a picture, and for that long the trading thread had to share the
interpreter twice a second. This takes a fraction of a millisecond.
"""

from __future__ import annotations

import os
import threading
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, TextIO

from nautilus_ext.app.picture import picture, status_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from nautilus_ext.app.view import View

REFRESH_S = 0.5
PLAIN_STATUS_S = 10.0
CLOSE_TIMEOUT_S = 1.0
SIZE_UNKNOWN = os.terminal_size((100, 30))

_HIDE_CURSOR, _SHOW_CURSOR = "\x1b[?25l", "\x1b[?25h"
_CLEAR_ALL, _CLEAR_BELOW, _UP = "\x1b[2J\x1b[H", "\x1b[J", "\x1b[{}F"


@dataclass
class Step:
    """One start-up step; whoever does it may leave a remark that stands behind its time."""

    detail: str = ""


class Screen:
    """Draws on one stream. Opened and closed by the command that runs; its drawing thread is its own."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream
        self.mask: Callable[[str], str] = str  # what hides secrets, as soon as there are any
        self.tty = stream.isatty() and os.environ.get("TERM", "dumb") != "dumb"
        self._color = self.tty and not os.environ.get("NO_COLOR")
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._drawn = 0
        self._size = SIZE_UNKNOWN

    @contextmanager
    def step(self, name: str) -> Iterator[Step]:
        step, began = Step(), time.monotonic()
        try:
            yield step
        except BaseException:
            self._tell_step("✗", name, time.monotonic() - began)
            raise
        self.done(name, time.monotonic() - began, step.detail)

    def done(self, name: str, took_s: float, detail: str = "") -> None:
        self._tell_step("✓", name, took_s, detail)

    def _tell_step(self, mark: str, name: str, took_s: float, detail: str = "") -> None:
        self.say(f"  {mark} {name:<20} {took_s:6.2f} s  {detail}".rstrip())

    def move_to(self, stream: TextIO) -> None:
        """Draw on another stream from now on: the log has taken the first one over."""
        self.stream = stream

    def say(self, text: str) -> None:
        self._write(f"{text}\n")

    def watch(self, look: Callable[[], View | None]) -> None:
        """Draw what `look` returns until `close`: in place on a terminal, as an occasional line elsewhere."""
        target = self._draw_on if self.tty else self._report_on
        self._thread = threading.Thread(target=target, args=(look,), name="screen", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the view; what is said afterwards stands where it was."""
        self._stop.set()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(CLOSE_TIMEOUT_S)
            self._thread = None

    def _draw_on(self, look: Callable[[], View | None]) -> None:
        self._size = self._terminal_size()
        self._write(_HIDE_CURSOR)
        while not self._stop.wait(REFRESH_S):
            view = look()
            if view is not None:
                self._draw(view)
        self._write(self._back() + _SHOW_CURSOR)

    def _draw(self, view: View) -> None:
        size = self._terminal_size()
        start = self._back() if size == self._size else _CLEAR_ALL
        lines = picture(view, size.columns, size.lines - 1, color=self._color)
        self._drawn, self._size = len(lines), size
        self._write(start + "".join(f"{line}\n" for line in lines))

    def _back(self) -> str:
        return (_UP.format(self._drawn) if self._drawn else "") + _CLEAR_BELOW

    def _terminal_size(self) -> os.terminal_size:
        try:
            size = os.get_terminal_size(self.stream.fileno())
        except OSError:
            return SIZE_UNKNOWN
        return size if size.columns and size.lines else SIZE_UNKNOWN

    def _report_on(self, look: Callable[[], View | None]) -> None:
        while not self._stop.wait(PLAIN_STATUS_S):
            view = look()
            if view is not None:
                self.say(status_line(view))

    def _write(self, text: str) -> None:
        """A terminal that has gone away must not end a node that trades."""
        with suppress(OSError, ValueError):
            self.stream.write(self.mask(text))
            self.stream.flush()
