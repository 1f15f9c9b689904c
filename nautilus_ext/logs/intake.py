"""The way into the log: every thread pays an append to a bounded queue, the writer thread pays for the rest."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from nautilus_ext.logs.records import NS_PER_S, event_record, iso_ns, summary

QUEUE_RECORDS_MAX = 65_536
QUEUE_ALERTS_EXTRA = 4_096  # a flood of chatter must not push out the error that it is about
OURS = ("nautilus_ext", "adapters")  # other libraries join from WARNING on
EVENTS_LOGGER = "nautilus_ext.events"

_BLANK = vars(logging.makeLogRecord({"name": EVENTS_LOGGER, "msg": ""}))
_STANDARD = frozenset(_BLANK) | {"message", "asctime", "taskName"}
_FORMATTER = logging.Formatter()


@dataclass(frozen=True, slots=True)
class Entry:
    """A record that is ready to be masked and written; `shown` says whether the terminal sees it too."""

    levelno: int
    record: dict[str, Any]
    shown: bool = True


class EventRecord(logging.LogRecord):
    """A trading event on its way to the writer.

    It is rendered there: the trading thread pays for this object only. Any other logging handler can take it as well.
    """

    def __init__(
        self, event: Any, init: Any, state: tuple[Any, ...], *, component: str, levelno: int, shown: bool
    ) -> None:
        # Not super().__init__(): looking up thread, process and source line costs more than all the rest.
        self.__dict__.update(_BLANK)
        self.created = time.time()
        self.levelno = levelno
        self.levelname = "WARNING" if levelno == logging.WARNING else "INFO"
        self.event = event
        self.init = init
        self.state = state
        self.component = component
        self.shown = shown

    @cached_property
    def record(self) -> dict[str, Any]:
        head = {"ts": iso_ns(int(self.created * NS_PER_S)), "level": self.levelname, "component": self.component}
        try:
            return head | event_record(self.event, self.init, self.state)
        except Exception as e:  # noqa: BLE001  whatever an adapter's own event does, the view and the log go on
            return head | {"level": "ERROR", "message": self._unreadable(e)}

    def getMessage(self) -> str:  # noqa: N802  the name is the base class's
        try:
            return summary(self.record)
        except Exception as e:  # noqa: BLE001  as above
            return self._unreadable(e)

    def _unreadable(self, error: Exception) -> str:
        return f"{type(self.event).__name__} could not be read for the log: {type(error).__name__}"


class Intake(logging.Handler):
    """The one handler of a session, on the root logger."""

    def __init__(self, level: int) -> None:
        super().__init__()
        self.threshold = level
        self._queue: deque[EventRecord | Entry] = deque()
        self._drop_lock = threading.Lock()
        self.dropped = 0
        self.wake = threading.Event()

    def handle(self, record: logging.LogRecord) -> bool:
        """As the base class does it, without its lock: a deque needs none."""
        if isinstance(record, EventRecord):
            self.offer(record)
        elif record.levelno >= (self.threshold if record.name.partition(".")[0] in OURS else logging.WARNING):
            self.emit(record)
        return True

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self.offer(Entry(record.levelno, log_record(record)))
        except Exception as e:  # noqa: BLE001  a log call must never harm its caller
            fields = {"component": record.name, "message": f"unreadable log call {record.msg!r}: {e!r}"}
            self.offer(Entry(logging.ERROR, _head(record) | fields))

    def offer(self, entry: EventRecord | Entry) -> None:
        alert = entry.levelno >= logging.WARNING
        if len(self._queue) >= (QUEUE_RECORDS_MAX + QUEUE_ALERTS_EXTRA if alert else QUEUE_RECORDS_MAX):
            with self._drop_lock:
                self.dropped += 1
            return
        self._queue.append(entry)
        if alert:
            self.wake.set()

    def take(self) -> list[EventRecord | Entry]:
        """What stands in the queue now, oldest first; only the writer calls it."""
        return [self._queue.popleft() for _ in range(len(self._queue))]


def _head(record: logging.LogRecord) -> dict[str, Any]:
    return {"ts": iso_ns(int(record.created * NS_PER_S)), "level": record.levelname, "component": record.name}


def log_record(record: logging.LogRecord) -> dict[str, Any]:
    """A call of Python's logging as a record; what was given as `extra` becomes fields."""
    fields = _head(record) | {"message": record.getMessage()}
    fields |= {key: value for key, value in vars(record).items() if key not in _STANDARD}
    if record.exc_info and record.exc_info[1] is not None:
        fields["exception"] = "".join(_FORMATTER.formatException(record.exc_info))
    elif record.exc_text:
        fields["exception"] = record.exc_text
    return fields
