"""Whatever Python reports on its own (warnings, errors that nobody caught) joins the log."""

from __future__ import annotations

import logging
import sys
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import TracebackType

LOGGER = logging.getLogger("nautilus_ext.python")


class Hooks:
    """Installed and removed by a LogSession; removing puts back what stood there before."""

    def install(self) -> None:
        self._of_process = sys.excepthook
        self._of_threads = threading.excepthook
        sys.excepthook = self._uncaught
        threading.excepthook = self._uncaught_in_thread
        logging.captureWarnings(capture=True)

    def remove(self) -> None:
        logging.captureWarnings(capture=False)
        threading.excepthook = self._of_threads
        sys.excepthook = self._of_process

    def _uncaught(self, kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if issubclass(kind, Exception):
            LOGGER.critical("unexpected error", exc_info=(kind, error, trace))
        else:
            self._of_process(kind, error, trace)

    def _uncaught_in_thread(self, args: threading.ExceptHookArgs) -> None:
        if args.exc_value is None or issubclass(args.exc_type, SystemExit):
            return
        name = args.thread.name if args.thread else "unknown"
        LOGGER.error(
            "unexpected error in thread %s", name, exc_info=(args.exc_type, args.exc_value, args.exc_traceback)
        )
