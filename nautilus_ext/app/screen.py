"""What the operator sees: start-up steps with their times, then a calm live view or plain lines, then a summary.

All of it is written by one thread behind a bounded queue: a terminal that is stopped or gone may hold that thread,
never the node. The view is drawn by hand: a layout library took 12 ms a picture, and for that long the trading thread
had to share the interpreter twice a second. This takes a fraction of a millisecond.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import deque
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self, TextIO

from nautilus_ext.app.picture import picture, status_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from nautilus_ext.app.view import View

REFRESH_S = 0.5
PLAIN_STATUS_S = 10.0
FLUSH_TIMEOUT_S = 0.5
FLUSH_POLL_S = 0.005
LINES_WAITING_MAX = 1000
SIZE_UNKNOWN = os.terminal_size((100, 30))

_HIDE_CURSOR, _SHOW_CURSOR = "\x1b[?25l", "\x1b[?25h"
_CLEAR_ALL, _CLEAR_BELOW, _UP = "\x1b[2J\x1b[H", "\x1b[J", "\x1b[{}F"


@dataclass
class Step:
    """One start-up step; whoever does it may leave a remark that stands behind its time."""

    detail: str = ""


_logger = logging.getLogger(__name__)


class Screen:
    """Writes to one stream, from a thread of its own. The command that opens it closes it."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream
        self.mask: Callable[[str], str] = str  # what hides secrets, as soon as there are any
        self.tty = stream.isatty() and os.environ.get("TERM", "dumb") != "dumb"
        self._color = self.tty and not os.environ.get("NO_COLOR")
        self._waiting: deque[str] = deque(maxlen=LINES_WAITING_MAX)
        self._wake = threading.Event()
        self._said = 0  # pieces of text asked for, and of these the ones that are written
        self._written = 0
        self._saying = threading.Lock()
        self._closing = False
        self._look: Callable[[], View | None] | None = None
        self._next_look_s = 0.0
        self._drawn = 0
        self._is_blind = False
        self._size = SIZE_UNKNOWN
        self._thread = threading.Thread(target=self._run, name="screen", daemon=True)
        self._thread.start()

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

    def say(self, text: str) -> None:
        self._put(f"{text}\n")

    def _put(self, text: str) -> None:
        with self._saying:
            self._waiting.append(text)
            self._said += 1
        self._wake.set()

    def move_to(self, take_over: Callable[[], TextIO]) -> None:
        """Write to another stream from now on; what waits goes to the first one before the log takes that over."""
        self.flush()
        self.stream = take_over()

    def watch(self, look: Callable[[], View | None]) -> None:
        """Show what `look` returns, in place on a terminal, as an occasional line elsewhere."""
        self._plan_look()
        self._look = look
        self._wake.set()

    def unwatch(self) -> None:
        """End the view; what is said afterwards stands where it was."""
        self._look = None
        self._put("")  # what wipes the picture
        self.flush()

    def flush(self, timeout_s: float = FLUSH_TIMEOUT_S) -> None:
        """Wait until all is written, but not longer than this."""
        said, deadline_s = self._said, time.monotonic() + timeout_s
        while self._written < said and time.monotonic() < deadline_s:
            time.sleep(FLUSH_POLL_S)

    def close(self) -> None:
        self._look = None
        self._closing = True
        self._wake.set()
        self._thread.join(FLUSH_TIMEOUT_S)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _run(self) -> None:
        while not self._closing or self._waiting:
            self._wake.wait(REFRESH_S)
            self._wake.clear()
            if self._waiting:
                self._write_lines()
            if self._look is not None and time.monotonic() >= self._next_look_s:
                self._plan_look()
                self._show_or_say_why(self._look)

    def _show_or_say_why(self, look: Callable[[], View | None]) -> None:
        """What cannot be drawn must not end the thread that writes the last lines."""
        try:
            self._show(look())
        except Exception:
            if not self._is_blind:
                _logger.exception("the screen cannot show the node and stands still: the node trades on")
            self._is_blind = True
        else:
            self._is_blind = False

    def _plan_look(self) -> None:
        self._next_look_s = time.monotonic() + (REFRESH_S if self.tty else PLAIN_STATUS_S)

    def _write_lines(self) -> None:
        """Lines push the picture aside; the next look draws it anew below them."""
        text = self._back() + _SHOW_CURSOR if self._drawn else ""
        self._drawn = 0
        said = self._said
        while self._waiting:
            text += self._waiting.popleft()
        self._write(text)
        self._written = said

    def _show(self, view: View | None) -> None:
        if view is None:
            return
        if not self.tty:
            self._write(f"{status_line(view)}\n")
            return
        size = self._terminal_size()
        resized = bool(self._drawn) and size != self._size
        lines = picture(view, size.columns, size.lines - 1, color=self._color)
        start = _CLEAR_ALL if resized else self._back()
        self._drawn, self._size = len(lines), size
        self._write(_HIDE_CURSOR + start + "".join(f"{line}\n" for line in lines))

    def _back(self) -> str:
        return (_UP.format(self._drawn) if self._drawn else "") + _CLEAR_BELOW

    def _terminal_size(self) -> os.terminal_size:
        try:
            size = os.get_terminal_size(self.stream.fileno())
        except OSError:
            return SIZE_UNKNOWN
        return size if size.columns and size.lines else SIZE_UNKNOWN

    def _write(self, text: str) -> None:
        """A terminal that has gone away must not end a node that trades."""
        with suppress(OSError, ValueError):
            self.stream.write(self.mask(text))
            self.stream.flush()
