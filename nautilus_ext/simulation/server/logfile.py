"""The server's log: lines on stderr, which is the folder's server.log when it was launched. Its size is bounded."""

from __future__ import annotations

import os
import shutil
import sys
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

LOG_BYTES_MAX = 8_000_000
LINE_CHARS_MAX = 2_000


class ServerLog:
    """Writes lines; keeps one older generation of the file."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def line(self, text: str) -> None:
        """One line whatever the text: the last line of the file says how the server ended."""
        flat = " ".join(text[:LINE_CHARS_MAX].split())
        with suppress(OSError):  # a full disk: what matters is the ledger, and it speaks for itself
            sys.stderr.write(f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S.%fZ} {flat}\n")
            sys.stderr.flush()

    def bound(self) -> None:
        """Empty it in place: whoever started the server gave it this file to append to."""
        try:
            ours, file = os.fstat(sys.stderr.fileno()), self._path.stat()
            if file.st_size > LOG_BYTES_MAX and os.path.samestat(ours, file):
                shutil.copyfile(self._path, self._path.with_suffix(".log.1"))
                os.truncate(self._path, 0)
        except OSError:  # a full disk: what matters is the ledger, and it speaks for itself
            return
