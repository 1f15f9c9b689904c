"""Takes over file descriptors 1 and 2: Nautilus's logger is Rust and writes there, past Python's streams."""

from __future__ import annotations

import contextlib
import faulthandler
import fcntl
import io
import os
import selectors
import sys
import threading
import time
from functools import partial
from typing import TYPE_CHECKING, TextIO

from nautilus_ext.logs.lines import MESSAGE_BYTES_MAX, Assembler

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from nautilus_ext.logs.lines import Captured

PIPE_BYTES = 1024 * 1024  # what an unprivileged process may ask for
READ_BYTES = 64 * 1024
QUIET_S = 0.05  # lines of one message arrive closer together than this
HALF_LINE_S = 1.0
QUIET_ROUNDS = 4  # without a line, then all is there: a thread of a busy machine may rest for longer than one
SETTLE_S = 0.5  # Nautilus's logger thread gets this long to finish its last lines

_FDS = {1: "stdout", 2: "stderr"}


class _Source:
    """The reading end of one stream."""

    def __init__(self, fd: int, assembler: Assembler) -> None:
        self.fd = fd
        self.assembler = assembler
        self.last_data_s = time.monotonic()


class Capture:
    """Until `release`, what the process, or a child that inherits them, writes to stdout or stderr goes to `sink`."""

    def __init__(self, sink: Callable[[Captured], None], *, message_bytes_extra: int = 0) -> None:
        self._sink = sink
        # A secret that begins at the end of a message must be whole in it, or it could not be masked.
        self._message_bytes_max = MESSAGE_BYTES_MAX + message_bytes_extra
        self._release_by_s = 0.0
        self._quiet = threading.Event()
        _flush_python_streams()
        self._saved = {fd: os.dup(fd) for fd in _FDS}
        self.terminal: TextIO = os.fdopen(
            os.dup(self._saved[1]), "w", buffering=1, encoding="utf-8", errors="backslashreplace"
        )
        self._sources = [self._redirect(fd) for fd in _FDS]
        self._line_buffering = _end_lines_at_once(_python_streams())
        self._faults_elsewhere = faulthandler.is_enabled()
        faulthandler.enable(self._saved[2])
        self._thread = threading.Thread(target=self._run, name="log-capture", daemon=True)
        self._thread.start()

    def _redirect(self, fd: int) -> _Source:
        read_fd, write_fd = os.pipe()
        with contextlib.suppress(OSError):  # the usual 64 KiB will do
            fcntl.fcntl(write_fd, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        os.dup2(write_fd, fd)
        os.close(write_fd)
        os.set_blocking(read_fd, False)
        stream = "stdout" if fd == 1 else "stderr"
        return _Source(read_fd, Assembler(stream, message_bytes_max=self._message_bytes_max))

    def release(self, timeout_s: float) -> bool:
        """Give the descriptors back, then take in what was written before; whether that was done in time."""
        deadline_s = time.monotonic() + timeout_s
        _flush_python_streams()
        settled_s = time.monotonic() + min(SETTLE_S, timeout_s)
        for _ in range(QUIET_ROUNDS):
            self._quiet.clear()
            self._quiet.wait(max(0.0, settled_s - time.monotonic()))
        for fd, saved in self._saved.items():
            os.dup2(saved, fd)
        for stream, line_buffering in self._line_buffering:
            with contextlib.suppress(OSError, ValueError):
                stream.reconfigure(line_buffering=line_buffering)
        faulthandler.disable()
        if self._faults_elsewhere:
            faulthandler.enable()
        self._release_by_s = deadline_s
        self._thread.join(max(0.0, deadline_s - time.monotonic()))
        for saved in self._saved.values():
            os.close(saved)
        return not self._thread.is_alive()

    def close_terminal(self) -> None:
        with contextlib.suppress(OSError):
            self.terminal.close()

    def _run(self) -> None:
        with selectors.DefaultSelector() as selector:
            for source in self._sources:
                selector.register(source.fd, selectors.EVENT_READ, source)
            while selector.get_map():
                ready = selector.select(QUIET_S)
                for key, _ in ready:
                    if not self._read(key.data):
                        selector.unregister(key.fd)
                self._pass_on_what_is_quiet()
                if not ready:
                    self._quiet.set()
                # A child that inherited the other end may hold it, or write to it, for ever.
                if self._release_by_s and (not ready or time.monotonic() > self._release_by_s):
                    break
        for source in self._sources:
            self._pass_on(partial(source.assembler.flush, half_line=True))
            os.close(source.fd)

    def _read(self, source: _Source) -> bool:
        data = os.read(source.fd, READ_BYTES)
        source.last_data_s = time.monotonic()
        self._pass_on(partial(source.assembler.feed, data))
        return bool(data)

    def _pass_on_what_is_quiet(self) -> None:
        now_s = time.monotonic()
        for source in self._sources:
            quiet_s = now_s - source.last_data_s
            if quiet_s >= QUIET_S:
                self._pass_on(partial(source.assembler.flush, half_line=quiet_s >= HALF_LINE_S))

    def _pass_on(self, cut: Callable[[], Iterable[Captured]]) -> None:
        """A pipe that nobody empties would stop whoever writes to it: the node.

        What failed is named without its words: they may quote the line, and here nothing is masked any more.
        """
        try:
            for message in cut():
                self._sink(message)
        except Exception as error:  # noqa: BLE001 - it is told where it was to be told, and reading goes on
            with contextlib.suppress(Exception):
                os.write(self._saved[2], f"a captured line could not be logged: {type(error).__name__}\n".encode())


def _python_streams() -> list[io.TextIOWrapper]:
    """Those that write to our descriptors; a notebook puts its own in their place."""
    return [stream for stream in (sys.stdout, sys.stderr) if isinstance(stream, io.TextIOWrapper)]


def _flush_python_streams() -> None:
    for stream in _python_streams():
        with contextlib.suppress(OSError, ValueError):
            stream.flush()


def _end_lines_at_once(streams: list[io.TextIOWrapper]) -> list[tuple[io.TextIOWrapper, bool]]:
    """A print of a strategy must not wait for a full buffer; returns what to put back."""
    before = [(stream, stream.line_buffering) for stream in streams]
    for stream in streams:
        stream.reconfigure(line_buffering=True)
    return before
