"""The signals that end a command, heard from its first moment to its last."""

from __future__ import annotations

import signal
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
FREEZE_SIGNAL = signal.SIGUSR2
FREEZE_S = 0.2  # a loop that runs Python hears it at once; one that hangs in compiled code sends nothing either


class Interrupted(BaseException):
    """A signal ended the command before its end: before there was a node to stop, or in the middle of a replay."""

    exit_code = 130

    def __str__(self) -> str:
        return f"stopped before its end: {super().__str__()}"


class StopSignals:
    """Installed for the whole command: the first signal ends a start, or is handed to whoever runs.

    The handlers are Python's own, not the loop's: a loop that stands still would not hear them.
    """

    def __init__(self) -> None:
        self.reason: str | None = None
        self._taker: Callable[[str], None] | None = None
        self._frozen = threading.Event()
        self._after_pause: Callable[[], object] | None = None

    def install(self) -> None:
        for number in STOP_SIGNALS:
            if signal.getsignal(number) is not signal.SIG_IGN:  # nohup has decided about SIGHUP already
                signal.signal(number, self._hear)
        signal.signal(FREEZE_SIGNAL, self._stand_still)
        signal.signal(signal.SIGCONT, self._go_on)

    def after_pause(self, look: Callable[[], object]) -> None:
        """When the process was stopped and goes on, the main thread does nothing before `look` has returned."""
        self._after_pause = look

    def hand_to(self, taker: Callable[[str], None]) -> None:
        """From now on `taker` is told, on the main thread, between two of its instructions."""
        self.check()
        self._taker = taker

    def take_back(self) -> None:
        """From now on a signal ends the command again, as during its start."""
        self._taker = None
        self.check()

    def check(self) -> None:
        """Compiled code may swallow what a handler raises: ask again where it matters."""
        if self.reason is not None:
            raise Interrupted(self.reason)

    def freeze(self) -> None:
        """From another thread: the main thread does nothing more, so nothing is sent while the process ends."""
        signal.pthread_kill(threading.main_thread().ident or 0, FREEZE_SIGNAL)
        self._frozen.wait(FREEZE_S)

    def _stand_still(self, _number: int, _frame: FrameType | None) -> None:
        self._frozen.set()
        threading.Event().wait()

    def _go_on(self, _number: int, _frame: FrameType | None) -> None:
        if self._after_pause is not None:
            self._after_pause()

    def _hear(self, number: int, _frame: FrameType | None) -> None:
        first = self.reason is None
        self.reason = self.reason or f"received {signal.Signals(number).name}"
        if self._taker is not None:
            self._taker(self.reason)
        elif first:
            raise Interrupted(self.reason)
