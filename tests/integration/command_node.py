"""A node without a venue that is there to be killed: python command_node.py URL FOLDER JOURNAL.

It takes commands, and writes each that it applies into the journal before it says so. At the end of stdin it ends.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from command_stage import Gate, running


class Journaling(Gate):
    """Its journal survives it."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def _on_command(self, asked) -> None:
        os.write(self._file, f"{asked.command.command_id}\n".encode())
        super()._on_command(asked)


if __name__ == "__main__":
    url, folder, journal = sys.argv[1:]
    with running(url, Path(folder), Journaling(journal)) as run:
        print(run.taker.run, flush=True)
        sys.stdin.read()
