"""What a process writes to stdout and stderr, cut into messages: Nautilus's own log lines, and everything else."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterator

Stream = Literal["stdout", "stderr"]

MESSAGE_BYTES_MAX = 64 * 1024  # the rest of a longer message is left out

_LEVELS = {"TRACE": "DEBUG", "DEBUG": "DEBUG", "INFO": "INFO", "WARN": "WARNING", "ERROR": "ERROR"}
_STRAY_LEVELS: dict[Stream, str] = {"stdout": "INFO", "stderr": "WARNING"}
_ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_NAUTILUS = re.compile(
    r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z) \[(TRACE|DEBUG|INFO|WARN|ERROR)\] (\S+?-[^.\s]+)\.([^\n]*?):(?: (.*))?",
    re.DOTALL,
)
_PLAIN_START = re.compile(rb"\d{4}-\d\d-\d\dT")
_COLORED_START = re.compile(rb"\x1b\[1m\d{4}-\d\d-\d\dT")
_COLORED_END = b"\x1b[0m"
_DECORATION = re.compile(r"[\s=\-\u2800-\u28ff]*")  # rulers and the start-up picture say nothing


@dataclass(frozen=True, slots=True)
class Captured:
    """One message; Nautilus logged it if it has a time of its own."""

    level: str
    component: str
    message: str
    ts: str | None = None
    trader_id: str | None = None


class Assembler:
    """Turns the bytes of one stream into messages.

    A message of several lines stays one where its end is known: with `log_colors` Nautilus closes each message with a
    colour reset. On stderr, lines that come together (a traceback) are one message; `flush` ends it when it is quiet.
    """

    def __init__(self, stream: Stream, *, message_bytes_max: int = MESSAGE_BYTES_MAX) -> None:
        self._stream: Stream = stream
        self._max = message_bytes_max
        self._half_line = b""
        self._message: list[bytes] = []
        self._message_bytes = 0
        self._in_color = False

    def feed(self, data: bytes) -> Iterator[Captured]:
        *lines, rest = (self._half_line + data).split(b"\n")
        self._half_line = rest[: self._max]  # a stream without line ends must not fill the memory
        for line in lines:
            yield from self._take(line)

    def flush(self, *, half_line: bool) -> Iterator[Captured]:
        """It is quiet: end the message; with `half_line` also the one whose line has not ended."""
        if half_line and self._half_line:
            rest, self._half_line = self._half_line, b""
            yield from self._take(rest)
        if not self._half_line:
            yield from self._emit()

    def _take(self, line: bytes) -> Iterator[Captured]:
        colored = _COLORED_START.match(line) is not None
        if colored or (not self._in_color and _PLAIN_START.match(line)):
            yield from self._emit()
        self._in_color = self._in_color or colored
        self._append(line)
        if line.endswith(_COLORED_END) if self._in_color else self._stream == "stdout":
            yield from self._emit()

    def _append(self, line: bytes) -> None:
        room = max(0, self._max - self._message_bytes)
        if room:
            self._message.append(line[:room])
            self._message_bytes += min(len(line), room) + 1

    def _emit(self) -> Iterator[Captured]:
        text = _ANSI.sub("", b"\n".join(self._message).decode("utf-8", "replace")).rstrip()
        self._message, self._message_bytes, self._in_color = [], 0, False
        nautilus = _NAUTILUS.fullmatch(text)
        message = (nautilus[5] or "") if nautilus else text
        if _DECORATION.fullmatch(message):
            return
        if nautilus:
            yield Captured(_LEVELS[nautilus[2]], nautilus[4], message, ts=nautilus[1], trader_id=nautilus[3])
        else:
            yield Captured(_STRAY_LEVELS[self._stream], self._stream, message)
