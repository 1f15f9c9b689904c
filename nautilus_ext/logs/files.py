"""A file of lines that starts anew at a size and keeps a bounded number of its predecessors."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

FILE_MODE = 0o600
FOLDER_MODE = 0o700


class RotatingFile:
    """`path`, `path.1` (the last one), … `path.<retain_files>`; opened at the first write.

    Every method may raise OSError; the lines on disk are whole all the same, and the next call tries again.
    Not for several threads: its owner, the writer thread, also closes it.
    """

    def __init__(self, path: Path, *, max_bytes: int, retain_files: int) -> None:
        assert max_bytes > 0, max_bytes
        assert retain_files >= 0, retain_files
        self.path = path
        self._max_bytes = max_bytes
        self._retain_files = retain_files
        self._fd: int | None = None
        self._regular = False
        self._size_bytes = 0

    def room_bytes(self) -> int:
        return max(0, self._max_bytes - self._size_bytes) if self._regular else self._max_bytes

    def write(self, lines: bytes) -> None:
        """Append whole lines, or leave the file as it was."""
        if self._fd is None:
            self._open()
        if self._regular and self._size_bytes and self._size_bytes + len(lines) > self._max_bytes:
            self._rotate()
        assert self._fd is not None
        view = memoryview(lines)
        try:
            while view:
                view = view[os.write(self._fd, view) :]
        except OSError:
            self._cut_half_line()
            raise
        self._size_bytes += len(lines)

    def close(self) -> None:
        fd, self._fd = self._fd, None
        if fd is not None:
            os.close(fd)

    def _open(self) -> None:
        self.path.parent.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
        fd = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, FILE_MODE)
        try:
            status = os.fstat(fd)
            self._regular = stat.S_ISREG(status.st_mode)
            self._size_bytes = status.st_size if self._regular else 0
            if self._regular:
                os.fchmod(fd, FILE_MODE)
                self._end_the_last_line(fd)
                self._forget_older_ones()
        except OSError:
            os.close(fd)
            raise
        self._fd = fd

    def _end_the_last_line(self, fd: int) -> None:
        """A killed process may have left half a line: the next record must not be glued to it."""
        if self._size_bytes and os.pread(fd, 1, self._size_bytes - 1) != b"\n":
            self._size_bytes += os.write(fd, b"\n")

    def _cut_half_line(self) -> None:
        if self._regular and self._fd is not None:
            os.ftruncate(self._fd, self._size_bytes)

    def _rotate(self) -> None:
        self.close()
        for number in range(self._retain_files, 0, -1):
            older = self._numbered(number - 1) if number > 1 else self.path
            if older.exists():
                older.replace(self._numbered(number))
        if self._retain_files == 0:
            self.path.unlink(missing_ok=True)
        self._open()

    def _forget_older_ones(self) -> None:
        """The retention may have been lowered since the last run."""
        for file in self.path.parent.iterdir():
            stem, _, number = file.name.rpartition(".")
            if stem == self.path.name and number.isdecimal() and int(number) > self._retain_files:
                file.unlink(missing_ok=True)

    def _numbered(self, number: int) -> Path:
        return self.path.with_name(f"{self.path.name}.{number}")
