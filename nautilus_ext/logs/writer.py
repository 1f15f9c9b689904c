"""The one thread that renders, masks and writes: file first, then the terminal."""

from __future__ import annotations

import contextlib
import logging
import select
import threading
import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TextIO

import msgspec

from nautilus_ext.logs.intake import Entry, EventRecord
from nautilus_ext.logs.records import iso_ns, summary, terminal_line

if TYPE_CHECKING:
    from nautilus_ext.config.masking import Masker
    from nautilus_ext.logs.files import RotatingFile
    from nautilus_ext.logs.intake import Intake

POLL_S = 0.05  # waking up per record would take the interpreter from the trading thread each time
RETRY_S = 1.0
BACKLOG_BYTES_MAX = 16 * 1024 * 1024  # records that wait for a file, or for a disk with room
WRITE_BYTES_MAX = 256 * 1024
RECORD_BYTES_MAX = 64 * 1024
TEXT_CHARS_MAX = 2_048  # of each text of a record that is longer than that
TERMINAL_CHARS_MAX = 500
ALERTS_MAX = 50
COMPONENT = "nautilus_ext.logs"

_ENCODER = msgspec.json.Encoder(enc_hook=str)


@dataclass(frozen=True, slots=True)
class Alert:
    """A warning or an error, masked, for the live view."""

    ts: str
    level: str
    component: str
    message: str
    cause: tuple[str, str] | None = None  # of an event with a reason: its name and that


class Writer:
    """Owned by a LogSession, which starts and closes it."""

    def __init__(self, intake: Intake, masker: Masker, terminal: TextIO | None) -> None:
        self.terminal = terminal
        self.alerts: deque[Alert] = deque(maxlen=ALERTS_MAX)
        self.lost = 0
        self._intake = intake
        self._masker = masker
        self._file: RotatingFile | None = None
        self._backlog: deque[bytes] = deque()
        self._backlog_bytes = 0
        self._told_lost = 0
        self._failing = False
        self._is_defective = False
        self._retry_at_s = 0.0
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="log-writer", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def attach(self, file: RotatingFile) -> None:
        assert self._file is None, f"the log has its file already: {self._file}"
        self._file = file

    def close(self, timeout_s: float) -> bool:
        """Whether everything was written in time."""
        self._closing = True
        self._intake.wake.set()
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while not self._closing:
            self._intake.wake.wait(POLL_S)
            self._intake.wake.clear()
            self._guarded_round()
        self._retry_at_s = 0.0
        self._guarded_round()
        if self._file:
            self._give_up_the_rest(self._file)
            with contextlib.suppress(OSError):
                self._file.close()

    def _guarded_round(self) -> None:
        """A defect costs what it hits, never the records of the rest of the run."""
        try:
            self._round()
        except Exception as e:  # noqa: BLE001 - it is told in the log itself, once until a round succeeds
            if not self._is_defective:
                self._put(_own_entry(logging.ERROR, f"the log failed for a moment: {type(e).__name__}: {e}"))
            self._is_defective = True
        else:
            self._is_defective = False

    def _round(self) -> None:
        for entry in self._intake.take():
            self._put(entry)
        self._tell_lost()
        self._flush()

    def _put(self, entry: EventRecord | Entry) -> None:
        try:
            record = self._masker.fields(entry.record)
            data = _line(record)
            self._show(record, entry)
        except Exception as e:  # noqa: BLE001  one odd record must not end the log
            fault = f"a record could not be written: {type(e).__name__} in {type(entry).__name__}"
            data = _line(_own("ERROR", fault))
        self._keep(data)

    def _keep(self, data: bytes) -> None:
        self._backlog.append(data)
        self._backlog_bytes += len(data)
        while self._backlog_bytes > BACKLOG_BYTES_MAX:
            self._backlog_bytes -= len(self._backlog.popleft())
            self.lost += 1

    def _flush(self) -> None:
        file = self._file
        if file is None or time.monotonic() < self._retry_at_s:
            return
        try:
            while self._backlog:
                count, chunk = self._chunk(file.room_bytes())
                file.write(chunk)
                for _ in range(count):
                    self._backlog_bytes -= len(self._backlog.popleft())
        except OSError as e:
            self._wait_for_disk(e, file)
        else:
            self._failing = False

    def _chunk(self, room_bytes: int) -> tuple[int, bytes]:
        """The records that go on together: as many as the file has room for, at least one."""
        size_bytes, lines = 0, list[bytes]()
        for data in self._backlog:
            size_bytes += len(data)
            if lines and size_bytes > min(room_bytes, WRITE_BYTES_MAX):
                break
            lines.append(data)
        return len(lines), b"".join(lines)

    def _wait_for_disk(self, error: OSError, file: RotatingFile) -> None:
        self._retry_at_s = time.monotonic() + RETRY_S
        if not self._failing:
            self._failing = True
            cure = "free space or permit writing: the node goes on, the log waits in memory"
            self._put(_own_entry(logging.ERROR, f"cannot write {file.path} ({error.strerror}); {cure}"))

    def _give_up_the_rest(self, file: RotatingFile) -> None:
        unwritten = len(self._backlog)
        if unwritten:
            self.lost += unwritten
            self._backlog.clear()
            self._backlog_bytes = 0
            self._put(_own_entry(logging.ERROR, f"{unwritten} log records were not written to {file.path}"))

    def _tell_lost(self) -> None:
        lost = self.lost + self._intake.dropped
        if lost > self._told_lost and not self._failing:
            fault = f"{lost - self._told_lost} log records lost: they came faster than they could be written"
            self._told_lost = lost
            self._put(_own_entry(logging.WARNING, fault))

    def _show(self, record: dict[str, Any], entry: EventRecord | Entry) -> None:
        if not entry.shown:
            return
        if entry.levelno >= logging.WARNING:
            self._alert(record)
        if self.terminal:
            self._print(terminal_line(record)[:TERMINAL_CHARS_MAX])

    def _alert(self, record: dict[str, Any]) -> None:
        """What a halt refuses again and again is there once: it must not push out what else is wrong."""
        cause = (str(record.get("event")), str(record["reason"])) if record.get("reason") else None
        if cause is None or all(alert.cause != cause for alert in self.alerts):
            told = (record["ts"], record["level"], record["component"], summary(record))
            self.alerts.append(Alert(*told, cause=cause))

    def _print(self, line: str) -> None:
        """A paused or closed terminal costs its lines, never the file."""
        assert self.terminal is not None
        try:
            if _has_room(self.terminal):
                self.terminal.write(f"{line}\n")
                self.terminal.flush()
        except (OSError, ValueError):
            self.terminal = None


def _has_room(stream: TextIO) -> bool:
    try:
        fd = stream.fileno()
    except (OSError, ValueError):
        return True  # a stream in memory
    poll = select.poll()
    poll.register(fd, select.POLLOUT)
    return bool(poll.poll(0))


def _own(level: str, message: str) -> dict[str, Any]:
    return {"ts": iso_ns(time.time_ns()), "level": level, "component": COMPONENT, "message": message}


def _own_entry(levelno: int, message: str) -> Entry:
    return Entry(levelno, _own(logging.getLevelName(levelno), message))


def _line(record: dict[str, Any]) -> bytes:
    data = _ENCODER.encode(record)
    if len(data) > RECORD_BYTES_MAX:
        short = {key: value[:TEXT_CHARS_MAX] for key, value in record.items() if isinstance(value, str)}
        data = _ENCODER.encode(short | {"cut_from_bytes": len(data)})
    return data + b"\n"
